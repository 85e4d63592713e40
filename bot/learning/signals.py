"""Was a turn answered? What customers did afterwards, added up as evidence; pure functions.

The weights are log-odds, as naive Bayes adds them, set by hand from what each sign can be relied upon for: a thumb is
said, a repeated question is shown, leaving is only silence. They order the review queue; nothing is learnt from them.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.dialogue.failures import cause
from knowledge.text import normalise

# What a reply is worth before anything is seen of its effect; an `answer` is worth its own calibrated probability.
PRIORS = {
    "answer": 1.7,
    "generate": 0.5,
    "clarify": 0.0,
    "action": 2.0,
    "chitchat": 2.0,
    "refuse": 0.5,
    "handoff": -2.5,
}
WEIGHTS = {
    "thumb_up": 3.0,
    "thumb_down": -4.0,
    "chose": 2.5,  # one of the questions offered was taken
    "none_of_them": -3.0,  # 都不是
    "unsolved": -3.0,  # 没解决
    "rephrased": -2.0,  # asked again in other words soon after
    "fetched_person": -1.5,  # asked for a person next
    "person_answered": -1.0,  # and a person then answered
    "thanked": 1.5,
    "left": -0.5,  # was offered questions, or a person, and said nothing more
}
UNANSWERED_BELOW = 0.5
REPHRASED_WITHIN = timedelta(minutes=5)
REPHRASED_OVERLAP = 0.4
PROBABILITY_BOUNDS = (0.05, 0.95)
# Handoffs by which the bot came to its end. The other causes are the customer's wish or the company's rule.
FAILED_HANDOFFS = ("no_answer", "failed")
WISHED_HANDOFFS = ("person", "complaint", "anger")


@dataclass(frozen=True, slots=True)
class Said:
    """One stored message, as far as it is evidence. `entry` is the first entry the reply rests on."""

    seq: int
    id: str
    conversation_id: str
    role: str
    text: str
    at: datetime
    reply_to: str | None = None
    decision: str | None = None
    probability: float | None = None
    entry: str | None = None
    reasons: tuple[str, ...] = ()
    rating: str | None = None
    reviewed: bool = False
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A customer's message, the bot's reply to it, the customer's next message with its reply, and a person's words
    between the two."""

    asked: Said
    reply: Said | None = None
    then: Said | None = None
    then_reply: Said | None = None
    person: Said | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """The probability that the turn was answered, and the signs it rests on; None where no bot was to answer it."""

    answered: float | None
    signals: tuple[str, ...] = ()

    @property
    def to_review(self) -> bool:
        return self.answered is not None and self.answered < UNANSWERED_BELOW


def turns(messages: Sequence[Said]) -> Iterator[Turn]:
    """The turns of one conversation, from its messages in their order."""
    replies: dict[str, Said] = {}
    for message in messages:
        if message.role == "bot" and message.reply_to:
            replies.setdefault(message.reply_to, message)
    asked = [place for place, message in enumerate(messages) if message.role == "user"]
    for place, following in zip(asked, [*asked[1:], len(messages)], strict=True):
        then = messages[following] if following < len(messages) else None
        person = next((one for one in messages[place + 1 : following] if one.role == "human"), None)
        one = messages[place]
        yield Turn(one, replies.get(one.id), then, replies.get(then.id) if then else None, person)


def estimate(turn: Turn) -> Estimate:
    """How likely the customer got what they asked for."""
    reply = turn.reply
    if reply is None or reply.decision is None or not is_question(turn):
        return Estimate(None)
    if turn.asked.reviewed:  # staff said what answers it
        right = turn.asked.label == reply.entry and reply.decision in ("answer", "generate")
        return Estimate(float(right), ("corrected",) if not right else ())
    signals = tuple(_signals(turn, reply))
    odds = _prior(reply) + sum(WEIGHTS[name] for name in signals)
    return Estimate(round(1 / (1 + math.exp(-odds)), 4), signals)


def is_question(turn: Turn) -> bool:
    """Whether the message is one to be answered: no choice among options, no talk about the reply before, no wish for
    a person, no small talk, no word to a form."""
    reply = turn.reply
    if reply is None or reply.decision in ("chitchat", "action"):
        return False
    if any(reason.startswith(("choice:", "loop:", "input:", "words:")) for reason in reply.reasons):
        return False
    return reply.decision != "handoff" or cause(reply.reasons) in (*FAILED_HANDOFFS, None)


def _prior(reply: Said) -> float:
    if reply.decision == "answer" and reply.probability:
        low, high = PROBABILITY_BOUNDS
        probability = min(max(reply.probability, low), high)
        return math.log(probability / (1 - probability))
    return PRIORS.get(reply.decision or "", 0.0)


def _signals(turn: Turn, reply: Said) -> Iterator[str]:
    if reply.rating:
        yield f"thumb_{reply.rating}"
    if turn.person is not None:
        yield "person_answered"
    if turn.then is None:
        if reply.decision in ("clarify", "handoff") and turn.person is None:
            yield "left"
        return
    after = turn.then_reply
    reasons = after.reasons if after else ()
    if reply.decision == "clarify" and any(reason.startswith("choice:") for reason in reasons):
        yield "none_of_them" if "choice: none of them" in reasons else "chose"
        return
    if "context: the reply before did not help" in reasons:
        yield "unsolved"
    elif "small talk: thanks" in reasons:
        yield "thanked"
    elif after and after.decision == "handoff" and cause(reasons) in WISHED_HANDOFFS:
        yield "fetched_person"
    elif turn.then.at - turn.asked.at <= REPHRASED_WITHIN and overlap(turn.asked.text, turn.then.text) >= (
        REPHRASED_OVERLAP
    ):
        yield "rephrased"


def overlap(one: str, other: str) -> float:
    """What two texts share: Dice's coefficient of their character pairs, 0 to 1 (Dice 1945)."""
    pairs, others = _pairs(one), _pairs(other)
    return 2 * len(pairs & others) / (len(pairs) + len(others)) if pairs and others else 0.0


def _pairs(text: str) -> set[str]:
    plain = normalise(text[:200])
    return {plain[i : i + 2] for i in range(len(plain) - 1)} or ({plain} if plain else set())
