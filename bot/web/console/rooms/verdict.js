// The report of a comparison: the sentence, every figure with its interval, and the questions that changed.
import { h } from "../../shared/dom.js";
import { known, language, number, percent, t } from "../../shared/i18n.js";
import { button } from "../ui.js";
import { verdictLine } from "./metrics.js";

const PLAIN = /^(heldout_loss|auroc|mrr@10)$/;
const MORE = 30;

const value = (name, amount, sign = "") => {
  const shown = name === "length" ? amount.toFixed(0) : PLAIN.test(name) ? amount.toFixed(3) : percent(amount);
  return sign && amount > 0 ? `+${shown}` : shown;
};

/** The interval as a line about the middle, where there is no difference; `reach` is what the half of it stands for. */
function whisker({ low, high, difference }, reach) {
  const place = (amount) => `${50 + 50 * Math.max(-1, Math.min(1, amount / (reach || 1)))}%`;
  const line = h("i.reach");
  const dot = h("i.dot");
  line.style.left = place(low);
  line.style.right = `calc(100% - ${place(high)})`;
  dot.style.left = place(difference);
  return h("div.whisker", { "aria-hidden": "true" }, line, dot);
}

function figure(one) {
  const reach = Math.max(Math.abs(one.low), Math.abs(one.high), one.name === "length" ? 20 : 0.05);
  const range = one.outcome === "few" ? t("too_few_questions") : t("between", { low: value(one.name, one.low, "+"), high: value(one.name, one.high, "+") });
  const mark = { better: t("way_better"), worse: t("way_worse") }[one.outcome];
  return h(
    `li.measure.${one.outcome}`,
    {},
    h("div", {}, h("strong", {}, known(`figure_${one.name.replace(/[@.]/g, "_")}`, one.name)), h("small.muted", {}, ` ${known(`set_${one.set}`, one.set)} · ${t("questions_count", { n: number(one.questions) })}`)),
    h("div.measure-values", {}, `${value(one.name, one.before)} → `, h("b", {}, value(one.name, one.after)), mark && h(`span.badge.way-${one.outcome}`, {}, mark)),
    one.outcome !== "few" && whisker(one, reach),
    h("small.muted", {}, range),
  );
}

/** What one model did with a question: the entry and the decision, or the reply it wrote. */
function side(what, label) {
  if (what.reply !== undefined) return h("div.side-by", {}, h("small.muted", {}, label), h("blockquote", {}, what.reply || "–"));
  // Where the first entry is another, the place of the right one tells why this was better or worse all the same.
  const place = what.place === null ? t("right_missing") : what.place > 1 && t("right_at", { n: number(what.place) });
  return h("div.side-by", {}, h("small.muted", {}, label), h("span", {}, what.entry ?? "–"), h(`span.badge.did-${what.decision}`, {}, known(`did_${what.decision}`, what.decision)), place && h("small.muted", {}, place));
}

function changed(rows, way) {
  const list = h("ul.changes");
  let shown = 0;
  const more = button("", () => show());
  const item = (row) =>
    h("li.change", {}, h("strong", {}, row.text), h("small.muted", {}, known(`set_${row.set}`, row.set), row.entry ? ` · ${t("right_entry", { title: row.entry })}` : ""), side(row.before, t("before")), side(row.after, t("after")));
  function show() {
    list.append(...rows.slice(shown, shown + MORE).map(item));
    shown += MORE;
    more.hidden = shown >= rows.length;
    more.querySelector("span").textContent = t("show_more", { n: number(Math.max(0, rows.length - shown)) });
  }
  show();
  return h("section.card", { "aria-label": t(`got_${way}`) }, h("h2", {}, `${t(`got_${way}`)} `, h("small.muted", {}, number(rows.length))), rows.length ? list : h("p.muted", {}, t("none_changed")), more);
}

/** The whole page for a report of the API. */
export function page(name, report) {
  const of = (way) => report.questions.filter((row) => row.change === way);
  const left = report.left_out.map((one) => h("li", {}, `${known(`set_${one.set}`, one.set)}：${one[language]}`));
  const notes = report.notes.map((note) => h("li", {}, note[language]));
  return h(
    "div.verdict-page",
    {},
    h("a.back", { href: "#/models" }, t("back_to_models")),
    h("section.card", {}, h("h2", {}, name), verdictLine(report.verdict), h("p.muted", {}, t("verdict_how", { level: percent(report.level, 0), resamples: number(report.resamples) })), h("ul.measures", {}, report.figures.map(figure)), left.length > 0 && [h("h3", {}, t("left_out")), h("ul.notes", {}, left)], notes.length > 0 && h("ul.notes", {}, notes)),
    changed(of("worse"), "worse"),
    changed(of("better"), "better"),
    h("p.muted", {}, t("unchanged_count", { n: number(report.counts.same) })),
  );
}
