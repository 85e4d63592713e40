"""The job that activates an adapter or rolls back, and ends when this service answers with it."""

import asyncio
from typing import TYPE_CHECKING, Any

from bot.jobs.context import JobContext
from bot.jobs.queue import JobQueue
from bot.learning import releases
from bot.learning.releases import Releases
from bot.storage.database import Database

if TYPE_CHECKING:
    from bot.config import Settings

KIND = "activate"
POLL_SECONDS = 0.2


def register(queue: JobQueue, database: Database, settings: "Settings", release: Releases) -> None:
    """Teach the queue this kind. Parameters: `name` to activate, `override` where its verdict is to be disregarded, or
    `rollback` with a kind; and `actor`.
    """

    async def work(job: JobContext) -> dict[str, Any]:
        params = job.params
        if "rollback" in params:
            kind = releases.as_kind(params["rollback"])
            name = await releases.rollback(database, kind, params["actor"], job.created_by)
        else:
            name = params["name"]
            override = bool(params.get("override"))
            kind = await releases.activate(database, settings, name, params["actor"], job.created_by, override=override)
        following = asyncio.create_task(release.wait_for(kind, name))
        try:
            while not following.done():
                if release.switching:
                    await job.progress(release.switching.done, release.switching.total, "switching")
                await asyncio.wait({following}, timeout=POLL_SECONDS)
            following.result()
        finally:
            following.cancel()  # the service stops
        return {"kind": kind, "name": name}

    # Not resumable: once it is written down what is active, the next start serves it; a rollback must not run twice.
    queue.register(KIND, work, lane="releases", resumable=False)
