// What became of words on their way to a customer of a messaging channel, where they have not arrived (yet).
import { h, icon } from "../../shared/dom.js";
import { t, when } from "../../shared/i18n.js";
import { glance } from "../../shared/markdown.js";
import { post } from "../api.js";
import { button, toast } from "../ui.js";

// A long reply goes out in several pieces: the worst of them is what is said of it.
const WORST_FIRST = ["dead", "dropped", "held", "retrying", "waiting"];
const onItsWay = ({ attempts }) => (attempts > 0 ? "retrying" : "waiting");
const standing = (letter) => (letter.state === "queued" || letter.state === "sending" ? onItsWay(letter) : letter.state);

/** A line about letters of one message, with a way to send again what was given up. */
export function deliveryLine(letters, { title = "" } = {}) {
  const worst = WORST_FIRST.find((name) => letters.some((one) => standing(one) === name));
  const those = letters.filter((one) => standing(one) === worst);
  const why = those[0].error?.message ?? "";
  const words = [title, t(`delivery_${worst}`, { time: when(those[0].due_at) }), worst !== "waiting" && why].filter(Boolean);
  const again = async () => {
    const { items } = await post("api/deliveries/resend", { ids: those.map(({ id }) => id) });
    if (items.length) toast(t("letters_resend", { n: items.length }));
  };
  return h(`div.delivery.${worst}`, {}, h("span", {}, worst !== "waiting" && icon("info"), words.join(t("colon"))), worst === "dead" && button(t("resend"), again, { mark: "retry", kind: "small" }));
}

/** Lines about what is no message of the conversation: that somebody joined, a word sent first. */
export function noticeLines(letters) {
  const shown = letters.filter((one) => standing(one) === "dead" || standing(one) === "retrying");
  return shown.map((one) => deliveryLine([one], { title: one.text ? `「${glance(one.text).slice(0, 40)}」` : t("delivery_notice") }));
}
