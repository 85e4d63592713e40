"""The database: opened once, migrated at start, one transaction per `session()`."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

from sqlalchemy import event
from sqlalchemy.dialects.sqlite import aiosqlite as sqlite
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from bot.errors import DiskFullError, StorageError
from bot.storage.driver import connect
from bot.storage.turn import Turn

BUSY_TIMEOUT_MS = 15_000
PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",  # a committed row survives a power cut, not only a crash
    "foreign_keys=ON",
    f"busy_timeout={BUSY_TIMEOUT_MS}",
)
FULL = ("disk is full", "disk i/o error")  # what SQLite says when a write finds no room


def _sqlite_engine(url: str, begin: str, *pragmas: str) -> AsyncEngine:
    """An engine whose transactions start with `begin`; the driver's own implicit ones are switched off.

    Source: SQLAlchemy, SQLite dialect, "Serializable isolation / Savepoints / Transactional DDL".
    """
    parsed = make_url(url)
    (path,), options = sqlite.dialect().create_connect_args(parsed)
    engine = create_async_engine(parsed, async_creator=partial(connect, path, **options))

    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (*PRAGMAS, *pragmas):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "connect", prepare)
    event.listen(engine.sync_engine, "begin", start)
    return engine


class Database:
    """Holds the engines. `url` is a SQLAlchemy async URL, `sqlite+aiosqlite:///path` for the embedded default.

    SQLite has one writer at a time. A transaction that first reads and then writes must own the write lock from its
    beginning, or it fails without waiting when another process wrote in between; hence `session()` takes the lock at
    once, and what only reads uses `reading()`, which never waits.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._engines: list[AsyncEngine] = []
        self._write: async_sessionmaker[AsyncSession] | None = None
        self._read: async_sessionmaker[AsyncSession] | None = None
        self._turn = Turn()
        self._writer: asyncio.Task[Any] | None = None

    @property
    def is_sqlite(self) -> bool:
        return make_url(self.url).get_backend_name() == "sqlite"

    async def open(self) -> None:
        """Connect and bring the schema to its newest version.

        Raises:
            StorageError: the database cannot be opened, is damaged, or was written by a newer version.
        """
        from bot.storage.schema import upgrade  # Alembic is slow to import and needed only here

        await asyncio.to_thread(upgrade, self.url)
        if self.is_sqlite:
            writer = _sqlite_engine(self.url, "BEGIN IMMEDIATE")
            reader = _sqlite_engine(self.url, "BEGIN", "query_only=ON")
            self._engines = [writer, reader]
        else:
            writer = reader = create_async_engine(self.url, pool_pre_ping=True)
            self._engines = [writer]
        self._write = async_sessionmaker(writer, expire_on_commit=False)
        self._read = async_sessionmaker(reader, expire_on_commit=False)

    @asynccontextmanager
    async def session(self, *, urgent: bool = False) -> AsyncIterator[AsyncSession]:
        """One transaction that may write: committed when the block ends, rolled back when it raises.

        Keep it short, never open one inside another, and never wait for anything but the database in it. An `urgent`
        one goes before the others of this process, see `Turn`.
        Raises DiskFullError where there is no room for it; nothing of it is written then.
        """
        if self._write is None:
            raise _closed()
        task = asyncio.current_task()
        if self._writer is task:
            raise RuntimeError("Database.session() inside another session of the same task would wait for itself")
        async with self._turn.mine(urgent=urgent):  # SQLite's own lock is for other processes
            self._writer = task
            try:
                with _told_in_words():
                    async with self._write() as session, session.begin():
                        yield session
            finally:
                self._writer = None

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """One consistent view of the database that never waits for writers. Writing in it fails."""
        if self._read is None:
            raise _closed()
        with _told_in_words():
            # Begun by the first statement and ended by closing, which a cancellation does not break off in the middle.
            async with self._read() as session:
                yield session

    async def close(self) -> None:
        for engine in self._engines:
            await engine.dispose()
        self._engines, self._write, self._read = [], None, None


@contextmanager
def _told_in_words() -> Iterator[None]:
    """Reading needs room too: the first connection makes SQLite's shared-memory file."""
    try:
        yield
    except OperationalError as error:
        if any(words in str(error.orig).lower() for words in FULL):
            raise DiskFullError from error
        raise


def _closed() -> StorageError:
    return StorageError("database_closed", "数据库没有打开", "The database is not open")


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    """A database for the length of a command."""
    database = Database(url)
    await database.open()
    try:
        yield database
    finally:
        await database.close()
