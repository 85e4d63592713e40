// Training by itself: what is planned, what came of the last turn, and the dialog that sets it.
import { h } from "../../shared/dom.js";
import { fullTime, known, number, t } from "../../shared/i18n.js";
import { put } from "../api.js";
import { button, dialog, labelled, toast } from "../ui.js";

const MODES = ["off", "train", "release"];
const INTERVALS = ["week", "night"];
const BETWEEN = /\s*[-–~至]\s*/;

const choice = (values, chosen, shown, disabled) => h("select", { disabled }, values.map((value) => h("option", { value, selected: value === chosen }, shown(value))));

/** Asks when to train; true where it was saved. What kefu.toml lays down is shown and stays. */
async function askWhen(schedule) {
  const held = (name) => schedule.fixed.includes(name);
  const hint = (name) => held(name) && t("schedule_fixed");
  const [begin, end] = schedule.hours.split(BETWEEN).map((clock) => clock.padStart(5, "0"));
  const mode = choice(MODES, schedule.mode, (value) => t(`mode_${value}`), held("mode"));
  const interval = choice(INTERVALS, schedule.interval, (value) => t(`interval_${value}`), held("interval"));
  const from = h("input", { type: "time", value: begin, required: true, disabled: held("hours") });
  const until = h("input", { type: "time", value: end, required: true, disabled: held("hours") });
  const least = h("input", { type: "number", min: 1, max: 1_000_000, value: schedule.examples_min, required: true, disabled: held("examples_min") });
  const saved = await dialog(t("schedule_title"), (close) => {
    const form = h(
      "form.confirm.schedule-form",
      { onsubmit: (event) => event.preventDefault() },
      h("p", {}, t("schedule_text")),
      labelled(t("schedule_mode"), mode, hint("mode")),
      labelled(t("schedule_interval"), interval, hint("interval")),
      h("div.two-fields", {}, labelled(t("schedule_from"), from, hint("hours")), labelled(t("schedule_until"), until, hint("hours"))),
      labelled(t("schedule_least"), least, hint("examples_min")),
      h("footer", {}, button(t("cancel"), () => close(false)), button(t("save"), async () => {
        if (!form.reportValidity()) return;
        const hours = held("hours") ? schedule.hours : `${from.value}-${until.value}`;
        await put("api/schedule", { mode: mode.value, interval: interval.value, hours, examples_min: Number(least.value) });
        close(true);
      }, { kind: "primary" })),
    );
    return form;
  });
  return saved === true;
}

/** The card; `again()` reads and draws it anew. */
export function scheduleCard(schedule, again) {
  const { mode, last } = schedule;
  const reason = last?.reason && known(`reason_${last.reason}`, last.reason);
  const change = async () => {
    if (!(await askWhen(schedule))) return;
    toast(t("schedule_saved"));
    await again();
  };
  return h(
    "section.card.schedule",
    { "aria-label": t("schedule") },
    h("h2", {}, t("schedule")),
    h("p", {}, mode === "off" ? t("schedule_off") : t(`schedule_${mode}`, { interval: t(`interval_${schedule.interval}`), hours: schedule.hours, n: number(schedule.examples_min) })),
    mode !== "off" && h("p", {}, h("strong", {}, t("schedule_next")), " ", last?.state === "training" ? t("schedule_training") : fullTime(schedule.next_at), schedule.waits_for && h("span.muted", {}, " · ", t(`waits_${schedule.waits_for}`))),
    h("p", {}, t("schedule_new", { n: number(schedule.new_examples) })),
    last && h("p", {}, h("strong", {}, t("schedule_last")), " ", [last.slot, t(`turn_${last.state}`), reason, last.adapter].filter(Boolean).join(" · ")),
    h("div.actions", {}, button(t("schedule_change"), change)),
  );
}
