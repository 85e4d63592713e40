"""A turn on its way to its answer: what every step of it may say, and where it is decided that a person is fetched."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from bot.dialogue import policy
from bot.dialogue.guard import repeatable
from bot.dialogue.loops import Waiting
from bot.dialogue.rules import Rules
from bot.dialogue.types import Answer, Decision, Turn
from bot.dialogue.voice import Voice
from knowledge.types import Entry


@dataclass(slots=True)
class Course:
    """A turn on its way: the message as read, the voice to speak in, and why what was done."""

    turn: Turn
    voice: Voice
    rules: Rules
    reasons: list[str] = field(default_factory=list)
    aside_of: Waiting | None = None
    started: float = field(default_factory=time.perf_counter)

    def answer(self, text: str, decision: Decision, **rest: object) -> Answer:
        latency_ms = round((time.perf_counter() - self.started) * 1000)
        made = Answer(text, decision, reasons=tuple(self.reasons), latency_ms=latency_ms)
        return replace(made, **rest)  # type: ignore[arg-type]

    def hand_over(self, cause: str, *, instead: str = "", contact: bool = True, **rest: object) -> Answer:
        """The reply that leads to a person, with its cause on record; `instead` is said in place of the usual words."""
        self.reasons.append(f"handoff: {cause}")
        reachable = self.rules.hours.open_now()
        if not reachable:
            self.reasons.append("hours: closed")
        text = self.voice.hand_over(cause, reachable=reachable, instead=instead, contact=contact)
        return self.answer(text, "handoff", **rest)

    def left_open(self, questions: Sequence[str], *, offered: bool) -> str:
        """Says which questions have no answer, by name where all of them may be repeated."""
        named = [one for one in questions if repeatable(one) and not self.rules.withheld.find(one)]
        return self.voice.left_open(named if len(named) == len(questions) else (), offered=offered)

    def tell(
        self, entries: Sequence[tuple[Entry, float]], text: str, *, suggestions: tuple[str, ...] = (), **rest: object
    ) -> Answer:
        """What entries (each with its score, the first one's unless `rest` has another) say, and a person fetched where
        one of them is for a person: the one place where that is decided.
        """
        rest = {"score": entries[0][1], **rest}
        if label := next((name for entry, _ in entries if (name := self.rules.needs_person(entry))), None):
            self.reasons.append(f"rule: entries of {label} are for a person")
            return self.hand_over("rule", instead=text, **rest)  # type: ignore[arg-type]
        sources = tuple(policy.entry_source(entry, score) for entry, score in entries)
        return self.answer(text, "answer", sources=sources, suggestions=suggestions, **rest)
