"""The shadow: a candidate encoder answers a share of the live questions after the customer has their reply.

What it would have said is recorded beside what the active one would have, and never shown. Which candidate that is
stands in the database, so that it goes on after a restart; see `bot.storage.shadows`.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bot.dialogue import tracker
from bot.dialogue.policy import Limits
from bot.dialogue.types import Answer, Turn
from bot.errors import StoppingError, sentence
from bot.learning.candidate import Candidate, View, decide, encoding_ms
from bot.security.redaction import mask
from bot.storage import shadows
from bot.storage.shadows import Compared

if TYPE_CHECKING:
    from bot.config import Settings
    from bot.knowledge_base import KnowledgeBase
    from bot.storage.database import Database

# Questions that wait for the candidate; what comes beyond is passed over and counted.
WAITING_MAX = 16
# More turns than this under way: customers go first.
TURNS_MAX = 1
PATIENCE_SECONDS, LOOK_SECONDS = 5.0, 0.2
# So many answers are written at once, and none later than this.
WRITTEN_AT_ONCE, WRITE_SECONDS = 16, 5.0
SEARCHED = "search: "

log = logging.getLogger("kefu.shadow")


@dataclass(frozen=True, slots=True)
class _Asked:
    message_id: str
    turn: Turn


class Shadow:
    """One per service. `follow` brings it in step with the database; `offer` is told of every answered turn.

    `turns` says how many turns are under way.
    """

    def __init__(
        self, database: "Database", settings: "Settings", knowledge_base: "KnowledgeBase", turns: Callable[[], int]
    ) -> None:
        self._database = database
        self._settings = settings
        self._knowledge_base = knowledge_base
        self._live = View(knowledge_base, lambda: knowledge_base.served.index)
        self._turns = turns
        self._limits = Limits.of(settings)
        self._waiting: asyncio.Queue[_Asked] = asyncio.Queue(WAITING_MAX)
        self._one_at_a_time = asyncio.Lock()
        self._serving: shadows.Shadow | None = None
        self._candidate: Candidate | None = None
        self._work: asyncio.Task[None] | None = None
        self._missed = 0
        self.progress: tuple[int, int] | None = None
        self.answering = False

    async def follow(self, _value: int = 0) -> None:
        """Begin, go on or end as the database has it. Fits `Watcher.register("adapters", …)`."""
        async with self._one_at_a_time:
            async with self._database.reading() as session:
                wanted = await shadows.running(session)
            now = self._serving
            if (wanted and wanted.id) == (now and now.id):
                return
            await self._stop()
            if wanted:
                self._serving = wanted
                self._work = asyncio.create_task(self._serve(wanted), name="shadow")

    async def step_aside(self) -> None:
        """Let go of the candidate's index: it is about to be served. `follow` comes back to what is left to do."""
        async with self._one_at_a_time:
            await self._stop()

    async def close(self) -> None:
        async with self._one_at_a_time:
            await self._stop()

    def offer(self, message_id: str, turn: Turn, answer: Answer) -> None:
        """Maybe ask the candidate, too. Returns at once; what was not decided by the search is none of its business."""
        serving = self._serving
        if serving is None or not self.answering or tracker.active_loop(turn.events):
            return
        searched = any(reason.startswith(SEARCHED) for reason in answer.reasons)
        if not searched or random.random() >= serving.share:  # noqa: S311 - a sample, no secret
            return
        try:
            self._waiting.put_nowait(_Asked(message_id, turn))
        except asyncio.QueueFull:
            self._missed += 1

    async def _stop(self) -> None:
        work, self._work = self._work, None
        if work:
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work
        self._serving, self.answering, self.progress = None, False, None
        await self._close_candidate()
        while not self._waiting.empty():
            self._waiting.get_nowait()

    async def _close_candidate(self) -> None:
        candidate, self._candidate = self._candidate, None
        if candidate:
            await candidate.close()

    async def _serve(self, shadow: shadows.Shadow) -> None:
        """Load, encode, then answer until enough was asked; the memory is given back then."""
        from bot.learning.releases import check_usable

        try:
            async with self._database.reading() as session:
                left = shadow.questions_max - await shadows.asked(session, shadow.id)
            if left > 0:
                await asyncio.to_thread(check_usable, self._settings, shadow.adapter, "encoder")
                folder = self._settings.data / "adapters" / shadow.adapter
                self._candidate = await Candidate.open(self._knowledge_base, folder)
                await self._candidate.keep_in_step(self._note)
                self.progress, self.answering = None, True
                log.info("%s answers in the shadow, %d questions to go", shadow.adapter, left)
                await self._answer(shadow, self._candidate, left)
                self.answering = False
                await self._close_candidate()
        except StoppingError:
            return
        except Exception as problem:
            log.exception("%s cannot answer in the shadow", shadow.adapter)
            self.answering, self.progress = False, None
            await self._close_candidate()
            error = {"zh": sentence(problem, "zh"), "en": sentence(problem, "en")}
            async with self._database.session() as session:
                await shadows.end(session, "failed", "system", error, only=shadow.adapter)

    def _note(self, done: int, total: int) -> None:
        self.progress = done, total

    async def _answer(self, shadow: shadows.Shadow, candidate: Candidate, left: int) -> None:
        found: list[Compared] = []
        while left > 0:
            asked = None
            with suppress(TimeoutError):
                async with asyncio.timeout(WRITE_SECONDS):
                    asked = await self._waiting.get()
            if asked and (one := await self._compare(candidate, asked)):
                found.append(one)
            enough = len(found) >= min(left, WRITTEN_AT_ONCE)
            if (found or self._missed) and (enough or self._waiting.empty()):
                async with self._database.session() as session:
                    await shadows.add(session, shadow.id, found, self._missed)
                left -= len(found)
                found, self._missed = [], 0

    async def _compare(self, candidate: Candidate, asked: _Asked) -> Compared | None:
        """Both encoders on one question; None where customers kept the service busy all the while."""
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE_SECONDS
        while self._turns() > TURNS_MAX:
            if loop.time() > until:
                self._missed += 1
                return None
            await asyncio.sleep(LOOK_SECONDS)
        turn = asked.turn
        active = await decide(turn, self._live, self._limits)
        question = mask(turn.text).text
        try:
            await candidate.keep_in_step()
            other = await decide(turn, candidate.view, self._limits)
            mine = await asyncio.to_thread(encoding_ms, candidate.encoder, turn.text)
        except StoppingError:
            raise
        except Exception as problem:  # noqa: BLE001 - it is what is looked for
            said = f"{type(problem).__name__}: {sentence(problem, 'zh')}"
            return Compared(asked.message_id, question, same=False, active=active.to_json(), candidate={}, error=said)
        theirs = await asyncio.to_thread(encoding_ms, self._knowledge_base.served.encoder, turn.text)
        same = (active.step, active.entry) == (other.step, other.entry)
        return Compared(
            asked.message_id, "" if same else question, same, active.to_json(), other.to_json(), theirs, mine
        )

    def state(self, shadow: shadows.Shadow, asked: int) -> str:
        """`preparing`, `answering`, `enough`, or how it ended."""
        if shadow.outcome:
            return shadow.outcome
        if asked >= shadow.questions_max:
            return "enough"
        return "answering" if self.answering else "preparing"


async def report(database: "Database", shadow: Shadow) -> dict[str, Any] | None:
    """The last candidate with its figures as the API shows it; None where there never was one."""
    from bot.storage.values import iso

    async with database.reading() as session:
        newest = await shadows.newest(session)
        if newest is None:
            return None
        figures = await shadows.figures(session, newest.id)
    kept = ("id", "adapter", "against", "share", "questions_max", "missed", "error", "started_by", "ended_by")
    return {
        **{name: getattr(newest, name) for name in kept},
        **figures,
        "state": shadow.state(newest, figures["asked"]),
        "progress": shadow.progress if newest.outcome is None else None,
        "started_at": iso(newest.started_at),
        "ended_at": iso(newest.ended_at),
    }
