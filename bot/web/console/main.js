// The console's frame: sign-in, the rooms a person may enter, and which one is shown (by the address behind `#`).
import { fill, h, icon } from "../shared/dom.js";
import { language, switchLanguage, t } from "../shared/i18n.js";
import { ask } from "../shared/server.js";
import { onExpired } from "./api.js";
import { connect, live } from "./live.js";
import * as channels from "./rooms/channels.js";
import * as company from "./rooms/company.js";
import * as desk from "./rooms/desk.js";
import * as hittest from "./rooms/hittest.js";
import * as imports from "./rooms/imports.js";
import * as knowledge from "./rooms/knowledge.js";
import * as models from "./rooms/models.js";
import * as overview from "./rooms/overview.js";
import * as review from "./rooms/review.js";
import * as training from "./rooms/training.js";
import { failure } from "./ui.js";

const RANK = { viewer: 0, agent: 1, editor: 2, admin: 3 };

// A room is a module with `open(place, parameters, signal)`; the rest of the console knows it by this line only.
const ROOMS = [
  { name: "overview", mark: "home", role: "viewer", room: overview },
  { name: "desk", mark: "desk", role: "agent", room: desk },
  { name: "knowledge", mark: "book", role: "editor", room: knowledge },
  { name: "import", mark: "upload", role: "editor", room: imports },
  { name: "hittest", mark: "target", role: "editor", room: hittest },
  { name: "company", mark: "chat", role: "editor", room: company },
  { name: "channels", mark: "plug", role: "agent", room: channels },
  { name: "review", mark: "check", role: "editor", room: review },
  { name: "training", mark: "spark", role: "admin", room: training },
  { name: "models", mark: "layers", role: "admin", room: models },
];

// A phone's bar holds so many; where there are more rooms, these are in it and the others behind its last button.
const BAR_MAX = 5;
const AT_HAND = ["overview", "desk", "knowledge", "review"];

const app = document.getElementById("app");
let person = null;
let leaving = null;
let title = t("console_title");
let waiting = 0;

const allowed = () => ROOMS.filter((each) => RANK[person.role] >= RANK[each.role]);

function signInForm(onsigned) {
  const name = h("input", { name: "username", autocomplete: "username", required: true, autocapitalize: "none", spellcheck: "false", id: "username", value: person?.name ?? "" });
  const password = h("input", { name: "password", type: "password", autocomplete: "current-password", required: true, id: "password" });
  const problem = h("p.problem", { role: "alert" });
  const submit = h("button.button.primary", { type: "submit" }, t("sign_in"));
  const onsubmit = async (event) => {
    event.preventDefault();
    submit.disabled = true;
    fill(problem);
    try {
      onsigned(await ask("POST", "api/login", { body: { username: name.value.trim(), password: password.value } }));
    } catch (error) {
      fill(problem, error.message);
      password.select();
    } finally {
      submit.disabled = false;
    }
  };
  return h(
    "form.sign-in",
    { onsubmit },
    h("img", { src: new URL("../shared/icon.svg", import.meta.url).href, alt: "", width: 52, height: 52 }),
    h("h1", {}, t("console_title")),
    h("p.muted", {}, person ? t("sign_in_again") : t("sign_in_hint")),
    h("div.field", {}, h("label", { for: "username" }, t("username")), name),
    h("div.field", {}, h("label", { for: "password" }, t("password")), password),
    problem,
    submit,
    !person && h("button.quiet", { type: "button", onclick: switchLanguage }, t("other_language")),
  );
}

/** Over the page as it is: nothing typed below is lost. */
function signInAgain() {
  return new Promise((resolve) => {
    const box = h("dialog.dialog.gate", { "aria-label": t("sign_in") });
    box.append(
      signInForm((who) => {
        const other = who.name !== person.name;
        person = who;
        box.close();
        box.remove();
        if (other) location.reload();
        resolve();
      }),
    );
    box.addEventListener("cancel", (event) => event.preventDefault());
    document.body.append(box);
    box.showModal();
    box.querySelector(person ? "#password" : "#username").focus();
  });
}

function signInPage() {
  document.title = t("console_title");
  const form = signInForm((who) => {
    person = who;
    frame();
  });
  fill(app, h("main.gate", {}, form));
  form.querySelector("input").focus();
}

async function signOut() {
  await ask("POST", "api/logout", { body: {} }).catch(() => {});
  location.hash = "";
  location.reload();
}

function frame() {
  const links = allowed().map(({ name, mark }) => h("a", { href: `#/${name}`, dataset: { room: name } }, icon(mark), h("span", {}, t(`room_${name}`))));
  const nav = h("nav.rooms", { "aria-label": t("rooms") }, links);
  const rest = links.filter(({ dataset }) => !AT_HAND.includes(dataset.room));
  if (links.length > BAR_MAX) {
    nav.classList.add("folded");
    for (const link of rest) link.classList.add("rest");
    const opener = h("button", { type: "button", "aria-expanded": "false", onclick: () => unfold(!nav.classList.contains("open")) }, icon("menu"), h("span", {}, t("more_rooms")));
    const unfold = (open) => {
      nav.classList.toggle("open", open);
      opener.setAttribute("aria-expanded", String(open));
    };
    nav.append(opener);
    addEventListener("hashchange", () => unfold(false));
    addEventListener("keydown", (event) => event.key === "Escape" && unfold(false));
    document.addEventListener("click", (event) => nav.contains(event.target) || unfold(false));
  }
  const more = h(
    "div.person",
    {},
    h("span.who", {}, h("strong", {}, person.name), h("small", {}, t(`role_${person.role}`))),
    h("button.quiet", { type: "button", onclick: switchLanguage, lang: language === "zh" ? "en" : "zh-CN" }, t("other_language")),
    h("button.round", { type: "button", "aria-label": t("sign_out"), title: t("sign_out"), onclick: signOut }, icon("leave")),
  );
  const brand = h("a.brand", { href: "#/overview" }, h("img", { src: new URL("../shared/icon.svg", import.meta.url).href, alt: "", width: 32, height: 32 }), t("console_title"));
  const skip = h("a.skip", { href: "#room", onclick: (event) => { event.preventDefault(); document.getElementById("room").focus(); } }, t("skip"));
  fill(app, h("div.frame", {}, skip, h("header.side", {}, brand, nav, more), h("main.room", { id: "room", tabindex: "-1" })));
  onExpired(signInAgain);
  if (RANK[person.role] >= RANK.agent) {
    live((kind, data) => kind === "queue" && called(data.waiting));
    connect();
  }
  addEventListener("hashchange", enter);
  enter();
}

/** How many customers wait for a person: on the room's link and in the tab's title, wherever one is at work. */
function called(number) {
  waiting = number;
  const link = app.querySelector('.rooms a[data-room="desk"]');
  link?.querySelector(".waiting-count")?.remove();
  if (number) link?.append(h("b.waiting-count", { "aria-label": t("desk_waiting_count", { n: number }) }, number > 99 ? "99+" : number));
  retitle();
}

function retitle() {
  document.title = waiting ? `(${waiting}) ${title}` : title;
}

/** Shows the room of the address. What the room left behind still runs gets its signal. */
async function enter() {
  const [path, search] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/");
  const chosen = allowed().find((each) => each.name === name) ?? allowed()[0];
  leaving?.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  for (const link of app.querySelectorAll(".rooms a")) {
    if (link.dataset.room === chosen.name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  title = `${t(`room_${chosen.name}`)} · ${t("console_title")}`;
  retitle();
  const body = h("div.room-body");
  const loading = h("p.loading", { role: "status" }, t("loading_room"));
  fill(document.getElementById("room"), h("header.room-head", {}, h("h1", {}, t(`room_${chosen.name}`)), loading, h("p", {}, t(`about_${chosen.name}`))), body);
  scrollTo(0, 0);
  try {
    await chosen.room.open(body, { person, rest, search: new URLSearchParams(search) }, signal);
  } catch (error) {
    if (!signal.aborted) fill(body, failure(error, enter));
  } finally {
    loading.remove();
  }
}

async function start() {
  try {
    person = await ask("GET", "api/me");
    frame();
  } catch (error) {
    if (error.status === 401) signInPage();
    else fill(app, h("main.gate", {}, failure(error, () => location.reload())));
  }
}

start();
