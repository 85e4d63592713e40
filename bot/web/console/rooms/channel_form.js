// A channel being set up: what to fill in, where each value is found, and the address to give to the platform.
import { fill, h, icon } from "../../shared/dom.js";
import { known, language, t } from "../../shared/i18n.js";
import { address } from "../../shared/server.js";
import { put } from "../api.js";
import { button, confirm, dialog, labelled, toast } from "../ui.js";

const NAME = "[a-z0-9][a-z0-9_\\-]{0,63}";
const LOCAL = /^(localhost|127\.|10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|\[|.*\.(local|lan)$)/;
const said = (messages) => messages.join(language === "zh" ? "；" : "; ");

export const place = ({ kind, name }) => `api/channels/${encodeURIComponent(kind)}/${encodeURIComponent(name)}`;

/** What a check found, in a line of its own. */
export const verdict = ({ ok, messages }) => h(`p.verdict.${ok ? "good" : "mixed"}`, { role: "status" }, icon(ok ? "check" : "info"), h("span", {}, said(messages)));

function addressBox(kind, name) {
  const url = address(kind.path.slice(1)).replace("NAME", name ? encodeURIComponent(name) : "…");
  const copy = button(t("copy"), async () => {
    await navigator.clipboard.writeText(url);
    toast(t("copied"));
  }, { disabled: !name });
  const private_ = LOCAL.test(location.hostname) || location.protocol !== "https:";
  return h(
    "div.callback",
    {},
    h("strong", {}, t("callback_address")),
    h("div.callback-line", {}, h("code", {}, url), navigator.clipboard && copy),
    h("p.field-hint", {}, t("callback_paste", { where: kind.paste })),
    private_ && h("p.field-hint.warn", {}, t("callback_private")),
  );
}

/** One parameter. `saved` is its value now; a secret comes masked and is never filled in. */
function field(parameter, saved, fixed) {
  const label = parameter.required || parameter.choices.length ? parameter.title : `${parameter.title}${t("optional_mark")}`;
  if (parameter.choices.length) {
    const select = h("select", { name: parameter.name }, parameter.choices.map((value) => h("option", { value, selected: value === saved }, known(`choice_${value}`, value))));
    return { element: labelled(label, select, parameter.where), control: select, read: () => select.value };
  }
  const input = h("input", {
    type: parameter.secret ? "password" : "text",
    name: parameter.name,
    value: parameter.secret ? "" : (saved ?? ""),
    autocomplete: parameter.secret ? "new-password" : "off",
    autocapitalize: "none",
    spellcheck: "false",
    placeholder: parameter.secret && saved ? (fixed ? saved : t("secret_saved")) : null,
  });
  const element = labelled(label, input, parameter.where);
  const clear = parameter.secret && saved && !parameter.required && !fixed && h("input", { type: "checkbox" });
  if (clear) {
    clear.addEventListener("change", () => (input.disabled = clear.checked));
    element.append(h("label.check", {}, clear, t("secret_clear")));
  }
  return { element, control: input, read: () => (clear && clear.checked ? null : input.value.trim()) };
}

/** Sets up a new channel (`channel` null) or changes one; one of the configuration file is only shown. */
export function setUp(kinds, channel, taken) {
  const fixed = channel?.source === "file";
  const choice = h("select", { disabled: Boolean(channel) }, kinds.map((kind) => h("option", { value: kind.kind, selected: kind.kind === channel?.kind }, kind.title)));
  const name = h("input", { type: "text", required: true, pattern: NAME, maxlength: 64, value: channel?.name ?? "", disabled: Boolean(channel), autocapitalize: "none", spellcheck: "false", placeholder: t("channel_name_example") });
  name.addEventListener("input", () => name.setCustomValidity(name.validity.patternMismatch ? t("channel_name_wrong") : ""));
  const parts = h("div.channel-fields");
  const callback = h("div");
  const problem = h("p.problem", { role: "alert" });
  const result = h("div");
  let fields = [];
  let modes = null;

  const kindNow = () => kinds.find((kind) => kind.kind === choice.value);

  function follow() {
    const kind = kindNow();
    const mode = modes?.read() ?? "";
    for (const { parameter, element } of fields) element.hidden = Boolean(parameter.mode) && parameter.mode !== mode;
    fill(callback, kind.paste && !(kind.opens && mode === kind.opens) ? addressBox(kind, name.value.trim()) : kind.opens && h("p.field-hint", {}, t("callback_none")));
  }

  function show() {
    const kind = kindNow();
    fields = kind.parameters.map((parameter) => ({ parameter, ...field(parameter, channel?.parameters[parameter.name], fixed) }));
    modes = fields.find(({ parameter }) => parameter.name === "mode") ?? null;
    modes?.control.addEventListener("change", follow);
    for (const each of fields) each.control.disabled = fixed;
    const rare = (each) => each.parameter.name === "api_base";
    const more = h("details.more", { open: Boolean(channel?.parameters.api_base) }, h("summary", {}, t("more_settings")), fields.filter(rare).map((each) => each.element));
    fill(parts, fields.filter((each) => !rare(each)).map((each) => each.element), more);
    follow();
  }

  async function save(close) {
    fill(problem);
    fill(result);
    const wanted = { kind: choice.value, name: name.value.trim() };
    if (!channel && !changed && taken.has(`${wanted.kind}/${wanted.name}`)) {
      fill(problem, t("channel_taken"));
      name.focus();
      return;
    }
    const used = fields.filter(({ element }) => !element.hidden);
    try {
      const checked = await put(place(wanted), { parameters: Object.fromEntries(used.map((each) => [each.parameter.name, each.read()])) });
      if (checked.ok) {
        toast(`${t("channel_saved")} ${said(checked.messages)}`);
        close(true);
        return;
      }
      // It is saved and at work; what its platform says comes with the next step.
      changed = choice.disabled = name.disabled = true;
      dirty = false;
      fill(leave.querySelector("span"), t("close"));
      fill(result, h("p", {}, t("channel_saved_but")), verdict(checked));
      result.scrollIntoView({ block: "center" });
    } catch (error) {
      fill(problem, error.message);
      fields.find(({ parameter }) => parameter.name === error.details?.field)?.control.focus();
    }
  }

  let changed = false;
  let dirty = false;
  let leave = null;
  const mayClose = async () => !dirty || confirm(t("discard"), t("discard_text"), t("discard_yes"), { danger: true });
  choice.addEventListener("change", show);
  name.addEventListener("input", follow);
  show();
  const body = (close) => {
    leave = button(t(fixed ? "close" : "cancel"), async () => (await mayClose()) && close(changed));
    const submit = h("button.button.primary", { type: "submit" }, t("save_and_check"));
    return h(
      "form.entry-form",
      {
        oninput: () => (dirty = true),
        onsubmit: async (event) => {
          event.preventDefault();
          if (submit.getAttribute("aria-busy") === "true") return;
          submit.setAttribute("aria-busy", "true");
          await save(close);
          submit.removeAttribute("aria-busy");
        },
      },
      fixed && h("p.muted", {}, t("channel_in_file_text")),
      h("div.two-fields", {}, labelled(t("channel_kind"), choice), labelled(t("channel_name"), name, t("channel_name_hint"))),
      parts,
      callback,
      result,
      h("footer", {}, problem, leave, !fixed && submit),
    );
  };
  return dialog(t(channel ? (fixed ? "channel_shown" : "channel_edit") : "channel_add"), body, { wide: true, mayClose }).then((saved) => saved ?? changed);
}
