// The models room: which trained models there are, which one answers, and the way back.
import { fill, h, icon } from "../../shared/dom.js";
import { bytes, duration, fullTime, language, number, t } from "../../shared/i18n.js";
import { get, post, upload } from "../api.js";
import { attempt, button, confirm, dialog, progressBar, toast } from "../ui.js";
import { comparison, headline, verdictLine } from "./metrics.js";
import { askToActivate, letShadow, takenBack } from "./releases.js";
import { page } from "./verdict.js";

const KINDS = ["encoder", "generator"];
const SWITCHING_MS = 400;

function details(adapter) {
  const fact = (label, value) => value && [h("dt", {}, label), h("dd", {}, value)];
  const size = Object.values(adapter.files ?? {}).reduce((sum, file) => sum + (file.bytes ?? 0), 0);
  return dialog(adapter.name, () =>
    h(
      "div.adapter-details",
      {},
      verdictLine(adapter.verdict),
      comparison(adapter.metrics?.before, adapter.metrics?.after),
      h(
        "dl.facts",
        {},
        fact(t("base_model"), adapter.base_model),
        fact(t("examples"), Number.isFinite(adapter.examples) && number(adapter.examples)),
        fact(t("trained_at"), fullTime(adapter.created_at)),
        fact(t("time_used"), adapter.seconds && duration(adapter.seconds)),
        fact(t("parent"), adapter.parent),
        fact(t("size"), size > 0 && bytes(size)),
        fact(t("data_hash"), adapter.data_hash && h("code", {}, adapter.data_hash.slice(0, 16))),
        fact(t("imported_at"), adapter.imported_at && fullTime(adapter.imported_at)),
        fact(t("caution"), adapter.forgotten && t("learnt_forgotten")),
      ),
    ),
  );
}

/** An adapter trained elsewhere comes in as a run of the training room, where it is compared. */
function importer() {
  const field = h("input", { type: "file", accept: ".zip", class: "unseen", id: "adapter-file" });
  field.addEventListener("change", () =>
    attempt(async () => {
      const [file] = field.files;
      field.value = "";
      if (!file) return;
      await upload("api/adapters", file, {}, () => {});
      location.hash = "#/training";
    }),
  );
  return h("section.card", {}, h("h2", {}, t("import_adapter")), h("p.muted", {}, t("import_adapter_text")), h("div.actions", {}, field, h("label.button", { for: "adapter-file" }, icon("upload"), t("import_adapter_choose"))));
}

export async function open(place, { rest }, signal) {
  if (rest?.[0]) {
    const name = decodeURIComponent(rest[0]);
    const report = await get(`api/adapters/${encodeURIComponent(name)}/report`);
    if (!signal.aborted) fill(place, page(name, report));
    return;
  }
  const switching = h("div", { "aria-live": "polite" });
  const lists = h("div.kinds");
  let bar = null;

  /** Follows a switch until the service serves the other model. */
  async function watch(done) {
    for (;;) {
      const state = await get("api/adapters");
      if (signal.aborted) return;
      if (!state.switching) {
        const ended = bar;
        bar = null;
        fill(switching);
        show(state);
        if (ended && done) toast(done);
        return;
      }
      if (!bar) {
        bar = progressBar(t("switching"));
        fill(switching, h("section.card", {}, h("h2", {}, t("switching_to", { name: state.switching.name ?? t("base") })), bar.element, h("p.muted", {}, t("switching_text"))));
      }
      const { done: moved, total } = state.switching;
      bar.set(total > 0 ? moved / total : null, total > 0 ? `${number(moved)} / ${number(total)}` : t("switching"));
      show(state);
      await new Promise((resolve) => setTimeout(resolve, SWITCHING_MS));
      if (signal.aborted) return;
    }
  }

  async function change(path, body, done) {
    const answer = await post(path, body);
    bar = progressBar(t("switching"));
    bar.set(null, t("switching"));
    fill(switching, h("section.card", {}, bar.element));
    if (answer?.job_id) await settled(answer.job_id);
    await watch(done);
  }

  // The switch may begin a moment after the request was taken: its job tells when it is over.
  async function settled(jobId) {
    for (;;) {
      const [job, state] = await Promise.all([get(`api/jobs/${jobId}`), get("api/adapters")]);
      if (signal.aborted || state.switching || job.state === "done") return;
      if (job.state === "failed" || job.state === "cancelled") {
        bar = null;
        fill(switching);
        throw new Error(job.error?.message ?? t("job_stopped"));
      }
      await new Promise((resolve) => setTimeout(resolve, SWITCHING_MS));
    }
  }

  async function activate(adapter) {
    const body = await askToActivate(adapter);
    if (!body) return;
    await change(`api/adapters/${encodeURIComponent(adapter.name)}/activate`, body, t("activated", { name: adapter.name }));
  }

  async function shadow(adapter) {
    if (!(await letShadow(adapter.name))) return;
    toast(t("shadow_started"));
    location.hash = "#/training";
  }

  async function rollback(kind) {
    if (!(await confirm(t("rollback_title"), t("rollback_text"), t("rollback")))) return;
    await change("api/adapters/rollback", { kind }, t("rolled_back"));
  }

  function row(adapter, busy) {
    const active = adapter.state === "active";
    return h(
      `li.adapter${active ? ".active" : ""}`,
      { "aria-label": adapter.name },
      h("div.adapter-text", {}, h("strong", {}, adapter.name), h(`span.badge.adapter-${adapter.state}`, {}, t(`adapter_${adapter.state}`)), h("p.muted", {}, [fullTime(adapter.created_at), Number.isFinite(adapter.examples) && t("examples_count", { n: number(adapter.examples) })].filter(Boolean).join(" · "))),
      h("ul.headline", {}, headline(adapter.metrics).map((line) => h("li", {}, line))),
      h("div.actions", {}, button(t("details"), () => void details(adapter)), h("a.button", { href: `#/models/${encodeURIComponent(adapter.name)}` }, t("report")), adapter.state === "ready" && adapter.kind === "encoder" && button(t("shadow_try"), () => shadow(adapter), { disabled: busy }), adapter.state === "ready" && button(t("activate"), () => activate(adapter), { kind: "primary", disabled: busy })),
    );
  }

  function base(kind, state) {
    const active = !state.active[kind];
    const name = state.items.find((each) => each.kind === kind)?.base_model;
    return h(`li.adapter${active ? ".active" : ""}`, {}, h("div.adapter-text", {}, h("strong", {}, t("base")), active && h("span.badge.adapter-active", {}, t("adapter_active")), h("p.muted", {}, name ? `${name} · ${t("base_text")}` : t("base_text"))));
  }

  function show(state) {
    const busy = Boolean(state.switching);
    const card = (kind) => {
      const mine = state.items.filter((each) => each.kind === kind);
      const back = state.can_roll_back?.[kind] && button(t("rollback"), () => rollback(kind), { mark: "retry", disabled: busy });
      return h("section.card", { "aria-label": t(`kind_${kind}`) }, h("header.kind-head", {}, h("div", {}, h("h2", {}, t(`kind_${kind}`)), h("p.muted", {}, t(`kind_${kind}_role`))), back), h("ul.adapters", {}, mine.map((each) => row(each, busy)), base(kind, state)), !mine.length && h("p.muted", {}, t("no_adapters"), " ", h("a", { href: "#/training" }, t("go_train"))));
    };
    fill(lists, KINDS.map(card));
  }

  const { rolled_back: back } = await get("api/releases");
  if (signal.aborted) return;
  fill(place, takenBack(back), switching, lists, importer());
  await watch();
}
