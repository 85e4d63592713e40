// One entry being written: nothing typed is lost to a conflict, a refusal or a slip of the finger.
import { fill, h, icon } from "../../shared/dom.js";
import { fullTime, t } from "../../shared/i18n.js";
import { markdown } from "../../shared/markdown.js";
import { get, patch, post } from "../api.js";
import { button, confirm, dialog, labelled } from "../ui.js";

/** A list of short texts, one a line; Enter makes the next. */
function listEditor(label, hint, values) {
  const rows = h("ul.list-editor");
  const add = (value = "", focus = false) => {
    const field = h("input", { type: "text", value, "aria-label": label });
    const drop = h("button.round", { type: "button", "aria-label": t("remove_line"), onclick: () => made.remove() }, icon("close"));
    const made = h("li", {}, field, drop);
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      add("", true);
    });
    field.addEventListener("paste", (event) => {
      const lines = event.clipboardData.getData("text").split(/\r?\n/).map((line) => line.trim()).filter(Boolean);
      if (lines.length < 2) return;
      event.preventDefault();
      for (const line of lines) add(line);
      if (!field.value) made.remove();
    });
    rows.append(made);
    if (focus) field.focus();
  };
  for (const value of values) add(value);
  const more = h("button.quiet", { type: "button", onclick: () => add("", true) }, icon("plus"), t("add_line"));
  const read = () => [...new Set([...rows.querySelectorAll("input")].map((field) => field.value.trim()).filter(Boolean))];
  return { element: h("fieldset.field", {}, h("legend", {}, label), h("p.field-hint", {}, hint), rows, more), read };
}

function answerField(value) {
  const field = h("textarea", { rows: 7, value, spellcheck: "false" });
  const preview = h("div.preview", { hidden: true });
  const look = h("button.quiet", { type: "button", "aria-pressed": "false" }, t("preview"));
  look.addEventListener("click", () => {
    preview.hidden = !preview.hidden;
    field.hidden = !preview.hidden;
    look.setAttribute("aria-pressed", String(!preview.hidden));
    fill(look, preview.hidden ? t("preview") : t("write"));
    if (!preview.hidden) fill(preview, markdown(field.value || t("preview_empty")));
  });
  const element = labelled(t("answer"), field, t("answer_hint"));
  element.querySelector("label").after(look);
  element.append(preview);
  return { field, element };
}

const parts = (text) => text.split(/[,，、;；]/).map((part) => part.trim()).filter(Boolean);

/** Edits an entry, or writes a new one where `entry` is null; gives the saved entry, or undefined. */
export function edit(entry, categories) {
  const start = entry ?? { question: "", answer: "", similar_questions: [], negative_questions: [], category: "", tags: [], enabled: true, action: null, valid_from: null, valid_until: null, channels: [] };
  const listId = `c-${Math.random().toString(36).slice(2)}`;
  const question = h("input", { type: "text", value: start.question, required: true });
  const answer = answerField(start.answer);
  const similar = listEditor(t("similar"), t("similar_hint"), start.similar_questions);
  const negative = listEditor(t("negative"), t("negative_hint"), start.negative_questions);
  const category = h("input", { type: "text", value: start.category ?? "", list: listId });
  const tags = h("input", { type: "text", value: start.tags.join("，") });
  const action = h("input", { type: "text", value: start.action ?? "", spellcheck: "false", autocapitalize: "none" });
  const from = h("input", { type: "date", value: start.valid_from ?? "" });
  const until = h("input", { type: "date", value: start.valid_until ?? "" });
  const channels = h("input", { type: "text", value: start.channels.join("，"), spellcheck: "false", autocapitalize: "none" });
  const enabled = h("input", { type: "checkbox", checked: start.enabled });
  const problem = h("div.problem", { role: "alert" });
  let revision = start.revision;

  const read = () => ({
    question: question.value.trim(),
    answer: answer.field.value.trim(),
    similar_questions: similar.read(),
    negative_questions: negative.read(),
    category: category.value.trim() || null,
    tags: parts(tags.value),
    enabled: enabled.checked,
    action: action.value.trim() || null,
    valid_from: from.value || null,
    valid_until: until.value || null,
    channels: parts(channels.value),
  });
  const before = JSON.stringify(read());

  async function save(close) {
    const body = read();
    fill(problem);
    if (!body.question || !(body.answer || body.action)) {
      fill(problem, t(body.question ? "answer_missing" : "question_missing"));
      (body.question ? answer.field : question).focus();
      return;
    }
    try {
      close(entry ? await patch(`api/faqs/${encodeURIComponent(entry.id)}`, { ...body, revision }) : await post("api/faqs", body));
    } catch (error) {
      if (error.status === 409 && entry) await conflict(error, close);
      else fill(problem, error.message);
    }
  }

  /** Somebody saved this entry meanwhile: both versions stand side by side until one is chosen. */
  async function conflict(error, close) {
    const theirs = await get(`api/faqs/${encodeURIComponent(entry.id)}`).catch(() => null);
    const mine = button(t("keep_mine"), () => {
      revision = theirs.revision;
      return save(close);
    }, { kind: "primary" });
    const load = button(t("take_theirs"), () => close(theirs));
    const shown = theirs && h("details", {}, h("summary", {}, t("their_version")), h("p", {}, h("strong", {}, theirs.question)), markdown(theirs.answer ?? ""));
    fill(problem, h("p", {}, error.message), shown, theirs && h("div.actions", {}, mine, load));
  }

  const body = (close) =>
    h(
      "form.entry-form",
      {
        onsubmit: (event) => {
          event.preventDefault();
          save(close);
        },
      },
      labelled(t("question"), question),
      answer.element,
      similar.element,
      negative.element,
      h("div.two-fields", {}, labelled(t("category"), category), labelled(t("tags"), tags, t("tags_hint"))),
      h("datalist", { id: listId }, categories.map((name) => h("option", { value: name }))),
      h(
        "details.more",
        { open: Boolean(start.action || start.valid_from || start.valid_until || start.channels.length) },
        h("summary", {}, t("more_settings")),
        h("div.two-fields", {}, labelled(t("valid_from"), from), labelled(t("valid_until"), until, t("valid_until_hint"))),
        labelled(t("channels"), channels, t("channels_hint")),
        labelled(t("action"), action, t("action_hint")),
      ),
      h("label.check", {}, enabled, t("enabled")),
      h("footer", {}, problem, entry?.updated_at && h("small.muted", {}, t("updated_at", { time: fullTime(entry.updated_at) })), button(t("cancel"), async () => (await mayClose()) && close(undefined)), h("button.button.primary", { type: "submit" }, t("save"))),
    );
  const mayClose = async () => JSON.stringify(read()) === before || confirm(t("discard"), t("discard_text"), t("discard_yes"), { danger: true });
  return dialog(entry ? t("edit_entry") : t("new_entry"), body, { wide: true, mayClose });
}
