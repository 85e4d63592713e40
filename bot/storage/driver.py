"""SQLite's connection for SQLAlchemy: a statement is one trip to the connection's thread.

aiosqlite makes a trip of each call: for a cursor, its statement, its rows, its end. Each wakes the event loop anew,
which costs more than most of our statements take (with two cores busy, several times more). Rows are read whole, as
SQLAlchemy does with them; nothing here streams.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Self

import aiosqlite


class OneTripConnection(aiosqlite.Connection):
    """An aiosqlite connection whose cursors run and read a statement in one trip, and that ends only what has begun."""

    def cursor(self) -> "OneTripCursor":  # type: ignore[override]
        return OneTripCursor(self)

    async def run(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        """What `work` returns for the connection, in its thread."""
        return await self._execute(work, self._conn)  # type: ignore[no-untyped-call]

    async def rollback(self) -> None:
        """Undo the open transaction; a session that is done asks for it once more, and then there is none."""
        if self.in_transaction:
            await super().rollback()


class OneTripCursor:
    """The calls that SQLAlchemy makes of an asynchronous DBAPI cursor. See PEP 249 for their meaning."""

    arraysize = 1

    def __init__(self, connection: OneTripConnection) -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, statement: str, parameters: Sequence[Any] = ()) -> "OneTripCursor":
        return await self._run(lambda cursor: cursor.execute(statement, parameters))

    async def executemany(self, statement: str, rows: Sequence[Sequence[Any]]) -> "OneTripCursor":
        return await self._run(lambda cursor: cursor.executemany(statement, rows))

    async def fetchall(self) -> list[Any]:
        rows, self._rows = self._rows, []
        return rows

    async def close(self) -> None:
        self._rows = []

    async def _run(self, execute: Callable[[sqlite3.Cursor], sqlite3.Cursor]) -> "OneTripCursor":
        def work(connection: sqlite3.Connection) -> tuple[list[Any], Any, int, int | None]:
            cursor = execute(connection.cursor())
            try:
                rows = cursor.fetchall() if cursor.description else []
                return rows, cursor.description, cursor.rowcount, cursor.lastrowid
            finally:
                cursor.close()

        self._rows, self.description, self.rowcount, self.lastrowid = await self._connection.run(work)
        return self


async def connect(path: str, **options: Any) -> OneTripConnection:
    """Open a database by its path or URI. Raises sqlite3.Error."""
    connection = OneTripConnection(lambda: sqlite3.connect(path, **options), iter_chunk_size=64)
    connection._thread.daemon = True  # noqa: SLF001 - as SQLAlchemy does: an open connection holds no process
    try:
        await connection
    except BaseException:
        # Its thread still has something to tell the event loop, which must be there to hear it.
        await asyncio.to_thread(connection._thread.join)  # noqa: SLF001
        raise
    return connection
