"""The database: opened once, migrated at start, one transaction per `session()`."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import create_engine, event
from sqlalchemy.dialects.sqlite import aiosqlite as sqlite
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from bot.errors import DiskFullError, StorageError
from bot.storage.checkpoints import Checkpoints
from bot.storage.driver import connect
from bot.storage.together import Together
from bot.storage.turn import Turn
from bot.storage.version import is_current

BUSY_TIMEOUT_MS = 15_000
PRAGMAS = (
    "journal_mode=WAL",
    "wal_autocheckpoint=0",  # see `Checkpoints`
    "synchronous=FULL",  # a committed row survives a power cut, not only a crash
    "foreign_keys=ON",
    f"busy_timeout={BUSY_TIMEOUT_MS}",
)
Result = TypeVar("Result")
FULL = ("disk is full", "disk i/o error")  # what SQLite says when a write finds no room


READ_ONLY = "query_only=ON"


def _prepared(engine: Engine, begin: str, *pragmas: str) -> Engine:
    """An engine whose transactions start with `begin`; the driver's own implicit ones are switched off.

    Source: SQLAlchemy, SQLite dialect, "Serializable isolation / Savepoints / Transactional DDL".
    """

    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (*PRAGMAS, *pragmas):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", start)
    return engine


def _sqlite_engine(url: str, begin: str, *pragmas: str) -> AsyncEngine:
    parsed = make_url(url)
    (path,), options = sqlite.dialect().create_connect_args(parsed)
    engine = create_async_engine(parsed, async_creator=partial(connect, path, **options))
    _prepared(engine.sync_engine, begin, *pragmas)
    return engine


class _Thread:
    """SQLite in a thread of its own: a whole transaction is one trip there, however many statements it has."""

    def __init__(self, url: str, begin: str, *pragmas: str) -> None:
        # Made here and used there, one after the other.
        engine = create_engine(
            make_url(url).set(drivername="sqlite"), connect_args={"check_same_thread": False}, pool_size=1
        )
        self._engine = _prepared(engine, begin, *pragmas)
        self._thread = ThreadPoolExecutor(1, "database")

    def transact(self, work: Callable[[Connection], Result]) -> Result:
        """A transaction, in this thread."""
        with _told_in_words(), self._engine.begin() as connection:
            return work(connection)

    async def call(self, function: Callable[[], Result]) -> Result:
        """What a function returns there."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._engine.dispose)
        self._thread.shutdown(wait=False)


class Database:
    """Holds the engines. `url` is a SQLAlchemy async URL, `sqlite+aiosqlite:///path` for the embedded default.

    SQLite has one writer at a time. A transaction that first reads and then writes must own the write lock from its
    beginning, or it fails without waiting when another process wrote in between; hence `session()` takes the lock at
    once, and what only reads uses `reading()`, which never waits. `write()` and `read()` are the same for what waits
    for nothing between its statements: a function runs as a whole transaction, at a fraction of the cost.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._engines: list[AsyncEngine] = []
        self._write: async_sessionmaker[AsyncSession] | None = None
        self._read: async_sessionmaker[AsyncSession] | None = None
        self._threads: tuple[_Thread, ...] = ()
        self._reader: _Thread | None = None
        self._together: Together | None = None
        self._checkpoints: Checkpoints | None = None
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
        if not await asyncio.to_thread(is_current, self.url):
            from bot.storage.schema import upgrade  # Alembic is slow to import and needed only here

            await asyncio.to_thread(upgrade, self.url)
        if self.is_sqlite:
            writer = _sqlite_engine(self.url, "BEGIN IMMEDIATE")
            reader = _sqlite_engine(self.url, "BEGIN", READ_ONLY)
            self._engines = [writer, reader]
            thread, self._reader = _Thread(self.url, "BEGIN IMMEDIATE"), _Thread(self.url, "BEGIN", READ_ONLY)
            self._threads = thread, self._reader
            self._together = Together(partial(self._writing, urgent=True), thread.call, thread.transact)
            if path := make_url(self.url).database:
                self._checkpoints = Checkpoints(Path(path))
                self._checkpoints.begin()
        else:
            writer = reader = create_async_engine(self.url, pool_pre_ping=True)
            self._engines = [writer]
        self._write = async_sessionmaker(writer, expire_on_commit=False)
        self._read = async_sessionmaker(reader, expire_on_commit=False)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """One transaction that may write: committed when the block ends, rolled back when it raises.

        Keep it short, never open one inside another, and never wait for anything but the database in it.
        Raises DiskFullError where there is no room for it; nothing of it is written then.
        """
        if self._write is None:
            raise _closed()
        async with self._writing(urgent=False), self._write() as session, session.begin():
            yield session

    async def write(self, work: Callable[[Connection], Result], *, first: bool = False) -> Result:
        """`session()` for a function that only runs statements: what it returns, once that is committed. It runs in
        another thread, in one transaction with those of others (see `Together`), and goes before sessions: what
        customers and platforms wait for is written so. `first` is for what is short and waited for by a platform.
        """
        if self._write is None:
            raise _closed()
        if self._together is None:
            async with self.session() as session:
                return await session.run_sync(lambda plain: work(plain.connection()))
        self._check_not_inside()
        return await self._together(work, first=first)

    async def read(self, work: Callable[[Connection], Result]) -> Result:
        """`reading()` for a function that only runs statements."""
        if self._read is None:
            raise _closed()
        if self._reader is None:
            async with self.reading() as session:
                return await session.run_sync(lambda plain: work(plain.connection()))
        return await self._reader.call(partial(self._reader.transact, work))

    def _check_not_inside(self) -> None:
        if self._writer is asyncio.current_task():
            raise RuntimeError("a transaction inside another one of the same task would wait for itself")

    @asynccontextmanager
    async def _writing(self, *, urgent: bool) -> AsyncIterator[None]:
        """While it is this task's turn; SQLite's own lock is for other processes."""
        self._check_not_inside()
        async with self._turn.mine(urgent=urgent):
            self._writer = asyncio.current_task()
            try:
                with _told_in_words():
                    yield
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
        if self._together is not None:
            await self._together.close()
        if self._checkpoints is not None:
            await self._checkpoints.close()
        for engine in self._engines:
            await engine.dispose()
        for thread in self._threads:
            await thread.close()
        self._engines, self._write, self._read = [], None, None
        self._threads, self._reader, self._together, self._checkpoints = (), None, None, None


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
