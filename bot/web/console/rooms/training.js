// The training room: what to learn from, a run as it goes, and what came of the earlier ones.
import { fill, h, icon } from "../../shared/dom.js";
import { bytes, duration, fullTime, language, number, t } from "../../shared/i18n.js";
import { follow, get, post, upload } from "../api.js";
import { attempt, button, confirm, empty, fractionOf, noteOf, progressBar, toast } from "../ui.js";
import { curve } from "./curve.js";
import { comparison, verdictLine } from "./metrics.js";
import { releasing } from "./releases.js";

const RUNNING = new Set(["queued", "running"]);
const LOOK_MS = 1_500;

function chooser(onstart, signal) {
  const choice = (kind, mark, checked) =>
    h("label.choice", {}, h("input", { type: "radio", name: "kind", value: kind, checked }), h("span.choice-face", {}, icon(mark), h("strong", {}, t(`kind_${kind}`)), h("span", {}, t(`kind_${kind}_text`))));
  const form = h("fieldset.choices", {}, h("legend.unseen", {}, t("what_to_train")), choice("encoder", "target", true), choice("generator", "chat", false));
  const chosen = () => form.querySelector("input:checked").value;
  const start = button(t("start_training"), () => onstart(chosen()), { kind: "primary", mark: "spark" });
  const told = h("p.forecast", { "aria-live": "polite" });
  const ahead = button(t("forecast"), async () => {
    fill(told, t("forecasting"));
    start.disabled = true;
    try {
      fill(told, await forecast(chosen(), signal));
    } catch (error) {
      fill(told, h("span.problem", {}, error.message));
    } finally {
      start.disabled = false;
    }
  });
  form.addEventListener("change", () => fill(told));
  return h("section.card", {}, h("h2", {}, t("new_training")), form, h("p.muted", {}, t("training_note")), h("p.muted", {}, t("training_compared")), told, h("div.actions", {}, start, ahead));
}

/** What the training would take, in words; tried by the service for some seconds. */
async function forecast(kind, signal) {
  const { job_id: id } = await post("api/training-forecasts", { kind });
  const { result, error } = await follow(id, undefined, signal);
  if (!result) throw new Error(error?.message ?? t("job_stopped"));
  const { examples, steps, seconds, comparison_seconds: comparison, memory_bytes: memory, memory_available_bytes: free } = result;
  const words = t("forecast_told", { examples: number(examples), steps: number(steps), time: duration(seconds), comparison: duration(comparison), memory: bytes(memory), free: bytes(free) });
  return [words, memory > free && h("strong.problem", {}, " ", t("forecast_short"))];
}

function dialogs(counts) {
  const told = h("p.muted", { "aria-live": "polite" });
  const tell = (now) => fill(told, now.conversations ? t("dialogs_counts", { conversations: number(now.conversations), messages: number(now.messages), labelled: number(now.labelled ?? 0) }) : t("dialogs_none"));
  const bar = progressBar(t("uploading"));
  bar.element.hidden = true;
  const field = h("input", { type: "file", accept: ".jsonl,.json", class: "unseen", id: "dialogs" });
  field.addEventListener("change", () =>
    attempt(async () => {
      const [file] = field.files;
      field.value = "";
      if (!file) return;
      bar.element.hidden = false;
      try {
        const result = await upload("api/dialogs", file, {}, (part) => bar.set(part));
        toast(t("dialogs_added", { conversations: number(result.conversations) }));
        tell(await get("api/dialogs"));
      } finally {
        bar.element.hidden = true;
      }
    }),
  );
  tell(counts);
  return h("section.card", {}, h("h2", {}, t("dialogs")), h("p", {}, t("dialogs_text")), told, bar.element, h("div.actions", {}, field, h("label.button", { for: "dialogs" }, icon("upload"), t("dialogs_upload"))));
}

/** How much of the phase under way is done, 0 to 1; null where nobody knows. */
function passed({ extra, done, total }) {
  if (extra?.phase === "comparing") return extra.to_compare ? extra.compared / extra.to_compare : null;
  return fractionOf({ done, total });
}

function remaining(job) {
  if (job.extra?.eta_seconds > 0) return job.extra.eta_seconds;
  const fraction = fractionOf(job);
  if (!fraction || fraction === 1 || !job.started_at) return null;
  return ((Date.now() - new Date(job.started_at)) / 1000) * (1 / fraction - 1);
}

function outcome(run) {
  if (run.state === "failed") return h("p.problem", { role: "alert" }, run.error?.message ?? t("job_stopped"));
  if (run.state !== "done") return null;
  const table = comparison(run.before, run.after);
  const notes = (run.notes ?? []).map((note) => h("li", {}, note[language]));
  return [verdictLine(run.verdict), table, notes.length > 0 && h("ul.notes", {}, notes), run.adapter && h("div.actions", {}, h("a.button.primary", { href: "#/models" }, t("to_models")), h("a.button", { href: `#/models/${encodeURIComponent(run.adapter)}` }, t("report")), h("small.muted", {}, run.adapter))];
}

const legend = (run) => h("p.legend", {}, h("span.key.loss", {}, t("legend_loss")), h("span.key.heldout", {}, t(run.run?.kind === "encoder" ? "legend_heldout_share" : "legend_heldout")));

/** The run that is going: bar, figures, curve; ends as its own outcome. */
function live(run, signal, onend) {
  const bar = progressBar(t("state_queued"));
  const facts = h("dl.figures.small");
  const chart = h("div.chart-frame", {}, curve([], 0));
  const stop = button(t("stop_training"), async () => {
    if (!(await confirm(t("stop_training"), t("stop_training_text"), t("stop_yes"), { danger: true }))) return;
    await post(`api/jobs/${run.id}/cancel`);
    fill(stop, t("stopping"));
    stop.disabled = true;
  });
  const card = h("section.card.live", { "aria-label": t("running") }, h("h2", {}, t(`kind_${run.run?.kind ?? "encoder"}`), " ", h("small", {}, run.run?.name ?? "")), bar.element, facts, legend(run), chart, h("div.actions", {}, stop));
  const fact = (label, value) => h("div.figure", {}, h("dt", {}, label), h("dd", {}, value));
  let looked = 0;

  async function draw(total, force = false) {
    if (!force && Date.now() - looked < LOOK_MS) return;
    looked = Date.now();
    const now = await get(`api/training-runs/${run.id}`).catch(() => null);
    if (now?.curve?.length && !signal.aborted) fill(chart, curve(now.curve, total, { share: run.run?.kind === "encoder" }));
  }
  const change = (job) => {
    const left = remaining(job);
    bar.set(job.state === "queued" ? null : passed(job), noteOf(job) || t(`state_${job.state}`));
    fill(
      facts,
      job.total > 0 && fact(t("step"), `${number(job.done)} / ${number(job.total)}`),
      typeof job.extra?.loss === "number" && fact(t("loss"), job.extra.loss.toFixed(3)),
      left !== null && job.state === "running" && fact(t("time_left"), duration(left)),
      job.started_at && fact(t("time_used"), duration((Date.now() - new Date(job.started_at)) / 1000)),
    );
    draw(job.total);
  };
  let latest = run;
  change(run);
  // The clock goes on while a long step says nothing.
  const clock = setInterval(() => (signal.aborted ? clearInterval(clock) : change(latest)), 1_000);
  follow(run.id, (job) => change((latest = job)), signal).finally(() => clearInterval(clock)).then(
    async (job) => {
      await draw(job.total, true);
      if (!signal.aborted) onend(job);
    },
    (error) => fill(facts, h("p.problem", { role: "alert" }, error.message)),
  );
  return card;
}

function past(run, signal, isOpen) {
  const body = h("div.run-body");
  const load = async () => {
    const now = await get(`api/training-runs/${run.id}`);
    if (!signal.aborted) fill(body, outcome(now), now.curve?.length > 1 && [legend(now), curve(now.curve, now.total, { share: run.run?.kind === "encoder" })]);
  };
  const kind = run.run?.kind;
  const made = h("details.card.run", { open: isOpen }, h("summary", {}, h("strong", {}, kind ? t(`kind_${kind}`) : t("room_training")), h("span.muted", {}, fullTime(run.created_at)), h(`span.badge.state-${run.state}`, {}, t(`state_${run.state}`))), body);
  made.addEventListener("toggle", () => made.open && !body.hasChildNodes() && attempt(load));
  if (isOpen) attempt(load);
  return made;
}

export async function open(place, _, signal) {
  const now = h("div");
  const earlier = h("section.runs");

  async function load(openFirst = false) {
    const { items } = await get("api/training-runs");
    if (signal.aborted) return;
    const going = items.filter((run) => RUNNING.has(run.state));
    const over = items.filter((run) => !RUNNING.has(run.state));
    fill(now, going.map((run) => live(run, signal, () => attempt(() => load(true)))));
    fill(earlier, h("h2", {}, t("earlier_runs")), over.length ? over.map((run, at) => past(run, signal, openFirst && at === 0)) : empty("spark", t("no_runs"), t("no_runs_text"), h("a.button", { href: "#/models" }, t("room_models"))));
  }
  const start = async (kind) => {
    await post("api/training-runs", { kind });
    await load();
    now.scrollIntoView({ block: "nearest" });
  };
  const counts = await get("api/dialogs");
  if (signal.aborted) return;
  const release = releasing(signal);
  fill(place, now, h("div.two", {}, chooser(start, signal), dialogs(counts)), release.element, earlier);
  await Promise.all([load(), release.load()]);
}
