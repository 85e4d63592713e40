"""What a message is to the loop that waits for it: an answer, a cancellation, or something else in between."""

import re
from dataclasses import dataclass
from typing import Literal

from bot.dialogue import tracker
from bot.dialogue.actions import Actions
from bot.dialogue.domain import REQUESTED_SLOT, Form
from bot.dialogue.extraction import WISHES, Found, Said, is_question, question_beside, question_within, yes_or_no
from bot.dialogue.handoff import wish
from bot.dialogue.policy import Plan
from bot.dialogue.smalltalk import abusive, normalised, small_talk
from bot.dialogue.types import Turn

_CLAUSES = re.compile(r"[,，。.!！;；\s]+")
_CALLED_OFF = re.compile(
    "(?:那|我)*(?:先|暂时|还是|就)*(?:不(?:想|用|要)?(?:再)?(?:改|退|办|弄|搞|换|申请|填|继续|取)(?:货|地址|件)?了?|算了|取消)(?:吧|了|啦)*"
)
Fit = Literal["cancel", "sure", "maybe", "none", "stuck"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A loop and how the message fits it.

    `fit`: "sure" an answer to it, "maybe" (the whole text would be taken), "none", "cancel", or "stuck" (the loop
    gets nowhere and is given up). `beside` is a question asked along with the answer; `sure` says that the message
    holds values, though it may be a question that happens to.
    """

    name: str
    form: Form | None
    fit: Fit
    said: Said
    beside: str = ""
    sure: bool = True


def waiting(actions: Actions, turn: Turn) -> Waiting | None:
    """The loop that waits for the message, None where none does."""
    name = tracker.active_loop(turn.events)
    if name is None:
        return None
    form, said = actions.form(name), actions.read(turn)
    found = actions.takes(form, turn, said) if form else Found()
    sure = bool(found) and found.sure
    fit = _fit(actions, turn, name, form, said, found, sure=sure)
    return Waiting(name, form, fit, said, question_beside(said) if fit == "sure" and form else "", sure)


def _fit(actions: Actions, turn: Turn, name: str, form: Form | None, said: Said, found: Found, *, sure: bool) -> Fit:
    talk = small_talk(turn.text)
    if actions.is_stuck(turn, name) or (form is None and not actions.may_run(name)):
        return "stuck"
    if not sure and any(talk == "cancel" or _CALLED_OFF.fullmatch(normalised(c)) for c in _CLAUSES.split(turn.text)):
        return "cancel"
    # 「没有」 is an answer to what was asked; 「谢谢」 is not.
    talks = talk is not None and (form is None or yes_or_no(turn.text) != "deny")
    if wish(turn.text) or abusive(turn.text) or (talks and not sure):
        return "none"
    if form is None or (sure and not question_within(said)):
        return "sure"
    return "maybe" if found or actions.has_custom(turn.slots.get(REQUESTED_SLOT)) else "none"


def is_aside(loop: Waiting, found: Plan) -> bool:
    """Whether a message that is no sure answer means something else, by what the knowledge base has found for it."""
    if loop.fit == "maybe":
        asks_for_more = is_question(loop.said.text) or (
            found.step == "answer" and bool(found.entries[0].action) and _orders(loop.said.text)
        )
        return asks_for_more and (found.step == "answer" if loop.sure else found.step != "nothing")
    if found.step == "answer":
        return True
    return is_question(loop.said.text) and found.step != "nothing"


def _orders(text: str) -> bool:
    """Whether the words ask for something to be done."""
    return text.lstrip(" ，,").lower().startswith(WISHES)
