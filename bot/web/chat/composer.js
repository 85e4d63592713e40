// Where the customer writes: Enter sends, Shift+Enter breaks the line, and Enter that ends a Chinese composition does neither.
import { fill, h, icon } from "../shared/dom.js";
import { number, t } from "../shared/i18n.js";
import { keep, kept } from "../shared/memory.js";

const DRAFT = "kefu.chat.draft";
const COUNT_FROM = 0.8;

/** The form; `onsay(text)` gets what is sent. `limit` is in characters. */
export function composer(onsay, limit = 2_000) {
  const counter = h("span.counter", { id: "counter", "aria-live": "polite" });
  const field = h("textarea", { rows: 1, placeholder: t("write_here"), "aria-label": t("write_here"), "aria-describedby": "counter", enterkeyhint: "send", value: kept(DRAFT) ?? "" });
  const button = h("button.send", { type: "submit", "aria-label": t("send"), title: t("send") }, icon("send"));
  const form = h("form.composer", {}, h("div.column", {}, h("div.box", {}, field, button), h("p.hint", {}, h("span.keys", {}, t("keys")), counter)));

  const length = () => [...field.value].length;
  function measure() {
    const used = length();
    field.style.height = "auto";
    field.style.height = `${Math.min(field.scrollHeight, 180)}px`;
    button.disabled = !field.value.trim() || used > limit;
    form.classList.toggle("over", used > limit);
    fill(counter, used > limit * COUNT_FROM && `${number(used)} / ${number(limit)}${used > limit ? ` · ${t("too_long")}` : ""}`);
  }
  function submit() {
    const text = field.value.trim();
    if (!text || length() > limit) return;
    field.value = "";
    keep(DRAFT, null);
    measure();
    onsay(text);
  }

  field.addEventListener("input", () => {
    keep(DRAFT, field.value || null);
    measure();
  });
  field.addEventListener("keydown", (event) => {
    // 229 is how Safari reports the Enter that confirms a composition, after it has ended it.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    submit();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
    field.focus();
  });
  requestAnimationFrame(measure);
  return { form, focus: () => field.focus({ preventScroll: true }), limit: (characters) => { limit = characters; measure(); } };
}
