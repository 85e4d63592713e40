// The chat page: header, log and composer around one conversation. In the widget's frame it is the same page, a little tighter.
import { fill, h, icon } from "../shared/dom.js";
import { language, switchLanguage, t } from "../shared/i18n.js";
import { ask } from "../shared/server.js";
import { composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { View } from "./view.js";

const query = new URLSearchParams(location.search);
const embedded = query.has("embed") && parent !== window;
const tell = (kind) => embedded && parent.postMessage({ kefu: kind }, "*");

function brighten(color) {
  if (!/^#[0-9a-f]{6}$/i.test(color ?? "")) return;
  const [red, green, blue] = [1, 3, 5].map((at) => (Number.parseInt(color.slice(at, at + 2), 16) / 255) ** 2.2);
  const root = document.documentElement.style;
  root.setProperty("--accent", color);
  root.setProperty("--on-accent", 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.36 ? "#1a1f1d" : "#ffffff");
}

const view = new View({
  say: (text) => say(text),
  retry: (item) => conversation.retry(item),
  arrived: () => document.hidden || !shown ? tell("unread") : null,
  rate: async (item, rating, comment) => {
    try {
      await conversation.rate(item, rating, comment);
      return true;
    } catch (error) {
      fill(view.spoken, error.message);
      return false;
    }
  },
});
const conversation = new Conversation(view);
const writing = composer((text) => say(text));
let shown = !embedded;

// From here on nobody looks, also while the page around has not hidden the frame yet.
function leave() {
  shown = !embedded;
  tell("close");
}

function say(text) {
  conversation.say(text);
  view.toEnd();
}

function header() {
  const title = h("h1", {}, query.get("title") || t("chat_title"));
  const action = (name, label, onclick) => h("button.round", { type: "button", "aria-label": label, title: label, onclick }, icon(name));
  const renew = () => {
    conversation.restart();
    writing.focus();
  };
  const bar = h(
    "header.bar",
    {},
    h("div.column", {}, h("span.face", { "aria-hidden": "true" }, icon("chat")), h("div.name", {}, title, view.presence),
      h("button.quiet.language", { type: "button", onclick: switchLanguage, lang: language === "zh" ? "en" : "zh-CN" }, t("other_language")),
      action("plus", t("new_conversation"), renew),
      embedded && action("close", t("close"), leave)),
  );
  return { bar, title };
}

async function profile() {
  const fallback = { company_name: "", assistant_name: t("assistant"), welcome: t("welcome"), suggestions: [] };
  try {
    return { ...fallback, ...(await ask("GET", "api/profile")) };
  } catch {
    return fallback;
  }
}

async function start() {
  brighten(query.get("color"));
  document.body.classList.toggle("embedded", embedded);
  const { bar, title } = header();
  fill(document.getElementById("app"), bar, view.banner, h("main", {}, view.log, view.newest), writing.form, view.spoken);
  const about = await profile();
  if (!query.get("title")) fill(title, about.assistant_name);
  document.title = [query.get("title") || about.assistant_name, about.company_name].filter(Boolean).join(" · ");
  if (about.question_characters_max) writing.limit(about.question_characters_max);
  view.welcome(about);
  await conversation.resume();
  view.toEnd();
  if (!embedded && matchMedia("(pointer: fine)").matches) writing.focus();
  tell("ready");
}

addEventListener("message", ({ source, data }) => {
  if (!embedded || source !== parent || !data?.kefu) return;
  shown = data.kefu === "shown";
  if (shown) writing.focus();
});
addEventListener("keydown", (event) => event.key === "Escape" && !event.isComposing && leave());
start();
