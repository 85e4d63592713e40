// The company's voice and rules: one page, one save; what is saved holds from the next message on.
import { fill, h, icon } from "../../shared/dom.js";
import { known, language, t } from "../../shared/i18n.js";
import { get, put } from "../api.js";
import { button, labelled, toast } from "../ui.js";

const DAYS = [1, 2, 3, 4, 5, 6, 7];
const lines = (text) => [...new Set(text.split(/\r?\n/).map((line) => line.trim()).filter(Boolean))];
const words = (text) => [...new Set(text.split(/[\n,，、;；]/).map((word) => word.trim()).filter(Boolean))];

/** A field and what it reads as. */
const area = (value, rows = 3) => h("textarea", { rows, value, spellcheck: "false" });

/** A text in both languages side by side; the placeholder is what is said where it stays empty. */
function both(label, value, { hint, placeholder = {}, rows = 0, fixed = false }) {
  const make = (name) => {
    const attributes = { value: value[name] ?? "", placeholder: placeholder[name] ?? "", disabled: fixed, lang: name === "zh" ? "zh-CN" : "en" };
    return rows ? h("textarea", { rows, ...attributes }) : h("input", { type: "text", ...attributes });
  };
  const fields = { zh: make("zh"), en: make("en") };
  const element = h("div.two-fields", {}, labelled(`${label} · ${t("in_chinese")}`, fields.zh, fixed ? t("fixed_hint") : hint), labelled(`${label} · ${t("in_english")}`, fields.en));
  return { element, read: () => ({ zh: fields.zh.value.trim(), en: fields.en.value.trim() }) };
}

const card = (title, hint, ...content) => h("section.card.form-card", {}, h("h2", {}, title), hint && h("p.muted", {}, hint), content);

/** Rows that can be added and taken away: `make(value)` gives {element, read}. */
function rows(label, values, fresh, make) {
  const list = h("ul.rows");
  const kept = new Set();
  const add = (value, focus = false) => {
    const made = make(value);
    const drop = h("button.round", { type: "button", "aria-label": t("remove_line"), onclick: () => { kept.delete(made); item.remove(); list.dispatchEvent(new Event("input", { bubbles: true })); } }, icon("close"));
    const item = h("li", {}, made.element, drop);
    kept.add(made);
    list.append(item);
    if (focus) item.querySelector("input, textarea")?.focus();
  };
  for (const value of values) add(value);
  const more = h("button.quiet", { type: "button", onclick: () => add(fresh(), true) }, icon("plus"), label);
  return { element: h("div", {}, list, more), read: () => [...kept].map((made) => made.read()) };
}

function span(value) {
  const boxes = DAYS.map((day) => ({ day, box: h("input", { type: "checkbox", checked: value.days.includes(day) }) }));
  const from = h("input", { type: "time", value: value.from.padStart(5, "0"), "aria-label": t("open_from") });
  const until = h("input", { type: "time", value: value.until === "24:00" ? "00:00" : value.until.padStart(5, "0"), "aria-label": t("open_until") });
  const days = h("div.days", { role: "group", "aria-label": t("open_days") }, boxes.map(({ day, box }) => h("label.day", {}, box, h("span", {}, t(`day_${day}`)))));
  return { element: h("div.span", {}, days, h("div.times", {}, from, h("span", {}, "–"), until)), read: () => ({ days: boxes.filter(({ box }) => box.checked).map(({ day }) => day), from: from.value, until: until.value }) };
}

function topic(value) {
  const name = h("input", { type: "text", value: value.name, placeholder: t("topic_name"), "aria-label": t("topic_name") });
  const list = h("textarea", { rows: 2, value: value.words.join("、"), placeholder: t("topic_words"), "aria-label": t("topic_words") });
  return { element: h("div.topic", {}, name, list), read: () => ({ name: name.value.trim(), words: words(list.value) }) };
}

/** By which clock the hours count, and what it shows. */
const zoned = ({ time_zone: zone, weekday, time, open: isOpen }) => t("open_zone", { zone: zone || t("zone_machine"), day: t("weekday", { day: t(`day_${weekday}`) }), time, state: t(isOpen ? "open_now" : "closed_now") });

/** The form over a profile as the server sent it: {element, read}. */
function form({ profile, defaults, fixed, clock }) {
  const text = (name, label, options = {}) => both(label, profile[name], { placeholder: defaults.company[name], fixed: fixed.includes(name), ...options });
  const plain = {
    company_name: text("company_name", t("company_name")),
    assistant_name: text("assistant_name", t("assistant_name")),
    welcome: text("welcome", t("opening_words"), { rows: 2 }),
    handoff: text("handoff", t("reach_person"), { rows: 2, hint: t("reach_person_hint") }),
    notice: text("notice", t("notice"), { rows: 2, hint: t("notice_hint") }),
  };
  const tone = h("select", {}, ["polite", "warm"].map((name) => h("option", { value: name, selected: profile.tone === name }, t(`tone_${name}`))));
  const suggestions = { zh: area(profile.suggestions.zh.join("\n"), 4), en: area(profile.suggestions.en.join("\n"), 4) };
  for (const field of Object.values(suggestions)) field.disabled = fixed.includes("suggestions");
  const hours = rows(t("add_hours"), profile.hours, () => ({ days: [1, 2, 3, 4, 5], from: "09:00", until: "18:00" }), span);
  const daysOff = area(profile.days_off.join("\n"), 2);
  const topics = rows(t("add_topic"), profile.topics, () => ({ name: "", words: [] }), topic);
  const labels = h("input", { type: "text", value: profile.handoff_labels.join("，") });
  const refuse = area(profile.words.refuse.join("\n"), 5);
  const withhold = area(profile.words.withhold.join("\n"), 5);
  const sayings = Object.keys(defaults[profile.tone]).map((name) => [name, both(known(`say_${name}`, name), profile.texts[name] ?? {}, { placeholder: defaults[profile.tone][name], rows: 2 })]);

  const read = () => ({
    ...Object.fromEntries(Object.entries(plain).map(([name, field]) => [name, field.read()])),
    tone: tone.value,
    suggestions: { zh: lines(suggestions.zh.value), en: lines(suggestions.en.value) },
    hours: hours.read(),
    days_off: lines(daysOff.value),
    topics: topics.read().filter((one) => one.words.length > 0),
    handoff_labels: words(labels.value),
    words: { refuse: lines(refuse.value), withhold: lines(withhold.value) },
    texts: Object.fromEntries(sayings.map(([name, field]) => [name, field.read()]).filter(([, value]) => value.zh || value.en)),
  });
  const element = [
    card(t("voice_title"), null, plain.company_name.element, plain.assistant_name.element, labelled(t("tone"), tone, t("tone_hint")), plain.welcome.element, h("div.two-fields", {}, labelled(`${t("starters")} · ${t("in_chinese")}`, suggestions.zh, t("one_a_line")), labelled(`${t("starters")} · ${t("in_english")}`, suggestions.en)), plain.notice.element),
    card(t("person_title"), t("person_text"), plain.handoff.element, h("h3", {}, t("open_hours")), h("p.field-hint", {}, t("open_hours_hint")), h("p.zone", {}, icon("info"), h("span", {}, zoned(clock))), hours.element, labelled(t("days_off"), daysOff, t("days_off_hint")), h("h3", {}, t("topics")), h("p.field-hint", {}, t("topics_hint")), topics.element, labelled(t("handoff_labels"), labels, t("handoff_labels_hint"))),
    card(t("words_title"), t("words_text"), h("div.two-fields", {}, labelled(t("words_refuse"), refuse, t("words_refuse_hint")), labelled(t("words_withhold"), withhold, t("words_withhold_hint")))),
    h("section.card.form-card", {}, h("details", {}, h("summary", {}, h("h2", {}, t("sayings_title"))), h("p.muted", {}, t("sayings_text")), sayings.map(([, field]) => field.element))),
  ];
  return { element, read };
}

export async function open(place, _, signal) {
  let shown = await get("api/company");
  if (signal.aborted) return;

  function show() {
    const made = form(shown);
    const before = JSON.stringify(made.read());
    const problem = h("p.problem", { role: "alert" });
    const state = h("span.muted", {}, t("nothing_changed"));
    const changed = () => JSON.stringify(made.read()) !== before;
    const save = button(t("save"), () => store(made, problem), { kind: "primary" });
    const look = () => {
      save.disabled = !changed();
      fill(state, t(changed() ? "not_saved" : "nothing_changed"));
    };
    const page = h("form.company", { lang: language === "zh" ? "zh-CN" : "en", onsubmit: (event) => event.preventDefault(), oninput: look, onchange: look }, made.element, h("footer.save-bar", {}, problem, state, save));
    look();
    fill(place, page);
    leave = (event) => changed() && event.preventDefault();
  }

  async function store(made, problem) {
    fill(problem);
    const body = made.read();
    if (body.hours.some((one) => !one.days.length || !one.from || !one.until)) {
      fill(problem, t("hours_missing"));
      return;
    }
    try {
      shown = await put("api/company", { ...body, revision: shown.revision });
      toast(t("company_saved"));
      show();
    } catch (error) {
      if (error.status === 409) {
        const again = button(t("take_theirs"), async () => {
          shown = await get("api/company");
          show();
        });
        const mine = button(t("keep_mine"), async () => {
          shown = { ...shown, revision: (await get("api/company")).revision };
          await store(made, problem);
        }, { kind: "primary" });
        fill(problem, error.message, " ", again, " ", mine);
      } else fill(problem, error.message);
    }
  }

  let leave = () => {};
  addEventListener("beforeunload", (event) => leave(event), { signal });
  show();
}
