"""The job that fits the calibration anew, and the look at what was reviewed or imported that starts it."""

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

from bot.errors import StoppingError
from bot.jobs.context import JobCancelledError, JobContext
from bot.jobs.queue import JobQueue
from bot.learning.recalibration import CASES_MIN, may_use_own_questions, recalibrate
from bot.storage import training

if TYPE_CHECKING:
    from bot.config import Settings
    from bot.knowledge_base import KnowledgeBase
    from bot.storage.database import Database

KIND = "calibrate"
LOOK_SECONDS = 3600.0
FIRST_LOOK_SECONDS = 120.0
LABELS_NEW = 50
# A share: much imported or deleted since makes it another knowledge base.
WORDINGS_NEW = 0.2

log = logging.getLogger("kefu.calibration")


def register(queue: JobQueue, database: "Database", settings: "Settings", knowledge_base: "KnowledgeBase") -> None:
    """Teach the queue this kind. Parameters (what `look` compares): `reviewed`, `wordings`, `adapter`."""

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
        log.info("calibration: %s", report)
        return report

    queue.register(KIND, work, resumable=True)


async def _pass_on(cancelled: asyncio.Event, stop: threading.Event) -> None:
    await cancelled.wait()
    stop.set()


async def look(
    queue: JobQueue, database: "Database", settings: "Settings", knowledge_base: "KnowledgeBase"
) -> str | None:
    """Start the job where there is enough, and enough that is new since it last ran; returns its id."""
    async with database.reading() as session:
        reviewed = await training.reviewed(session)
    adapter, wordings = knowledge_base.adapter, knowledge_base.wordings
    last = next(iter(await queue.newest((KIND,), 1)), None)
    if last and not last.finished:
        return None
    params = {"reviewed": reviewed, "adapter": adapter, "wordings": wordings}
    # Old conversations are deleted in time: fewer labels than before are other labels, too.
    before = last.params if last and last.params["adapter"] == adapter else {"reviewed": 0, "wordings": 0}
    if reviewed >= CASES_MIN:
        wanted = abs(reviewed - before["reviewed"]) >= LABELS_NEW
    elif wordings >= CASES_MIN:
        wanted = abs(wordings - before["wordings"]) >= WORDINGS_NEW * wordings
        wanted = wanted and await asyncio.to_thread(may_use_own_questions, settings, adapter)
    else:
        wanted = False
    return await queue.submit(KIND, params) if wanted else None


async def keep_looking(
    queue: JobQueue, database: "Database", settings: "Settings", knowledge_base: "KnowledgeBase"
) -> None:
    """`look`, once an hour for as long as the service runs; not in its first minutes, which belong to customers."""
    await asyncio.sleep(FIRST_LOOK_SECONDS)
    while True:
        try:
            if knowledge_base.ready:
                await look(queue, database, settings, knowledge_base)
        except Exception:  # the database may be busy; the next look will do
            log.exception("looking for reviewed conversations failed")
        await asyncio.sleep(LOOK_SECONDS if knowledge_base.ready else FIRST_LOOK_SECONDS)
