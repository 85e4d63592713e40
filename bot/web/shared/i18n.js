// Chinese first; English where the browser asks for it or the reader picks it.
import { keep, kept } from "./memory.js";
import { TEXT } from "./text.js";

const KEY = "kefu.language";

function preferred() {
  const asked = new URLSearchParams(location.search).get("lang");
  const choice = asked || kept(KEY);
  if (choice === "zh" || choice === "en") return choice;
  for (const tag of navigator.languages?.length ? navigator.languages : [navigator.language || "zh"]) {
    const primary = tag.toLowerCase().split("-")[0];
    if (primary === "zh" || primary === "en") return primary;
  }
  return "zh";
}

export const language = preferred();
document.documentElement.lang = language === "zh" ? "zh-CN" : "en";

const TRADITIONAL = /^zh-(hant|tw|hk|mo)\b/i;
const own = (navigator.languages?.length ? navigator.languages : [navigator.language || ""]).find((tag) => /^zh\b/i.test(tag));
/** The tag that servers are told: the reader's own where it says that traditional characters are read. */
export const tag = language === "zh" && TRADITIONAL.test(own || "") ? own : language;

/** The text of a key in the reader's language, `{name}` filled from `values`. */
export function t(key, values = {}) {
  const pair = TEXT[key];
  if (!pair) return key;
  return pair[language === "zh" ? 0 : 1].replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** The text of a key that a server named, or the fallback where this page does not know it. */
export function known(key, fallback) {
  return TEXT[key] ? t(key) : fallback;
}

/** Shows the page in the other language. */
export function switchLanguage() {
  keep(KEY, language === "zh" ? "en" : "zh");
  const address = new URL(location.href);
  address.searchParams.delete("lang");
  if (address.href === location.href) location.reload();
  else location.replace(address);
}

const locale = language === "zh" ? "zh-CN" : "en-GB";
const whole = new Intl.NumberFormat(locale);

export const number = (value) => whole.format(value ?? 0);
export const percent = (value, digits = 1) => `${(100 * value).toFixed(digits)}%`;

/** A size in bytes, for people. */
export function bytes(value) {
  if (value < 1024) return `${value} B`;
  if (value < 1024 * 1024) return `${(value / 1024).toFixed(0)} KB`;
  if (value < 1024 ** 3) return `${(value / 1024 ** 2).toFixed(1)} MB`;
  return `${(value / 1024 ** 3).toFixed(1)} GB`;
}

/** A span of seconds, for people. */
export function duration(seconds) {
  if (seconds < 60) return t("seconds", { n: Math.max(1, Math.round(seconds)) });
  if (seconds < 3600) return t("minutes", { n: Math.round(seconds / 60) });
  return t("hours", { n: (seconds / 3600).toFixed(1) });
}

const clock = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit" });
const calendar = new Intl.DateTimeFormat(locale, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
const full = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });

/** The hour of a moment today, the day with it otherwise. */
export function when(iso) {
  const moment = new Date(iso);
  if (Number.isNaN(moment.getTime())) return "";
  return moment.toDateString() === new Date().toDateString() ? clock.format(moment) : calendar.format(moment);
}

export const fullTime = (iso) => (iso ? full.format(new Date(iso)) : "");
