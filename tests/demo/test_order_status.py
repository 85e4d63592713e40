"""The order-status action, run by rasa-sdk's own executor on a real tracker and a real database."""

import hashlib
import importlib
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bot import demo

ACTION = "action_order_status"
ASKED = {"name": ACTION}


@pytest.fixture(scope="module")
def executor() -> Any:
    """rasa-sdk's executor with the demo's action, imported from its folder as an action server does.

    Registered by its class: `register_package` takes every `Action` of the process, those of other tests too.
    """
    from rasa_sdk.executor import ActionExecutor

    folder = demo.actions_folder()
    sys.path.insert(0, str(folder.parent))
    try:
        found = ActionExecutor()
        found.register_action(importlib.import_module(f"{folder.name}.order_status").OrderStatus)
    finally:
        sys.path.remove(str(folder.parent))
    assert ACTION in found.actions
    return found


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = demo.create_shop_database(tmp_path / "shop.db")
    monkeypatch.setenv("KEFU_DEMO_SHOP_DB", str(path))
    return path


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def ask(
    executor: Any,
    text: str,
    slot: str | None = None,
    loop: dict[str, str] | None = None,
    prompt: str | None = None,
) -> tuple[list[str], dict[str, Any], str | None]:
    """The utterances, the slots set and the loop left open after one message."""
    call = {
        "next_action": ACTION,
        "domain": {},
        "tracker": {
            "sender_id": "visitor-1",
            "slots": {"order_number": slot, "order_number_prompt": prompt},
            "latest_message": {"text": text, "intent": {"name": None}, "entities": []},
            "events": [],
            "paused": False,
            "active_loop": loop or {},
            "latest_action_name": "action_listen",
        },
    }
    result = await executor.run(call)
    slots = {event["name"]: event["value"] for event in result.events if event["event"] == "slot"}
    loops = [event["name"] for event in result.events if event["event"] == "active_loop"]
    assert len(loops) == 1
    return [message["text"] for message in result.responses], slots, loops[0]


@pytest.mark.parametrize(
    "text",
    [
        "QS20260103001",
        "帮我查一下qs20260103001到哪了",
        "订单ＱＳ２０２６０１０３００１呢",
        "QS 20260103 001",
        "单号是20260103001，谢谢",
        "Qs-20260103001 2件都寄了吗",
    ],
)
async def test_an_order_is_found_however_it_is_written(executor: Any, shop: Path, text: str) -> None:
    replies, slots, loop = await ask(executor, text)
    assert replies == [
        "订单 QS20260103001 的状态：**运输中**。由中通快递承运，运单号 ZT8801260103001。预计 1 月 7 日送达。"
    ]
    assert slots == {"order_number": "QS20260103001", "order_number_prompt": None}
    assert loop is None


async def test_every_order_has_a_status_and_nobody_is_named(executor: Any, shop: Path) -> None:
    with closing(sqlite3.connect(shop)) as connection:
        orders = connection.execute("SELECT order_number, status, customer FROM orders").fetchall()
    assert len(orders) >= 10
    for number, status, customer in orders:
        assert "*" in customer, "names are masked even in the database"
        (reply,), _, _ = await ask(executor, f"{number} 到哪了")
        assert reply.startswith(f"订单 {number} 的状态：**{status}**。")
        assert "*" not in reply.replace("**", "")
        assert customer[0] not in reply


async def test_several_orders_in_one_message(executor: Any, shop: Path) -> None:
    replies, slots, _ = await ask(executor, "QS20260104002 和 QS20260105002 都到哪了")
    assert ["**派送中**" in replies[0], "**待发货**" in replies[1], len(replies)] == [True, True, 2]
    assert slots["order_number"] == "QS20260105002"


async def test_a_missing_number_is_asked_for(executor: Any, shop: Path) -> None:
    replies, slots, loop = await ask(executor, "我的订单到哪了")
    assert len(replies) == 1
    assert "请把订单号发给我" in replies[0]
    assert slots == {"order_number": None, "order_number_prompt": "ask"}
    assert loop == ACTION
    again, _, _ = await ask(executor, "我的订单到哪了", prompt="ask")
    assert "QS20260103001" in again[0]
    assert again != replies
    replies, slots, loop = await ask(executor, "qs20260105002", loop=ASKED)
    assert "**待发货**" in replies[0]
    assert loop is None


async def test_the_number_of_an_earlier_turn_is_remembered(executor: Any, shop: Path) -> None:
    replies, slots, _ = await ask(executor, "现在到哪了", slot="QS20260104002")
    assert "**派送中**" in replies[0]
    replies, slots, _ = await ask(executor, "那 QS20260103002 呢", slot="QS20260104002")
    assert "QS20260103002" in replies[0]
    assert slots["order_number"] == "QS20260103002"


async def test_a_number_that_is_not_in_the_books_is_said_so(executor: Any, shop: Path) -> None:
    for number in ("QS20269999999", "QS99999999999"):
        replies, slots, loop = await ask(executor, f"{number} 到哪了")
        assert replies[0].startswith(f"没有查到订单 {number}")
        assert slots == {"order_number": None, "order_number_prompt": None}
        assert loop == ACTION


@pytest.mark.parametrize(
    ("text", "named", "says"),
    [
        ("QS2026010300 到哪了", "QS2026010300", "有 10 位"),
        ("QS202601030011", "QS202601030011", "有 12 位"),
        ("QL20260105001", "QL20260105001", "不是本店的订单号"),
        ("QL2026010312345到哪了", "QL2026010312345", "不是本店的订单号"),
        ("运单 ZT8801260103001 呢", "ZT8801260103001", "不是本店的订单号"),
    ],
)
async def test_what_is_no_order_number_of_the_shop_is_said_so(
    executor: Any, shop: Path, text: str, named: str, says: str
) -> None:
    for loop in (None, ASKED):
        first, slots, still = await ask(executor, text, slot="QS20260104002", loop=loop, prompt="ask")
        assert named in first[0]
        assert says in first[0]
        assert "QS20260103001" in first[0], "it shows what one looks like"
        assert (slots, still) == ({"order_number": None, "order_number_prompt": "misread"}, ACTION)
        second, _, _ = await ask(executor, text, loop=ASKED, prompt="misread")
        assert second != first
        assert named in second[0]
        assert "我的 → 全部订单" in second[0]


async def test_bare_digits_are_a_number_only_where_one_was_asked_for(executor: Any, shop: Path) -> None:
    replies, _, loop = await ask(executor, "2026 0103", loop=ASKED)
    assert "不是本店的订单号" in replies[0]
    assert loop == ACTION
    replies, _, _ = await ask(executor, "2026 0103")
    assert "请把订单号发给我" in replies[0]


async def test_without_a_number_at_hand_it_says_where_to_look(executor: Any, shop: Path) -> None:
    for text in ("不知道", "订单号在哪里看", "我没有单号"):
        replies, _, loop = await ask(executor, text, loop=ASKED)
        assert "我的 → 全部订单" in replies[0]
        assert loop is None


async def test_another_question_is_handed_back(executor: Any, shop: Path) -> None:
    from rasa_sdk.interfaces import ActionExecutionRejection

    for text in ("算了，怎么退货", "你们店在哪", "我手机号13800138000", "PPR-9087 滤芯多久换"):
        with pytest.raises(ActionExecutionRejection):
            await ask(executor, text, loop=ASKED)


@pytest.mark.parametrize(
    "text",
    [
        "QS20260103001' OR '1'='1",
        "QS20260103001'; DROP TABLE orders; --",
        'QS20260103001" UNION SELECT customer, customer, customer, customer FROM orders --',
    ],
)
async def test_an_injected_query_finds_one_order_only(executor: Any, shop: Path, text: str) -> None:
    before = sha(shop)
    replies, _, _ = await ask(executor, text)
    assert len(replies) == 1
    assert replies[0].startswith("订单 QS20260103001 的状态：**运输中**")
    replies, _, _ = await ask(executor, "' OR 1=1 --", slot="x' OR '1'='1")
    assert "请把订单号发给我" in replies[0]
    assert sha(shop) == before


async def test_an_unreadable_database_is_an_apology(
    executor: Any, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path, content in (
        (tmp_path / "gone.db", None),
        (tmp_path / "torn.db", b"SQLite format 3\0" + b"x" * 500),
        (tmp_path / "empty.db", b""),
    ):
        if content is not None:
            path.write_bytes(content)
        monkeypatch.setenv("KEFU_DEMO_SHOP_DB", str(path))
        replies, slots, loop = await ask(executor, "QS20260103001")
        assert "暂时用不了" in replies[0]
        assert slots == {"order_number": "QS20260103001"}
        assert loop is None
    assert not (tmp_path / "gone.db").exists(), "looking must not create a database"


async def test_the_database_lies_beside_the_actions_where_nothing_else_is_said(
    executor: Any, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KEFU_DEMO_SHOP_DB")
    monkeypatch.setenv("KEFU_DATA", str(tmp_path))
    (reply,), _, _ = await ask(executor, "QS20260103001")
    assert "运输中" in reply
    monkeypatch.delenv("KEFU_DATA")
    module = sys.modules[executor.actions[ACTION].__module__]
    assert module.database_path() == demo.actions_folder().parent / "shop.db"


def test_the_database_is_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "new" / "shop.db"
    assert demo.create_shop_database(path) == path
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE orders SET status = '已签收' WHERE order_number = 'QS20260103001'")
    kept = path.read_bytes()
    demo.create_shop_database(path)
    assert path.read_bytes() == kept
    assert [entry.name for entry in path.parent.iterdir()] == ["shop.db"]


def test_a_failed_creation_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        demo.create_shop_database(tmp_path / "shop.db")
    assert list(tmp_path.iterdir()) == []


def test_the_demo_loads_no_heavy_library() -> None:
    code = "import sys, bot.demo; print([m for m in ('rasa_sdk', 'torch', 'faiss', 'sqlalchemy') if m in sys.modules])"
    seen = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(demo.__file__).parents[2]
    )
    assert seen.stdout.strip() == "[]"
