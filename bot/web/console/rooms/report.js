// What an import did, or would do: the counts, and every row that asks for attention, with its reason.
import { fill, h } from "../../shared/dom.js";
import { known, number, percent, t } from "../../shared/i18n.js";
import { glance } from "../../shared/markdown.js";
import { query } from "../api.js";
import { button } from "../ui.js";

const STATES = ["added", "updated", "skipped", "failed"];
// Tabs of rows with a warning, by what the row says.
const WARNINGS = { conflicts: "conflict", near_duplicates: "near_duplicate" };
const MORE = 50;

const placeOf = (place) => (place ?? "").replace(/第 (\d+) 行/, (_, n) => t("row", { n }));

/** The entry that asks the same as a row, to be looked at; within the file, where it stands. */
function twinOf({ warning, twin }) {
  if (!twin) return "";
  const shown = twin.id ? h("a", { href: `#${query("/knowledge", { q: twin.id })}`, target: "_blank" }, twin.question) : twin.question;
  if (warning === "conflict") {
    const where = [twin.document && t("in_document", { name: twin.document }), placeOf(twin.place), twin.id].filter(Boolean).join(" · ");
    return [t("conflict_with"), h("br"), shown, h("small.muted", {}, ` ${where}`), h("br"), glance(twin.answer)];
  }
  return [t("near_duplicate_of"), h("br"), shown, h("small.muted", {}, ` ${twin.id ?? placeOf(twin.place)} · ${percent(twin.similarity)}`)];
}

/** The report of a result; `preview` says that nothing was written. */
export function report(result, preview) {
  const list = h("div.report-rows");
  const tabs = new Map();
  const { removals = [], passage_duplicates: repeated = [] } = result;
  const gone = (result.removed ?? 0) + (result.passages_removed ?? 0);
  let chosen = "";
  let shown = MORE;

  function rowsOf() {
    if (chosen === "removed") return removals.map((one) => ({ place: t(`kind_${one.kind}`), question: one.title, said: one.kind === "faq" ? t("entry_gone") : [t("passage_gone"), h("br"), h("small.muted", {}, one.text)] }));
    if (chosen === "repeated") return repeated.map(({ title, text, twin }) => ({ place: t("kind_passage"), question: title, said: [t("passage_same", { name: twin.document, title: twin.title }), h("br"), h("small.muted", {}, text)] }));
    const items = (result.items ?? []).filter((item) => (WARNINGS[chosen] ? item.warning === WARNINGS[chosen] : item.status === chosen));
    const said = (item) => (item.reason ? [known(`reason_${item.reason}`, item.reason), item.detail && [h("br"), h("small.muted", {}, item.detail)]] : twinOf(item));
    return items.map((item) => ({ place: placeOf(item.place), question: item.question, said: said(item) }));
  }

  function show() {
    const rows = rowsOf();
    const row = ({ place, question, said }) => h("tr", {}, h("td", {}, place), h("td", {}, question || "–"), h("td", {}, said));
    const table = h("table.rows", {}, h("thead", {}, h("tr", {}, [t("place"), t("question"), t("reason")].map((title) => h("th", { scope: "col" }, title)))), h("tbody", {}, rows.slice(0, shown).map(row)));
    const more = rows.length > shown && button(t("show_more", { n: number(rows.length - shown) }), () => { shown += 10 * MORE; show(); });
    fill(list, rows.length > 0 && h("div.table-scroll", {}, table), more);
    for (const [state, tab] of tabs) tab.setAttribute("aria-pressed", String(state === chosen));
  }

  const tab = (state, count = result[state], name = `${preview ? "would" : "was"}_${state}`) => {
    const pick = () => {
      chosen = chosen === state ? "" : state;
      shown = MORE;
      show();
    };
    const made = h(`button.count.${state}`, { type: "button", "aria-pressed": "false", disabled: !count, onclick: pick }, h("b", {}, number(count)), h("span", {}, t(name)));
    tabs.set(state, made);
    return made;
  };
  const head = h("div.counts", {}, STATES.map((state) => tab(state)), gone > 0 && tab("removed", gone), Object.keys(WARNINGS).map((warning) => result[warning] > 0 && tab(warning, result[warning], warning)), repeated.length > 0 && tab("repeated", result.passages_skipped, "repeated"), result.passages > 0 && h("div.count.passages", {}, h("b", {}, number(result.passages)), h("span", {}, t("passages"))));
  // What went wrong is open from the start; what went well only where it is asked for.
  chosen = result.failed ? "failed" : preview && gone ? "removed" : result.conflicts ? "conflicts" : result.near_duplicates ? "near_duplicates" : preview && result.added ? "added" : "";
  show();
  const sum = STATES.reduce((total, state) => total + (result[state] ?? 0), 0) + (result.passages ?? 0) + repeated.length + gone;
  const verdict = sum === 0 ? t("nothing_in_file") : preview && !result.changes && !result.failed ? t("nothing_new") : preview ? t("preview_verdict") : result.failed ? t("imported_with_problems") : t("imported");
  const wrong = result.nothing_kept && h("p.verdict.mixed", { role: "alert" }, t(preview ? "nothing_kept_preview" : "nothing_kept", { n: number(gone) }));
  return h("div.report", {}, h(`p.verdict.${preview ? "plain" : result.failed ? "mixed" : "good"}`, {}, verdict), wrong, head, list);
}
