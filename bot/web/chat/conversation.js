// What was said, in order, each thing once: by its id where the server has stored it, by client_id until then.
import { tag, t } from "../shared/i18n.js";
import { keep, kept } from "../shared/memory.js";
import { ask } from "../shared/server.js";
import { Line } from "./line.js";

const SESSION = "kefu.chat.session";
const OUTBOX = "kefu.chat.outbox";
const PATIENCE_MS = 180_000;

function newId() {
  // crypto.randomUUID is missing on plain http:// addresses other than localhost.
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** `view` shows items: put(item), drop(item), state(name), attended(state), clear(), announce(text). */
export class Conversation {
  #items = [];
  #view;
  #line = new Line(this);
  #starting = null;
  #losses = 0;
  #attended = "bot";

  constructor(view) {
    this.#view = view;
    this.session = kept(SESSION);
    setInterval(() => this.#giveUp(), 5_000);
  }

  /** Shows the earlier messages, sends what was not sent, and stays connected. */
  async resume() {
    if (!this.session) return;
    const waiting = kept(OUTBOX) ?? [];
    await this.#line.catchUp();
    for (const { clientId, text } of waiting) {
      const item = this.#byClient(clientId);
      if (!item) this.#add(clientId, text);
      else if (this.#items.at(-1) === item) {
        item.answered = false;
        this.#typing(item);
      }
    }
    this.#saveOutbox();
    if (this.session) this.#line.open();
    else if (waiting.length) this.#deliver();
  }

  /** The customer says something. */
  say(text) {
    this.#add(newId(), text);
    this.#saveOutbox();
    this.#deliver();
  }

  /** Tries a failed message once more; the same client_id keeps it one message. */
  retry(item) {
    Object.assign(item, { state: "sending", error: null, sentOn: null });
    this.#view.put(item);
    this.#typing(item);
    this.#saveOutbox();
    this.#deliver();
  }

  /** Forgets this conversation on this device; the next message opens another. */
  restart() {
    this.#line.close();
    this.session = null;
    this.#starting = null;
    this.#items = [];
    keep(SESSION, null);
    keep(OUTBOX, null);
    this.#view.clear();
    this.#view.state("idle");
    this.attended({});
  }

  /** Rates a reply; throws `Refused`. */
  async rate(item, rating, comment) {
    const body = comment ? { rating, comment } : { rating };
    await ask("POST", `api/messages/${item.id}/feedback`, { body, token: this.session.token });
    item.feedback = rating;
  }

  /** A message that nobody answers (a person has taken over, or the reply was lost) stops waiting. */
  #giveUp() {
    for (const item of this.unsent()) {
      if (!(Date.now() - item.tried > PATIENCE_MS)) continue;
      if (item.state === "sending") this.failed(item.clientId, { message: t("no_reply") });
      else this.accepted(item.clientId, item.id);
    }
  }

  async #deliver() {
    if (!this.session) {
      this.#starting ??= ask("POST", "api/sessions", { body: { language: tag } });
      try {
        const session = await this.#starting;
        if (!this.session) {
          this.session = session;
          keep(SESSION, session);
        }
      } catch (error) {
        for (const item of this.unsent()) this.failed(item.clientId, error);
        return;
      } finally {
        this.#starting = null;
      }
    }
    this.#line.flush();
  }

  #add(clientId, text) {
    const item = { key: clientId, role: "user", clientId, text, state: "sending", created_at: new Date().toISOString() };
    this.#items.push(item);
    this.#view.put(item);
    this.#typing(item);
  }

  /** The place where the reply of a message will be written. */
  #typing(question) {
    const key = `reply-${question.clientId}`;
    let item = this.#items.find((each) => each.key === key);
    if (!item) {
      item = { key, role: "bot", text: "", state: "typing", replyTo: question.clientId };
      this.#items.push(item);
      this.#view.put(item);
    }
    return item;
  }

  #byClient = (clientId) => clientId && this.#items.find((item) => item.role === "user" && item.clientId === clientId);

  #saveOutbox() {
    const waiting = this.#items.filter((item) => item.role === "user" && !item.answered && item.clientId);
    keep(OUTBOX, waiting.length ? waiting.map(({ clientId, text }) => ({ clientId, text })) : null);
  }

  // What the line asks and tells.

  lastId = () => this.#items.findLast((item) => item.id && item.state !== "typing")?.id ?? null;

  unsent = () => this.#items.filter((item) => item.role === "user" && item.state !== "failed" && !item.answered && item.clientId);

  state(name) {
    this.#view.state(name);
  }

  /** A message goes out (again): what a broken-off reply had begun to say is said anew. */
  sending(item) {
    item.tried = Date.now();
    const place = this.#typing(item);
    if (place.text) this.#view.put(Object.assign(place, { text: "", state: "typing" }));
  }

  stored(message) {
    const known = this.#items.find((item) => item.id === message.id);
    if (message.role === "user") {
      const mine = known ?? this.#byClient(message.client_id);
      const item = Object.assign(mine ?? { key: message.id, answered: true }, message, { state: "sent" });
      item.clientId ??= message.client_id;
      if (!mine) this.#items.push(item);
      this.#view.put(item);
      this.#saveOutbox();
      return;
    }
    if (known) return;
    const asked = message.reply_to && this.#items.find((item) => item.id === message.reply_to);
    this.#finish(asked || (message.role === "bot" && !message.reply_to && this.unsent()[0]), message);
  }

  accepted(clientId, messageId) {
    const question = this.#byClient(clientId);
    if (!question) return;
    Object.assign(question, { id: messageId, state: "sent", answered: true });
    this.#view.put(question);
    this.#forgetTyping(question);
    this.#saveOutbox();
  }

  /** Who answers from now on; the customer reads it where it `changed` before their eyes. */
  attended({ state = "bot", staffed = false, changed = false }) {
    if (changed && state !== this.#attended) {
      if (state === "human") this.#note(t("human_joined"));
      else if (this.#attended === "human") this.#note(t("human_left"));
    }
    this.#attended = state;
    // Nobody is said to be coming where nobody is there.
    this.#view.attended(state === "waiting" && !staffed ? "bot" : state);
  }

  meta(clientId, { decision, sources }) {
    this.#heard(clientId, (item) => Object.assign(item, { decision, sources }));
  }

  delta(clientId, text) {
    this.#heard(clientId, (item) => {
      item.text += text;
      item.state = "streaming";
    });
  }

  #heard(clientId, change) {
    const question = this.#byClient(clientId);
    if (!question || question.answered) return;
    if (question.state === "sending") {
      question.state = "sent";
      this.#view.put(question);
    }
    const item = this.#typing(question);
    change(item);
    this.#view.put(item);
  }

  done(clientId, reply) {
    this.#finish(this.#byClient(clientId), reply);
  }

  #forgetTyping(question) {
    // A finished reply keeps the place it was written in: it may come twice, by two ways, and stays.
    const at = this.#items.findIndex((item) => item.key === `reply-${question.clientId}` && item.state !== "done");
    if (at >= 0) this.#view.drop(this.#items.splice(at, 1)[0]);
  }

  #finish(question, reply) {
    if (this.#items.some((item) => item.id === reply.id)) {
      if (question) this.#forgetTyping(question);
      return;
    }
    const place = question ? this.#items.find((item) => item.key === `reply-${question.clientId}`) : undefined;
    const item = Object.assign(place ?? { key: reply.id }, reply, { state: "done" });
    if (!place) this.#items.push(item);
    if (question) {
      Object.assign(question, { state: "sent", answered: true });
      this.#view.put(question);
      this.#saveOutbox();
    }
    this.#losses = 0;
    this.#view.put(item);
    this.#view.announce(item);
  }

  failed(clientId, error) {
    const question = this.#byClient(clientId) ?? this.unsent()[0];
    if (!question || question.answered) return;
    question.state = "failed";
    question.error = error.message;
    this.#forgetTyping(question);
    this.#view.put(question);
  }

  /** The server knows this conversation no more (expired or deleted): what was typed goes into a new one. */
  lost() {
    this.#line.close();
    this.session = null;
    keep(SESSION, null);
    this.#losses += 1;
    this.attended({});
    if (this.#items.some((item) => item.id)) this.#note(t("session_lost"));
    for (const item of this.#items.filter((each) => each.id)) this.#view.put(Object.assign(item, { id: undefined, sentOn: null }));
    this.#view.state("idle");
    if (this.#losses < 3) this.unsent().length && this.#deliver();
    else for (const item of this.unsent()) this.failed(item.clientId, { message: t("session_refused") });
  }

  #note(text) {
    const item = { key: newId(), role: "system", text, state: "done" };
    this.#items.push(item);
    this.#view.put(item);
  }
}
