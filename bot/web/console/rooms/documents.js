// The files the knowledge came from: a new version replaces what a file brought, deleting one takes it back.
import { fill, h, icon } from "../../shared/dom.js";
import { bytes, fullTime, number, t } from "../../shared/i18n.js";
import { get, query, remove } from "../api.js";
import { attempt, button, confirm, empty, toast } from "../ui.js";

export async function documents(place, signal) {
  const list = h("div");
  place.append(list);

  async function drop(document_) {
    const text = t("delete_document_text", { name: document_.name, entries: number(document_.entries), passages: number(document_.passages) });
    if (!(await confirm(t("delete_document"), text, t("delete"), { danger: true }))) return;
    await attempt(async () => {
      await remove(`api/documents/${encodeURIComponent(document_.id)}`);
      toast(t("document_deleted"));
      await load();
    });
  }

  function row(document_) {
    const renew = h("a.round", { href: `#${query("/import", { replace: document_.id, name: document_.name })}`, "aria-label": t("new_version_of", { name: document_.name }), title: t("new_version") }, icon("upload"));
    return h(
      "li.document",
      {},
      icon("file"),
      h("div", {}, h("strong", {}, document_.name), h("small", {}, [t("document_holds", { entries: number(document_.entries), passages: number(document_.passages) }), bytes(document_.bytes), fullTime(document_.created_at)].join(" · "))),
      h("div.entry-tools", {}, renew, h("button.round", { type: "button", "aria-label": t("delete_of", { question: document_.name }), title: t("delete"), onclick: () => drop(document_) }, icon("trash"))),
    );
  }

  async function load() {
    const { items } = await get("api/documents");
    if (signal.aborted) return;
    if (items.length) fill(list, h("ul.entry-list.card", {}, items.map(row)));
    else fill(list, empty("file", t("no_documents"), t("no_documents_text"), button(t("room_import"), () => { location.hash = "#/import"; }, { kind: "primary", mark: "upload" })));
  }
  await load();
}
