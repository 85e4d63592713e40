"""The job that looks for questions to review, by itself every hour and when somebody asks."""

import asyncio
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bot.jobs.context import JobContext
from bot.jobs.queue import JobQueue
from bot.learning.mining import mine
from bot.storage import evidence
from bot.storage.values import now

if TYPE_CHECKING:
    from bot.knowledge_base import KnowledgeBase
    from bot.storage.database import Database

KIND = "mine"
LOOK_SECONDS = 3600.0
FIRST_LOOK_SECONDS = 180.0

log = logging.getLogger("kefu.mining")


def register(queue: JobQueue, database: "Database", knowledge_base: "KnowledgeBase") -> None:
    """Teach the queue this kind; it takes no parameters."""

    async def work(job: JobContext) -> dict[str, Any]:
        async def on_progress(done: int, total: int) -> None:
            job.check()
            await job.progress(done, total, "mining")

        report = await mine(database, knowledge_base, on_progress)
        if report.found:
            log.info("mined: %s", report)
        return asdict(report)

    queue.register(KIND, work, resumable=True)


async def submit(queue: JobQueue, person: str | None = None) -> str:
    """Start looking, or join who does; returns the job's id."""
    last = next(iter(await queue.newest((KIND,), 1)), None)
    return last.id if last and not last.finished else await queue.submit(KIND, {}, person)


async def keep_looking(queue: JobQueue, database: "Database", knowledge_base: "KnowledgeBase") -> None:
    """Look once an hour where customers said anything; not in the first minutes, which belong to them."""
    await asyncio.sleep(FIRST_LOOK_SECONDS)
    while True:
        try:
            async with database.reading() as session:
                place = await evidence.cursor(session)
                waiting = await evidence.waiting(session, place.seq, now())
            if knowledge_base.ready and waiting:
                await submit(queue)
        except Exception:  # the database may be busy; the next look will do
            log.exception("looking for questions to review failed")
        await asyncio.sleep(LOOK_SECONDS)
