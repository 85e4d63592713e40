// The log of the conversation: keeps elements in step with items, the newest in sight, and a screen reader informed.
import { fill, h, icon } from "../shared/dom.js";
import { t } from "../shared/i18n.js";
import { markdown } from "../shared/markdown.js";
import { messageElement, stream } from "./message.js";

const NEAR_PX = 120;
const PATIENT_MS = 1_500;

export class View {
  #elements = new Map();
  #dirty = new Map();
  #name = "";
  #welcome = null;
  #showing = 0;
  #following = true;

  constructor(actions) {
    this.actions = actions;
    this.opening = h("section.opening");
    this.list = h("div.list", { role: "log", "aria-live": "off", "aria-label": t("log") });
    this.log = h("div.log", { tabindex: "-1", onscroll: () => this.#edge() }, h("div.column", {}, this.opening, this.list));
    this.spoken = h("div.unseen", { "aria-live": "polite", role: "status" });
    this.presence = h("p.presence", {}, t("presence"));
    this.banner = h("div.banner", { role: "status", hidden: true });
    this.newest = h("button.newest", { type: "button", hidden: true, onclick: () => this.toEnd(true) }, icon("down_arrow"), t("to_newest"));
    // The log gets smaller as the customer writes more lines: the newest words stay in sight.
    new ResizeObserver(() => this.#following && this.toEnd()).observe(this.log);
  }

  /** The opening words and first questions, from the company's profile. */
  welcome(profile) {
    this.#name = profile.assistant_name;
    this.#welcome = profile;
    const chips = profile.suggestions.map((text) => h("button.chip", { type: "button", onclick: () => this.actions.say(text) }, text));
    fill(
      this.opening,
      h("img.mark", { src: new URL("../shared/icon.svg", import.meta.url).href, alt: "", width: 52, height: 52 }),
      h("h2", {}, profile.company_name || profile.assistant_name),
      markdown(profile.welcome),
      chips.length > 0 && h("div.chips", { role: "group", "aria-label": t("starters") }, chips),
      profile.notice && h("p.notice", {}, profile.notice),
    );
    this.#quiet();
  }

  // Chips of the opening are for an empty log; afterwards they would only push the talk down.
  #quiet() {
    this.opening.classList.toggle("past", this.#elements.size > 0);
  }

  put(item) {
    const element = this.#elements.get(item.key);
    const follow = this.#atEnd() || item.role === "user";
    if (element && item.state === "streaming") {
      this.#later(item);
      return;
    }
    this.#dirty.delete(item.key);
    const made = messageElement(item, this.actions, this.#name);
    if (element) {
      made.classList.add("settled");
      element.replaceWith(made);
    } else this.list.append(made);
    this.#elements.set(item.key, made);
    this.#quiet();
    if (follow) this.toEnd();
    else this.newest.hidden = false;
  }

  // Pieces can come faster than frames: each frame draws the newest text once.
  #later(item) {
    if (!this.#dirty.size) requestAnimationFrame(() => this.#draw());
    this.#dirty.set(item.key, item);
  }

  #draw() {
    const follow = this.#atEnd();
    for (const item of this.#dirty.values()) if (item.state === "streaming") stream(this.#elements.get(item.key), item);
    this.#dirty.clear();
    if (follow) this.toEnd();
  }

  drop(item) {
    this.#elements.get(item.key)?.remove();
    this.#elements.delete(item.key);
  }

  clear() {
    this.#elements.clear();
    this.#dirty.clear();
    fill(this.list);
    this.#quiet();
  }

  announce(item) {
    fill(this.spoken, `${item.role === "human" ? t("human") : this.#name}：${item.text}`);
    this.actions.arrived(item);
  }

  state(name) {
    clearTimeout(this.#showing);
    const text = { offline: t("state_offline"), reconnecting: t("state_reconnecting") }[name];
    document.body.dataset.line = name;
    if (!text) this.banner.hidden = true;
    else this.#showing = setTimeout(() => Object.assign(fill(this.banner, text), { hidden: false }), name === "offline" ? 0 : PATIENT_MS);
  }

  /** Who answers: the bot, a person who is called, or one who is there. */
  attended(state) {
    fill(this.presence, state === "bot" ? t("presence") : t(`presence_${state}`));
    document.body.dataset.attended = state;
  }

  #atEnd = () => this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < NEAR_PX;

  #edge() {
    this.#following = this.#atEnd();
    if (this.#following) this.newest.hidden = true;
  }

  toEnd(smooth = false) {
    this.newest.hidden = true;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.log.scrollTo({ top: this.log.scrollHeight, behavior: smooth && !calm ? "smooth" : "instant" });
  }
}
