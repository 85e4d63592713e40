"""The database: its schema, its two kinds of transaction, refusals, and how processes hear of each other."""

import asyncio
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import OperationalError

from bot.errors import ConflictError, NotFoundError, StorageError
from bot.storage import audit, knowledge, people, revisions
from bot.storage.database import Database
from bot.storage.revisions import Watcher
from bot.storage.schema import configuration, newest_version, upgrade
from bot.storage.tables import Base, Blob
from bot.storage.version import is_current
from knowledge.types import Entry


def test_migrations_make_exactly_the_tables(tmp_path):
    url = f"sqlite:///{tmp_path / 'kefu.db'}"
    upgrade(url)
    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_a_second_upgrade_changes_nothing(tmp_path):
    path = tmp_path / "new" / "folder" / "kefu.db"
    upgrade(f"sqlite+aiosqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO blobs VALUES ('a', x'01')")
        connection.commit()
    upgrade(f"sqlite+aiosqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM blobs").fetchone() == (1,)


def test_conversations_that_an_action_had_silenced_wait_for_a_person_after_the_upgrade(tmp_path):
    path = tmp_path / "kefu.db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        command.upgrade(configuration(connection), "0003")
        connection.execute(
            text(
                'INSERT INTO conversations (id, channel, account, user, "group", language, state, slots, events, '
                "imported, created_at, updated_at) VALUES "
                "('c1', 'web', '', '', '', 'zh', 'human', '{}', '[]', 0, '2026-01-01', '2026-01-02')"
            )
        )
    engine.dispose()
    upgrade(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT state FROM conversations").fetchall() == [("paused",)]
        found = connection.execute("SELECT conversation_id, cause, taken_by, ended_at FROM handoffs").fetchall()
    assert found == [("c1", "paused", None, None)]


def test_a_database_that_needs_nothing_is_told_without_alembic(tmp_path):
    url = f"sqlite:///{tmp_path / 'kefu.db'}"
    assert not is_current(url)
    upgrade(url)
    code = (
        "import asyncio, sys; from bot.storage.database import Database; database = Database(sys.argv[1]);"
        "asyncio.run(database.open()); print('alembic' in sys.modules)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, url.replace("sqlite", "sqlite+aiosqlite")], capture_output=True, check=True
    )
    assert told.stdout.strip() == b"False", told.stderr
    for spoilt in ("UPDATE alembic_version SET version_num = '0005'", "DROP TABLE alembic_version"):
        assert is_current(url)
        with closing(sqlite3.connect(tmp_path / "kefu.db")) as connection:
            connection.execute(spoilt)
            connection.commit()
        assert not is_current(url)
        if spoilt.startswith("UPDATE"):
            with closing(sqlite3.connect(tmp_path / "kefu.db")) as connection:
                connection.execute("UPDATE alembic_version SET version_num = ?", (newest_version(),))
                connection.commit()


def test_a_newer_database_is_refused(tmp_path):
    path = tmp_path / "kefu.db"
    upgrade(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(StorageError, match="9999") as caught:
        upgrade(f"sqlite:///{path}")
    assert caught.value.code == "database_newer"
    with closing(sqlite3.connect(path)) as connection:  # and left as it was
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path):
    path = tmp_path / "kefu.db"
    path.write_bytes(b"this is not a database" * 1000)
    with pytest.raises(StorageError, match=r"kefu\.db") as caught:
        upgrade(f"sqlite:///{path}")
    assert caught.value.code == "database_damaged"
    assert path.read_bytes() == b"this is not a database" * 1000


def test_a_damaged_page_is_noticed(tmp_path):
    path = tmp_path / "kefu.db"
    upgrade(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    data = bytearray(path.read_bytes())
    for page in range(3, len(data) // size):
        data[page * size : page * size + 100] = b"\xff" * 100
    path.write_bytes(data)
    with pytest.raises(StorageError) as caught:
        upgrade(f"sqlite:///{path}")
    assert caught.value.code == "database_damaged"


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file") as caught:
        upgrade(f"sqlite:///{tmp_path / 'file' / 'kefu.db'}")
    assert caught.value.code == "data_folder"


def test_processes_starting_at_once_do_not_collide(tmp_path):
    code = "import sys; from bot.storage.schema import upgrade; upgrade(sys.argv[1])"
    starts = [
        subprocess.Popen([sys.executable, "-c", code, f"sqlite:///{tmp_path / 'kefu.db'}"], stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    for start in starts:
        _, error = start.communicate(timeout=300)
        assert start.returncode == 0, error.decode()


async def test_a_failing_session_leaves_nothing(database):
    async def fail() -> None:
        async with database.session() as session:
            session.add(Blob(name="a", value=b"1"))
            await session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with database.reading() as session:
        assert await session.get(Blob, "a") is None


async def test_reading_cannot_write(database):
    with pytest.raises(OperationalError, match="readonly"):
        async with database.reading() as session:
            await session.execute(text("DELETE FROM blobs"))


async def test_a_session_in_a_session_is_an_error_and_not_a_deadlock(database):
    with pytest.raises(RuntimeError, match="inside another"):
        async with database.session(), database.session():
            pass
    async with database.session() as session:  # and the lock is free again
        session.add(Blob(name="a", value=b"1"))


async def test_reading_does_not_wait_for_a_writer(database):
    async with database.session() as writing:
        writing.add(Blob(name="a", value=b"1"))
        await writing.flush()
        async with database.reading() as session:  # to wait would be to fail: the writer is this task
            assert await session.get(Blob, "a") is None


async def test_counts_of_many_writers_in_two_processes_are_not_lost(database, tmp_path):
    """A transaction that reads and then writes must not fail or overwrite another process's."""
    code = f"""
import asyncio
from bot.storage.database import Database
from bot.storage import revisions
async def main():
    database = Database({database.url!r})
    await database.open()
    async def once():
        async with database.session() as session:
            await revisions.read(session)
            await asyncio.sleep(0)
            await revisions.bump(session, "n")
    await asyncio.gather(*(once() for _ in range(30)))
    await database.close()
asyncio.run(main())
"""
    others = [await asyncio.create_subprocess_exec(sys.executable, "-c", code) for _ in range(2)]
    for _ in range(30):
        async with database.session() as session:
            await revisions.bump(session, "n")
    assert [await other.wait() for other in others] == [0, 0]
    async with database.reading() as session:
        assert await revisions.read(session) == {"n": 90}


async def test_the_watcher_tells_of_another_connections_write_within_a_second(database):
    other = Database(database.url)
    await other.open()
    heard: asyncio.Queue[int] = asyncio.Queue()
    callback = heard.put

    watcher = Watcher(database)
    watcher.register("knowledge", callback)
    async with database.session() as session:
        await revisions.bump(session, "knowledge")
    await watcher.start()
    await asyncio.sleep(0.5)
    assert heard.empty()  # what was there at the start is no news
    seconds = []
    for value in range(2, 7):  # the best of them: a busy machine is slow, not wrong
        async with other.session() as session:
            await revisions.bump(session, "knowledge")
            await revisions.bump(session, "adapters")
        started = time.monotonic()
        assert await asyncio.wait_for(heard.get(), 60) == value
        seconds.append(time.monotonic() - started)
    assert min(seconds) < 1
    await watcher.close()
    await other.close()


async def test_a_follower_that_fails_is_told_again_and_holds_up_no_other(database, monkeypatch):
    monkeypatch.setattr(revisions, "RETRY_SECONDS", 0.05)
    calls: list[int] = []
    fine, again = asyncio.Event(), asyncio.Event()

    async def failing(value: int) -> None:
        calls.append(value)
        if len(calls) == 1:
            raise OSError("not now")
        again.set()

    async def slow(_value: int) -> None:
        await asyncio.sleep(60)

    async def good(_value: int) -> None:
        fine.set()

    watcher = Watcher(database)
    for callback in (slow, failing, good):
        watcher.register("knowledge", callback)
    await watcher.start()
    async with database.session() as session:
        await revisions.bump(session, "knowledge")
    watcher.nudge()
    await asyncio.wait_for(fine.wait(), 5)
    await asyncio.wait_for(again.wait(), 5)
    assert calls == [1, 1]
    await watcher.close()


async def test_entries_are_found_by_any_of_their_texts(database):
    async with database.session() as session:
        await knowledge.add_entry(session, Entry("a", "怎么退货", "七天内可以", ("我要退掉",), category="售后"))
        await knowledge.add_entry(session, Entry("b", "怎么开发票 100%", "下单时选择", category="财务"))
        await knowledge.add_entry(session, Entry("c", "营业时间", "九点到五点"))
    async with database.reading() as session:

        async def found(q: str = "", **more: object) -> list[str]:
            return sorted(one.entry.id for one in (await knowledge.list_entries(session, q, **more)).items)

        assert await found() == ["a", "b", "c"]
        assert await found("退掉") == ["a"]
        assert await found("七天") == ["a"]
        assert await found("100%") == ["b"]
        assert await found("%") == ["b"]
        assert await found("_") == []
        assert await found("c") == ["c"]
        assert await found("怎么", category="财务") == ["b"]
        page = await knowledge.list_entries(session, "怎么", limit=1)
        assert (len(page.items), page.total, page.categories) == (1, 2, (("售后", 1), ("财务", 1)))


async def test_deleted_entries_leave_tombstones_that_tell_an_index(database):
    async with database.session() as session:
        await knowledge.add_entry(session, Entry("a", "问", "答"))
        second = await knowledge.add_entry(session, Entry("b", "问二", "答二"))
    async with database.session() as session:
        await knowledge.update_entry(session, "b", {"enabled": False})
    async with database.session() as session:
        revision = await knowledge.remove_entry(session, "a")
        with pytest.raises(NotFoundError):
            await knowledge.remove_entry(session, "a")
    async with database.reading() as session:
        changes = await knowledge.changes_since(session, second.revision)
    assert (changes.revision, changes.upserts, set(changes.removals)) == (revision, (), {"a", "b"})
    async with database.session() as session:  # the id may come back
        await knowledge.add_entry(session, Entry("a", "问", "答"))
        with pytest.raises(ConflictError):
            await knowledge.add_entry(session, Entry("a", "问", "答"))


async def test_the_last_administrator_stays(database):
    async with database.session() as session:
        await people.add_user(session, "anna", "admin", "hash")
        await people.add_user(session, "ben", "editor", "hash")
        with pytest.raises(ConflictError, match="anna"):
            await people.remove_user(session, "anna")
        await people.remove_user(session, "ben")


async def test_changing_a_password_ends_sign_ins_and_old_ones_expire(database):
    async with database.session() as session:
        user = await people.add_user(session, "anna", "admin", "hash")
        await people.sign_in(session, user.id, "one", 1)
        await people.sign_in(session, user.id, "past", -1)
    async with database.session() as session:
        assert (await people.signed_in(session, "one")).name == "anna"
        assert await people.signed_in(session, "past") is None
        await people.set_password(session, "anna", "other")
        assert await people.signed_in(session, "one") is None


async def test_keys_are_revoked_by_name_prefix_or_id(database):
    async with database.session() as session:
        first = await people.add_key(session, "crm", "api", "kefu_aaa", "h1")
        await people.add_key(session, "shop", "api", "kefu_bbb", "h2")
        await people.add_key(session, "crm", "api", "kefu_ccc", "h3")
        with pytest.raises(ConflictError):
            await people.revoke_key(session, "crm")
        await people.revoke_key(session, first.id)
        await people.revoke_key(session, "kefu_bbb")
        await people.revoke_key(session, "crm")
        with pytest.raises(NotFoundError):
            await people.revoke_key(session, "crm")
        assert await people.find_key(session, "h1") is None
        assert all(key.revoked_at for key in await people.keys(session))


async def test_the_audit_keeps_order(database):
    async with database.session() as session:
        await audit.record(session, "user:anna", "faqs.add", "a", {"n": 1})
        await audit.record(session, "system", "backup")
    async with database.reading() as session:
        assert [(one.actor, one.action) for one in await audit.recent(session)] == [
            ("system", "backup"),
            ("user:anna", "faqs.add"),
        ]
        assert (await session.execute(select(text("1")))).scalar() == 1


async def test_a_statement_whose_caller_is_cancelled_leaves_the_connection_usable(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'kefu.db'}")
    await database.open()

    async def count() -> None:
        async with database.session() as session:
            numbers = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 300000)"
            await session.execute(text(f"{numbers} SELECT COUNT(*) FROM n"))  # noqa: S608 - our own words

    for pause in (0.0, 0.001, 0.005, 0.02, 0.04):
        task = asyncio.create_task(count())
        await asyncio.sleep(pause)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with database.session() as session:
            rows = await session.execute(text("SELECT 1 UNION SELECT 2"))
            assert rows.fetchmany(1) + rows.fetchall() == [(1,), (2,)]
    await database.close()
