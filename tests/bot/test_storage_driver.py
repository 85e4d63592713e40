"""One trip a statement: what SQLAlchemy sees of a connection is what it sees of aiosqlite's."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.storage.driver import OneTripConnection, connect


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[OneTripConnection]:
    made = await connect(str(tmp_path / "it.db"), isolation_level=None)
    await made.cursor().execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT UNIQUE)")
    yield made
    await made.close()


async def test_rows_counts_and_descriptions(connection: OneTripConnection) -> None:
    cursor = connection.cursor()
    await cursor.execute("INSERT INTO t (name) VALUES (?)", ("甲",))
    assert (cursor.lastrowid, cursor.rowcount, cursor.description) == (1, 1, None)
    await cursor.executemany("INSERT INTO t (name) VALUES (?)", [("乙",), ("丙",)])
    assert cursor.rowcount == 2
    await cursor.execute("UPDATE t SET name = name || '!' WHERE id > 1 RETURNING id")
    assert await cursor.fetchall() == [(2,), (3,)]
    assert cursor.rowcount == 2
    await cursor.execute("SELECT id, name FROM t ORDER BY id")
    assert [column[0] for column in cursor.description] == ["id", "name"]
    assert await cursor.fetchall() == [(1, "甲"), (2, "乙!"), (3, "丙!")]
    assert await cursor.fetchall() == []


async def test_an_error_is_that_of_the_statement_and_the_connection_goes_on(connection: OneTripConnection) -> None:
    cursor = connection.cursor()
    await cursor.execute("INSERT INTO t (name) VALUES ('甲')")
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        await cursor.execute("INSERT INTO t (name) VALUES ('甲')")
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await cursor.execute("SELECT * FROM nowhere")
    await cursor.execute("SELECT count(*) FROM t")
    assert await cursor.fetchall() == [(1,)]


async def test_rolling_back_undoes_what_is_open_and_nothing_else(connection: OneTripConnection) -> None:
    cursor = connection.cursor()
    await connection.rollback()  # nothing is open
    await cursor.execute("BEGIN IMMEDIATE")
    await cursor.execute("INSERT INTO t (name) VALUES ('甲')")
    await connection.rollback()
    await cursor.execute("SELECT count(*) FROM t")
    assert await cursor.fetchall() == [(0,)]
    await cursor.execute("BEGIN")
    await cursor.execute("INSERT INTO t (name) VALUES ('乙')")
    await connection.commit()
    await connection.rollback()
    await cursor.execute("SELECT name FROM t")
    assert await cursor.fetchall() == [("乙",)]


async def test_a_cancelled_statement_leaves_the_connection_usable(connection: OneTripConnection) -> None:
    long = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 300000) SELECT sum(x) FROM n"
    waiting = asyncio.create_task(connection.cursor().execute(long))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    cursor = connection.cursor()
    await cursor.execute("SELECT 1")
    assert await cursor.fetchall() == [(1,)]


async def test_a_file_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        await connect(str(tmp_path / "no" / "such.db"))
