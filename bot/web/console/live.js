// What is live: one stream a tab carries everything, for a browser opens only six connections to one server.
import { address } from "../shared/server.js";
import { get, query } from "./api.js";

const AGAIN_MS = 3_000;
const KINDS = ["queue", "message", "done", "state", "delivery", "ready"];
const listeners = new Set();
let source = null;
let timer = 0;
let looking = { attending: "", conversation: "", after: "" };

/** `listener(kind, data)` hears everything until the signal. */
export function live(listener, signal = undefined) {
  listeners.add(listener);
  signal?.addEventListener("abort", () => listeners.delete(listener));
}

/** Which conversation is looked at, from its message `after` on, and whether somebody is there for customers. */
export function look(at) {
  const next = { attending: "", conversation: "", after: "", ...at };
  if (next.attending === looking.attending && next.conversation === looking.conversation) return;
  looking = next;
  connect();
}

/** Opens the stream, or opens it anew. */
export function connect() {
  clearTimeout(timer);
  source?.close();
  const opened = new EventSource(address(query("api/desk/events", looking)));
  source = opened;
  for (const kind of KINDS) {
    opened.addEventListener(kind, (event) => {
      const data = JSON.parse(event.data);
      if (event.lastEventId) looking.after = event.lastEventId;
      if (opened === source) for (const listener of listeners) listener(kind, data);
    });
  }
  opened.onerror = () => {
    // The browser comes back by itself from a broken line, not from a refusal: a session that has run out, say.
    if (opened.readyState !== EventSource.CLOSED || opened !== source) return;
    timer = setTimeout(again, AGAIN_MS);
  };
}

async function again() {
  try {
    await get("api/desk/conversations?limit=1");
    connect();
  } catch {
    timer = setTimeout(again, AGAIN_MS);
  }
}
