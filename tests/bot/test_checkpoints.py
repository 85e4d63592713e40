"""SQLite's log is copied beside the writing, stays short under it, and a reader does not stop the writers for long."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bot.storage.checkpoints import Checkpoints

PAGE = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE said (text)")
        connection.commit()
    return path


def writer(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    connection.execute("PRAGMA wal_autocheckpoint=0")
    return connection


def pages(path: Path) -> int:
    return path.with_name("shop.db-wal").stat().st_size // PAGE


def say(connection: sqlite3.Connection, times: int) -> None:
    for _ in range(times):
        connection.execute("INSERT INTO said VALUES (?)", ("x" * PAGE,))


async def test_what_is_committed_is_copied_and_the_log_begins_anew(path):
    checkpoints = Checkpoints(path, frames=50)
    with closing(writer(path)) as connection:
        for _ in range(20):
            say(connection, 40)
            checkpoints.make()
        assert pages(path) < 250
        assert path.stat().st_size > 800 * PAGE
    await checkpoints.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM said").fetchone() == (800,)


async def test_a_reader_that_stays_keeps_the_log_and_stops_no_writer(path):
    checkpoints = Checkpoints(path, frames=50)
    with closing(writer(path)) as connection, closing(sqlite3.connect(path, isolation_level=None)) as reader:
        say(connection, 10)
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM said").fetchone() == (10,)
        say(connection, 100)
        checkpoints.make()
        say(connection, 100)
        assert reader.execute("SELECT count(*) FROM said").fetchone() == (10,)
        reader.execute("COMMIT")
        checkpoints.make()
        grown = pages(path)
        say(connection, 20)
        assert pages(path) == grown  # written over from its start
        assert reader.execute("SELECT count(*) FROM said").fetchone() == (230,)
    await checkpoints.close()


async def test_a_log_that_was_not_written_to_is_left_alone(path):
    checkpoints = Checkpoints(path)
    checkpoints.make()  # there is none yet
    with closing(writer(path)) as connection:
        say(connection, 5)
        checkpoints.make()
        reopened = path.read_bytes()
        checkpoints.make()
        assert path.read_bytes() == reopened
        assert len(reopened) > 5 * PAGE
    await checkpoints.close()
