// Figures before and after, by the names people know them.
import { h } from "../../shared/dom.js";
import { known, language, number, percent, t } from "../../shared/i18n.js";

const SHARES = /^(dense|hit|mrr|auroc|facts|direct|clarify|missed|answered|recall|accuracy|complete)/;
const LESS_IS_BETTER = /^(loss|heldout_loss|perplexity|direct_wrong|missed|answered)/;
const COUNTS = /^(out_of_scope|queries|examples|questions|count|n)$/;

const key = (name) => name.replace(/[@.\-\s]+/g, "_").toLowerCase();

/** A metric's value for people. */
export function shown(name, value) {
  if (typeof value !== "number") return "–";
  if (COUNTS.test(key(name)) || Number.isInteger(value) && value > 1) return number(value);
  return SHARES.test(key(name)) ? percent(value) : value.toFixed(3);
}

/** Nested figures as flat pairs; lists and texts are no figures. */
function flat(metrics, prefix = "") {
  return Object.entries(metrics ?? {}).flatMap(([name, value]) => {
    if (typeof value === "number") return [[prefix + name, value]];
    return value && typeof value === "object" && !Array.isArray(value) ? flat(value, `${prefix}${name}_`) : [];
  });
}

/** 1 better, -1 worse, 0 the same or not comparable. */
function direction(name, before, after) {
  if (typeof before !== "number" || typeof after !== "number" || COUNTS.test(key(name)) || Math.abs(after - before) < 1e-9) return 0;
  return after > before === !LESS_IS_BETTER.test(key(name)) ? 1 : -1;
}

/** A table of two sets of figures; null where there are none. */
export function comparison(before, after) {
  const old = new Map(flat(before));
  const fresh = new Map(flat(after));
  const names = [...new Set([...old.keys(), ...fresh.keys()])];
  if (!names.length) return null;
  const row = (name) => {
    const way = direction(name, old.get(name), fresh.get(name));
    const mark = way > 0 ? t("better") : way < 0 ? t("worse") : "";
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, known(`metric_${key(name)}`, name)),
      h("td", {}, shown(name, old.get(name))),
      h(`td.${way > 0 ? "better" : way < 0 ? "worse" : "same"}`, {}, shown(name, fresh.get(name)), mark && h("span.unseen", {}, mark)),
    );
  };
  const head = [t("metric"), t("before"), t("after")].map((title) => h("th", { scope: "col" }, title));
  return h("div.table-scroll", {}, h("table.rows.comparison", {}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, names.map(row))));
}

/** The sentence of a comparison, {outcome, zh, en}; null where there is none. */
export function verdictLine(verdict) {
  if (!verdict) return null;
  const outcome = verdict.outcome ?? verdict;
  return h(`p.verdict.${outcome === "better" ? "good" : "mixed"}`, {}, verdict[language] ?? known(`verdict_${outcome}`, outcome));
}

/** One line: the first figure before and after. */
export function headline(metrics) {
  const old = new Map(flat(metrics?.before));
  const fresh = flat(metrics?.after).filter(([name]) => !COUNTS.test(key(name)));
  return fresh.slice(0, 2).map(([name, value]) => `${known(`metric_${key(name)}`, name)} ${shown(name, old.get(name))} → ${shown(name, value)}`);
}
