// The knowledge room: question-answer entries, found, switched, changed and deleted; and the documents they came from.
import { fill, h, icon } from "../../shared/dom.js";
import { number, t } from "../../shared/i18n.js";
import { glance } from "../../shared/markdown.js";
import { get, patch, query, remove } from "../api.js";
import { attempt, button, confirm, empty, failure, pages, toast, toggle } from "../ui.js";
import { documents } from "./documents.js";
import { edit } from "./entry.js";

const LIMIT = 20;
const TYPING_MS = 250;

/** When and where an entry is answered, where that is not always and everywhere; and whether it is not today. */
function bounds(entry) {
  const { valid_from: from, valid_until: until, channels } = entry;
  const now = new Date();
  const today = new Date(now.getTime() - 60_000 * now.getTimezoneOffset()).toISOString().slice(0, 10);
  const out = (from && from > today) || (until && until < today);
  const days = from && until ? t("valid_between", { from, until }) : from ? t("valid_since", { from }) : until ? t("valid_to", { until }) : "";
  return [days && h(`span.badge${out ? ".warn" : ""}`, {}, until && until < today ? t("expired", { until }) : days), channels.map((name) => h("span.badge.accent", {}, name))];
}

function tabs(current) {
  const link = (name, href) => h("a", { href, "aria-current": name === current ? "page" : null }, t(`tab_${name}`));
  return h("nav.tabs", { "aria-label": t("room_knowledge") }, link("entries", "#/knowledge"), link("documents", "#/knowledge/documents"));
}

export async function open(place, { rest, search }, signal) {
  if (rest[0] === "documents" || rest[0] === "trash") {
    fill(place, tabs("documents"));
    await documents(place, { trash: rest[0] === "trash" }, signal);
    return;
  }
  const wanted = { q: search.get("q") ?? "", category: search.get("category") ?? "", offset: Number(search.get("offset")) || 0 };
  await entries(place, wanted, signal);
}

async function entries(place, wanted, signal) {
  const list = h("div.entries", { "aria-live": "off" });
  const categories = h("select", { "aria-label": t("category") });
  const finder = h("input", { type: "search", placeholder: t("find_entries"), "aria-label": t("find_entries"), value: wanted.q });
  const create = button(t("new_entry"), () => change(null), { kind: "primary", mark: "plus" });
  fill(place, tabs("entries"), h("div.tools", {}, h("label.finder", {}, icon("search"), finder), categories, create), list);

  let known = [];
  let asked = 0;
  async function load() {
    const mine = ++asked;
    // The address holds what is looked for, so that a reload or a colleague sees the same.
    history.replaceState(null, "", `#${query("/knowledge", { ...wanted, offset: wanted.offset || "" })}`);
    try {
      const found = await get(query("api/faqs", { ...wanted, limit: LIMIT }));
      if (mine !== asked || signal.aborted) return;
      known = found.categories ?? [];
      show(found);
    } catch (error) {
      if (mine === asked && !signal.aborted) fill(list, failure(error, load));
    }
  }

  async function change(entry) {
    const saved = await edit(entry, known.map(({ name }) => name).filter(Boolean));
    if (!saved) return;
    toast(t("entry_saved"));
    await load();
  }

  async function drop(entry) {
    if (!(await confirm(t("delete_entry"), t("delete_entry_text", { question: entry.question }), t("delete"), { danger: true }))) return;
    await attempt(async () => {
      try {
        await remove(`api/faqs/${encodeURIComponent(entry.id)}`);
        toast(t("entry_deleted"));
      } catch (error) {
        // Somebody else deleted it first: it is gone, as wished.
        if (error.status !== 404) throw error;
      }
      await load();
    });
  }

  function row(entry) {
    const swap = async (enabled) => {
      const now = await patch(`api/faqs/${encodeURIComponent(entry.id)}`, { enabled, revision: entry.revision });
      Object.assign(entry, now);
      made.classList.toggle("off", !now.enabled);
    };
    const similar = entry.similar_questions.length;
    const labels = [entry.category, ...entry.tags].filter(Boolean).map((text) => h("span.badge", {}, text));
    const made = h(
      `li.entry${entry.enabled ? "" : ".off"}`,
      {},
      h("button.entry-text", { type: "button", onclick: () => change(entry) }, h("strong", {}, entry.question), h("span", {}, glance(entry.answer) || (entry.action ? t("by_action", { action: entry.action }) : ""))),
      h("div.entry-labels", {}, labels, similar > 0 && h("span.badge.plain-badge", {}, t("similar_count", { n: similar })), entry.action && h("span.badge.accent", {}, t("action")), bounds(entry)),
      h(
        "div.entry-tools",
        {},
        toggle(t("enabled_of", { question: entry.question }), entry.enabled, swap),
        h("button.round", { type: "button", "aria-label": t("edit_of", { question: entry.question }), title: t("edit"), onclick: () => change(entry) }, icon("edit")),
        h("button.round", { type: "button", "aria-label": t("delete_of", { question: entry.question }), title: t("delete"), onclick: () => drop(entry) }, icon("trash")),
      ),
    );
    return made;
  }

  function show({ items, total }) {
    const option = (name, label) => h("option", { value: name, selected: name === wanted.category }, label);
    fill(categories, option("", t("all_categories")), known.filter(({ name }) => name).map(({ name, count }) => option(name, `${name}（${number(count)}）`)));
    const narrowed = wanted.q || wanted.category;
    if (!items.length && total > 0 && wanted.offset) {
      wanted.offset = 0;
      load();
    } else if (!items.length && narrowed) fill(list, empty("search", t("none_found"), t("none_found_text"), button(t("show_all"), () => { Object.assign(wanted, { q: "", category: "", offset: 0 }); finder.value = ""; return load(); })));
    else if (!items.length) fill(list, empty("book", t("no_entries"), t("no_entries_text"), h("a.button.primary", { href: "#/import" }, icon("upload"), t("room_import")), button(t("new_entry"), () => change(null), { mark: "plus" })));
    else {
      const go = (offset) => {
        wanted.offset = offset;
        load();
        scrollTo(0, 0);
      };
      fill(list, h("ul.entry-list.card", {}, items.map(row)), pages(total, wanted.offset, LIMIT, go) ?? h("p.total", {}, t("entries_total", { n: number(total) })));
    }
  }

  let pause = 0;
  const restart = () => {
    Object.assign(wanted, { q: finder.value.trim(), category: categories.value, offset: 0 });
    load();
  };
  finder.addEventListener("input", (event) => {
    clearTimeout(pause);
    if (!event.isComposing) pause = setTimeout(restart, TYPING_MS);
  });
  finder.addEventListener("compositionend", restart);
  categories.addEventListener("change", restart);
  await load();
}
