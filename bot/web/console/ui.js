// The console's own controls: toasts, dialogs, bars, empty states.
import { fill, h, icon } from "../shared/dom.js";
import { known, number, percent, t } from "../shared/i18n.js";

const TOAST_MS = 5_000;
const toasts = h("div.toasts", { role: "status", "aria-live": "polite" });
document.body.append(toasts);

/** A short word at the edge of the page: kind is "ok" or "problem". `action` is {label, work}, such as taking it back. */
export function toast(text, kind = "ok", action = null) {
  const close = () => made.remove();
  const act = action && h("button.quiet", { type: "button", onclick: () => { close(); attempt(action.work); } }, action.label);
  const made = h(`div.toast.${kind}`, {}, icon(kind === "ok" ? "check" : "info"), h("span", {}, text), act, h("button.round", { type: "button", "aria-label": t("close"), onclick: close }, icon("close")));
  // The newest good news is enough; what went wrong stays until its time is over.
  for (const old of toasts.querySelectorAll(".toast.ok")) old.remove();
  toasts.append(made);
  setTimeout(close, kind === "ok" && !action ? TOAST_MS : 3 * TOAST_MS);
}

/** Runs work and shows what it refuses; true where it went well. */
export async function attempt(work) {
  try {
    await work();
    return true;
  } catch (error) {
    toast(error.message, "problem");
    return false;
  }
}

/** A button that is busy while its work runs. */
export function button(label, work, { kind = "", mark = null, ...attributes } = {}) {
  const made = h(`button.button${kind && `.${kind}`}`, { type: "button", ...attributes }, mark && icon(mark), h("span", {}, label));
  made.addEventListener("click", async (event) => {
    if (made.getAttribute("aria-busy") === "true") return;
    made.setAttribute("aria-busy", "true");
    await attempt(() => work(event));
    made.removeAttribute("aria-busy");
  });
  return made;
}

/** A modal dialog. `content(close)` gives its body; resolves with what `close(value)` got, undefined for Escape. `mayClose()` can object. */
export function dialog(title, content, { wide = false, mayClose = async () => true } = {}) {
  return new Promise((resolve) => {
    const close = (value) => {
      removeEventListener("hashchange", leave);
      box.close();
      box.remove();
      resolve(value);
    };
    const leave = async () => (await mayClose()) && close(undefined);
    const heading = h("h2", { id: `dialog-${Math.random().toString(36).slice(2)}` }, title);
    const box = h(`dialog.dialog${wide ? ".wide" : ""}`, { "aria-labelledby": heading.id });
    box.append(h("header", {}, heading, h("button.round", { type: "button", "aria-label": t("close"), onclick: leave }, icon("close"))), content(close));
    box.addEventListener("cancel", (event) => {
      event.preventDefault();
      leave();
    });
    // The browser closes a dialog at the second Escape without asking.
    box.addEventListener("close", () => box.isConnected && close(undefined));
    // Whoever goes back or to another page leaves the dialog behind.
    addEventListener("hashchange", leave);
    document.body.append(box);
    box.showModal();
  });
}

/** Asks before something that cannot be taken back; true for yes. */
export async function confirm(title, text, yes, { danger = false } = {}) {
  const answer = await dialog(title, (close) =>
    h("div.confirm", {}, h("p", {}, text), h("footer", {}, button(t("cancel"), () => close(false)), button(yes, () => close(true), { kind: danger ? "danger" : "primary", autofocus: true }))),
  );
  return answer === true;
}

/** A progress bar: `set(fraction or null, text)`, null for unknown. */
export function progressBar(label) {
  const bar = h("i");
  const note = h("span.bar-note", {}, label);
  const track = h("div.track", { role: "progressbar", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100 }, bar);
  const set = (fraction, text) => {
    track.classList.toggle("unknown", fraction === null);
    bar.style.width = fraction === null ? "" : percent(Math.min(1, fraction), 1);
    if (fraction === null) track.removeAttribute("aria-valuenow");
    else track.setAttribute("aria-valuenow", String(Math.round(100 * fraction)));
    if (text !== undefined) fill(note, text);
  };
  set(0);
  return { element: h("div.progress", {}, track, note), set };
}

/** How far a job is, from 0 to 1; null where it does not know. */
export const fractionOf = (job) => (job.total > 0 ? job.done / job.total : null);

/** What a job is doing, in words. */
export const noteOf = (job) => (job.note ? known(`note_${job.note}`, job.note) : "");

/** What a place shows when there is nothing yet, with the next step. */
export const empty = (mark, title, text, ...actions) => h("div.empty", {}, icon(mark), h("h3", {}, title), h("p", {}, text), actions.length > 0 && h("div.actions", {}, actions));

/** A labelled control; the hint is read with it. */
export function labelled(label, control, hint) {
  const id = `f-${Math.random().toString(36).slice(2)}`;
  control.id = id;
  if (hint) control.setAttribute("aria-describedby", `${id}-hint`);
  return h("div.field", {}, h("label", { for: id }, label), control, hint && h("p.field-hint", { id: `${id}-hint` }, hint));
}

/** An on/off switch; `work(on)` may refuse, then it goes back. */
export function toggle(label, on, work) {
  const made = h("button.switch", { type: "button", role: "switch", "aria-checked": String(on), "aria-label": label, title: label });
  made.addEventListener("click", async () => {
    const wanted = made.getAttribute("aria-checked") !== "true";
    made.setAttribute("aria-checked", String(wanted));
    if (!(await attempt(() => work(wanted)))) made.setAttribute("aria-checked", String(!wanted));
  });
  return made;
}

/** Page by page: `go(offset)`. */
export function pages(total, offset, limit, go) {
  if (total <= limit) return null;
  const step = (label, mark, to, able) => h("button.round", { type: "button", "aria-label": label, disabled: !able, onclick: () => go(to) }, icon(mark));
  return h(
    "nav.pages",
    { "aria-label": t("pages") },
    step(t("page_before"), "left", Math.max(0, offset - limit), offset > 0),
    h("span", {}, t("page_of", { from: number(offset + 1), to: number(Math.min(total, offset + limit)), total: number(total) })),
    step(t("page_after"), "right", offset + limit, offset + limit < total),
  );
}

/** The sentence of a load that failed, with a way to try again. */
export const failure = (error, again) => h("div.failure", { role: "alert" }, h("p", {}, error.message), button(t("retry"), again, { mark: "retry" }));
