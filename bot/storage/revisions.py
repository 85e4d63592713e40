"""Counters by which processes that share a database learn what moved."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from bot.storage.database import Database
from bot.storage.tables import Revision

POLL_SECONDS = 0.2
OnChange = Callable[[int], Awaitable[None]]

log = logging.getLogger("kefu.storage")


async def bump(session: AsyncSession, name: str) -> int:
    """Raise a counter in this transaction; returns its new value.

    As one transaction writes at a time, revisions are committed in the order of their numbers.
    """
    statement = (
        insert(Revision)
        .values(name=name, value=1)
        .on_conflict_do_update(index_elements=[Revision.name], set_={"value": Revision.value + 1})
        .returning(Revision.value)
    )
    return int((await session.execute(statement)).scalar_one())


async def read(session: AsyncSession) -> dict[str, int]:
    """Every counter; one that never moved is absent."""
    return {name: value for name, value in (await session.execute(select(Revision.name, Revision.value))).tuples()}


class Watcher:
    """Calls back when a counter moved, in this process or another, within `interval_seconds`."""

    def __init__(self, database: Database, interval_seconds: float = POLL_SECONDS) -> None:
        self._database = database
        self._interval_seconds = interval_seconds
        self._callbacks: dict[str, list[OnChange]] = {}
        self._seen: dict[str, int] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def register(self, name: str, callback: OnChange) -> None:
        """`callback(value)` runs at each move of the counter `name`, one at a time; moves in between are joined."""
        self._callbacks.setdefault(name, []).append(callback)

    def nudge(self) -> None:
        """Look now: for a write of this process. Call it after the transaction is committed."""
        self._wake.set()

    async def start(self) -> None:
        """Begin watching; what is there now counts as seen."""
        async with self._database.reading() as session:
            self._seen = await read(session)
        self._task = asyncio.create_task(self._watch(), name="revisions")

    async def close(self) -> None:
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _watch(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._interval_seconds)
            self._wake.clear()
            try:
                async with self._database.reading() as session:
                    current = await read(session)
            except SQLAlchemyError:
                log.exception("revisions cannot be read")
                continue
            for name, value in current.items():
                if self._seen.get(name) != value and await self._call(name, value):
                    self._seen[name] = value

    async def _call(self, name: str, value: int) -> bool:
        """Whether every callback went well; where one failed the change is told again at the next look."""
        well = True
        for callback in self._callbacks.get(name, []):
            try:
                await callback(value)
            except Exception:  # one follower's failure must not stop the others
                log.exception("following a change of %s failed", name)
                well = False
        return well
