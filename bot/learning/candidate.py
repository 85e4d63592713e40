"""Another encoder with its own index beside the one that answers: the same questions, searched by both."""

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.dialogue import policy
from bot.dialogue.context.reading import in_context
from bot.dialogue.policy import Knowledge, Limits
from bot.dialogue.types import Turn
from bot.errors import StoppingError
from bot.served import Served
from knowledge.types import SearchResult, TextKind

if TYPE_CHECKING:
    from bot.knowledge_base import KnowledgeBase
    from knowledge.index import Index
    from knowledge.types import Encoder

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Decided:
    """What a question comes to: answer, clarify, passages or nothing, and the first entry or document of it."""

    step: str
    entry: str | None
    title: str

    def to_json(self) -> dict[str, Any]:
        return {"decision": self.step, "entry": self.entry, "title": self.title}


async def decide(turn: Turn, knowledge: Knowledge, limits: Limits) -> Decided:
    """How a turn would be answered from what is found, without acting, writing or remembering anything."""
    found = await knowledge.search(turn.text, channel=turn.channel)
    reading = await in_context(turn, found, knowledge)
    if reading.entry:
        return Decided("answer", reading.entry.id, reading.entry.question)
    plan = policy.plan(reading.found, knowledge, limits)
    if plan.entries:
        return Decided(plan.step, plan.entries[0].id, plan.entries[0].question)
    if plan.sources:
        return Decided(plan.step, plan.sources[0].document_id, plan.sources[0].title)
    return Decided(plan.step, None, "")


_NUMBERS = itertools.count()


def encoding_ms(encoder: "Encoder", text: str) -> float:
    """How long a question takes to encode. Each time another one: what was asked is remembered, and costs nothing."""
    another = f"{next(_NUMBERS)} {text}"
    started = time.perf_counter()
    encoder.encode([another])
    return (time.perf_counter() - started) * 1000


class View:
    """A `Knowledge` of what the live knowledge base serves, found in an index of choice; not measured."""

    def __init__(self, knowledge_base: "KnowledgeBase", index: "Callable[[], Index]") -> None:
        self._knowledge_base = knowledge_base
        self._index = index
        self.entry, self.passage = knowledge_base.entry, knowledge_base.passage

    def expect(self, query: str) -> None:
        """Nothing is encoded ahead: nobody waits."""

    async def search(self, query: str, k: int = 10, *, channel: str | None = None) -> SearchResult:
        return (await self.search_all([query], k, channel=channel))[0]

    async def search_all(
        self, queries: Sequence[str], k: int = 10, *, channel: str | None = None
    ) -> list[SearchResult]:
        return await self._knowledge_base.search_in(self._index(), queries, k, channel=channel)

    async def alike(self, query: str, texts: Sequence[str], kind: TextKind) -> list[float]:
        return await asyncio.to_thread(self._index().alike, query, texts, kind)


class Candidate:
    """An encoder and index beside the served ones, of which nothing is touched; `view` finds with it.

    Its vectors lie in a snapshot of their own, so that a release of this adapter later needs no encoding.
    """

    def __init__(self, knowledge_base: "KnowledgeBase", served: Served, revision: int) -> None:
        self._knowledge_base = knowledge_base
        self._served = served
        self._revision = revision
        self._encoding: asyncio.Future[int] | None = None
        self._stopped = False
        self.view = View(knowledge_base, lambda: served.index)

    @classmethod
    async def open(cls, knowledge_base: "KnowledgeBase", folder: Path) -> "Candidate":
        """The adapter's encoder, its index without the vectors that are not known yet. Raises what loading raises."""
        opening = asyncio.ensure_future(knowledge_base.beside(folder, "none"))
        try:
            return cls(knowledge_base, *await asyncio.shield(opening))
        except asyncio.CancelledError:  # the thread goes on until it has the model
            opening.add_done_callback(_close_unused)
            raise

    @property
    def encoder(self) -> "Encoder":
        return self._served.encoder

    async def keep_in_step(self, on_progress: OnProgress | None = None) -> None:
        """Take over what was written meanwhile, and encode what lacks its vector; half the time is left to customers.

        Raises EncoderError, and StoppingError once it is being closed.
        """
        if self._revision != self._knowledge_base.revision:
            self._revision = (await self._knowledge_base.bring_in_step(self._served, self._revision)).revision
        index, done = self._served.index, 0
        while index.lacking:
            started = time.monotonic()
            self._encoding = asyncio.ensure_future(asyncio.to_thread(index.encode_some))
            done += await asyncio.shield(self._encoding)
            if self._stopped:
                raise StoppingError
            if on_progress:
                on_progress(done, done + index.lacking)
            await asyncio.sleep(time.monotonic() - started)
        if done:
            await asyncio.to_thread(self._served.save)

    async def close(self) -> None:
        """Save what is encoded and let go of it, once the batch under way is done."""
        self._stopped = True
        if self._encoding:
            await asyncio.wait({self._encoding})
        await asyncio.to_thread(self._served.save_and_close)


def _close_unused(opening: "asyncio.Future[tuple[Served, int]]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result()[0].index.close()
