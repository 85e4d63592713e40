// The first room: how it is going, or what to do first.
import { fill, h, icon, svg } from "../../shared/dom.js";
import { known, number, percent, t } from "../../shared/i18n.js";
import { get, query } from "../api.js";
import { empty } from "../ui.js";
import { takenBack } from "./releases.js";

const DAYS = 14;

const figure = (label, value, note) => h("div.figure", {}, h("dt", {}, label), h("dd", {}, value, note && h("small", {}, note)));

/** A day of this place, some days ago, as 2026-01-31. */
const day = (ago) => {
  const moment = new Date();
  moment.setDate(moment.getDate() - ago);
  return [moment.getFullYear(), moment.getMonth() + 1, moment.getDate()].map((part) => String(part).padStart(2, "0")).join("-");
};

function bars(days) {
  const WIDTH = 460;
  const HEIGHT = 190;
  const most = Math.max(...days.map(({ messages }) => messages), 1);
  const step = WIDTH / days.length;
  const drawn = days.map(({ date, messages, conversations }, at) => {
    const height = Math.max(messages ? 3 : 1, (messages / most) * (HEIGHT - 24));
    const title = svg("title", {}, t("day_title", { date, messages: number(messages), conversations: number(conversations) }));
    const every = days.length > 10 ? 3 : 1;
    const parts = [svg("rect", { x: at * step + step * 0.2, y: HEIGHT - 20 - height, width: step * 0.6, height, rx: 3, class: "bar" }, title)];
    if ((days.length - 1 - at) % every === 0) parts.push(svg("text", { x: (at + 0.5) * step, y: HEIGHT - 3, "text-anchor": "middle" }, date.slice(5)));
    return parts;
  });
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "chart", role: "img", "aria-label": t("messages_by_day") }, drawn.flat());
}

function decisions(counts) {
  const all = Object.entries(counts).filter(([, count]) => count > 0).sort(([, one], [, other]) => other - one);
  const total = all.reduce((sum, [, count]) => sum + count, 0);
  const row = ([name, count]) => {
    const bar = h("i");
    bar.style.width = percent(count / all[0][1]);
    return h("li", {}, h("span", {}, known(`decision_${name}`, name)), h("span.share", {}, bar), h("span.amount", {}, `${number(count)} · ${percent(count / total, 0)}`));
  };
  return h("ul.shares", {}, all.map(row));
}

function firstSteps(stats) {
  const step = (done, href, title, text) =>
    h("li", { class: done ? "done" : "" }, h("span.tick", { "aria-hidden": "true" }, done && icon("check")), h("div", {}, h("a", { href, target: href.startsWith("#") ? null : "_blank" }, title), h("p", {}, text)));
  return h(
    "section.card",
    {},
    h("h2", {}, t("first_steps")),
    h("ol.steps", {}, step(stats.entries > 0, "#/import", t("step_import"), t("step_import_text")), step(stats.conversations > 0, "chat", t("step_chat"), t("step_chat_text")), step(false, "chat/widget-demo", t("step_widget"), t("step_widget_text"))),
  );
}

/** What customers cannot know yet: whose chat this is, and how they reach a person. */
function unset(names) {
  const row = (name) => h("li", {}, h("a", { href: "#/company" }, t(`unset_${name}`)));
  return h("section.card.unset", { "aria-label": t("unset_title") }, h("h2", {}, t("unset_title")), h("ul", {}, names.map(row)), h("p.muted", {}, t("unset_text")));
}

export async function open(place, _, signal) {
  const [stats, profile, releases] = await Promise.all([get(query("api/stats", { from: day(DAYS - 1), to: day(0) })), get("api/profile"), get("api/releases")]);
  if (signal.aborted) return;
  const { up = 0, down = 0 } = stats.feedback ?? {};
  const ms = (value) => (value === null || value === undefined ? "–" : value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`);
  const quiet = !stats.conversations;
  fill(
    place,
    takenBack(releases.rolled_back),
    profile.built_in?.length > 0 && unset(profile.built_in),
    (quiet || !stats.entries) && firstSteps(stats),
    h(
      "dl.figures",
      {},
      figure(t("stat_conversations"), number(stats.conversations)),
      figure(t("stat_messages"), number(stats.messages)),
      figure(t("stat_entries"), number(stats.entries), t("stat_documents", { n: number(stats.documents) })),
      figure(t("stat_helpful"), up + down ? percent(up / (up + down), 0) : "–", t("stat_votes", { up: number(up), down: number(down) })),
      figure(t("stat_latency"), ms(stats.latency_ms?.p50), t("stat_p95", { ms: ms(stats.latency_ms?.p95) })),
    ),
    !quiet && h("div.two", {}, h("section.card", {}, h("h2", {}, t("messages_by_day")), stats.days?.length ? bars(stats.days) : null), h("section.card", {}, h("h2", {}, t("how_answered")), Object.keys(stats.decisions ?? {}).length ? decisions(stats.decisions) : empty("chat", t("nothing_yet"), ""))),
    !quiet && h("p.links", {}, h("a", { href: "chat", target: "_blank" }, t("open_chat")), h("a", { href: "chat/widget-demo", target: "_blank" }, t("open_widget"))),
  );
}
