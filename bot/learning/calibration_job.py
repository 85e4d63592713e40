"""The job that fits the calibration anew from reviewed conversations, and the look that starts it."""

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

from bot.errors import StoppingError
from bot.jobs.context import JobCancelledError, JobContext
from bot.jobs.queue import JobQueue
from bot.learning.recalibration import CASES_MIN, recalibrate
from bot.storage import training

if TYPE_CHECKING:
    from bot.config import Settings
    from bot.knowledge_base import KnowledgeBase
    from bot.storage.database import Database

KIND = "calibrate"
LOOK_SECONDS = 3600.0
LABELS_NEW = 50

log = logging.getLogger("kefu.calibration")


def register(queue: JobQueue, database: "Database", settings: "Settings", knowledge_base: "KnowledgeBase") -> None:
    """Teach the queue this kind. Parameters (what `look` compares): `reviewed` and `adapter`."""

    async def work(job: JobContext) -> dict[str, Any]:
        stop = threading.Event()
        watching = asyncio.create_task(_pass_on(job.cancelled, stop))
        try:
            report = await recalibrate(database, settings, knowledge_base, job.progress_from_thread, stop)
        except StoppingError:
            raise JobCancelledError from None
        finally:
            stop.set()
            watching.cancel()
        log.info("calibration from reviewed conversations: %s", report)
        return report

    queue.register(KIND, work, resumable=True)


async def _pass_on(cancelled: asyncio.Event, stop: threading.Event) -> None:
    await cancelled.wait()
    stop.set()


async def look(queue: JobQueue, database: "Database", knowledge_base: "KnowledgeBase") -> str | None:
    """Start the job where enough was reviewed since it last ran, or another encoder is served; returns its id."""
    async with database.reading() as session:
        reviewed = await training.reviewed(session)
    if reviewed < CASES_MIN:
        return None
    last = next(iter(await queue.newest((KIND,), 1)), None)
    if last and not last.finished:
        return None
    params = {"reviewed": reviewed, "adapter": knowledge_base.adapter}
    # Old conversations are deleted in time: fewer labels than before are other labels, too.
    if last and last.params["adapter"] == params["adapter"] and abs(reviewed - last.params["reviewed"]) < LABELS_NEW:
        return None
    return await queue.submit(KIND, params)


async def keep_looking(queue: JobQueue, database: "Database", knowledge_base: "KnowledgeBase") -> None:
    """`look`, once an hour, for as long as the service runs."""
    while True:
        try:
            if knowledge_base.ready:
                await look(queue, database, knowledge_base)
        except Exception:  # the database may be busy; the next look will do
            log.exception("looking for reviewed conversations failed")
        await asyncio.sleep(LOOK_SECONDS if knowledge_base.ready else 1.0)
