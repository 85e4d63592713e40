// The line to the server: a WebSocket; where that cannot be had, a streamed POST; where even that is swallowed, a plain one.
import { events } from "../shared/events.js";
import { tag } from "../shared/i18n.js";
import { address, ask, Refused, send } from "../shared/server.js";

const PING_MS = 25_000;
const SILENCE_MS = 70_000;
const CONNECT_MS = 5_000;
const ECHO_MS = 10_000;
const POLL_MS = 6_000;
// The service is going or coming: the message waits and goes out again by itself.
const PASSING = new Set(["stopped", "not_ready"]);
const PASSING_MS = 2_000;
// What a proxy answers while the service behind it starts again.
const AWAY = new Set([502, 504]);
const WAITS_MS = [400, 1_000, 2_000, 4_000, 8_000, 15_000];

/**
 * `owner` is the conversation: session, lastId(), unsent(), and what it is told: state(name), sending(item), stored(message),
 * meta(clientId, meta), delta(clientId, text), done(clientId, reply), accepted(clientId, id), failed(clientId, error), lost(),
 * and who answers: attended({state: "bot" | "waiting" | "human", staffed, changed}).
 */
export class Line {
  #owner;
  #socket = null;
  #ready = false;
  #failures = 0;
  #timer = 0;
  #pinging = 0;
  #polling = 0;
  #heard = 0;
  #closed = false;
  #streams = true;
  #posting = new Set();

  constructor(owner) {
    this.#owner = owner;
    addEventListener("online", () => this.#fresh());
    addEventListener("offline", () => this.#owner.state("offline"));
    document.addEventListener("visibilitychange", () => document.hidden || this.#again());
  }

  /** Connects where there is a session and no connection yet. */
  open() {
    this.#closed = false;
    if (this.#socket || !this.#owner.session) return;
    this.#connect();
  }

  /** Hangs up, for a new conversation. */
  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#drop();
    this.#stopPolling();
    this.#failures = 0;
  }

  /** Sends what waits to be sent, by the best way there is now. */
  flush() {
    if (this.#ready) for (const item of this.#owner.unsent()) this.#frame(item);
    else if (this.#failures > 0) for (const item of this.#owner.unsent()) this.#post(item);
    else this.open();
  }

  #frame(item) {
    if (item.sentOn === this.#socket) return;
    item.sentOn = this.#socket;
    this.#owner.sending(item);
    const socket = this.#socket;
    const sent = Date.now();
    socket.send(JSON.stringify({ type: "message", text: item.text, client_id: item.clientId }));
    // The server repeats a message at once: silence means a line that is open in name only.
    setTimeout(() => socket === this.#socket && this.#heard < sent && this.#drop(true), ECHO_MS);
  }

  #again() {
    if (this.#closed || this.#ready || !this.#owner.session) return;
    clearTimeout(this.#timer);
    this.#drop();
    this.#connect();
  }

  // A socket from before the network went is dead more often than not; resuming on a new one costs little.
  #fresh() {
    if (this.#ready) this.#drop();
    this.#again();
  }

  #connect() {
    const { session_id: id, token } = this.#owner.session;
    const after = this.#owner.lastId();
    // A WebSocket cannot say which language the page is shown in.
    const query = new URLSearchParams(after ? { lang: tag, after } : { lang: tag });
    const path = `api/sessions/${id}/ws?${query}`;
    let socket;
    try {
      socket = new WebSocket(address(path).replace(/^http/, "ws"));
    } catch {
      this.#failed();
      return;
    }
    this.#socket = socket;
    const slow = setTimeout(() => socket === this.#socket && !this.#ready && this.#drop(true), CONNECT_MS);
    socket.onopen = () => socket.send(JSON.stringify({ type: "auth", token }));
    socket.onmessage = ({ data }) => {
      this.#heard = Date.now();
      this.#take(JSON.parse(data));
    };
    socket.onclose = ({ code }) => {
      clearTimeout(slow);
      if (socket !== this.#socket) return;
      this.#drop();
      if (code === 4401 || code === 4404) this.#owner.lost();
      else this.#failed();
    };
  }

  #drop(report = false) {
    const socket = this.#socket;
    this.#socket = null;
    this.#ready = false;
    clearInterval(this.#pinging);
    if (socket) {
      socket.onclose = null;
      socket.onmessage = null;
      socket.close();
    }
    if (report) this.#failed();
  }

  #failed() {
    if (this.#closed) return;
    const wait = WAITS_MS[Math.min(this.#failures, WAITS_MS.length - 1)];
    this.#failures += 1;
    this.#timer = setTimeout(() => this.#again(), wait * (0.7 + 0.6 * Math.random()));
    for (const item of this.#owner.unsent()) this.#post(item);
    // Whether the line is down or only WebSockets are is what a plain request tells.
    this.catchUp();
    if (!this.#polling) this.#polling = setInterval(() => document.hidden || this.catchUp(), POLL_MS);
  }

  #stopPolling() {
    clearInterval(this.#polling);
    this.#polling = 0;
  }

  #take(frame) {
    const owner = this.#owner;
    if (frame.type === "ready") {
      this.#ready = true;
      this.#failures = 0;
      this.#stopPolling();
      owner.state("open");
      owner.attended({ state: "bot" }); // anything else is told next
      this.#pinging = setInterval(() => this.#ping(), PING_MS);
      this.flush();
    } else if (frame.type === "message") owner.stored(frame.message);
    else if (frame.type === "meta") owner.meta(frame.reply_to, frame);
    else if (frame.type === "delta") owner.delta(frame.reply_to, frame.text);
    else if (frame.type === "done") owner.done(frame.reply_to, frame.message);
    else if (frame.type === "accepted") owner.accepted(frame.reply_to, frame.message_id);
    else if (frame.type === "state") owner.attended(frame);
    else if (frame.type === "error") {
      const { code, message } = frame.error ?? frame;
      if (PASSING.has(code)) this.#laterAgain();
      else owner.failed(frame.reply_to, new Refused(400, code, message));
    }
  }

  #laterAgain() {
    this.#owner.state("reconnecting");
    setTimeout(() => {
      for (const item of this.#owner.unsent()) item.sentOn = null;
      if (this.#ready) this.#owner.state("open");
      this.flush();
    }, PASSING_MS);
  }

  #ping() {
    // A line that looks open but answers nothing is a dead one: phones change networks without a word.
    if (Date.now() - this.#heard > SILENCE_MS) this.#drop(true);
    else this.#socket.send('{"type":"ping"}');
  }

  /** Reads what was missed by plain requests; true where the server was reached. */
  async catchUp() {
    const { session_id: id, token } = this.#owner.session ?? {};
    if (!id) return false;
    const after = this.#owner.lastId();
    try {
      const answer = await ask("GET", `api/sessions/${id}/messages${after ? `?after=${encodeURIComponent(after)}` : ""}`, { token });
      for (const message of answer.items) this.#owner.stored(message);
      this.#owner.attended({ ...answer, changed: Boolean(after) });
      if (!this.#ready && !this.#closed && this.#failures) this.#owner.state("polling");
      return true;
    } catch (error) {
      if ([401, 403, 404].includes(error.status)) this.#owner.lost();
      else if (!this.#ready) this.#owner.state(navigator.onLine ? "reconnecting" : "offline");
      return false;
    }
  }

  async #post(item) {
    if (this.#posting.has(item.clientId) || this.#ready) return;
    this.#posting.add(item.clientId);
    this.#owner.sending(item);
    try {
      await this.#stream(item);
    } catch (error) {
      if ([401, 404].includes(error.status)) this.#owner.lost();
      else if (PASSING.has(error.code) || AWAY.has(error.status)) this.#laterAgain();
      else if (error.status) this.#owner.failed(item.clientId, error);
      else if (this.#streams && error.code !== "offline") {
        // The stream broke off: the same client_id without streaming gives the same reply.
        this.#streams = false;
        this.#posting.delete(item.clientId);
        await this.#post(item);
      } else this.#owner.state(navigator.onLine ? "reconnecting" : "offline");
    } finally {
      this.#posting.delete(item.clientId);
    }
  }

  async #stream(item) {
    const { session_id: id, token } = this.#owner.session;
    const response = await send("POST", `api/sessions/${id}/messages`, {
      body: { text: item.text, client_id: item.clientId },
      token,
      headers: { Accept: this.#streams ? "text/event-stream" : "application/json" },
    });
    this.#owner.state("polling");
    if (response.status === 202) {
      this.#owner.accepted(item.clientId, (await response.json()).message_id);
      return;
    }
    if (!(response.headers.get("Content-Type") ?? "").startsWith("text/event-stream")) {
      this.#owner.done(item.clientId, await response.json());
      return;
    }
    for await (const { event, data } of events(response)) {
      if (event === "meta") this.#owner.meta(item.clientId, data);
      else if (event === "delta") this.#owner.delta(item.clientId, data.text);
      else if (event === "done") {
        this.#owner.done(item.clientId, data);
        return;
      } else if (event === "accepted") {
        this.#owner.accepted(item.clientId, data.message_id);
        return;
      } else if (event === "error") throw new Refused(400, (data.error ?? data).code, (data.error ?? data).message);
    }
    throw new Error("the stream ended before its reply");
  }
}
