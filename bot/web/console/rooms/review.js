// The review room: one question after another, decided with a key each; and what was decided, to take back.
import { fill, h, icon } from "../../shared/dom.js";
import { number, percent, t, when } from "../../shared/i18n.js";
import { glance } from "../../shared/markdown.js";
import { follow, get, post, query, remove } from "../api.js";
import { attempt, button, confirm, dialog, empty, failure, labelled, pages, toast } from "../ui.js";

const AHEAD = 10;
const FOUND = 5;
const DECIDED = 20;
const TYPING_MS = 250;
// An item is held for three minutes at a time, for as long as somebody may be writing, not overnight.
const HOLD_MS = 60_000;
const HOLDS = 15;
const SIGNALS = ["thumb_down", "rephrased", "unsolved", "none_of_them", "fetched_person", "person_answered", "left", "corrected"];
// Keys of what can be done, in the order of the buttons.
const KEYS = { entry: "Enter", similar: "s", negative: "n", new: "a", out_of_scope: "o", ignore: "i", skip: "j" };

const path = (id) => `api/review/${encodeURIComponent(id)}`;
const key = (name) => h("kbd", {}, KEYS[name] === "Enter" ? "↵" : KEYS[name].toUpperCase());

function tabs(current) {
  const link = (name, href) => h("a", { href, "aria-current": name === current ? "page" : null }, t(`review_tab_${name}`));
  return h("nav.tabs", { "aria-label": t("room_review") }, link("open", "#/review"), link("decided", "#/review/decided"));
}

export async function open(place, { rest }, signal) {
  if (rest[0] === "decided") await decided(place, signal);
  else await toDecide(place, signal);
}

/** Why an item is here, in a line. */
function why(item) {
  const signals = SIGNALS.filter((name) => item.signals[name]).map((name) => t(`signal_${name}`, { n: number(item.signals[name]) }));
  return [t("review_asked", { n: number(item.count) }), t("review_weeks", { week: number(item.week), before: number(item.week_before) }), ...signals].join(" · ");
}

async function toDecide(place, signal) {
  const told = h("p.muted", { "aria-live": "polite" });
  const stage = h("div.review");
  const look = button(t("review_look"), search, { mark: "retry" });
  fill(place, tabs("open"), h("div.tools.review-tools", {}, told, look), stage);
  const skipped = new Set();
  const done = [];
  let waiting = [];
  let current = null;
  let left = { open: 0, questions: 0 };
  let holding = 0;

  const tell = () => fill(told, left.open > 0 ? t("review_left", { n: number(left.open), questions: number(left.questions) }) : "");

  /** Keeps the item ours while it is on the page. */
  function hold(item) {
    let times = 0;
    holding = setInterval(() => (++times > HOLDS ? clearInterval(holding) : post(path(item.id), { action: "claim" }).catch(() => {})), HOLD_MS);
  }
  signal.addEventListener("abort", () => clearInterval(holding));

  async function search() {
    const { job_id: id } = await post("api/review");
    const job = await follow(id, () => {}, signal);
    toast(t("review_looked", { n: number(job.result?.found ?? 0) }));
    await load();
  }

  async function load() {
    try {
      const found = await get(query("api/review", { limit: AHEAD, offset: skipped.size || "" }));
      if (signal.aborted) return;
      waiting = found.items.filter((item) => !skipped.has(item.id));
      left = found.totals;
      tell();
      await next();
    } catch (error) {
      if (!signal.aborted) fill(stage, failure(error, load));
    }
  }

  /** The next item that nobody else holds. */
  async function next() {
    clearInterval(holding);
    current = waiting.shift();
    if (!current) {
      if (skipped.size) fill(stage, empty("check", t("review_skipped"), t("review_skipped_text"), button(t("review_again"), () => { skipped.clear(); return load(); })));
      else fill(stage, empty("check", t("review_none"), t("review_none_text"), button(t("review_look"), search, { mark: "retry" })));
      return;
    }
    try {
      current.revision = (await post(path(current.id), { action: "claim" })).revision;
    } catch (error) {
      if (error.status !== 409 && error.status !== 404) throw error;
      await next();
      return;
    }
    if (signal.aborted) return;
    hold(current);
    show(current);
  }

  const advance = () => (waiting.length ? next() : load());

  async function decide(item, body) {
    const kept = [...stage.querySelectorAll(".review-examples input:checked")].map((field) => field.value);
    if (!kept.length) throw new Error(t("review_keep_one"));
    const shown = item.examples.map((one) => one.id);
    try {
      const result = await post(path(item.id), { revision: item.revision, questions: kept, shown, ...body });
      done.push({ id: item.id, revision: result.revision });
      left = { open: left.open - 1, questions: left.questions - item.count };
      tell();
      toast(t(`review_done_${body.action}`), "ok", { label: t("undo"), work: takeBack });
    } catch (error) {
      // Somebody was first, or the words are gone: nothing of ours was saved, and the next one waits.
      if (error.status !== 409 && error.code !== "review_not_found") throw error;
      toast(error.message, "problem");
    }
    await advance();
  }

  async function takeBack() {
    const last = done.pop();
    if (!last) return;
    await post(path(last.id), { action: "undo", revision: last.revision });
    toast(t("review_undone"));
    skipped.clear();
    await load();
  }

  function show(item) {
    const wording = h("input", { type: "text", value: item.question, maxlength: 2000, "aria-label": t("review_wording") });
    const list = h("ol.review-candidates", { role: "radiogroup", "aria-label": t("review_candidates") });
    const finder = h("input", { type: "search", placeholder: t("review_find"), "aria-label": t("review_find"), enterkeyhint: "search" });
    let offered = [];
    let chosen = item.candidates[0]?.faq_id ?? null;

    function offer(entries) {
      offered = entries;
      if (!entries.some((one) => one.faq_id === chosen)) chosen = entries[0]?.faq_id ?? null;
      const row = (one, at) =>
        h(
          "li",
          {},
          h("label.candidate", {}, h("input", { type: "radio", name: "candidate", value: one.faq_id, checked: one.faq_id === chosen, onchange: () => (chosen = one.faq_id) }), h("kbd", {}, at + 1), h("span.candidate-text", {}, h("strong", {}, one.question), h("span", {}, glance(one.answer ?? "")))),
        );
      fill(list, entries.length ? entries.map(row) : h("li.muted", {}, t("review_no_candidates")));
    }

    let pause = 0;
    let asked = 0;
    async function find() {
      const mine = ++asked;
      const q = finder.value.trim();
      if (!q) return offer(item.candidates);
      const found = await get(query("api/faqs", { q, limit: FOUND }));
      if (mine === asked) offer(found.items.map((one) => ({ faq_id: one.id, question: one.question, answer: one.answer })));
      return undefined;
    }
    const soon = () => {
      clearTimeout(pause);
      pause = setTimeout(() => attempt(find), TYPING_MS);
    };
    finder.addEventListener("input", (event) => event.isComposing || soon());
    finder.addEventListener("compositionend", soon);

    const withEntry = (action) => {
      if (!chosen) throw new Error(t("review_choose"));
      return decide(item, { action, faq_id: chosen, question: wording.value.trim() || null });
    };
    const work = {
      entry: () => withEntry("entry"),
      similar: () => withEntry("similar"),
      negative: () => withEntry("negative"),
      new: async () => {
        const entry = await write(item, wording.value.trim());
        if (entry) await decide(item, { action: "new", entry });
      },
      out_of_scope: () => decide(item, { action: "out_of_scope" }),
      ignore: () => decide(item, { action: "ignore" }),
      skip: () => {
        skipped.add(item.id);
        return advance();
      },
    };
    const act = (name, kind = "") => button(t(`review_${name}`), work[name], { kind, title: t(`review_${name}_hint`), "data-action": name });
    const bar = h(
      "div.review-actions",
      {},
      h("div.actions", {}, ["entry", "similar", "negative"].map((name, at) => withKey(act(name, at ? "" : "primary"), name))),
      h("div.actions", {}, ["new", "out_of_scope", "ignore", "skip"].map((name) => withKey(act(name), name))),
    );

    async function forgetVisitor(one) {
      if (!(await confirm(t("forget_title"), t("forget_text"), t("forget_yes"), { danger: true }))) return;
      await attempt(async () => {
        await remove(`api/sessions/${encodeURIComponent(one.session_id)}`);
        toast(t("forgotten"));
        await load();
      });
    }
    const example = (one) =>
      h(
        "li",
        {},
        h("label.check", {}, h("input", { type: "checkbox", value: one.id, checked: true }), h("span", {}, one.text)),
        h("small.muted", {}, when(one.asked_at), one.reply && h("span", {}, t("review_bot_said", { text: glance(one.reply) }))),
        h("button.round", { type: "button", "aria-label": t("forget_of", { text: one.text.slice(0, 40) }), title: t("forget"), onclick: () => forgetVisitor(one) }, icon("trash")),
      );

    offer(item.candidates);
    fill(
      stage,
      h(
        "article.card.review-item",
        { dataset: { item: item.id } },
        h("header", {}, h("h2", {}, item.question), h("p.muted", {}, why(item)), h("p.muted", {}, t(`review_now_${item.decision}`, { p: percent(item.probability, 0) }))),
        h("section", {}, h("h3", {}, t("review_examples")), h("p.field-hint", {}, t("review_examples_hint")), h("ul.review-examples", {}, item.examples.map(example))),
        item.draft && h("section", {}, h("h3", {}, t("review_draft")), h("blockquote.review-draft", {}, item.draft)),
        h("section", {}, h("h3", {}, t("review_candidates")), list, h("label.finder", {}, icon("search"), finder)),
        labelled(t("review_wording"), wording, t("review_wording_hint")),
        bar,
      ),
    );
    stage.act = (name) => stage.querySelector(`[data-action="${name}"]`)?.click();
    stage.pick = (at) => {
      if (!offered[at]) return;
      chosen = offered[at].faq_id;
      list.querySelectorAll("input")[at].checked = true;
    };
    stage.find = () => finder.focus();
  }

  const onkey = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.querySelector("dialog[open]")) return;
    const typing = event.target.closest?.("input:not([type=radio]):not([type=checkbox]), textarea, select");
    if (typing) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.target.closest?.("button, a") && event.key === "Enter") return;
    const name = Object.keys(KEYS).find((each) => KEYS[each] === (event.key === "Enter" ? "Enter" : event.key.toLowerCase()));
    if (name) stage.act?.(name);
    else if (/^[1-5]$/.test(event.key)) stage.pick?.(Number(event.key) - 1);
    else if (event.key === "/") stage.find?.();
    else if (event.key.toLowerCase() === "z") attempt(takeBack);
    else return;
    event.preventDefault();
  };
  document.addEventListener("keydown", onkey, { signal });
  await load();
}

const withKey = (made, name) => {
  made.append(key(name));
  return made;
};

/** A new entry: the person's reply is its first draft. */
function write(item, wording) {
  const question = h("input", { type: "text", value: wording || item.question, required: true });
  const answer = h("textarea", { rows: 6, value: item.draft ?? "", spellcheck: "false", autofocus: true });
  const category = h("input", { type: "text" });
  const problem = h("p.problem", { role: "alert" });
  return dialog(
    t("new_entry"),
    (close) =>
      h(
        "form.entry-form",
        {
          onsubmit: (event) => {
            event.preventDefault();
            if (!question.value.trim() || !answer.value.trim()) {
              fill(problem, t(question.value.trim() ? "answer_missing" : "question_missing"));
              return;
            }
            close({ question: question.value.trim(), answer: answer.value.trim(), category: category.value.trim() || null });
          },
        },
        labelled(t("question"), question),
        labelled(t("answer"), answer, item.draft ? t("review_draft_hint") : t("answer_hint")),
        labelled(t("category"), category),
        h("footer", {}, problem, button(t("cancel"), () => close(undefined)), h("button.button.primary", { type: "submit" }, t("save"))),
      ),
    { wide: true },
  );
}

async function decided(place, signal) {
  const list = h("div");
  fill(place, tabs("decided"), list);
  let offset = 0;

  async function load() {
    try {
      const found = await get(query("api/review", { state: "decided", limit: DECIDED, offset: offset || "" }));
      if (signal.aborted) return;
      const total = found.items.length === DECIDED ? offset + DECIDED + 1 : offset + found.items.length;
      const go = (to) => {
        offset = to;
        return load();
      };
      if (!total) fill(list, empty("check", t("review_nothing_decided"), t("review_nothing_decided_text"), h("a.button", { href: "#/review" }, t("review_tab_open"))));
      else fill(list, h("ul.entry-list.card", {}, found.items.map(row)), pages(total, offset, DECIDED, go));
    } catch (error) {
      if (!signal.aborted) fill(list, failure(error, load));
    }
  }

  function row(one) {
    const standing = !one.undone_at && one.state !== "gone" && one.state !== "open";
    const back = async () => {
      await post(path(one.id), { action: "undo", revision: one.revision });
      toast(t("review_undone"));
      await load();
    };
    return h(
      `li.document${one.undone_at ? ".off" : ""}`,
      {},
      icon(one.undone_at ? "retry" : "check"),
      h("div.document-text", {}, h("strong", {}, one.question || t("review_words_gone")), h("small", {}, h("span", {}, one.entry ? t("review_with_entry", { action: t(`review_${one.action}`), entry: one.entry }) : t(`review_${one.action}`)), h("span", {}, one.by), h("span", {}, when(one.at)), one.labels > 0 && h("span", {}, t("review_labels", { n: number(one.labels) })), one.undone_at && h("span", {}, t("review_undone_by", { by: one.undone_by })))),
      h("div.document-tools", {}, standing && button(t("undo"), back)),
    );
  }
  await load();
}
