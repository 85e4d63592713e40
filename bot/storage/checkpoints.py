"""SQLite's log is copied into the database beside the writing, not by whoever commits when it is full.

An automatic checkpoint is done by a commit, which then waits for a thousand scattered pages to reach the disk: 100 to
1,600 ms on a busy one, every second or two under load, and everybody waits with it.

Source: SQLite, "Write-Ahead Logging", "Avoiding Excessively Large WAL Files"; `sqlite3_wal_checkpoint_v2`.
"""

import asyncio
import logging
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

EVERY_SECONDS = 2.0
FRAMES_MAX = 4000  # of one page each: longer, and the log begins anew from its start
BLOCK_MS_MAX = 100
log = logging.getLogger("kefu.storage")


class Checkpoints:
    """Of the database at `path`, from its `begin` to its `close`; its other connections make none by themselves."""

    def __init__(self, path: Path, every: float = EVERY_SECONDS, frames: int = FRAMES_MAX) -> None:
        self._log_file = path.with_name(f"{path.name}-wal")
        self._every, self._frames = every, frames
        self._seen = 0
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for pragma in ("wal_autocheckpoint=0", "synchronous=FULL", f"busy_timeout={BLOCK_MS_MAX}"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._task = asyncio.create_task(self._run(), name="checkpoints")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown(wait=False)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self.make)
            except sqlite3.Error as error:
                log.warning("the database's log cannot be copied into it now: %s", error)

    def make(self) -> None:
        """Copy what is committed. It disturbs nobody; but for a long log, which under steady writing is never copied
        to its end: there the writers wait for the rest, at most `BLOCK_MS_MAX` where a reader holds on to it."""
        try:
            written = self._log_file.stat().st_mtime_ns
        except FileNotFoundError:
            return
        if written == self._seen:
            return
        _, frames, _ = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if frames > self._frames:
            self._connection.execute("PRAGMA wal_checkpoint(RESTART)")
        self._seen = written
