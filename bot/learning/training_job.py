"""The jobs that train, and that tell what a training would take: as `kefu train`, with their progress in the job."""

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.jobs.context import JobCancelledError, JobContext
from bot.jobs.queue import JobQueue
from bot.learning import forecasting, process, runs
from bot.learning.process import Event
from bot.learning.releases import as_kind
from bot.learning.runs import Prepared
from bot.storage.database import Database
from finetune.errors import FinetuneError

if TYPE_CHECKING:
    from bot.config import Settings

KIND, FORECAST = "train", "train-forecast"


def register(queue: JobQueue, database: Database, settings: "Settings") -> None:
    """Teach the queue this kind. Parameters: `kind` encoder or generator, `options`, and `actor`; or `source`, a file
    with an adapter that was trained elsewhere, which is compared and taken away.
    """

    async def work(job: JobContext) -> dict[str, Any]:
        run = await _run_of(job, database, settings)
        kind = run.name.partition("-")[0]
        await job.progress(0, job.total, "loading", run={"name": run.name, "kind": kind})
        loop = asyncio.get_running_loop()
        told: set[asyncio.Task[None]] = set()
        notes = _Notes(job)

        def on_event(event: Event) -> None:
            task = loop.create_task(notes.take(event))
            told.add(task)
            task.add_done_callback(told.discard)

        try:
            result = await process.carry_out(run, on_event, job.cancelled)
        except FinetuneError as error:
            if error.code == "training_stopped":
                raise JobCancelledError from error
            raise
        await runs.register(database, result["manifest"], job.params.get("actor", "system"))
        return {key: value for key, value in result.items() if key != "manifest"}

    async def look_ahead(job: JobContext) -> dict[str, Any]:
        await job.progress(0, 0, "loading")
        kind, options = as_kind(job.params["kind"]), job.params.get("options") or {}
        try:
            return await forecasting.forecast(database, settings, kind, options, cancelled=job.cancelled)
        except FinetuneError as error:
            if error.code == "training_stopped":
                raise JobCancelledError from error
            raise

    queue.register(KIND, work, lane="training", resumable=True)
    queue.register(FORECAST, look_ahead, lane="training", resumable=False)


async def _run_of(job: JobContext, database: Database, settings: "Settings") -> Prepared:
    """The run this job had begun before the process died, else a new one (or an interrupted one of the same data)."""
    begun = job.extra.get("run")
    if begun:
        folder = runs.runs_dir(settings) / Path(begun["name"]).name
        if (folder / runs.CONTEXT).is_file():
            return Prepared(folder.name, folder, resumed=True, summary=runs.Context.read(folder).summary)
    await job.progress(0, 0, "preparing")
    if source := job.params.get("source"):
        try:
            return await runs.prepare_import(database, settings, Path(source))
        finally:
            await asyncio.to_thread(Path(source).unlink, missing_ok=True)
    return await runs.prepare(database, settings, as_kind(job.params["kind"]), job.params.get("options") or {})


class _Notes:
    """What the worker tells, in the job: done and total are steps of training, also while it compares."""

    def __init__(self, job: JobContext) -> None:
        self._job, self._phase_began = job, time.monotonic()

    async def take(self, event: Event) -> None:
        with suppress(KeyError):
            match event["event"]:
                case "progress":
                    kept = ("loss", "rate", "unit", "eta_seconds", "learning_rate", "step", "heldout")
                    extra = {key: event[key] for key in kept if key in event}
                    await self._job.progress(event["step"], event["total"], "training", phase="training", **extra)
                case "forecast":
                    extra = {"eta_seconds": event["seconds"], "memory_bytes": event["memory_bytes"]}
                    await self._job.progress(0, event["steps"], "training", phase="training", **extra)
                case "phase":
                    self._phase_began = time.monotonic()
                    await self._still(event["phase"], eta_seconds=None)
                case "comparing":
                    done, total = event["done"], event["total"]
                    left = (time.monotonic() - self._phase_began) * (total - done) / done if done else None
                    await self._still("comparing", compared=done, to_compare=total, eta_seconds=left)

    async def _still(self, phase: str, **extra: Any) -> None:
        await self._job.progress(self._job.done, self._job.total, phase, phase=phase, **extra)
