// The messaging channels: set up, checked and removed here; and the replies that could not be delivered.
import { fill, h, icon } from "../../shared/dom.js";
import { fullTime, number, t } from "../../shared/i18n.js";
import { glance } from "../../shared/markdown.js";
import { get, post, remove } from "../api.js";
import { attempt, button, confirm, empty, toast } from "../ui.js";
import { place, setUp, verdict } from "./channel_form.js";

export async function open(body, { person }, signal) {
  const admin = person.role === "admin";
  const kinds = (await get("api/channels/kinds")).items;
  const channels = h("div");
  const letters = h("div");
  let taken = new Set();
  const add = () => button(t("channel_add"), () => change(null), { kind: "primary", mark: "plus" });
  body.append(h("div.tools.document-tools", {}, admin && add()), channels, h("h2", {}, t("undelivered")), letters);

  async function change(channel) {
    const saved = await setUp(kinds, channel, taken);
    if (saved && !signal.aborted) await load();
  }

  async function drop(channel) {
    const title = t("channel_remove_title", { name: channel.name });
    if (!(await confirm(title, t("channel_remove_text"), t("delete"), { danger: true }))) return;
    await attempt(async () => {
      await remove(place(channel));
      toast(t("channel_removed", { name: channel.name }));
    });
    if (!signal.aborted) await load();
  }

  function channelRow(channel) {
    const told = h("div");
    const check = button(t("channel_check"), async () => fill(told, verdict(await post(`${place(channel)}/check`))));
    const { dead = 0, held = 0, queued = 0 } = channel.outbox;
    const waiting = [dead && t("channel_dead", { n: number(dead) }), held && t("channel_held", { n: number(held) }), queued && t("channel_queued", { n: number(queued) })];
    const kind = kinds.find((each) => each.kind === channel.kind);
    const opened = kind?.opens && channel.parameters.mode === kind.opens;
    const lines = [opened ? t("channel_opened") : channel.path, t(`channel_from_${channel.source}`), !channel.running && t("channel_off"), ...waiting].filter(Boolean);
    const own = channel.source === "console";
    const tool = (mark, label, work) => h("button.round", { type: "button", "aria-label": `${label} ${channel.name}`, title: label, onclick: () => attempt(work) }, icon(mark));
    return h(
      "li.document.channel",
      {},
      icon("plug"),
      h("div.document-text", {}, h("strong", {}, `${kind?.title ?? channel.kind} · ${channel.name}`), h("small", {}, lines.map((line) => h("span", {}, line)))),
      h("div.entry-tools", {}, admin && check, admin && (own ? tool("edit", t("channel_edit"), () => change(channel)) : button(t("channel_look"), () => change(channel), { "aria-label": `${t("channel_shown")} ${channel.name}` })), admin && own && tool("trash", t("delete"), () => drop(channel))),
      h("div.document-told", {}, told),
    );
  }

  async function settle(what, ids) {
    const { items } = await post(`api/deliveries/${what}`, { ids });
    toast(t(`letters_${what}`, { n: number(items.length) }));
    if (!signal.aborted) await load();
  }

  function letterRow(letter) {
    const shown = [letter.customer, letter.channel, fullTime(letter.created_at), t(`delivery_${letter.state}`), letter.error?.message];
    return h(
      "li.document.channel",
      {},
      icon("info"),
      h(
        "div.document-text.letter",
        {},
        letter.question && h("span", {}, t("letter_question"), glance(letter.question).slice(0, 120)),
        h("strong", {}, glance(letter.text).slice(0, 120) || letter.channel),
        h("small", {}, shown.filter(Boolean).map((line) => h("span", {}, line))),
      ),
      h("div.entry-tools", {}, letter.customer && h("a.button", { href: `#/desk/${letter.recipient}` }, t("letter_look")), button(t("resend"), () => settle("resend", [letter.id])), button(t("give_up"), async () => (await confirm(t("give_up"), t("give_up_text"), t("give_up"), { danger: true })) && settle("drop", [letter.id]))),
    );
  }

  async function load() {
    const [there, lost] = await Promise.all([get("api/channels"), get("api/deliveries?state=undelivered")]);
    if (signal.aborted) return;
    taken = new Set(there.items.map(({ kind, name }) => `${kind}/${name}`));
    const messaging = there.items.filter((each) => each.kind !== "rest");
    fill(channels, messaging.length ? h("ul.entry-list.card", {}, messaging.map(channelRow)) : empty("plug", t("no_channels"), t("no_channels_text"), admin && add()));
    const shown = lost.items.filter((each) => each.state === "dead" || each.state === "held");
    fill(letters, shown.length ? h("ul.entry-list.card", {}, shown.map(letterRow)) : h("p.muted", {}, t("no_letters")));
  }
  await attempt(load);
}
