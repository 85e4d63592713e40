// The hit test: a question, every candidate with its scores, and how the decision was come to.
import { fill, h, icon } from "../../shared/dom.js";
import { number, percent, t } from "../../shared/i18n.js";
import { glance } from "../../shared/markdown.js";
import { get, post, query } from "../api.js";
import { button, empty, failure } from "../ui.js";

const K = 10;
// What every installation answers on; a channel of the settings is typed by its kind or name.
const CHANNELS = ["web", "rest", "openai"];

function gauge({ decision, probability, thresholds, read_as: readAs }) {
  const fillBar = h("i");
  fillBar.style.width = percent(probability);
  const tick = (name, value) => {
    const made = h(`span.threshold.${name}`, {}, h("em", {}, `${t(`threshold_${name}`)} ${percent(value, 0)}`));
    made.style.left = percent(value);
    return made;
  };
  const likely = decision === "clarify" && probability >= thresholds.answer;
  const label = t("probability_label", { value: percent(probability) });
  return h(
    `section.card.decision.${decision}`,
    {},
    h("p.decision-name", {}, h("strong", {}, t(`outcome_${decision}`)), h("span", {}, t(likely ? "outcome_clarify_likely_text" : `outcome_${decision}_text`))),
    h("p.probability", {}, label),
    readAs && h("p.phrasing", {}, t("read_as", { text: readAs })),
    h("div.gauge", { role: "img", "aria-label": label }, h("div.gauge-track", {}, fillBar), tick("clarify", thresholds.clarify), tick("answer", thresholds.answer)),
  );
}

function candidate(hit, rank, scale, twin) {
  const score = (name, value, share) => {
    const bar = h("i");
    bar.style.width = percent(Math.max(0, Math.min(1, share)));
    return h("div.score", {}, h("span", {}, t(`score_${name}`)), h(`span.score-bar.${name}`, {}, bar), h("span.amount", {}, value === null || value === undefined ? "–" : value.toFixed(3)));
  };
  // Of a passage all of it matched, and is quoted below.
  const other = hit.kind === "faq" && hit.phrasing && hit.phrasing !== hit.title;
  return h(
    "li.card.hit",
    {},
    h("span.rank", { "aria-hidden": "true" }, rank),
    h("div.hit-text", {}, h("p.hit-title", {}, h("strong", {}, hit.title), h("span.badge", {}, t(`kind_${hit.kind}`)), hit.channels && h("span.badge.accent", {}, t("only_on", { channels: hit.channels.join(", ") }))), other && h("p.phrasing", {}, t("matched_by", { phrasing: hit.phrasing })), hit.same_as && h("p.phrasing", {}, t("same_as", { rank: twin })), hit.text && h("p.hit-quote", {}, glance(hit.text))),
    h("div.scores", {}, score("dense", hit.dense, hit.dense), score("lexical", hit.lexical, hit.lexical / scale), score("final", hit.score, hit.score), hit.rerank !== undefined && score("rerank", hit.rerank, hit.rerank)),
  );
}

/** The entries that would have been found but for what hides them, each with what that is. */
function leftOut(entries) {
  const why = (entry) => entry.reasons.map((reason) => h("span.badge.warn", {}, t(`refused_${reason}`, { channels: entry.channels.join(", "), category: entry.category ?? t("no_category"), from: entry.valid_from, until: entry.valid_until })));
  const row = (entry) => h("li", {}, h("a", { href: `#${query("/knowledge", { q: entry.id })}` }, entry.title), why(entry), h("span.amount", {}, entry.score.toFixed(3)));
  return entries.length > 0 && h("section.card", { "aria-label": t("filtered_out") }, h("h2", {}, t("filtered_out")), h("p.muted", {}, t("filtered_out_text")), h("ul.left-out", {}, entries.map(row)));
}

export async function open(place, { search }, signal) {
  const field = h("input", { type: "search", placeholder: t("hit_question"), "aria-label": t("hit_question"), value: search.get("q") ?? "", enterkeyhint: "search" });
  const category = h("select", { "aria-label": t("category"), onchange: () => run() }, h("option", { value: "" }, t("all_categories")));
  const channel = h("input.narrow", { type: "text", list: "hit-channels", placeholder: t("all_channels"), "aria-label": t("channel"), title: t("hit_channel_hint"), value: search.get("channel") ?? "", maxlength: 64, spellcheck: "false", autocapitalize: "none", autocomplete: "off", onchange: () => run() });
  const submit = h("button.button.primary", { type: "submit" }, icon("target"), t("hit_run"));
  const results = h("div.results", { "aria-live": "polite" });
  let asked = 0;

  async function run() {
    const text = field.value.trim();
    if (!text) return;
    const mine = ++asked;
    const narrowed = { category: category.value, channel: channel.value.trim() };
    submit.setAttribute("aria-busy", "true");
    history.replaceState(null, "", `#${query("/hittest", { q: text, ...narrowed })}`);
    try {
      const found = await post("api/search", { query: text, k: K, category: narrowed.category || null, channel: narrowed.channel || null });
      if (mine !== asked || signal.aborted) return;
      const scale = Math.max(1, ...found.hits.map((hit) => hit.lexical ?? 0));
      const hits = found.hits.map((hit, at) => candidate(hit, at + 1, scale, 1 + found.hits.findIndex((one) => one.id === hit.same_as)));
      fill(results, gauge(found), leftOut(found.filtered ?? []), hits.length ? h("ol.hits", {}, hits) : nothing(narrowed));
    } catch (error) {
      if (mine === asked && !signal.aborted) fill(results, failure(error, run));
    } finally {
      if (mine === asked) submit.removeAttribute("aria-busy");
    }
  }

  function nothing(narrowed) {
    const widen = () => {
      category.value = channel.value = "";
      return run();
    };
    if (narrowed.category || narrowed.channel) return empty("search", t("no_hits"), t("no_hits_narrowed"), button(t("show_all"), widen));
    return empty("search", t("no_hits"), t("no_hits_text"), h("a.button", { href: "#/import" }, t("room_import")));
  }

  /** The categories there are, and the one of the address even where no entry has it any more. */
  async function offer() {
    const wanted = search.get("category") ?? "";
    const option = (name, label) => h("option", { value: name, selected: name === wanted }, label);
    const { categories = [] } = await get(query("api/faqs", { limit: 1 })).catch(() => ({}));
    const named = categories.filter(({ name }) => name);
    category.append(...named.map(({ name, count }) => option(name, `${name}（${number(count)}）`)));
    if (wanted && !named.some(({ name }) => name === wanted)) category.append(option(wanted, wanted));
  }

  const form = h("form.tools", { onsubmit: (event) => { event.preventDefault(); run(); } }, h("label.finder", {}, icon("search"), field), category, channel, submit, h("datalist", { id: "hit-channels" }, CHANNELS.map((value) => h("option", { value }))));
  fill(place, form, results);
  await offer();
  if (field.value) await run();
  else {
    fill(results, empty("target", t("hit_first"), t("hit_first_text")));
    field.focus();
  }
}
