// One conversation: everything that was said, who has it, and the box to reply in.
import { fill, h, icon } from "../../shared/dom.js";
import { fullTime, known, t, when } from "../../shared/i18n.js";
import { glance, markdown } from "../../shared/markdown.js";
import { get, post, query } from "../api.js";
import { attempt, button, confirm, dialog, toast } from "../ui.js";
import { deliveryLine, noticeLines } from "./delivery.js";

const PAGE = 50;
const NEAR_PX = 160;

export const agentName = (agent) => agent?.slice(agent.indexOf(":") + 1) ?? "";

const newId = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

function messageElement(message, retry) {
  const { role, decision, generated, author, text, created_at: moment, problem, pending } = message;
  const words = role === "user" ? h("div.plain", {}, text) : markdown(text, { pictures: false });
  const who = role === "user" ? "" : role === "human" ? agentName(author) : t("assistant");
  const notes = [
    who,
    role === "bot" && decision && known(`decision_${decision}`, decision),
    generated && t("generated"),
    pending ? t("sending") : when(moment),
  ].filter(Boolean);
  const trouble = problem && [h("span.problem", { role: "alert" }, problem), h("button.quiet.danger", { type: "button", onclick: retry }, icon("retry"), t("retry"))];
  return h(`article.said.${role}`, { title: fullTime(moment) }, h("div.said-words", {}, words), h("footer", {}, trouble || notes.map((note) => h("span", {}, note))));
}

/** Looks for words in the knowledge base; resolves with the text to insert, undefined for none. */
function fromKnowledge(first) {
  return dialog(
    t("desk_knowledge"),
    (close) => {
      const field = h("input", { type: "search", placeholder: t("hit_question"), "aria-label": t("hit_question"), value: first, enterkeyhint: "search", autofocus: true });
      const found = h("ul.found", { "aria-live": "polite" });
      const run = async (event) => {
        event?.preventDefault();
        if (!field.value.trim()) return;
        const { hits } = await post("api/search", { query: field.value.trim(), k: 5 });
        const one = ({ title, text }) => h("li", {}, h("div", {}, h("strong", {}, title), h("p", {}, glance(text))), button(t("desk_insert"), () => close(text)));
        fill(found, hits.filter(({ text }) => text).map(one));
        if (!found.children.length) fill(found, h("li", {}, h("p.muted", {}, t("none_found"))));
      };
      if (first) attempt(run);
      return h("div", {}, h("form.tools", { onsubmit: (event) => { event.preventDefault(); attempt(run); } }, h("label.finder", {}, icon("search"), field), h("button.button.primary", { type: "submit" }, t("desk_look"))), found);
    },
    { wide: true },
  );
}

/** A conversation's pane: {element, load, shown, heard(kind, data), lastId}. `room` is {back, moved, seen(messageId)}. */
export function talk(id, room, signal) {
  const at = (rest = "") => `api/desk/conversations/${encodeURIComponent(id)}${rest}`;
  const said = new Map();
  let following = true;
  const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_PX;
  const log = h("div.talk-log", { role: "log", "aria-live": "polite", "aria-label": t("log"), tabindex: "0", onscroll: () => (following = atEnd()) });
  // The log gets smaller as the reply gets longer: the newest words stay in sight.
  new ResizeObserver(() => following && toEnd()).observe(log);
  const head = h("header.talk-head");
  const foot = h("div.talk-foot");
  const notices = h("div.talk-notices", { "aria-live": "polite" });
  const element = h("div.talk", {}, head, log, notices, foot);
  const older = h("div.talk-older");
  const field = h("textarea", { rows: 2, placeholder: t("desk_write"), "aria-label": t("desk_write"), enterkeyhint: "send" });
  let earliest = null;
  let last = null;
  let now = null;
  let letters = [];
  let looked = 0;

  const toEnd = () => log.scrollTo({ top: log.scrollHeight });
  const newest = () => [...said.values()].map(({ message }) => message).filter(({ role }) => role === "user").sort((one, other) => one.seq - other.seq).at(-1);

  /** What the customer said up to here has been read. */
  function see() {
    const message = newest();
    if (message) room.seen(message.id);
  }

  function put(message, { first = false } = {}) {
    const key = message.client_id && message.role === "human" ? `mine-${message.client_id}` : message.id;
    const before = said.get(key);
    if (before && !before.message.pending && !before.message.problem) return;
    const near = atEnd();
    const made = messageElement(message, () => send(message.text, message.client_id));
    said.set(key, { message, made });
    stand(said.get(key));
    if (before) before.made.replaceWith(made);
    else if (first) older.after(made);
    else log.append(made);
    if (!first && message.id) {
      last = message;
      if (element.isConnected && !document.hidden) see();
    }
    if (!first && (near || message.pending)) toEnd();
  }

  /** Shows under a message what became of it. */
  function stand({ message, made }) {
    const own = message.id ? letters.filter((one) => one.message_id === message.id) : [];
    made.querySelector(".delivery")?.remove();
    if (own.length) made.append(deliveryLine(own));
  }

  /** Looks what has arrived. On the page everything does, by the same line as everything else. */
  async function look() {
    if (now.channel === "web") return;
    const mine = ++looked;
    const { items } = await get(at("/deliveries"));
    if (mine !== looked || signal.aborted) return;
    const near = atEnd();
    letters = items;
    for (const one of said.values()) stand(one);
    fill(notices, noticeLines(letters.filter((one) => !one.message_id)));
    if (near) toEnd();
  }

  async function earlier() {
    const answer = await get(query(at("/messages"), { limit: PAGE, before: earliest ?? "" }));
    const from = log.scrollHeight - log.scrollTop;
    for (const message of [...answer.items].reverse()) put(message, { first: true });
    earliest = answer.items[0]?.seq ?? earliest;
    fill(older, answer.earlier && button(t("desk_earlier"), earlier, { kind: "link" }));
    log.scrollTop = log.scrollHeight - from;
    return answer;
  }

  async function send(text, clientId = newId()) {
    const mine = { role: "human", text, client_id: clientId, author: room.person.name, created_at: new Date().toISOString() };
    put({ ...mine, pending: true });
    try {
      const stored = await post(at("/messages"), { text, client_id: clientId });
      put(stored);
      await attempt(look);
    } catch (error) {
      put({ ...mine, problem: error.message });
      if (error.status === 409) await attempt(refresh);
    }
  }

  function submit() {
    const text = field.value.trim();
    if (!text) return;
    field.value = "";
    fit();
    send(text);
  }

  function fit() {
    field.style.height = "auto";
    field.style.height = `${Math.min(field.scrollHeight + 2, 220)}px`;
  }

  field.addEventListener("input", fit);
  field.addEventListener("keydown", (event) => {
    // 229 is how Safari reports the Enter that confirms a composition, after it has ended it.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    submit();
  });

  async function insert() {
    const text = await fromKnowledge(newest()?.text ?? "");
    if (text === undefined) return;
    const { selectionStart: from, selectionEnd: to } = field;
    field.setRangeText(text, from, to, "end");
    fit();
    field.focus();
  }

  async function move(name, body = {}) {
    try {
      now = await post(at(`/${name}`), body);
      room.moved(name);
    } catch (error) {
      if (error.status !== 409) throw error;
      // Somebody else was faster: it is said who, and shown.
      toast(error.message, "problem");
      await refresh();
      return;
    }
    draw();
    if (now.mine) field.focus();
  }

  async function refresh() {
    const found = await get(at());
    if (signal.aborted) return;
    now = found;
    draw();
  }

  const takeFrom = async () => (await confirm(t("desk_take_from"), t("desk_take_from_text", { name: agentName(now.agent) }), t("desk_take_from"))) && move("take", { from: now.agent });
  const closeIt = async () => (await confirm(t("desk_close"), t("desk_close_text"), t("desk_close"))) && move("close");

  function tools() {
    if (now.mine) return [button(t("desk_back"), () => move("back")), button(t("desk_close"), closeIt)];
    if (now.state === "waiting" || now.state === "paused") return [button(t("desk_take_off"), closeIt)];
    return [];
  }

  function draw() {
    const state = now.mine ? t("desk_state_mine") : now.agent ? t("desk_state_others", { name: agentName(now.agent) }) : t(`desk_state_${now.state}`);
    const cause = now.cause && now.cause !== "staff" && known(`cause_${now.cause}`, now.cause);
    fill(
      head,
      h("button.round.talk-back", { type: "button", "aria-label": t("desk_to_list"), title: t("desk_to_list"), onclick: room.back }, icon("left")),
      h("div.talk-who", {}, h("strong", {}, now.customer), h("small", {}, [state, cause, now.channel !== "web" && now.channel].filter(Boolean).join(" · "))),
      h("div.talk-tools", {}, tools()),
    );
    if (now.mine) {
      if (field.isConnected) return;
      const form = h("form.reply", { onsubmit: (event) => { event.preventDefault(); submit(); } }, field, h("div.reply-tools", {}, button(t("desk_knowledge"), insert, { mark: "book", kind: "small" }), h("span.keys", {}, t("keys")), h("button.button.primary", { type: "submit" }, icon("send"), h("span", {}, t("send")))));
      fill(foot, form);
    } else if (!now.reachable && now.state !== "paused") fill(foot, h("p.muted", {}, t("desk_unreachable")));
    else if (now.agent) fill(foot, h("p.muted", {}, t("desk_with", { name: agentName(now.agent) })), button(t("desk_take_from"), takeFrom));
    else fill(foot, h("p.muted", {}, t(`desk_hint_${now.state}`)), button(t("desk_take"), () => move("take"), { kind: "primary" }));
  }

  return {
    id,
    element,
    lastId: () => last?.id ?? "",
    async load() {
      log.append(older);
      await refresh();
      const { items } = await earlier();
      last = items.at(-1) ?? null;
      await look();
    },
    shown() {
      see();
      toEnd();
      if (now.mine && matchMedia("(pointer: fine)").matches) field.focus();
    },
    heard(kind, data) {
      if (kind === "message" || kind === "done") put(data.message);
      else if (kind === "state") attempt(refresh);
      // `ready`: the line was broken meanwhile, perhaps.
      else if (kind === "delivery" || kind === "ready") attempt(look);
    },
  };
}
