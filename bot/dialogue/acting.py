"""The turn's steps that run business actions: what a waiting loop, a button or an entry's action makes of a message."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from bot.dialogue import loops, policy, tracker
from bot.dialogue.actions import ActionError, ActionRejectedError, ActionResult, Actions
from bot.dialogue.course import Course
from bot.dialogue.extraction import wish_and_question
from bot.dialogue.loops import Waiting
from bot.dialogue.policy import Knowledge, Limits, Plan
from bot.dialogue.types import Answer
from knowledge.types import Entry, SearchResult

log = logging.getLogger("kefu.dialogue")


class Acting:
    """Steps of `bot.dialogue.pipeline`. `answer_with` is its answer with an entry, score and probability given,
    `answer_aside` what surely answers a question beside the message itself, in an entry's words.
    """

    def __init__(
        self,
        actions: Actions,
        knowledge: Knowledge,
        limits: Limits,
        answer_with: Callable[[Course, Entry, float, float], Awaitable[Answer | None]],
        answer_aside: Callable[[Course, str], Awaitable[Answer | None]],
    ) -> None:
        self._actions, self._knowledge, self._limits = actions, knowledge, limits
        self._answer_with, self._answer_aside = answer_with, answer_aside

    async def wish(self, course: Course) -> tuple[Plan, SearchResult] | None:
        """The action that is wished for, where its particulars in the same message hid it from the search."""
        wish = self._actions.wish(course.turn)
        if not wish:
            return None
        result = await self._knowledge.search(wish, channel=course.turn.channel)
        found = policy.plan(result, self._knowledge, self._limits)
        return (found, result) if found.step == "answer" and found.entries[0].action else None

    async def wish_and_answer(self, course: Course) -> Answer | None:
        """The action that one clause of a message wishes for, after the answer to what another clause asks; None where
        either is not sure.
        """
        turn = course.turn
        wished, asked = wish_and_question(turn.text)
        if not wished:
            return None
        result = await self._knowledge.search(wished, channel=turn.channel)
        found = policy.plan(result, self._knowledge, self._limits)
        entry = found.entries[0] if found.step == "answer" else None
        if entry is None or not entry.action:
            return None
        if self._actions.on_a_guess(entry.action, turn) and result.probability < policy.FORM_MIN:
            return None
        told = await self._answer_aside(course, asked)
        if told is None:
            return None
        course.reasons.append(f"wish: {wished}; {found.reason}")
        answer = await self.act(course, entry.action, entry, probability=result.probability, score=result.score)
        return self._with_aside(course, told, answer) if answer else None

    async def continue_loop(self, course: Course) -> Answer | None:
        """What the loop that waits makes of the message; None where it is not, or not surely, for it."""
        turn, loop = course.turn, loops.waiting(self._actions, course.turn)
        if loop is None or course.rules.handed_over.find(turn.text):
            return None
        name = loop.name
        if loop.fit in ("cancel", "stuck"):
            slots, events = self._actions.end_loop(turn, name)
            if loop.fit == "cancel":
                course.reasons.append(f"loop: {name} cancelled")
                return course.answer(course.voice.small_talk("cancel"), "chitchat", slots=slots, events=events)
            course.reasons.append(f"loop: {name} given up")
            course.turn = replace(turn, slots=slots, events=events)
            return None
        course.aside_of = loop
        if loop.fit != "sure":
            return None
        course.reasons.append(f"loop: {name}")
        answer = await self.act(course, name, None, loop=name)
        if answer is None:
            return None
        course.aside_of = None
        return await self._answer_beside(course, loop.beside, answer) if loop.beside else answer

    async def _answer_beside(self, course: Course, question: str, answer: Answer) -> Answer:
        """The loop's reply, after the answer to a question that came along with the customer's, or word that there is
        none.
        """
        found = await self._answer_aside(course, question)
        if found:
            return self._with_aside(course, found, answer)
        text = course.left_open([question], offered=False)
        return replace(answer, text=f"{text}\n\n{answer.text}", reasons=tuple(course.reasons))

    @staticmethod
    def _with_aside(course: Course, told: Answer, answer: Answer) -> Answer:
        decision = "handoff" if told.decision == "handoff" else answer.decision
        return replace(
            answer, text=f"{told.text}\n\n{answer.text}", reasons=tuple(course.reasons), sources=told.sources,
            decision=decision,
        )  # fmt: skip

    async def fill_or_ask(self, course: Course, loop: Waiting) -> Answer:
        """A message that means nothing else: the text the form asked for, or words that it must ask again about."""
        if loop.fit == "maybe":
            course.reasons.append(f"loop: {loop.name}, the text itself")
            if answer := await self.act(course, loop.name, None, loop=loop.name):
                course.aside_of = None
                return answer
        course.reasons.append(f"loop: {loop.name} cannot read it")
        again = await self._actions.ask_again(course.turn, loop.form) if loop.form else None
        course.aside_of = None
        if again is None:
            return course.hand_over("no_answer")
        return self._said(course, replace(again, text=course.voice.not_read(again.text)))

    async def remind(self, course: Course, answer: Answer) -> Answer:
        """The answer to something in between, with what the form still waits for."""
        loop = course.aside_of
        if loop is None or loop.form is None or answer.decision not in ("answer", "generate", "chitchat", "action"):
            return answer
        turn = course.turn
        if answer.events is not None:
            turn = replace(turn, slots=answer.slots or {}, events=answer.events)
        if tracker.active_loop(turn.events) != loop.name:
            return answer
        again = await self._actions.ask_again(turn, loop.form)
        if again is None or not again.text:
            return answer
        return replace(
            answer, text=f"{answer.text}\n\n{course.voice.back_to(again.text)}", slots=again.slots, events=again.events,
            suggestions=again.suggestions, reasons=(*answer.reasons, f"loop: {loop.name} waits"),
        )  # fmt: skip

    async def take_button(self, course: Course) -> Answer | None:
        """A button's intent, or words that are an example of one: what the rules do on it, or its entry."""
        if not self._actions.may_have_meant(course.turn):
            return None
        said = self._actions.read(course.turn)
        loop = course.aside_of.name if course.aside_of else None
        names = self._actions.domain.actions_for(said.intent, loop) if said.intent else ()
        if names:
            course.reasons.append(f"intent: {said.intent}")
            return await self.act(course, names[0], None, then=names[1:])
        if said.from_payload and said.intent and (entry := self._knowledge.entry(said.intent, course.turn.channel)):
            course.reasons.append(f"intent: {said.intent}")
            return await self._answer_with(course, entry, 1.0, 1.0)
        if said.text != course.turn.text and not said.from_payload:
            course.turn = replace(course.turn, text=said.text)
        return None

    async def act(
        self,
        course: Course,
        name: str,
        entry: Entry | None,
        *,
        loop: str | None = None,
        then: tuple[str, ...] = (),
        probability: float = 0.0,
        score: float = 0.0,
    ) -> Answer | None:
        """An action's reply; None where the action says that the message is not for it and nothing else asked it."""
        kept: dict[str, Any] = {"score": score, "probability": probability}
        waiting, turn = course.aside_of, course.turn
        try:
            if waiting and waiting.form and name == waiting.name and loop is None:
                course.aside_of = None
                result = await self._actions.ask_again(turn, waiting.form) or await self._actions.run(name, turn)
            else:
                result = await self._actions.run(
                    name, turn, then=then, intent=entry.id if entry else "", probability=probability, fresh=loop is None
                )
            text = result.text or (entry.answer if entry else "") or self._finished(course, result)
            if not text.strip() and not result.image_url and not result.custom:
                raise ActionError("action_nonsense", name, "no response")
        except ActionRejectedError:
            course.reasons.append(f"action: {name} rejected the message")
            return None
        except ActionError as error:
            log.warning("action %s", error)
            course.reasons.append(f"action: {name} {error.code}")
            events = self._actions.failed(turn, loop) if loop else None
            return course.hand_over("action", events=events, **kept)
        course.reasons.append(f"action: {name} for {entry.id}" if entry else f"action: {name}")
        return self._said(course, replace(result, text=text), **kept)

    def _finished(self, course: Course, result: ActionResult) -> str:
        """What is said when a form is complete and nothing that follows it says a word."""
        before, after = tracker.active_loop(course.turn.events), tracker.active_loop(result.events)
        return course.voice.recorded() if self._actions.form(before) and after is None else ""

    @staticmethod
    def _said(course: Course, result: ActionResult, **kept: Any) -> Answer:
        return course.answer(
            result.text, "action", suggestions=result.suggestions, image_url=result.image_url, custom=result.custom,
            slots=result.slots, events=result.events, paused=result.paused, **kept,
        )  # fmt: skip
