"""An answer written from sources: nothing leaves before its sentence was checked against them."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from bot.dialogue.guard import HELD_CHARACTERS_MAX, Guard, sentences, shown
from bot.dialogue.prompt import NO_ANSWER, NO_ANSWER_EN, grounded_messages
from bot.dialogue.words import WordList
from bot.engines.base import Engine, EngineError, Piece

# What an engine cannot help: it is asked once, and not again.
FINAL = ("engine_", "model_", "prompt_", "withheld_word")
log = logging.getLogger("kefu.dialogue")


@dataclass(slots=True)
class Writing:
    """One grounded generation. After `text()` has ended, the fields say how it went.

    `stopped` names why it ended before the model was done: a failed check, a word of `withheld`, `no_answer`, or the
    engine's error code.
    """

    engine: Engine
    question: str
    sources: Sequence[tuple[str, str]]
    company: str = ""
    tokens_max: int = 200
    model: str | None = None
    user: str = ""
    first_piece_seconds: float = 20.0
    total_seconds: float = 60.0
    withheld: WordList = field(default_factory=WordList)
    language: str = "zh"
    tone: str = ""
    earlier: str = ""
    written: str = ""
    stopped: str = ""
    tries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    _until: float = 0.0

    async def text(self) -> AsyncGenerator[str]:
        """The checked text, whole sentences at a time. Never raises for what the engine does.

        Where nothing of a first reply can be shown, the model is asked once more in another way.
        """
        self._until = asyncio.get_running_loop().time() + self.total_seconds
        texts, titles = [text for _, text in self.sources], [title for title, _ in self.sources]
        guard = Guard(texts, self.question, titles)
        for again in (False, True):
            self.tries += 1
            async with aclosing(self._attempt(guard, again=again)) as pieces:
                async for piece in pieces:
                    yield piece
            if self.written or not self.stopped or self.stopped.startswith(FINAL):
                return

    async def _attempt(self, guard: Guard, *, again: bool) -> AsyncGenerator[str]:
        held, self.stopped, tokens = "", "", self.completion_tokens
        try:
            async with aclosing(self._pieces(again=again)) as pieces:
                async for piece in pieces:
                    held += piece.text
                    whole, held = sentences(held)
                    if len(held) > HELD_CHARACTERS_MAX:
                        self.stopped = "endless_sentence"
                    for sentence in whole:
                        if not self._passes(guard, sentence):
                            return
                        yield self._take(sentence)
                    if self.stopped:
                        return
        except EngineError as error:
            self.stopped = error.code
            return
        except TimeoutError:
            self.stopped = "engine_slow"
            return
        except Exception:
            # Whatever happens inside a model must not cost the customer an answer.
            log.exception("generation failed")
            self.stopped = "engine_failed"
            return
        cut_off = self.completion_tokens - tokens >= self.tokens_max
        if held.strip() and not cut_off and self._passes(guard, held):
            yield self._take(held)
        elif not self.written and not self.stopped:
            self.stopped = "cut_off" if held.strip() else "empty"

    async def _pieces(self, *, again: bool) -> AsyncGenerator[Piece]:
        messages = grounded_messages(
            self.question, self.sources, self.company, language=self.language, tone=self.tone, earlier=self.earlier,
            examples=not self._taught, again=again,
        )  # fmt: skip
        started = asyncio.get_running_loop().time()
        stream = self.engine.generate(messages, max_tokens=self.tokens_max, model=self.model, user=self.user)
        try:
            first = True
            while True:
                deadline = min(self._until, started + self.first_piece_seconds) if first else self._until
                async with asyncio.timeout_at(deadline):
                    piece = await anext(stream, None)
                if piece is None:
                    return
                first = False
                if piece.finished:
                    self.prompt_tokens += piece.prompt_tokens
                    self.completion_tokens += piece.completion_tokens
                yield piece
        finally:
            await stream.aclose()

    @property
    def _taught(self) -> bool:
        """Whether an adapter writes: it has learnt from examples of the company's own."""
        return (self.model or self.engine.active_adapter or self.engine.name) != self.engine.name

    def _passes(self, guard: Guard, sentence: str) -> bool:
        if _says_nothing(sentence):
            self.stopped = "no_answer"
            return False
        if self.withheld.find(sentence):
            self.stopped = "withheld_word"
            return False
        verdict = guard.check(shown(sentence))
        # What follows an answer may be about something else, such as an exception from it.
        goes_on = bool(self.written) and verdict.reason == "beside_the_point"
        self.stopped = "" if goes_on else verdict.reason
        return verdict.ok or goes_on

    def _take(self, sentence: str) -> str:
        text = shown(sentence) if self.written else shown(sentence).lstrip()
        self.written += text
        return text


def _says_nothing(sentence: str) -> bool:
    return NO_ANSWER[-6:] in sentence or NO_ANSWER_EN.casefold() in sentence.casefold()
