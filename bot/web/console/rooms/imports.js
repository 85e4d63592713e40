// The import room: each file is looked at first, then taken in; what was wrong is said row by row.
import { fill, h, icon } from "../../shared/dom.js";
import { bytes, language, t } from "../../shared/i18n.js";
import { follow, post, upload } from "../api.js";
import { button, fractionOf, noteOf, progressBar } from "../ui.js";
import { report } from "./report.js";

const ACCEPT = ".jsonl,.json,.csv,.tsv,.xlsx,.xls,.docx,.pdf,.html,.htm,.md,.mdx,.txt,.zip";
const TEMPLATE = {
  zh: '问题,答案,相似问法,分类\n怎么退货？,签收后 7 天内可以无理由退货。,我想退货|不喜欢能退吗,退换货\n多久能发货？,工作日 16:00 前付款，当天发货。,什么时候发货,配送\n',
  en: 'question,answer,similar_questions,category\nHow do I return an item?,Within 7 days of delivery.,I want to return it|Can I send it back?,Returns\nWhen will it ship?,Paid before 16:00 on a working day: the same day.,When do you ship?,Delivery\n',
};

function template() {
  // The mark at the start tells Excel that this is UTF-8.
  const address = URL.createObjectURL(new Blob(["\ufeff", TEMPLATE[language]], { type: "text/csv" }));
  const link = h("a", { href: address, download: language === "zh" ? "问答模板.csv" : "faq-template.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 1_000);
}

/** A file on its way: checked, shown, taken in, or put aside. */
function fileCard(file, replace, signal) {
  const state = h("div.file-state", { "aria-live": "polite" });
  const stop = new AbortController();
  signal.addEventListener("abort", () => stop.abort());
  const card = h("article.card.file-card", { "aria-label": file.name }, h("header", {}, icon("file"), h("strong", {}, file.name), h("small", {}, bytes(file.size))), state);

  async function send(fields, label) {
    const bar = progressBar(t("uploading"));
    fill(state, bar.element, button(t("cancel"), () => stop.abort()));
    const { job_id: id } = await upload("api/documents", file, { ...fields, ...(replace ? { replace } : {}) }, (part) => bar.set(part, t("uploading")), stop.signal);
    fill(state, bar.element, button(t("cancel"), () => post(`api/jobs/${id}/cancel`)));
    const job = await follow(id, (now) => bar.set(fractionOf(now), noteOf(now) || label), signal);
    if (job.state !== "done") throw new Error(job.error?.message ?? t("job_stopped"));
    return job.result;
  }

  const trouble = (error, again) => fill(state, h("p.problem", { role: "alert" }, error.message), h("div.actions", {}, button(t("retry"), again, { mark: "retry" }), button(t("put_aside"), () => card.remove())));

  async function take() {
    try {
      const result = await send({}, t("importing"));
      fill(state, report(result, false), h("div.actions", {}, h("a.button", { href: "#/knowledge" }, t("see_knowledge")), h("a.button", { href: "#/hittest" }, t("room_hittest"))));
    } catch (error) {
      trouble(error, take);
    }
  }

  async function look() {
    try {
      const result = await send({ dry_run: "1" }, t("checking"));
      fill(state, report(result, true), h("div.actions", {}, result.changes && button(t("import_now"), take, { kind: "primary" }), button(t("put_aside"), () => card.remove())));
    } catch (error) {
      trouble(error, look);
    }
  }
  return { card, look };
}

export async function open(place, { search }, signal) {
  const replace = search.get("replace");
  const cards = h("div.file-cards");
  const chooser = h("input", { type: "file", accept: ACCEPT, multiple: !replace, class: "unseen", id: "files", onchange: () => take([...chooser.files]) });
  const zone = h(
    "label.drop",
    { for: "files" },
    icon("upload"),
    h("strong", {}, replace ? t("drop_version", { name: search.get("name") ?? "" }) : t("drop_here")),
    h("span", {}, t("drop_kinds")),
  );

  async function take(files) {
    chooser.value = "";
    const ones = files.slice(0, replace ? 1 : files.length).map((file) => fileCard(file, replace, signal));
    cards.prepend(...ones.map(({ card }) => card));
    // One after the other: a folder full of files must not upload all at once.
    for (const one of ones) if (!signal.aborted) await one.look();
  }

  let depth = 0;
  const over = (change) => (event) => {
    event.preventDefault();
    depth += change;
    zone.classList.toggle("over", depth > 0);
  };
  zone.addEventListener("dragenter", over(1));
  zone.addEventListener("dragleave", over(-1));
  zone.addEventListener("dragover", (event) => event.preventDefault());
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    zone.classList.remove("over");
    take([...event.dataTransfer.files]);
  });
  fill(place, h("div.drop-frame", {}, chooser, zone), h("p.after-drop", {}, t("template_text"), button(t("template"), template, { kind: "link" })), cards);
}
