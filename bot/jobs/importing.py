"""The job that imports an uploaded file and waits until it can be searched."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.conflicts import conflicting
from bot.importing import ITEMS_MAX, ImportReport, import_file
from bot.jobs.context import JobCancelledError, JobContext
from bot.jobs.queue import JobQueue
from bot.knowledge_base import KnowledgeBase
from bot.near_duplicates import warned
from bot.storage import jobs
from bot.storage.database import Database

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

KIND = "import"
INDEX_SECONDS_MAX = 3600.0
PROGRESS_SECONDS = 0.3


def register(queue: JobQueue, database: Database, knowledge_base: KnowledgeBase, data: Path) -> None:
    """Teach the queue this kind. Its parameters: path (of the upload), name, replaces, dry_run, actor.

    Cancelled while the file is read, the process that reads it is ended and nothing is written. What is written stays:
    the job then ends as done, and only its warnings may be missing, as they are where its process was killed then.
    """

    async def work(job: JobContext) -> dict[str, Any]:
        params = job.params
        incoming = Path(params["path"])
        if (stored := await _stored(database, job)) is not None:
            await _follow(job, knowledge_base, stored.pop("revision"))
            await asyncio.to_thread(incoming.unlink, missing_ok=True)
            return stored
        await job.progress(0, 0, "reading")

        async def keep(session: "AsyncSession", report: ImportReport) -> None:
            written = report.to_json(ITEMS_MAX) | {"revision": report.revision}
            await jobs.keep_result(session, job.id, written)

        try:
            report = await job.unless_cancelled(
                import_file(
                    database,
                    incoming,
                    params["name"],
                    data / "uploads",
                    replaces=params.get("replaces"),
                    dry_run=bool(params.get("dry_run")),
                    isolated=True,
                    actor=params.get("actor", "system"),
                    created_by=job.created_by,
                    on_stored=keep,
                )
            )
        except Exception:
            await asyncio.to_thread(incoming.unlink, missing_ok=True)
            raise
        if report.revision:
            await _follow(job, knowledge_base, report.revision)
        (report,) = await conflicting(database, [report])
        with suppress(JobCancelledError):
            report = await _warn(job, knowledge_base, report)
        await asyncio.to_thread(incoming.unlink, missing_ok=True)  # last: until here it can be run again
        if report.dry_run:
            job.check()
        return report.to_json(ITEMS_MAX)

    queue.register(KIND, work, lane="imports", resumable=True)


async def _stored(database: Database, job: JobContext) -> dict[str, Any] | None:
    """What an earlier run of this job wrote before its process ended: it is not imported, nor counted, again."""
    async with database.reading() as session:
        return await jobs.kept_result(session, job.id)


async def _warn(job: JobContext, knowledge_base: KnowledgeBase, report: ImportReport) -> ImportReport:
    def tell(done: int, total: int, note: str = "") -> None:
        job.check()
        job.progress_from_thread(done, total, note or "matching")

    (found,) = await warned([report], knowledge_base, tell)
    return found


async def _follow(job: JobContext, knowledge_base: KnowledgeBase, revision: int) -> None:
    """Until the rows can be found by their words, and then by their meaning."""
    await knowledge_base.wait_for(revision, INDEX_SECONDS_MAX)
    while not await knowledge_base.wait_encoded(PROGRESS_SECONDS):
        if knowledge_base.encoding:
            await job.progress(*knowledge_base.encoding, "indexing")
