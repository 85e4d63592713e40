// The messaging channels: whether each works, and the replies that could not be delivered.
import { fill, h, icon } from "../../shared/dom.js";
import { fullTime, language, number, t } from "../../shared/i18n.js";
import { get, post } from "../api.js";
import { attempt, button, confirm, empty, toast } from "../ui.js";

const place = ({ kind, name }) => `api/channels/${encodeURIComponent(kind)}/${encodeURIComponent(name)}`;

function channelRow(channel) {
  const told = h("small", { role: "status" });
  const check = button(t("channel_check"), async () => {
    const { ok, messages } = await post(`${place(channel)}/check`);
    fill(told, `${ok ? "✓" : "✗"} ${messages.join(language === "zh" ? "；" : "; ")}`);
  });
  const { dead = 0, held = 0, queued = 0 } = channel.outbox;
  const waiting = [dead && t("channel_dead", { n: number(dead) }), held && t("channel_held", { n: number(held) }), queued && t("channel_queued", { n: number(queued) })];
  const lines = [channel.path, t(`channel_from_${channel.source}`), ...waiting].filter(Boolean);
  return h(
    "li.document",
    {},
    icon("plug"),
    h("div.document-text", {}, h("strong", {}, `${channel.kind}/${channel.name}`), h("small", {}, lines.map((line) => h("span", {}, line))), told),
    h("div.entry-tools", {}, check),
  );
}

export async function open(body, _parameters, signal) {
  const channels = h("div");
  const letters = h("div");
  body.append(channels, h("h2", {}, t("undelivered")), letters);

  async function settle(what, ids) {
    const { items } = await post(`api/deliveries/${what}`, { ids });
    toast(t(`letters_${what}`, { n: number(items.length) }));
    if (!signal.aborted) await load();
  }

  function letterRow(letter) {
    const words = letter.payload.text ?? letter.payload.content ?? letter.payload.data?.text ?? "";
    const why = letter.error?.message ?? "";
    return h(
      "li.document",
      {},
      icon("info"),
      h("div.document-text", {}, h("strong", {}, typeof words === "string" ? words.slice(0, 80) : letter.channel), h("small", {}, [letter.channel, fullTime(letter.created_at), why].map((line) => h("span", {}, line)))),
      h("div.entry-tools", {}, button(t("resend"), () => settle("resend", [letter.id])), button(t("give_up"), async () => (await confirm(t("give_up"), t("give_up_text"), t("give_up"), { danger: true })) && settle("drop", [letter.id]))),
    );
  }

  async function load() {
    const [there, lost] = await Promise.all([get("api/channels"), get("api/deliveries?state=undelivered")]);
    if (signal.aborted) return;
    const messaging = there.items.filter((each) => each.kind !== "rest");
    fill(channels, messaging.length ? h("ul.entry-list.card", {}, messaging.map(channelRow)) : empty("plug", t("no_channels"), t("no_channels_text")));
    const shown = lost.items.filter((each) => each.state === "dead" || each.state === "held");
    fill(letters, shown.length ? h("ul.entry-list.card", {}, shown.map(letterRow)) : h("p.muted", {}, t("no_letters")));
  }
  await attempt(load);
}
