// On the way to a release: the candidate in the shadow, what is watched after a switch, the schedule.
import { fill, h } from "../../shared/dom.js";
import { fullTime, known, language, number, percent, t } from "../../shared/i18n.js";
import { get, post, query, remove } from "../api.js";
import { attempt, button, confirm, dialog, labelled, pages, progressBar, toast } from "../ui.js";
import { scheduleCard } from "./schedule.js";

const LOOK_MS = 3_000;
const PAGE = 20;
const WITHHELD = new Set(["worse"]);
const GOING = new Set(["preparing", "answering", "enough"]);
const SHARES = [0.05, 0.2, 0.5, 1];
const COUNTS = [100, 500, 2000];

const nameOf = (adapter) => adapter ?? t("base");
const ms = (spread) => (spread ? `${spread.p50.toFixed(1)} / ${spread.p95.toFixed(1)} ms` : "–");
const figure = (label, value, note) => h("div.figure", {}, h("dt", {}, label), h("dd", {}, value, note && h("small", {}, note)));

/** Asks how much a candidate is to answer, and lets it; true where it began. */
export async function letShadow(name) {
  const select = (values, chosen, shown) => h("select", {}, values.map((value) => h("option", { value, selected: value === chosen }, shown(value))));
  const share = select(SHARES, 0.2, (value) => percent(value, 0));
  const most = select(COUNTS, 500, number);
  const began = await dialog(t("shadow_title", { name }), (close) =>
    h(
      "div.confirm",
      {},
      h("p", {}, t("shadow_text")),
      h("div.two-fields", {}, labelled(t("shadow_share"), share), labelled(t("shadow_questions_max"), most)),
      h("p.muted", {}, t("shadow_cost")),
      h("footer", {}, button(t("cancel"), () => close(false)), button(t("shadow_start"), async () => {
        await post("api/shadow", { adapter: name, share: Number(share.value), questions_max: Number(most.value) });
        close(true);
      }, { kind: "primary" })),
    ),
  );
  return began === true;
}

/** Asks whether to switch an adapter on, in the words of its verdict; the body of the request, null where not. */
export async function askToActivate(adapter) {
  const outcome = adapter.verdict?.outcome ?? "unknown";
  const override = WITHHELD.has(outcome);
  const sure = outcome === "better";
  const doubt = override ? `${adapter.verdict[language] ?? ""} ${t("activate_override")}` : !sure && t("activate_doubtful");
  const text = [t(`activate_${adapter.kind}_text`), doubt].filter(Boolean).join(" ");
  const wanted = await confirm(t("activate_title", { name: adapter.name }), text, t(override ? "activate_anyway" : "activate"), { danger: !sure });
  return wanted ? { override } : null;
}

function differences(shadow) {
  const body = h("div.run-body");
  const said = (one) => (one.decision ? [h("strong", {}, known(`found_${one.decision}`, one.decision)), one.title && h("span", {}, one.title)] : null);
  async function page(offset) {
    const { items, total } = await get(query(`api/shadows/${shadow.id}/differences`, { offset, limit: PAGE }));
    const row = (one) =>
      h("li.difference", {}, h("p.asked", {}, one.question), h("dl", {}, h("div", {}, h("dt", {}, t("shadow_active")), h("dd", {}, said(one.active))), h("div", {}, h("dt", {}, t("shadow_candidate")), h("dd", {}, one.error ? h("span.problem", {}, one.error) : said(one.candidate)))));
    fill(body, total ? h("ul.differences", {}, items.map(row)) : h("p.muted", {}, t("shadow_no_differences")), pages(total, offset, PAGE, (to) => attempt(() => page(to))));
  }
  const made = h("details.more.differences-fold", {}, h("summary", {}, t("shadow_differences", { n: number(shadow.asked - shadow.same) })), body);
  made.addEventListener("toggle", () => made.open && !body.hasChildNodes() && attempt(() => page(0)));
  return made;
}

function shadowCard(shadow, again) {
  const going = GOING.has(shadow.state);
  const bar = progressBar(t(`shadow_${shadow.state}`));
  const [done, total] = shadow.progress ?? [0, 0];
  if (shadow.state === "preparing") bar.set(total ? done / total : null, total ? `${t("shadow_preparing")} ${number(done)} / ${number(total)}` : t("shadow_preparing"));
  else bar.set(Math.min(1, shadow.asked / shadow.questions_max), `${number(shadow.asked)} / ${number(shadow.questions_max)}`);
  const ratio = shadow.latency_ratio ? `${shadow.latency_ratio.toFixed(2)} ×` : "–";
  const release = async () => {
    const path = `api/adapters/${encodeURIComponent(shadow.adapter)}`;
    const body = await askToActivate(await get(path));
    if (!body) return;
    await post(`${path}/activate`, body);
    location.hash = "#/models";
  };
  const drop = async () => {
    if (!(await confirm(t("shadow_drop_title"), t("shadow_drop_text"), t("shadow_drop")))) return;
    await remove("api/shadow");
    toast(t("shadow_dropped_done"));
    await again();
  };
  return h(
    "section.card.shadow",
    { "aria-label": t("shadow") },
    h("h2", {}, t("shadow"), " ", h(`span.badge${going ? ".accent" : ""}`, {}, t(`shadow_${shadow.state}`))),
    h("p.muted", {}, t("shadow_pair", { name: shadow.adapter, other: nameOf(shadow.against), share: percent(shadow.share, 0) })),
    shadow.error && h("p.problem", { role: "alert" }, shadow.error.message),
    going && bar.element,
    h(
      "dl.figures.small",
      {},
      figure(t("shadow_asked"), number(shadow.asked), shadow.missed ? t("shadow_missed", { n: number(shadow.missed) }) : null),
      figure(t("shadow_same"), shadow.asked ? percent(shadow.same / shadow.asked) : "–", number(shadow.same)),
      figure(t("shadow_errors"), number(shadow.errors)),
      figure(t("shadow_latency"), ratio, `${ms(shadow.active_ms)} → ${ms(shadow.candidate_ms)}`),
    ),
    shadow.asked > shadow.same && differences(shadow),
    going && h("div.actions", {}, button(t("activate"), release, { kind: "primary" }), button(t("shadow_drop"), drop)),
  );
}

const seconds = (value) => (typeof value === "number" ? `${(1000 * value).toFixed(0)} ms` : "–");

function watched(one) {
  const text = t("watching_text", { name: one.adapter, n: number(one.after.observed ?? 0), errors: number(one.after.errors ?? 0), p95: seconds(one.after.p95_seconds), before: seconds(one.before.p95_seconds), limit: seconds(one.limit_seconds) });
  const more = one.more_handoffs && t("watching_handoffs", { before: percent(one.more_handoffs.before), after: percent(one.more_handoffs.after) });
  return h("section.card", {}, h("h2", {}, t("watching"), " ", h("small", {}, t(`kind_${one.kind}`))), h("p.muted", {}, text), more && h("p.problem", {}, more));
}

/** What went back by itself: a notice that stays for two weeks. */
export const takenBack = (list) =>
  list.length > 0 &&
  h("section.card.unset", { role: "alert", "aria-label": t("broken_title") }, h("h2", {}, t("broken_title")), h("ul", {}, list.map((one) => h("li", {}, t(`broken_${one.cause}`, { name: one.adapter, other: nameOf(one.returned_to), at: fullTime(one.ended_at), errors: number(one.after.errors), n: number(one.after.observed), p95: seconds(one.after.p95_seconds), before: seconds(one.before.p95_seconds) })))), h("p.muted", {}, t("broken_text")));

/** All of it, kept fresh as long as the room is open. */
export function releasing(signal) {
  const place = h("div.releasing");
  let shown = "";
  async function load() {
    const state = await get("api/releases");
    if (signal.aborted) return;
    const now = JSON.stringify(state);
    // Drawn anew only where something moved: an open list stays open.
    if (now !== shown) {
      const open = place.querySelector(".differences-fold[open]");
      shown = now;
      if (!open) fill(place, takenBack(state.rolled_back), state.shadow && shadowCard(state.shadow, load), state.watching.map(watched), scheduleCard(state.schedule, load));
    }
  }
  const clock = setInterval(() => (signal.aborted ? clearInterval(clock) : load().catch(() => {})), LOOK_MS);
  return { element: place, load };
}
