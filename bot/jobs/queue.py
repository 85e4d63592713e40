"""The queue of background work: persistent, with progress, cancel, and going on after kill -9."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import psutil

from bot.errors import DiskFullError, NotFoundError, sentence
from bot.jobs.context import JobCancelledError, JobContext
from bot.storage import jobs
from bot.storage.database import Database
from bot.storage.jobs import Job

BEAT_SECONDS = 1.0
POLL_SECONDS = 0.5
# For what another process queued; a job of this one wakes its lane.
LOOK_SECONDS = 2.0
# Longer than any pause of a healthy process: the owner is on another machine, so nothing but silence tells.
SILENT_SECONDS = 60.0

Work = Callable[[JobContext], Awaitable[dict[str, Any] | None]]
log = logging.getLogger("kefu.jobs")


@dataclass(frozen=True, slots=True)
class _Kind:
    work: Work
    lane: str
    resumable: bool


def this_process() -> str:
    """Names this process so that another can see whether it still lives: machine, process id, its start time."""
    process = psutil.Process()
    return f"{socket.gethostname()[:32]}:{process.pid}:{process.create_time():.0f}"


def is_alive(owner: str | None) -> bool | None:
    """Whether the process that owns a job lives; None where it is on another machine and cannot be seen."""
    host, _, rest = (owner or "").partition(":")
    if host != socket.gethostname()[:32]:
        return None
    number, _, started = rest.partition(":")
    try:
        return abs(psutil.Process(int(number)).create_time() - float(started)) < 2
    except (psutil.Error, ValueError):
        return False


class JobQueue:
    """Runs jobs, one at a time in each lane. Register the kinds, then `start()`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._owner = this_process()
        self._kinds: dict[str, _Kind] = {}
        self._running: dict[str, JobContext] = {}
        self._wake: dict[str, asyncio.Event] = {}
        self._changed = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False

    def register(self, kind: str, work: Work, *, lane: str | None = None, resumable: bool = False) -> None:
        """`work(job)` does jobs of this kind and returns their result. Kinds of one lane wait for each other.

        A `resumable` kind may be run again from its parameters after the process died in the middle of it.
        """
        self._kinds[kind] = _Kind(work, lane or kind, resumable)

    async def start(self) -> None:
        """Take over what dead processes left, and begin to work."""
        await self._take_over()
        for lane in {one.lane for one in self._kinds.values()}:
            self._wake[lane] = asyncio.Event()
            self._tasks.append(asyncio.create_task(self._work(lane), name=f"jobs {lane}"))
        self._tasks.append(asyncio.create_task(self._watch(), name="jobs watch"))

    async def close(self) -> None:
        """Stop working; what is unfinished and resumable goes back into the queue."""
        self._closing = True  # the database's driver swallows a cancellation now and then: the loops look here too
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._tell()

    async def submit(self, kind: str, params: dict[str, Any], created_by: str | None = None) -> str:
        """Put a job into the queue; returns its id."""
        async with self._database.session() as session:
            job = await jobs.add(session, kind, params, created_by)
        if kind in self._kinds and (wake := self._wake.get(self._kinds[kind].lane)):
            wake.set()
        return job.id

    async def get(self, job_id: str) -> Job:
        """The job as it is now. Raises NotFoundError."""
        async with self._database.reading() as session:
            job = await jobs.get(session, job_id)
        if job is None:
            raise NotFoundError("job_not_found", f"没有任务 {job_id}", f"There is no job {job_id}")
        context = self._running.get(job_id)
        if context and job.state == "running":  # fresher than what was last written down
            job = replace(job, done=context.done, total=context.total, note=context.note, extra=dict(context.extra))
        return job

    async def newest(self, kinds: tuple[str, ...] = (), limit: int = 50) -> list[Job]:
        """The newest jobs first."""
        async with self._database.reading() as session:
            return await jobs.newest(session, kinds, limit)

    async def cancel(self, job_id: str) -> Job:
        """Ask a job to stop. Raises NotFoundError."""
        async with self._database.session() as session:
            job = await jobs.request_cancel(session, job_id)
        if job is None:
            raise NotFoundError("job_not_found", f"没有任务 {job_id}", f"There is no job {job_id}")
        if context := self._running.get(job_id):
            context.cancelled.set()
        await self._tell()
        return await self.get(job_id)

    async def events(self, job_id: str) -> AsyncIterator[Job]:
        """The job now, then at each change, to its end or until the queue closes. Raises NotFoundError."""
        last = None
        while True:
            job = await self.get(job_id)
            if (shown := job.to_json()) != last:
                last = shown
                yield job
            if job.finished or self._closing:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS), self._changed:
                    await self._changed.wait()

    async def wait(self, job_id: str) -> Job:
        """The job at its end."""
        async for job in self.events(job_id):
            last = job
        return last

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _take_over(self) -> None:
        async with self._database.reading() as session:
            left = [
                job
                for job in await jobs.running(session)
                if job.id not in self._running and is_alive(job.owner) is False
            ]
            left += [job for job in await jobs.running(session, SILENT_SECONDS) if is_alive(job.owner) is None]
        for job in left:
            await self._release(job)

    async def _release(self, job: Job) -> None:
        """After an interruption: run it again where that is safe, else say so."""
        kind = self._kinds.get(job.kind)
        async with self._database.session() as session:
            if job.cancel_requested:
                await jobs.finish(session, job.id, "cancelled")
            elif kind is None or kind.resumable:
                await jobs.requeue(session, job.id)
            else:
                await jobs.finish(session, job.id, "failed", error={
                    "code": "interrupted",
                    "message": "服务在任务完成前停止了，请重新开始",
                    "message_en": "The service stopped before the job was done; start it again",
                })  # fmt: skip

    async def _watch(self) -> None:
        """Every few beats: jobs that other processes queued, and owners that died."""
        while not self._closing:
            await asyncio.sleep(BEAT_SECONDS * 2)
            try:
                await self._take_over()
            except Exception:  # the database may be busy; the next look will do
                log.exception("looking after jobs failed")

    async def _work(self, lane: str) -> None:
        kinds = [kind for kind, one in self._kinds.items() if one.lane == lane]
        while not self._closing:
            try:
                async with self._database.reading() as session:
                    waiting = await jobs.first_queued(session, kinds)
                if waiting and not self._closing:
                    async with self._database.session() as session:
                        job = await jobs.claim(session, kinds, self._owner)
                    if job:
                        await self._run(job)
                        continue
            except Exception:
                log.exception("the worker of %s stumbled", lane)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wake[lane].wait()
            self._wake[lane].clear()

    async def _run(self, job: Job) -> None:
        context = JobContext(job.id, job.kind, dict(job.params), job.created_by, self._tell)
        context.done, context.total, context.note, context.extra = job.done, job.total, job.note, dict(job.extra)
        self._running[job.id] = context
        beating = asyncio.create_task(self._beat(context), name=f"beat {job.id}")
        state, result, error = "failed", None, None
        try:
            result = await self._kinds[job.kind].work(context)
            state = "done"
        except JobCancelledError:
            state = "cancelled"
        except asyncio.CancelledError:
            await asyncio.shield(self._release(job))
            raise
        except Exception as failure:
            # What can be said in a sentence needs no trace: a file that is none, too little to learn from.
            known = hasattr(failure, "zh")
            said = sentence(failure, "en")
            log.log(
                logging.WARNING if known else logging.ERROR,
                "job %s (%s) failed: %s", job.id, job.kind, said, exc_info=None if known else True,
            )  # fmt: skip
            error = {
                "code": getattr(failure, "code", "internal"),
                "message": sentence(failure, "zh"),
                "message_en": sentence(failure, "en"),
            }
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
            if state != "failed" or error:
                await self._finish(context, state, result, error)
            self._running.pop(job.id, None)
            await self._tell()

    async def _finish(
        self, context: JobContext, state: str, result: dict[str, Any] | None, error: dict[str, Any] | None
    ) -> None:
        while True:
            try:
                async with self._database.session() as session:
                    await jobs.beat(
                        session, context.id, self._owner, context.done, context.total, context.note, context.extra
                    )
                    await jobs.finish(session, context.id, state, result, error)
                return
            except DiskFullError:  # or it would seem to run for ever
                log.warning("how job %s ended cannot be written yet: the disk is full", context.id)
                await asyncio.sleep(BEAT_SECONDS)

    async def _beat(self, context: JobContext) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                async with self._database.session() as session:
                    stop = await jobs.beat(
                        session, context.id, self._owner, context.done, context.total, context.note, context.extra
                    )
            except Exception:
                log.exception("the sign of life of job %s could not be written", context.id)
                continue
            if stop:
                context.cancelled.set()


__all__ = ["JobCancelledError", "JobContext", "JobQueue", "Work", "is_alive", "this_process"]
