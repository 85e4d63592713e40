"""Messages and replies as they are kept, and transactions of many callers in one."""

import asyncio
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import IntegrityError, OperationalError

from bot.dialogue.types import Answer, Source
from bot.errors import StorageError
from bot.messaging.customers import PLACES, customer_of, nickname
from bot.storage import conversations, exchange, together
from bot.storage.conversations import Conversation, Message, Opening
from bot.storage.database import Database
from bot.storage.exchange import Incoming, Kept
from bot.storage.tables import ConversationRow, MessageRow
from connectors.kinds import KINDS

SHOP = Opening("wechat", "shop", "u1", "", "zh")


@pytest.fixture
async def database(tmp_path: Path) -> Any:
    made = Database(f"sqlite+aiosqlite:///{tmp_path / 'kefu.db'}")
    await made.open()
    yield made
    await made.close()


async def keep(database: Database, *args: Any, **more: Any) -> Kept | None:
    return await database.write(partial(exchange.keep, incoming=Incoming(*args, **more)))


async def reply(database: Database, *given: Any) -> Message:
    return await database.write(lambda connection: exchange.reply(connection, *given))


def count(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(MessageRow)).scalar_one()


async def test_many_conversations_at_once_are_kept_apart(database):
    kept = await asyncio.gather(*[keep(database, f"c{n}", f"第{n}问", f"k{n}", "en", 10, SHOP) for n in range(50)])
    assert await keep(database, "gone", "在吗") is None
    assert [(one.message.text, one.message.conversation_id) for one in kept] == [
        (f"第{n}问", f"c{n}") for n in range(50)
    ]
    assert len({one.message.seq for one in kept}) == 50
    assert all(one.new and one.history == () and one.conversation.user == "u1" for one in kept)
    shown = {"sources": (Source("题", "引", 0.5, "e1"),), "suggestions": ("甲", "乙"), "score": 0.5, "reasons": ("r",)}
    answers = [Answer(f"答{n}", "answer", latency_ms=n, **shown) for n in range(50)]
    said = await asyncio.gather(
        *[reply(database, f"c{n}", kept[n].message.id, answers[n]) for n in range(50)],
    )
    assert [(one.text, one.reply_to, one.latency_ms) for one in said] == [
        (f"答{n}", kept[n].message.id, n) for n in range(50)
    ]
    again = await keep(database, "c7", "再问", history=10)
    assert [(one.role, one.text) for one in again.history] == [("user", "第7问"), ("bot", "答7")]
    assert again.history[1] == answers[7].said
    async with database.reading() as session:
        assert await conversations.history(session, "c7") == [kept[7].message, said[7], again.message]
        row = await session.get(ConversationRow, "c7")
        assert (row.language, row.updated_at) == ("en", again.message.created_at)


async def test_a_customer_who_speaks_another_language_changes_it(database):
    await keep(database, "c1", "在吗", opening=SHOP)
    assert (await keep(database, "c1", "hello", language="en")).conversation.language == "zh"
    assert (await keep(database, "c1", "hello")).conversation.language == "en"


async def test_a_customers_nickname_is_the_newest_that_the_platform_gave(database):
    for number, given in enumerate(("小李", "", "李四" * 40)):
        await keep(database, "c1", "在吗", f"k{number}", opening=replace(SHOP, nickname=nickname(given)))
        async with database.reading() as session:
            found = await conversations.find(session, "c1")
        assert found.nickname == ("李四" * 32 if number == 2 else "小李")


@pytest.mark.parametrize(
    ("changed", "zh", "en"),
    [
        ({}, "公众号客户 u1", "WeChat customer u1"),
        ({"user": "oLKJHGFDSA-9876543f9a"}, "公众号客户 3f9a", "WeChat customer 3f9a"),
        ({"nickname": "小李"}, "小李（公众号）", "小李 (WeChat)"),
        ({"nickname": "小李", "group": "g"}, "小李（公众号，群聊）", "小李 (WeChat, group)"),
        ({"account": "", "channel": "web", "user": ""}, "网页访客 cdef", "Visitor cdef"),
        ({"account": "", "channel": "openai"}, "接口客户 u1", "API customer u1"),
    ],
)
def test_customers_have_names_and_not_long_ids(changed, zh, en):
    known = {"id": "c-abcdef", "channel": "shop", "account": "wechat", "user": "u1", "group": "", "language": "zh"}
    one = Conversation(**known | {"state": "bot", "slots": {}, "events": ()} | changed)
    assert (customer_of(one, "zh"), customer_of(one, "en")) == (zh, en)


def test_every_kind_of_channel_has_a_name_for_customers():
    assert {kind.kind for kind in KINDS.values()} <= set(PLACES)
    assert nickname("  a\u202e\nb\x00 ") == "a b"


async def test_the_same_message_again_is_the_same_with_its_reply(database):
    first = await keep(database, "c1", "在吗", "k", opening=SHOP)
    same = await keep(database, "c1", "在吗？", "k")
    assert (same.new, same.reply, same.message) == (False, None, first.message)
    given = await reply(database, "c1", first.message.id, Answer("在的", "chitchat"))
    assert (await keep(database, "c1", "在吗", "k")).reply == given
    assert await database.read(count) == 2


async def test_the_same_message_many_times_at_once_is_stored_once(database):
    found = await asyncio.gather(*[keep(database, "c1", "在吗", "k", opening=SHOP) for _ in range(5)])
    assert len({kept.message.id for kept in found}) == 1
    assert sorted(kept.new for kept in found) == [False] * 4 + [True]
    assert await database.read(count) == 1


async def test_slots_and_events_of_a_turn_are_kept_and_the_others_left(database):
    for id_, left in (("a", {"slots": {"order": "1"}}), ("b", {"events": ({"event": "x"},)}), ("c", {})):
        kept = await keep(database, id_, "查", opening=SHOP)
        await reply(database, id_, kept.message.id, Answer("好", "action", **left))
    after = [(await keep(database, id_, "再查")).conversation for id_ in "abc"]
    assert [(one.slots, one.events) for one in after] == [({"order": "1"}, ()), ({}, ({"event": "x"},)), ({}, ())]


async def test_what_fails_among_others_is_undone_whole_and_they_are_kept(database):
    def half(connection: Connection) -> None:
        exchange.keep(connection, Incoming("half", "在吗", opening=SHOP))
        exchange.reply(connection, "nowhere", "m", Answer("好", "answer"))

    before, failed, after = await asyncio.gather(
        keep(database, "a", "在吗", opening=SHOP), database.write(half), keep(database, "b", "在吗", opening=SHOP),
        return_exceptions=True,
    )  # fmt: skip
    assert before.new
    assert after.new
    assert isinstance(failed, IntegrityError)
    assert await database.read(count) == 2
    assert await keep(database, "half", "在吗") is None
    with pytest.raises(OperationalError, match="readonly"):
        await database.read(partial(exchange.keep, incoming=Incoming("c1", "在吗", opening=SHOP)))


async def test_writers_that_wait_share_one_transaction(database, tmp_path, monkeypatch):
    """As told by SQLite itself: another connection sees all of them or none."""
    monkeypatch.setattr(together, "SECONDS_MAX", 60.0)
    begun, go_on = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        begun.set()
        go_on.wait()

    first = asyncio.create_task(database.write(slow))
    await asyncio.to_thread(begun.wait)
    others = [asyncio.create_task(keep(database, f"c{n}", "在吗", opening=SHOP)) for n in range(30)]
    await asyncio.sleep(0)
    go_on.set()
    watched = set()
    with closing(sqlite3.connect(tmp_path / "kefu.db")) as other:
        while not all(task.done() for task in others):
            watched.add(other.execute("SELECT count(*) FROM messages").fetchone()[0])
            await asyncio.sleep(0)
    assert watched <= {0, 30}
    await first


async def test_a_writer_cancelled_while_it_waits_writes_nothing(database):
    begun, go_on = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        begun.set()
        go_on.wait()

    first = asyncio.create_task(database.write(slow))
    await asyncio.to_thread(begun.wait)
    other = asyncio.create_task(keep(database, "c1", "在吗", opening=SHOP))
    await asyncio.sleep(0)
    other.cancel()
    go_on.set()
    await first
    with pytest.raises(asyncio.CancelledError):
        await other
    assert await database.write(count) == 0


async def test_a_write_inside_a_session_of_the_same_task_is_refused(database):
    async with database.session():
        with pytest.raises(RuntimeError):
            await database.write(count)


async def test_a_writer_cancelled_while_it_writes_is_done_and_the_next_one_writes_after_it(database):
    begun, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    def slow(connection: Connection) -> None:
        exchange.keep(connection, Incoming("c1", "在吗", opening=SHOP))
        begun.set()
        go_on.wait()
        order.append("slow")

    def next_one(connection: Connection) -> int:
        order.append("next")
        return count(connection)

    task = asyncio.create_task(database.write(slow))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    other = asyncio.create_task(database.write(next_one))
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await other == 1
    assert order == ["slow", "next"]


async def test_sessions_and_functions_take_turns(database):
    """Neither kind meets SQLite's own lock, which would let it wait."""

    async def in_session(n: int) -> None:
        said = Incoming(f"s{n}", "在吗", opening=SHOP)
        async with database.session() as session:
            await session.run_sync(lambda plain: exchange.keep(plain.connection(), said))

    await asyncio.gather(
        *[in_session(n) for n in range(20)], *[keep(database, f"f{n}", "在吗", opening=SHOP) for n in range(20)]
    )
    assert await database.read(count) == 40


async def test_a_closed_database_says_so(tmp_path):
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'kefu.db'}")
    for call in (database.read(count), database.write(count)):
        with pytest.raises(StorageError):
            await call
    await database.open()
    await database.close()
    with pytest.raises(StorageError):
        await database.read(count)
    assert sqlite3.connect(tmp_path / "kefu.db").execute("SELECT count(*) FROM messages").fetchone() == (0,)
