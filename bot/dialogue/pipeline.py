"""The turn: what the customer said in, the reply's events out. No HTTP and no SQL here."""

import logging
import unicodedata
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from bot.dialogue import loops, policy
from bot.dialogue.acting import Acting
from bot.dialogue.actions import Actions
from bot.dialogue.anger import angry
from bot.dialogue.context.comparing import compared
from bot.dialogue.context.reading import Reading, acted, each, in_context
from bot.dialogue.context.wording import named_option, parts, surely_follows, unsolved
from bot.dialogue.course import Course
from bot.dialogue.excerpts import excerpts
from bot.dialogue.failures import FAILED_TURNS_MAX, failed_in_a_row
from bot.dialogue.grounded import Writing
from bot.dialogue.handoff import asks_for_telephone, wish
from bot.dialogue.outside import outside
from bot.dialogue.policy import Knowledge, Limits, Plan
from bot.dialogue.prompt import shortened
from bot.dialogue.script import customer_language, speller
from bot.dialogue.smalltalk import abusive, chose_none, chosen, normalised, small_talk
from bot.dialogue.summary import summary
from bot.dialogue.types import Answer, Delta, Done, Event, Meta, Source, Turn
from bot.dialogue.voice import Company
from bot.engines.base import Engine
from knowledge.types import Entry, SearchResult

QUOTE_TOKENS_MAX = 500
# From this probability that an entry is meant, what names weather, verses or the like is asked about it: of the demo's
# entries, the nearest to 「台风天发货吗」 has 0.14, to 「今天北京天气怎么样」 0.095.
OUTSIDE_MAX = 0.1
# Where what was shown is a whole answer, although the model went on.
COMPLETE = ("", "no_answer")
log = logging.getLogger("kefu.dialogue")


@dataclass(frozen=True, slots=True)
class _ToWrite:
    """The answer is still to be written, from these sources."""

    sources: tuple[Source, ...]
    result: SearchResult


class Pipeline:
    """Answers turns. `engine` None switches generation off; `actions` None leaves entries with an action unanswered."""

    def __init__(
        self,
        knowledge: Knowledge,
        company: Company,
        engine: Engine | None = None,
        actions: Actions | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._knowledge = knowledge
        self._company = company
        self._engine = engine
        self._actions = actions or Actions()
        self._limits = limits or Limits()
        self._acting = Acting(self._actions, knowledge, self._limits, self._answer_with, self._aside)

    def expect(self, text: str) -> None:
        """Begin with what costs most of a message that will be asked as a turn: it is encoded while it is stored."""
        text = readable(text)
        if 0 < len(text) <= self._limits.question_characters_max:
            self._knowledge.expect(self._actions.question(text))

    async def run(self, turn: Turn) -> AsyncGenerator[Event]:
        """`Meta`, then the text in `Delta`s, then `Done`; all deltas joined are the text of `Done.answer`.

        Closing the iterator stops the work. Raises only what the knowledge base raises when it cannot search.
        """
        turn = replace(turn, text=readable(turn.text))
        read = turn.text if len(turn.text) <= self._limits.question_characters_max else ""
        turn = replace(turn, language=customer_language(read, turn.history, turn.language))
        spell = speller(turn.language)
        async with aclosing(self._events(turn)) as events:
            if spell is None:
                async for event in events:
                    yield event
                return
            said = ""
            async for event in events:
                if isinstance(event, Delta):
                    said += (piece := spell(event.text))
                    yield Delta(piece)
                elif isinstance(event, Done):
                    yield Done(_spelt(event.answer, said, spell))
                else:
                    yield event

    async def _events(self, turn: Turn) -> AsyncGenerator[Event]:
        """The turn as the company speaks, before it is brought into the customer's script."""
        profile = self._company.now()
        course = Course(turn, profile.voice(turn.language), profile.rules)
        decided = await self._decide(course)
        if isinstance(decided, _ToWrite):
            async with aclosing(self._write(course, decided)) as events:
                async for event in events:
                    if not isinstance(event, Done):
                        yield event
                        continue
                    reminded = await self._acting.remind(course, event.answer)
                    if reminded is not event.answer:
                        yield Delta(reminded.text.removeprefix(event.answer.text))
                    yield Done(reminded)
            return
        decided = await self._acting.remind(course, decided)
        yield Meta(decided.decision, decided.sources)
        yield Delta(decided.text)
        yield Done(decided)

    async def answer(self, turn: Turn) -> Answer:
        """The finished answer of a turn, for callers that do not stream."""
        async with aclosing(self.run(turn)) as events:
            async for event in events:
                if isinstance(event, Done):
                    return event.answer
        raise RuntimeError("the turn ended without an answer")

    async def _decide(self, course: Course) -> Answer | _ToWrite:
        if answer := self._decline(course):
            return answer
        for step in (self._take_choice, self._acting.continue_loop, self._acting.take_button, self._not_helped):
            if answer := await step(course):
                return answer
        return await self._look_up(course)

    async def _look_up(self, course: Course) -> Answer | _ToWrite:
        turn, loop = course.turn, course.aside_of
        result = await self._knowledge.search(self._actions.question(turn.text), channel=turn.channel)
        may_be_text = loop is not None and loop.fit == "maybe"
        if not may_be_text and (answer := await self._reply_without_search(course, result)):
            return answer
        if not loop and (both := await self._acting.wish_and_answer(course)):
            return both
        plan = policy.plan(result, self._knowledge, self._limits)
        if plan.step != "answer" and self._actions.question(turn.text) != turn.text:
            whole = await self._knowledge.search(turn.text, channel=turn.channel)
            if whole.probability > result.probability:
                result, plan = whole, policy.plan(whole, self._knowledge, self._limits)
        if not loop and plan.step != "answer" and (wished := await self._acting.wish(course)):
            plan, result = wished
        elif not loop or (loop.form and loop.fit == "none" and plan.step != "answer"):
            apart = None if loop else await self._answer_each(course, result)
            if not surely_follows(turn.text, turn.history):
                apart = apart or self._outside(course, result)
            if apart:
                return apart
            reading = await self._read(course, course.turn, result)
            if reading.entry:
                return course.tell([(reading.entry, reading.found.score)], reading.said)
            result = reading.found
            plan = policy.plan(result, self._knowledge, self._limits)
        if not loop and plan.step == "answer" and self._actions.on_a_guess(plan.entries[0].action, turn):
            plan = policy.unsure_of_form(plan, result, self._knowledge, self._limits)
        course.reasons.append(plan.reason)
        if loop and loop.form and not loops.is_aside(loop, plan):
            return await self._acting.fill_or_ask(course, loop)
        return self._leave_to_person(course, plan, result) or await self._carry_out(course, plan, result)

    async def _read(self, course: Course, turn: Turn, result: SearchResult) -> Reading:
        """A message in its conversation. A form that was begun is what it is about, and begins again on no guess."""
        begun = [id_ for name, id_ in acted(turn.history) if self._actions.form(name)]
        top = self._knowledge.entry(result.hits[0].id) if result.hits else None
        numbered = self._actions.question(turn.text) != turn.text
        guessed = bool(top and top.action) and not numbered and result.probability < policy.FORM_MIN
        reading = await in_context(turn, result, self._knowledge, begun, guessed=guessed)
        if reading.why:
            course.reasons.append(reading.why)
        return reading

    async def _aside(self, course: Course, question: str) -> Answer | None:
        """What surely answers a question that came along with something else, in an entry's words."""
        turn = replace(course.turn, text=question)
        reading = await self._read(course, turn, await self._knowledge.search(question, channel=turn.channel))
        if reading.entry:
            return course.tell([(reading.entry, reading.found.score)], reading.said)
        plan = policy.plan(reading.found, self._knowledge, self._limits)
        course.reasons.append(plan.reason)
        entry = plan.entries[0] if plan.step == "answer" else None
        if entry is None or entry.action:
            return None
        return await self._answer_with(course, entry, reading.found.score, reading.found.probability)

    def _decline(self, course: Course) -> Answer | None:
        """What cannot be read, or is not to be: nothing, too much, or a word that the company refuses."""
        text, voice = course.turn.text, course.voice
        if not text:
            course.reasons.append("input: empty")
            return course.answer(voice.say("empty"), "refuse")
        if len(text) > self._limits.question_characters_max:
            course.reasons.append(f"input: {len(text)} characters")
            return course.answer(voice.too_long(len(text), self._limits.question_characters_max), "refuse")
        if found := course.rules.refused.find(text):
            course.reasons.append(f"words: {found.word} is refused")
            return course.answer(voice.say("refused"), "refuse")
        return None

    async def _take_choice(self, course: Course) -> Answer | None:
        """The message picks one of the questions offered in the reply before it."""
        last = next((u for u in reversed(course.turn.history) if u.role in ("bot", "human")), None)
        if last is None or not last.suggestions or last.decision not in ("clarify", "answer", None):
            return None
        index = chosen(course.turn.text, last.suggestions)
        if index is None and last.decision == "clarify":
            index = named_option(course.turn.text, last.suggestions)
        if index is None:
            if last.decision == "clarify" and chose_none(course.turn.text):
                course.reasons.append("choice: none of them")
                return course.hand_over("not_among")
            return None
        course.reasons.append(f"choice: {index + 1} of {len(last.suggestions)}")
        channel = course.turn.channel
        # An answer's options are what it told; what it left open and asks about is among its suggestions alone.
        options = last.options if last.decision != "answer" else ()
        entry = self._knowledge.entry(options[index], channel) if index < len(options) else None
        if entry is None:
            result = await self._knowledge.search(last.suggestions[index], channel=channel)
            entry = policy.word_for_word(last.suggestions[index], result, self._knowledge)
        return await self._answer_with(course, entry, 1.0, 1.0) if entry else None

    async def _not_helped(self, course: Course) -> Answer | None:
        if course.aside_of or not unsolved(course.turn.text, course.turn.history):
            return None
        course.reasons.append("context: the reply before did not help")
        return course.hand_over("unsolved")

    async def _reply_without_search(self, course: Course, result: SearchResult) -> Answer | None:
        """Small talk, and what a person must see to. Where the company has an entry of these very words, it is said."""
        text = course.turn.text
        topic = course.rules.handed_over.find(text)
        cause = wish(text) or ("topic" if topic else "anger" if abusive(text) else None)
        kind = small_talk(text)
        if not (kind or cause):
            return None
        entry = policy.word_for_word(text, result, self._knowledge)
        if entry:
            course.reasons.append(f"search: word for word, top={entry.id}")
        if topic and cause == "topic":
            course.reasons.append(f"topic: {topic.name}, {topic.word}")
        if entry and (entry.action or not cause):
            return await self._answer_with(course, entry, 1.0, 1.0)
        if cause:
            own = entry.answer.strip() if entry else ""
            return course.hand_over(cause, instead=own, contact=not own)
        assert kind is not None  # noqa: S101
        course.reasons.append(f"small talk: {kind}")
        return course.answer(course.voice.small_talk(kind), "chitchat")

    async def _answer_each(self, course: Course, result: SearchResult) -> Answer | None:
        """A message with several questions, where each is its own, or about two things; None where it is better read
        as one, for which `result` was found.
        """
        top = self._knowledge.entry(result.hits[0].id, course.turn.channel) if result.hits else None
        asked = parts(course.turn.text) or compared(course.turn.text, top)
        found = await each(asked, course.turn, self._knowledge) if asked else ()
        if not found:
            return None
        course.reasons.append(f"context: {len(found)} questions, {sum(bool(part.entry) for part in found)} answered")
        told = {part.entry.id: (part.entry, part.score) for part in found if part.entry}
        offered = {part.offered.id: part.offered for part in found if part.offered and part.offered.id not in told}
        text = course.voice.several([(entry.question, entry.answer) for entry, _ in told.values()])
        open_ones = [part.question for part in found if part.entry is None]
        if open_ones:
            text += "\n\n" + course.left_open(open_ones, offered=bool(offered))
        options = tuple(entry.question for entry in offered.values())[: self._limits.clarify_options_max]
        return course.tell(list(told.values()), text, suggestions=options)

    def _leave_to_person(self, course: Course, plan: Plan, result: SearchResult) -> Answer | None:
        """A person in the plan's place: on anger, and after turns that did not help."""
        text, history = course.turn.text, course.turn.history
        kept: dict[str, Any] = {"score": result.score, "probability": result.probability}
        entry = plan.entries[0] if plan.step == "answer" else None
        if entry and (entry.action or not entry.answer.strip()):
            return None
        said = next((one.text for one in reversed(history) if one.role == "bot"), None)
        if entry and normalised(entry.answer) != normalised(said or ""):
            return None
        calls = plan.step in ("clarify", "nothing") and asks_for_telephone(text)
        if cause := None if entry else "anger" if angry(text) else "person" if calls else None:
            return course.hand_over(cause, **kept)
        first = plan.entries[0].id if plan.entries else ""
        failed = failed_in_a_row(history, text, entry.answer if entry else "", first)
        if failed + (plan.step == "nothing") >= FAILED_TURNS_MAX:
            course.reasons.append(f"failed: {failed} turns before this one")
            if told := policy.likely(plan, result):
                course.reasons.append(f"told all the same: {told.id} is likely")
                return course.tell([(told, result.score)], told.answer, probability=result.probability)
            return course.hand_over("failed", **kept)
        return None

    async def _carry_out(self, course: Course, found: Plan, result: SearchResult) -> Answer | _ToWrite:
        score, probability = result.score, result.probability
        if found.step == "answer":
            if answer := await self._answer_with(course, found.entries[0], score, probability):
                return answer
        elif found.step == "passages":
            asked = result.read_as or course.turn.text
            return _ToWrite(await excerpts(asked, found.sources, self._knowledge.alike), result)
        if refused := self._outside(course, result):
            return refused
        if found.step == "clarify":
            scores = {hit.id: hit.score for hit in result.hits}
            sources = tuple(policy.entry_source(e, scores.get(e.id, 0.0)) for e in found.entries)
            return course.answer(
                course.voice.clarify(len(sources)), "clarify", sources=sources, score=score, probability=probability,
                suggestions=tuple(source.title for source in sources),
            )  # fmt: skip
        return course.hand_over("no_answer", score=score, probability=probability)

    def _outside(self, course: Course, result: SearchResult) -> Answer | None:
        """Says that it is no business of a company's, where it is not and no entry comes near it."""
        if result.probability >= OUTSIDE_MAX:
            return None
        near = (entry for hit in result.hits if (entry := self._knowledge.entry(hit.id)))
        if not outside(course.turn.text, (phrasing for entry in near for phrasing in entry.phrasings)):
            return None
        course.reasons.append("outside: no business of a company's")
        text = course.voice.say("outside")
        return course.answer(text, "refuse", score=result.score, probability=result.probability)

    async def _answer_with(self, course: Course, entry: Entry, score: float, probability: float) -> Answer | None:
        """An entry's own words, or its action; None where it has neither."""
        if entry.action:
            return await self._acting.act(course, entry.action, entry, probability=probability, score=score)
        if not entry.answer.strip():
            course.reasons.append(f"entry: {entry.id} has no answer")
            return None
        return course.tell([(entry, score)], entry.answer, probability=probability)

    async def _write(self, course: Course, todo: _ToWrite) -> AsyncGenerator[Event]:
        """Writes from the sources; quotes the best one where that fails before anything was shown."""
        limits, sources = self._limits, todo.sources
        kept: dict[str, Any] = {"score": todo.result.score, "probability": todo.result.probability}
        if self._engine is None:
            course.reasons.append("generation: off")
            for event in self._quoted(course, sources[0], kept):
                yield event
            return
        turn, voice = course.turn, course.voice
        said = (*(await turn.earlier()), *turn.history) if turn.earlier else turn.history
        writing = Writing(
            self._engine, turn.text, [(s.title, s.quote) for s in sources], voice.company,
            limits.generate_tokens_max, turn.model, turn.conversation_id,
            limits.first_piece_seconds, limits.generation_seconds, course.rules.withheld,
            language=turn.language, tone=voice.tone, earlier=summary(said),
        )  # fmt: skip
        async with aclosing(writing.text()) as pieces:
            async for piece in pieces:
                if len(piece) == len(writing.written):
                    yield Meta("generate", sources)
                yield Delta(piece)
        tries = f", {writing.tries} tries" if writing.tries > 1 else ""
        course.reasons.append(f"generation: {writing.stopped or 'done'}, {writing.completion_tokens} tokens{tries}")
        kept |= {"prompt_tokens": writing.prompt_tokens, "completion_tokens": writing.completion_tokens}
        if not writing.written:
            for event in self._quoted(course, sources[0], kept):
                yield event
            return
        text = writing.written
        if writing.stopped not in COMPLETE:
            more = course.voice.more(sources[0].title, shortened(sources[0].quote, QUOTE_TOKENS_MAX))
            if not course.rules.withheld.find(more):
                yield Delta(more)
                text += more
        yield Done(course.answer(text, "generate", sources=sources, generated=True, **kept))

    def _quoted(self, course: Course, source: Source, kept: dict[str, Any]) -> tuple[Event, ...]:
        text = course.voice.quote(source.title, shortened(source.quote, QUOTE_TOKENS_MAX))
        answer = course.answer(text, "answer", sources=(source,), **kept)
        if found := course.rules.withheld.find(text):
            course.reasons.append(f"words: {found.word} is withheld")
            answer = course.hand_over("no_answer", **kept)
        return Meta(answer.decision, answer.sources), Delta(answer.text), Done(answer)


def _spelt(answer: Answer, text: str, spell: Callable[[str], str]) -> Answer:
    """The answer with the text as it was shown. An action's buttons stay: their words may be what it waits for."""
    if answer.decision == "action":
        return replace(answer, text=text)
    return replace(answer, text=text, suggestions=tuple(spell(one) for one in answer.suggestions))


def readable(text: str) -> str:
    """The text without what cannot be stored or shown: control characters, lone surrogates, blanks around it."""
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(c for c in whole if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs")).strip()
