"""Counters by which processes that share a database learn what moved."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from bot.errors import StorageError
from bot.storage.database import Database
from bot.storage.tables import Revision

POLL_SECONDS = 0.2
RETRY_SECONDS = 1.0
OnChange = Callable[[int], Awaitable[object]]

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


_ALL = select(*Revision.__table__.c)


async def read(session: AsyncSession) -> dict[str, int]:
    """Every counter; one that never moved is absent."""
    return await session.run_sync(lambda plain: look(plain.connection()))


def look(connection: Connection) -> dict[str, int]:
    """`read` for `Database.read`: asked several times a second."""
    return {row.name: row.value for row in connection.execute(_ALL)}


@dataclass(slots=True, eq=False)
class _Follower:
    """One callback and the task that runs it, so that a slow one (re-encoding) never holds up another."""

    name: str
    callback: OnChange
    value: int = 0
    closing: bool = False
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        while not self.closing:
            await self.moved.wait()
            self.moved.clear()
            try:
                await self.callback(self.value)
            except Exception:  # told again: what could not be followed now may be in a moment
                log.exception("following a change of %s failed", self.name)
                await asyncio.sleep(RETRY_SECONDS)
                self.moved.set()


class Watcher:
    """Calls back when a counter moved, in this process or another, within `interval_seconds`."""

    def __init__(self, database: Database, interval_seconds: float = POLL_SECONDS) -> None:
        self._database = database
        self._interval_seconds = interval_seconds
        self._followers: list[_Follower] = []
        self._seen: dict[str, int] = {}
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False

    def register(self, name: str, callback: OnChange) -> None:
        """`callback(value)` runs after each move of the counter `name`; moves while it runs are joined into one."""
        follower = _Follower(name, callback)
        self._followers.append(follower)
        if self._tasks:
            self._tasks.append(asyncio.create_task(follower.run(), name=f"following {name}"))

    def nudge(self) -> None:
        """Look now: for a write of this process. Call it after the transaction is committed."""
        self._wake.set()

    async def start(self) -> None:
        """Begin watching; what is there now counts as seen."""
        self._seen = await self._database.read(look)
        self._tasks = [asyncio.create_task(self._watch(), name="revisions")]
        self._tasks += [asyncio.create_task(one.run(), name=f"following {one.name}") for one in self._followers]

    async def close(self) -> None:
        self._closing = True  # the database's driver swallows a cancellation now and then: the loops look here too
        for follower in self._followers:
            follower.closing = True
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self) -> None:
        while not self._closing:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval_seconds):
                    await self._wake.wait()
            self._wake.clear()
            try:
                current = await self._database.read(look)
            except (SQLAlchemyError, StorageError):
                log.exception("revisions cannot be read")
                await asyncio.sleep(RETRY_SECONDS)
                continue
            for follower in self._followers:
                value = current.get(follower.name, 0)
                if value != self._seen.get(follower.name, 0):
                    follower.value = value
                    follower.moved.set()
            self._seen = current
