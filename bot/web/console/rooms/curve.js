// The loss over the steps, drawn as it comes.
import { svg } from "../../shared/dom.js";
import { t } from "../../shared/i18n.js";

const LEFT = 44;
const BOTTOM = 26;
const TOP = 12;

/** About four round values between two. */
function ticks(low, high) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const values = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step / 1e6; value += step) values.push(Number(value.toFixed(6)));
  return values;
}

/** A curve of [{step, loss, heldout?}] up to `total` steps, as SVG. `share`: held-out is a share, 0 to 1, with an axis of its own. */
export function curve(points, total, { share = false } = {}) {
  // Drawn at about the size it is shown, so that its letters are as large as the page's.
  const [WIDTH, HEIGHT] = innerWidth < 860 ? [360, 200] : [820, 250];
  const chart = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "chart curve", role: "img" });
  const values = points.flatMap(({ loss, heldout }) => (share ? [loss] : [loss, heldout])).filter(Number.isFinite);
  if (!values.length) {
    chart.setAttribute("aria-label", t("curve_empty"));
    chart.append(svg("text", { x: WIDTH / 2, y: HEIGHT / 2, "text-anchor": "middle" }, t("curve_empty")));
    return chart;
  }
  const right = share ? LEFT : 12;
  const last = Math.max(total || 0, points.at(-1).step, 1);
  const high = Math.max(...values);
  const low = Math.min(...values, 0);
  const x = (step) => LEFT + (step / last) * (WIDTH - LEFT - right);
  const level = (part) => TOP + (1 - part) * (HEIGHT - TOP - BOTTOM);
  const y = (value, name) => level(share && name === "heldout" ? value : (value - low) / (high - low || 1));
  for (const value of ticks(low, high || 1)) {
    chart.append(svg("line", { x1: LEFT, x2: WIDTH - right, y1: y(value), y2: y(value), class: "grid" }), svg("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, String(value)));
  }
  if (share) for (const part of [0, 0.5, 1]) chart.append(svg("text", { x: WIDTH - LEFT + 8, y: level(part) + 4 }, `${100 * part}%`));
  chart.append(svg("text", { x: LEFT, y: HEIGHT - 6 }, "0"), svg("text", { x: WIDTH - right, y: HEIGHT - 6, "text-anchor": "end" }, t("curve_steps", { n: last })));
  const line = (name) => {
    const known = points.filter((point) => Number.isFinite(point[name]));
    const path = known.map((point) => `${x(point.step).toFixed(1)},${y(point[name], name).toFixed(1)}`).join(" ");
    chart.append(svg("polyline", { points: path, class: `line ${name}` }));
    if (name === "heldout" || known.length === 1) for (const point of known) chart.append(svg("circle", { cx: x(point.step), cy: y(point[name], name), r: 3, class: `dot ${name}` }));
    return known.at(-1)?.[name];
  };
  const loss = line("loss");
  const heldout = line("heldout");
  chart.setAttribute("aria-label", t("curve_label", { step: points.at(-1).step, loss: loss?.toFixed(3) ?? "–", heldout: heldout?.toFixed(3) ?? "–" }));
  return chart;
}
