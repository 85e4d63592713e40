"""Turns that did not help, counted from the conversation itself."""

from collections.abc import Sequence

from bot.dialogue.smalltalk import normalised
from bot.dialogue.types import Utterance

FAILED_TURNS_MAX = 2
UNSURE_MAX = 4
# Causes of a reply with decision "handoff" by which the bot, not the customer or a rule, came to its end.
NO_HELP = ("no_answer", "not_among", "unsolved", "action")


def cause(reasons: Sequence[str]) -> str | None:
    """Why a person was fetched or offered, from a reply's reasons: the word after `handoff:`."""
    found = [reason.split()[1] for reason in reasons if reason.startswith("handoff: ")]
    return found[-1] if found else None


def failed_in_a_row(history: Sequence[Utterance], text: str, planned: str = "", first: str = "") -> int:
    """How many of the bot's last replies, up to this message, did not help.

    A reply failed where it had no answer, where it offered questions and none was taken, or where the customer asked
    in other words and the same answer came again; `planned` is the answer that would be given now, empty for none,
    `first` the id of the entry that it is from or that would be offered first. Where that was not offered before, the
    customer went on to something else: such a reply counts only once there are UNSURE_MAX in a row.
    """
    replies = [place for place, one in enumerate(history) if one.role == "bot"]
    failed = passed = 0
    after, after_text, asked_after, after_first = None, planned, text, first
    for place in reversed(replies):
        reply, asked = history[place], _asked(history, place)
        again = normalised(reply.text) == normalised(after_text) and normalised(asked) != normalised(asked_after)
        if not _failed(reply, after, again):
            break
        if reply.decision == "clarify" and reply.options and after_first and after_first not in reply.options:
            passed += 1
        else:
            failed += 1
        after, after_text, asked_after, after_first = reply, reply.text, asked, next(iter(reply.options), "")
    return failed + (passed if failed + passed >= UNSURE_MAX else 0)


def _failed(reply: Utterance, after: Utterance | None, again: bool) -> bool:
    if reply.decision == "handoff":
        return cause(reply.reasons) in NO_HELP
    if reply.decision == "clarify":
        return after is None or not any(reason.startswith("choice:") for reason in after.reasons)
    return again and reply.decision in ("answer", "generate")


def _asked(history: Sequence[Utterance], place: int) -> str:
    return next((history[i].text for i in range(place - 1, -1, -1) if history[i].role == "user"), "")
