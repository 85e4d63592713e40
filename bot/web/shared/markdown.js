// Markdown as the answers use it (a part of CommonMark with tables), straight to elements: text can never become markup.
import { h } from "./dom.js";

const SAFE = /^(https?:|mailto:|tel:)/i;

function link(address, children) {
  if (!SAFE.test(address.trim())) return h("span", {}, children);
  return h("a", { href: address.trim(), target: "_blank", rel: "noopener noreferrer nofollow" }, children);
}

function picture(address, text) {
  if (!/^https:/i.test(address.trim())) return text || address;
  return h("img", { src: address.trim(), alt: text, loading: "lazy", referrerpolicy: "no-referrer" });
}

// Each rule: a sticky pattern and what it makes. The first that matches at a place wins.
const INLINE = [
  [/\\([\\`*_{}[\]()#+\-.!|~<>])/y, (m) => m[1]],
  [/(`+)([^`]|[^`][\s\S]*?[^`])\1(?!`)/y, (m) => h("code", {}, m[2].trim())],
  [/!\[([^\]]*)\]\(\s*<?([^\s)>]+)>?(?:\s+"[^"]*")?\s*\)/y, (m, rules) => (rules.pictures ? picture(m[2], m[1]) : link(m[2], m[1] || m[2]))],
  [/\[((?:[^[\]]|\[[^\]]*\])+)\]\(\s*<?([^\s)>]+)>?(?:\s+"[^"]*")?\s*\)/y, (m, rules) => link(m[2], inline(m[1], rules))],
  [/\*\*(?=\S)([\s\S]*?\S)\*\*/y, (m, rules) => h("strong", {}, inline(m[1], rules))],
  [/__(?=\S)([\s\S]*?\S)__(?!\w)/y, (m, rules) => h("strong", {}, inline(m[1], rules))],
  [/~~(?=\S)([\s\S]*?\S)~~/y, (m, rules) => h("s", {}, inline(m[1], rules))],
  [/\*(?=[^\s*])([^*]*?[^\s*])\*(?!\*)/y, (m, rules) => h("em", {}, inline(m[1], rules))],
  [/<((?:https?:\/\/|mailto:|tel:)[^\s<>]+)>/iy, (m) => link(m[1], m[1])],
  // A bare address ends before Chinese text and closing punctuation.
  [/https?:\/\/[\w\-.~:/?#[\]@!$&'()*+,;=%]*[\w\-~/#=&%]/iy, (m) => link(m[0], m[0])],
  [/ {2,}\n|\\\n|\n/y, () => h("br")],
];

/** The inline parts of a text as nodes. */
function inline(text, rules) {
  const nodes = [];
  let plain = "";
  for (let at = 0; at < text.length; ) {
    let taken = 0;
    for (const [pattern, make] of INLINE) {
      pattern.lastIndex = at;
      const match = pattern.exec(text);
      if (!match) continue;
      taken = match[0].length;
      const made = make(match, rules);
      if (typeof made === "string") plain += made;
      else {
        if (plain) nodes.push(plain);
        plain = "";
        nodes.push(made);
      }
      break;
    }
    if (!taken) plain += text[at];
    at += taken || 1;
  }
  if (plain) nodes.push(plain);
  return nodes;
}

const FENCE = /^\s{0,3}(`{3,}|~{3,})/;
const HEADING = /^\s{0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^\s{0,3}([-*_])(\s*\1){2,}\s*$/;
const QUOTE = /^\s{0,3}>\s?/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const DIVIDER = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;

const starts = (line) => FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) || ITEM.test(line);

const cells = (line) =>
  line
    .trim()
    .replace(/^\||\|$/g, "")
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim());

function table(lines, rules) {
  const row = (line, tag) => h("tr", {}, cells(line).map((cell) => h(tag, {}, inline(cell, rules))));
  const body = lines.slice(2).map((line) => row(line, "td"));
  return h("div.table-scroll", {}, h("table", {}, h("thead", {}, row(lines[0], "th")), h("tbody", {}, body)));
}

function list(lines, rules, depth) {
  const first = ITEM.exec(lines[0]);
  const ordered = /\d/.test(first[2]);
  const indent = first[1].length;
  const items = [];
  for (const line of lines) {
    const match = ITEM.exec(line);
    if (match && match[1].length <= indent + 1) items.push([match[3]]);
    else items.at(-1).push(line.replace(new RegExp(`^\\s{0,${indent + 2 + (ordered ? 1 : 0)}}`), ""));
  }
  const made = items.map((item) => {
    const blocks_ = blocks(item, rules, depth + 1);
    // A tight item is its text alone, without a paragraph around it.
    if (blocks_[0]?.tagName === "P") blocks_.splice(0, 1, ...blocks_[0].childNodes);
    return h("li", {}, blocks_);
  });
  const start = ordered ? Number.parseInt(first[2], 10) : 1;
  return h(ordered ? "ol" : "ul", start === 1 ? {} : { start }, made);
}

function blocks(lines, rules, depth) {
  const made = [];
  for (let at = 0; at < lines.length; ) {
    const line = lines[at];
    const run = (belongs) => {
      const from = at;
      at += 1;
      while (at < lines.length && belongs(lines[at])) at += 1;
      return lines.slice(from, at);
    };
    const fence = FENCE.exec(line);
    const heading = HEADING.exec(line);
    if (!line.trim()) at += 1;
    else if (fence) {
      const code = run((next) => !next.trim().startsWith(fence[1])).slice(1);
      at += 1;
      made.push(h("pre", {}, h("code", {}, code.join("\n"))));
    } else if (heading) {
      // Answers sit below the page's own headings.
      made.push(h(`h${Math.min(6, heading[1].length + 2)}`, {}, inline(heading[2], rules)));
      at += 1;
    } else if (RULE.test(line)) {
      made.push(h("hr"));
      at += 1;
    } else if (QUOTE.test(line)) {
      const inner = run((next) => QUOTE.test(next)).map((each) => each.replace(QUOTE, ""));
      made.push(h("blockquote", {}, depth < 8 ? blocks(inner, rules, depth + 1) : inner.join(" ")));
    } else if (ITEM.test(line)) {
      const ordered = /^\s*\d/.test(line);
      const indent = ITEM.exec(line)[1].length;
      const inner = run((next) => {
        const item = ITEM.exec(next);
        if (item) return item[1].length > indent + 1 || /\d/.test(item[2]) === ordered;
        return next.trim() ? /^\s{2,}/.test(next) || !starts(next) : false;
      });
      made.push(depth < 8 ? list(inner, rules, depth) : h("p", {}, inner.join(" ")));
    } else if (line.includes("|") && DIVIDER.test(lines[at + 1] ?? "") && cells(line).length > 1) {
      made.push(table(run((next) => next.includes("|")), rules));
    } else {
      made.push(h("p", {}, inline(run((next) => next.trim() && !starts(next)).join("\n"), rules)));
    }
  }
  return made;
}

/** A text as elements. `pictures` false shows images as links: words of a model must not make the browser load things. */
export function markdown(text, { pictures = true } = {}) {
  return h("div.prose", {}, blocks(String(text).replaceAll("\r\n", "\n").split("\n"), { pictures }, 0));
}

/** The beginning of an answer without its Markdown marks. */
export const glance = (text) => text.slice(0, 300).replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1").replace(/[*_`~]{1,3}(?=\S)|(?<=\S)[*_`~]{1,3}|^\s*(#+|>|[-+*])\s/gm, "");
