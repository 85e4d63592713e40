"""The turn: what the customer said in, the reply's events out. No HTTP and no SQL here."""

import logging
import time
import unicodedata
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from bot.dialogue import policy, tracker
from bot.dialogue.actions import ActionError, ActionRejectedError, Actions
from bot.dialogue.grounded import Writing
from bot.dialogue.policy import Knowledge, Limits, Plan
from bot.dialogue.prompt import shortened
from bot.dialogue.smalltalk import abusive, chose_none, chosen, small_talk, wants_person
from bot.dialogue.types import Answer, Decision, Delta, Done, Event, Meta, Source, Turn
from bot.dialogue.voice import Profile, Voice
from bot.engines.base import Engine
from knowledge.types import Entry, SearchResult

QUOTE_TOKENS_MAX = 500
log = logging.getLogger("kefu.dialogue")


@dataclass(slots=True)
class _Course:
    """A turn on its way: the message as read, the voice to speak in, and why what was done."""

    turn: Turn
    voice: Voice
    reasons: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)

    def answer(self, text: str, decision: Decision, **rest: object) -> Answer:
        latency_ms = round((time.perf_counter() - self.started) * 1000)
        made = Answer(text, decision, reasons=tuple(self.reasons), latency_ms=latency_ms)
        return replace(made, **rest)  # type: ignore[arg-type]


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
        profile: Profile,
        engine: Engine | None = None,
        actions: Actions | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._knowledge = knowledge
        self._profile = profile
        self._engine = engine
        self._actions = actions or Actions()
        self._limits = limits or Limits()

    async def run(self, turn: Turn) -> AsyncGenerator[Event]:
        """`Meta`, then the text in `Delta`s, then `Done`; all deltas joined are the text of `Done.answer`.

        Closing the iterator stops the work. Raises only what the knowledge base raises when it cannot search.
        """
        course = _Course(replace(turn, text=readable(turn.text)), self._profile.voice(turn.language))
        decided = await self._decide(course)
        if isinstance(decided, _ToWrite):
            async with aclosing(self._write(course, decided)) as events:
                async for event in events:
                    yield event
            return
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

    async def _decide(self, course: _Course) -> Answer | _ToWrite:
        turn, voice = course.turn, course.voice
        if not turn.text:
            course.reasons.append("input: empty")
            return course.answer(voice.empty(), "refuse")
        characters = len(turn.text)
        if characters > self._limits.question_characters_max:
            course.reasons.append(f"input: {characters} characters")
            return course.answer(voice.too_long(characters, self._limits.question_characters_max), "refuse")
        waiting = tracker.active_loop(turn.events)
        for step in (self._continue_loop, self._take_choice):
            answer = await step(course)
            if answer is not None:
                return answer
        result = await self._knowledge.search(turn.text, channel=turn.channel)
        if answer := await self._reply_without_search(course, result):
            return answer
        found = policy.plan(result, self._knowledge, self._limits)
        course.reasons.append(found.reason)
        if waiting:
            course.reasons.append(f"loop: {waiting} waits no longer")
        return await self._carry_out(course, found, result)

    async def _continue_loop(self, course: _Course) -> Answer | None:
        """An action waits for this message, unless the customer wants something else."""
        turn = course.turn
        name = tracker.active_loop(turn.events)
        if name is None:
            return None
        if small_talk(turn.text) == "cancel":
            course.reasons.append(f"loop: {name} cancelled")
            events = (*turn.events, {"event": "active_loop", "name": None, "timestamp": time.time()})
            return course.answer(course.voice.small_talk("cancel"), "chitchat", events=tracker.kept(events))
        if small_talk(turn.text) or wants_person(turn.text) or abusive(turn.text):
            return None
        course.reasons.append(f"loop: {name}")
        return await self._act(course, name, None, loop=name)

    async def _take_choice(self, course: _Course) -> Answer | None:
        """The message picks one of the questions offered in the reply before it."""
        last = next((u for u in reversed(course.turn.history) if u.role in ("bot", "human")), None)
        if last is None or not last.suggestions or last.decision not in ("clarify", None):
            return None
        index = chosen(course.turn.text, last.suggestions)
        if index is None:
            if last.decision == "clarify" and chose_none(course.turn.text):
                course.reasons.append("choice: none of them")
                return course.answer(course.voice.not_among(), "handoff")
            return None
        course.reasons.append(f"choice: {index + 1} of {len(last.suggestions)}")
        channel = course.turn.channel
        entry = self._knowledge.entry(last.options[index], channel) if index < len(last.options) else None
        if entry is None:
            result = await self._knowledge.search(last.suggestions[index], channel=channel)
            entry = policy.word_for_word(last.suggestions[index], result, self._knowledge)
        return await self._answer_with(course, entry, 1.0, 1.0) if entry else None

    async def _reply_without_search(self, course: _Course, result: SearchResult) -> Answer | None:
        """Small talk, abuse and wishes for a person, unless the company has an entry with these very words."""
        text = course.turn.text
        kind, person, abuse = small_talk(text), wants_person(text), abusive(text)
        if not (kind or person or abuse):
            return None
        if entry := policy.word_for_word(text, result, self._knowledge):
            course.reasons.append(f"search: word for word, top={entry.id}")
            return await self._answer_with(course, entry, 1.0, 1.0)
        if person:
            course.reasons.append("person: asked for")
            return course.answer(course.voice.person(), "handoff")
        if abuse:
            course.reasons.append("abuse: no question in it")
            return course.answer(course.voice.apology(), "handoff")
        assert kind is not None  # noqa: S101
        course.reasons.append(f"small talk: {kind}")
        return course.answer(course.voice.small_talk(kind), "chitchat")

    async def _carry_out(self, course: _Course, found: Plan, result: SearchResult) -> Answer | _ToWrite:
        score, probability = result.score, result.probability
        if found.step == "answer":
            if answer := await self._answer_with(course, found.entries[0], score, probability):
                return answer
        elif found.step == "clarify":
            scores = {hit.id: hit.score for hit in result.hits}
            sources = tuple(policy.entry_source(e, scores.get(e.id, 0.0)) for e in found.entries)
            return course.answer(
                course.voice.clarify(len(sources)), "clarify", sources=sources, score=score, probability=probability,
                suggestions=tuple(source.title for source in sources),
            )  # fmt: skip
        elif found.step == "passages":
            return _ToWrite(found.sources, result)
        return course.answer(course.voice.no_answer(), "handoff", score=score, probability=probability)

    async def _answer_with(self, course: _Course, entry: Entry, score: float, probability: float) -> Answer | None:
        """An entry's own words, or its action; None where it has neither."""
        if entry.action:
            return await self._act(course, entry.action, entry, probability=probability, score=score)
        if not entry.answer.strip():
            course.reasons.append(f"entry: {entry.id} has no answer")
            return None
        source = policy.entry_source(entry, score)
        return course.answer(entry.answer, "answer", sources=(source,), score=score, probability=probability)

    async def _act(
        self,
        course: _Course,
        name: str,
        entry: Entry | None,
        *,
        loop: str | None = None,
        probability: float = 0.0,
        score: float = 0.0,
    ) -> Answer | None:
        """An action's reply; None where the action says that the message is not for it and nothing else asked it."""
        kept = {"score": score, "probability": probability}
        try:
            result = await self._actions.run(
                name, course.turn, intent=entry.id if entry else "", probability=probability, loop=loop
            )
            text = result.text or (entry.answer if entry else "")
            if not text.strip() and not result.image_url and not result.custom:
                raise ActionError("action_nonsense", name, "no response")
        except ActionRejectedError:
            course.reasons.append(f"action: {name} rejected the message")
            return None
        except ActionError as error:
            log.warning("action %s", error)
            course.reasons.append(f"action: {name} {error.code}")
            return course.answer(course.voice.action_failed(), "handoff", **kept)
        course.reasons.append(f"action: {name}")
        return course.answer(
            text, "action", suggestions=result.suggestions, image_url=result.image_url, custom=result.custom,
            slots=result.slots, events=result.events, **kept,
        )  # fmt: skip

    async def _write(self, course: _Course, todo: _ToWrite) -> AsyncGenerator[Event]:
        """Writes from the sources; quotes the best one where that fails before anything was shown."""
        limits, sources = self._limits, todo.sources
        kept = {"score": todo.result.score, "probability": todo.result.probability}
        if self._engine is None:
            course.reasons.append("generation: off")
            for event in self._quoted(course, sources[0], kept):
                yield event
            return
        writing = Writing(
            self._engine, course.turn.text, [(s.title, s.quote) for s in sources], course.voice.company,
            limits.generate_tokens_max, course.turn.model, course.turn.conversation_id,
            limits.first_piece_seconds, limits.generation_seconds,
        )  # fmt: skip
        async with aclosing(writing.text()) as pieces:
            async for piece in pieces:
                if len(piece) == len(writing.written):
                    yield Meta("generate", sources)
                yield Delta(piece)
        course.reasons.append(f"generation: {writing.stopped or 'done'}, {writing.completion_tokens} tokens")
        kept |= {"prompt_tokens": writing.prompt_tokens, "completion_tokens": writing.completion_tokens}
        if not writing.written:
            for event in self._quoted(course, sources[0], kept):
                yield event
            return
        text = writing.written
        if writing.stopped and writing.stopped != "no_answer":
            more = course.voice.more(sources[0].title, shortened(sources[0].quote, QUOTE_TOKENS_MAX))
            yield Delta(more)
            text += more
        yield Done(course.answer(text, "generate", sources=sources, generated=True, **kept))

    def _quoted(self, course: _Course, source: Source, kept: dict[str, float]) -> tuple[Event, ...]:
        text = course.voice.quote(source.title, shortened(source.quote, QUOTE_TOKENS_MAX))
        answer = course.answer(text, "answer", sources=(source,), **kept)
        return Meta("answer", (source,)), Delta(text), Done(answer)


def readable(text: str) -> str:
    """The text without what cannot be stored or shown: control characters, lone surrogates, blanks around it."""
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(c for c in whole if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs")).strip()
