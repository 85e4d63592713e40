// Conversations with people: who waits, what was said, and the words of the one who takes over.
import { fill, h } from "../../shared/dom.js";
import { duration, known, number, t } from "../../shared/i18n.js";
import { keep, kept } from "../../shared/memory.js";
import { get, query } from "../api.js";
import { live, look } from "../live.js";
import { attempt, empty, pages } from "../ui.js";
import { agentName, talk } from "./talk.js";

const BOXES = ["waiting", "unasked", "mine", "others", "recent"];
const PAGE = 30;
const TICK_MS = 20_000;
const SEEN = "kefu.desk.seen";
const SEEN_MAX = 200;

const seen = () => kept(SEEN) ?? {};
const isNew = ({ id, last }) => last?.role === "user" && seen()[id] !== last.id;

function see(id, messageId) {
  const all = Object.entries({ ...seen(), [id]: messageId });
  keep(SEEN, Object.fromEntries(all.slice(-SEEN_MAX)));
}

function row(one, open, chosen) {
  const since = one.since && one.state !== "human" ? t("desk_since", { time: duration((Date.now() - new Date(one.since)) / 1000) }) : "";
  const who = one.last?.role === "human" ? t("desk_staff_said") : "";
  const fresh = isNew(one);
  return h(
    "li",
    {},
    h(
      `button.case${fresh ? ".fresh" : ""}`,
      { type: "button", "aria-current": chosen && "true", onclick: () => open(one.id) },
      h("span.case-top", {}, h("strong", {}, one.customer), fresh && h("b.dot", { role: "img", "aria-label": t("desk_unread") }), h("small", {}, since)),
      h("span.case-words", {}, who, one.last?.text ?? ""),
      (one.cause || one.agent || one.lost > 0) && h("span.case-labels", {}, one.lost > 0 && h("span.badge.warn", {}, t("channel_dead", { n: number(one.lost) })), one.cause && h("span.badge", {}, known(`cause_${one.cause}`, one.cause)), one.agent && !one.mine && h("span.badge", {}, agentName(one.agent))),
    ),
  );
}

export async function open(place, { person, rest, search }, signal) {
  const tabs = h("div.tabs.desk-tabs", { role: "group", "aria-label": t("room_desk") });
  const list = h("div.desk-list");
  const side = h("section.desk-side", { "aria-label": t("desk_list") }, tabs, list);
  const main = h("section.desk-main", { "aria-label": t("desk_conversation") });
  const desk = h("div.desk", {}, side, main);
  let box = BOXES.includes(search.get("box")) ? search.get("box") : "waiting";
  let offset = 0;
  let page = { items: [], total: 0, counts: {} };
  let current = null;
  let asked = 0;

  function draw() {
    const tab = (name) => {
      const count = page.counts[name];
      return h("button", { type: "button", "aria-pressed": String(name === box), onclick: () => turn(name) }, t(`desk_${name}`), count > 0 && h("b", {}, number(count)));
    };
    fill(tabs, BOXES.map(tab));
    if (!page.items.length) fill(list, empty("desk", t(`desk_none_${box}`), t(`desk_none_${box}_text`)));
    else fill(list, h("ul", {}, page.items.map((one) => row(one, show, one.id === current?.id))), pages(page.total, offset, PAGE, (to) => ((offset = to), load())));
  }

  async function load() {
    const mine = ++asked;
    const found = await get(query("api/desk/conversations", { box, offset: offset || "", limit: PAGE }));
    if (mine !== asked || signal.aborted) return;
    page = found;
    draw();
  }

  function turn(name) {
    box = name;
    offset = 0;
    page = { ...page, items: [], total: 0 };
    draw();
    fill(list);
    return attempt(load);
  }

  function back() {
    current = null;
    delete desk.dataset.open;
    look({ attending: "true" });
    history.replaceState(null, "", "#/desk");
    fill(main, empty("chat", t("desk_choose"), t("desk_choose_text")));
    draw();
  }

  async function show(id, address = true) {
    const made = talk(id, { back, moved: (name) => (name === "take" ? turn("mine") : attempt(load)), seen: (messageId) => see(id, messageId), person }, signal);
    current = made;
    look({ attending: "true" }); // nothing of the conversation before may be heard in this one
    if (!(await attempt(made.load))) return back();
    if (current !== made || signal.aborted) return;
    desk.dataset.open = "true";
    if (address) history.pushState(null, "", `#/desk/${id}`);
    fill(main, made.element);
    made.shown();
    look({ attending: "true", conversation: id, after: made.lastId() });
    draw();
  }

  live((kind, data) => {
    if (kind === "queue") attempt(load);
    else current?.heard(kind, data);
  }, signal);
  const ticking = setInterval(() => !signal.aborted && draw(), TICK_MS);
  signal.addEventListener("abort", () => {
    clearInterval(ticking);
    look({});
  });
  fill(place, desk);
  fill(main, empty("chat", t("desk_choose"), t("desk_choose_text")));
  look({ attending: "true" });
  await load();
  if (!signal.aborted && rest[0]) await show(rest[0], false);
}
