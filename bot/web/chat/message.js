// One message as elements: its words, where they come from, what to say next, and whether they helped.
import { fill, h, icon } from "../shared/dom.js";
import { t, when } from "../shared/i18n.js";
import { markdown } from "../shared/markdown.js";

const LONG = 20_000;

const words = (item) =>
  item.role === "user" || item.text.length > LONG
    ? h("div.plain", {}, item.text)
    : markdown(item.text, { pictures: !item.generated && item.decision !== "generate" });

function sources(item) {
  // The entries behind a clarifying question are its buttons already.
  if (!item.sources?.length || item.decision === "clarify" || item.state !== "done") return null;
  const quotes = item.sources.map(({ title, quote }) =>
    h("li", {}, h("p.source-title", {}, title), h("blockquote", {}, quote && markdown(quote, { pictures: false }))),
  );
  return h("details.sources", {}, h("summary", {}, icon("book"), t("sources", { n: quotes.length })), h("ol", {}, quotes));
}

function suggestions(item, actions) {
  if (!item.suggestions?.length || item.state !== "done") return null;
  const chips = item.suggestions.map((text) => h("button.chip", { type: "button", onclick: () => actions.say(text) }, text));
  return h("div.chips", { role: "group", "aria-label": t("suggestions") }, chips);
}

function comment(item, box, actions) {
  const field = h("input", { type: "text", maxlength: 500, placeholder: t("comment_hint"), "aria-label": t("comment_hint") });
  const submit = async (event) => {
    event.preventDefault();
    if (await actions.rate(item, item.feedback, field.value.trim())) fill(box, h("p.thanks", { role: "status" }, t("thanks")));
  };
  const form = h("form.comment", { onsubmit: submit }, field, h("button.quiet", { type: "submit" }, t("comment_send")));
  form.addEventListener("keydown", (event) => event.key === "Escape" && fill(box));
  fill(box, form);
  field.focus({ preventScroll: true });
}

function thumbs(item, box, actions) {
  if (item.role !== "bot" || !item.id || item.state !== "done") return null;
  const button = (rating) =>
    h("button.thumb", { type: "button", "aria-label": t(`rate_${rating}`), title: t(`rate_${rating}`), dataset: { rating } }, icon(rating));
  const buttons = ["up", "down"].map(button);
  for (const each of buttons) {
    each.setAttribute("aria-pressed", String(item.feedback === each.dataset.rating));
    each.addEventListener("click", async () => {
      const rating = item.feedback === each.dataset.rating ? null : each.dataset.rating;
      if (!(await actions.rate(item, rating))) return;
      for (const one of buttons) one.setAttribute("aria-pressed", String(one.dataset.rating === rating));
      if (rating) comment(item, box, actions);
      else fill(box);
    });
  }
  return h("span.thumbs", {}, buttons);
}

function footer(item, box, actions) {
  const parts = [];
  if (item.role === "user" && item.state === "failed") {
    const again = h("button.quiet.danger", { type: "button", onclick: () => actions.retry(item) }, icon("retry"), t("retry"));
    parts.push(h("span.problem", { role: "alert" }, item.error), again);
  } else if (item.role === "user" && item.state === "sending") parts.push(h("span", {}, t("sending")));
  else if (side(item) === "bot") parts.push(h("time", { datetime: item.created_at }, when(item.created_at)));
  if (item.generated) parts.push(h("span.badge", { title: t("generated_hint") }, t("generated")));
  if (item.role === "human") parts.push(h("span.badge", {}, t("human")));
  return parts.length > 0 && h("footer", {}, parts, thumbs(item, box, actions));
}

const side = (item) => (item.role === "user" ? "user" : "bot");

const dots = () => h("div.typing", { role: "img", "aria-label": t("typing") }, h("i"), h("i"), h("i"));

/** The element of an item; `actions` are say(text), retry(item), rate(item, rating, comment) → ok. */
export function messageElement(item, actions, name) {
  if (item.role === "system") return h("p.note", { role: "note" }, item.text);
  const box = h("div.comment-box");
  const bubble = h("div.bubble", { title: item.role === "user" && when(item.created_at) }, item.state === "typing" ? dots() : words(item));
  if (item.image_url && /^(https:|\/)/.test(item.image_url)) bubble.append(h("img", { src: item.image_url, alt: "", loading: "lazy" }));
  const who = item.role === "user" ? t("you") : item.role === "human" ? t("human") : name;
  return h(
    `article.message.${side(item)}.${item.state}`,
    { "aria-label": who, dataset: { key: item.key, decision: item.decision ?? "" } },
    h("div.body", {}, bubble, sources(item), suggestions(item, actions), item.state === "streaming" || item.state === "typing" ? null : footer(item, box, actions), box),
  );
}

/** Writes what has come so far of a streaming reply into its element. */
export function stream(element, item) {
  fill(element.querySelector(".bubble"), words(item));
  element.classList.replace("typing", "streaming");
}
