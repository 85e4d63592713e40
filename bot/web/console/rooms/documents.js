// The files the knowledge came from: a new version replaces what a file brought, deleting one puts it into the trash.
import { fill, h, icon } from "../../shared/dom.js";
import { bytes, fullTime, language, number, t } from "../../shared/i18n.js";
import { address } from "../../shared/server.js";
import { get, post, query, remove } from "../api.js";
import { attempt, button, empty, pages, toast } from "../ui.js";

const LIMIT = 50;
const path = (document_) => `api/documents/${encodeURIComponent(document_.id)}`;
const holds = ({ entries, passages }) => [(entries > 0 || !passages) && t("holds_entries", { n: number(entries) }), passages > 0 && t("holds_passages", { n: number(passages) })];

/** Names of files end in what tells them apart; a long one is cut in the middle by the two halves. */
function nameOf(name) {
  const tail = Math.max(name.lastIndexOf("."), name.length - 12);
  return h("strong.file-name", { title: name }, h("span", {}, name.slice(0, tail)), h("span", {}, name.slice(tail)));
}

const tool = (mark, label, name, attributes) => h(attributes.href ? "a.round" : "button.round", { type: attributes.href ? null : "button", "aria-label": label, title: name, ...attributes }, icon(mark));
const download = (document_) => tool("down_arrow", t("download_of", { name: document_.name }), t("download"), { href: address(`${path(document_)}/file`), download: document_.name });

export async function documents(place, wanted, signal) {
  const trash = wanted.trash;
  let offset = 0;
  const list = h("div");
  const other = h("a.button", { href: trash ? "#/knowledge/documents" : "#/knowledge/trash" }, icon(trash ? "left" : "trash"), h("span", {}, t(trash ? "back_to_documents" : "trash")));
  const head = h("div.tools.document-tools", {}, other, !trash && h("a.button.primary", { href: "#/import" }, icon("upload"), h("span", {}, t("room_import"))));
  place.append(head, list);

  async function bring(document_) {
    await post(`${path(document_)}/restore`);
    toast(t("document_restored", { name: document_.name }));
    if (!signal.aborted) await load();
  }

  async function drop(document_) {
    await attempt(async () => {
      await remove(path(document_));
      toast(t("document_deleted", { name: document_.name }), "ok", { label: t("undo"), work: () => bring(document_) });
      await load();
    });
  }

  function row(document_) {
    const renew = tool("retry", t("new_version_of", { name: document_.name }), t("new_version"), { href: `#${query("/import", { replace: document_.id, name: document_.name })}` });
    const away = tool("trash", t("delete_of", { question: document_.name }), t("delete"), { onclick: () => drop(document_) });
    const back = button(t("restore"), () => bring(document_), { "aria-label": t("restore_of", { name: document_.name }) });
    const day = new Intl.DateTimeFormat(language === "zh" ? "zh-CN" : "en-GB", { dateStyle: "medium" });
    const times = trash ? t("purged_on", { day: day.format(new Date(document_.purged_at)) }) : fullTime(document_.updated_at);
    return h(
      "li.document",
      {},
      icon("file"),
      h("div.document-text", {}, nameOf(document_.name), h("small", {}, [...holds(document_), bytes(document_.bytes), times].filter(Boolean).map((text) => h("span", {}, text)))),
      h("div.entry-tools", {}, download(document_), trash ? back : [renew, away]),
    );
  }

  async function load() {
    const { items, total } = await get(query("api/documents", { offset: offset || "", limit: LIMIT, deleted: trash ? "true" : "" }));
    if (signal.aborted) return;
    if (!items.length && offset) {
      offset = 0;
      await load();
      return;
    }
    const go = (to) => {
      offset = to;
      attempt(load);
      scrollTo(0, 0);
    };
    if (items.length) fill(list, h("ul.entry-list.card", {}, items.map(row)), pages(total, offset, LIMIT, go));
    else if (trash) fill(list, empty("trash", t("trash_empty"), t("trash_empty_text")));
    else fill(list, empty("file", t("no_documents"), t("no_documents_text"), h("a.button.primary", { href: "#/import" }, icon("upload"), t("room_import"))));
  }
  await load();
}
