"""What a job's work is given: its parameters, a place for progress, and word of being cancelled."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class JobCancelledError(Exception):
    """Raised by work that stopped because it was asked to; the job ends as `cancelled`."""


class JobContext:
    """One running job. `cancelled` is set when somebody asks to stop."""

    def __init__(
        self,
        job_id: str,
        kind: str,
        params: dict[str, Any],
        created_by: str | None,
        tell: Callable[[], Awaitable[None]],
    ) -> None:
        self.id = job_id
        self.kind = kind
        self.params = params
        self.created_by = created_by
        self.cancelled = asyncio.Event()
        self.done = 0
        self.total = 0
        self.note = ""
        self.extra: dict[str, Any] = {}
        self._tell = tell
        self._loop = asyncio.get_running_loop()

    async def progress(self, done: int, total: int, note: str = "", **extra: Any) -> None:
        """Say how far it is; `extra` is merged into the job's. Followers hear at once, the database once a second."""
        self.done, self.total, self.note = done, total, note or self.note
        self.extra.update(extra)
        await self._tell()

    def progress_from_thread(self, done: int, total: int, note: str = "") -> None:
        """The same from another thread: fits `knowledge.types.ProgressCallback`."""
        asyncio.run_coroutine_threadsafe(self.progress(done, total, note), self._loop)

    def check(self) -> None:
        """Raises JobCancelledError where somebody asked to stop: call it where stopping is safe."""
        if self.cancelled.is_set():
            raise JobCancelledError

    async def unless_cancelled(self, work: Coroutine[Any, Any, Result]) -> Result:
        """What `work` returns. Once somebody asks to stop it is cancelled, and JobCancelledError raised; work that came
        to its end all the same has its result.
        """
        task, asked = asyncio.ensure_future(work), asyncio.ensure_future(self.cancelled.wait())
        try:
            await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
            if task.cancelled():
                raise JobCancelledError
            return task.result()
        finally:
            asked.cancel()
            task.cancel()
            await asyncio.gather(task, asked, return_exceptions=True)
