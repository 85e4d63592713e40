"""Business actions with the real rasa-sdk: in process, on its own action server, and everything that can go wrong."""

import asyncio
import json
import logging
import os
import signal
import sys
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from bot.dialogue import tracker
from bot.dialogue.action_files import RUNNING_MAX, LocalExecutor
from bot.dialogue.action_server import RemoteExecutor
from bot.dialogue.actions import ActionError, ActionRejectedError, Actions
from bot.dialogue.entities import entities
from bot.dialogue.types import Turn

HEAD = """
import asyncio, time
from rasa_sdk import Action
from rasa_sdk.events import ActiveLoop, FollowupAction, SlotSet
from rasa_sdk.interfaces import ActionExecutionRejection
"""
ORDER = (
    HEAD
    + """
class Order(Action):
    def name(self):
        return "action_order"

    async def run(self, dispatcher, tracker, domain):
        numbers = [e["value"] for e in tracker.latest_message["entities"] if e["entity"] in ("number", "code")]
        waiting = tracker.active_loop_name == "action_order"
        if not numbers and waiting:
            raise ActionExecutionRejection("action_order")
        if not numbers:
            dispatcher.utter_message(text="请发订单号。")
            return [ActiveLoop("action_order")]
        seen = tracker.get_slot("orders") or []
        dispatcher.utter_message(text=f"订单 {numbers[0]} 已发货。")
        dispatcher.utter_message(
            text="之前查过：" + "、".join(seen) if seen else None,
            image="https://shop.example.com/map.png",
            buttons=[{"title": "再查一单", "payload": "/again"}],
            json_message={"order": numbers[0]},
        )
        return [SlotSet("orders", [*seen, numbers[0]]), ActiveLoop(None)]
"""
)
OTHERS = (
    HEAD
    + """
class Base(Action):
    async def run(self, dispatcher, tracker, domain):
        return await self.work(dispatcher, tracker)

def make(action, work):
    class Made(Base):
        def name(self):
            return action
    Made.work = lambda self, d, t: work(d, t)
    Made.__name__ = action
    return Made

async def breaks(d, t):
    raise ValueError("顾客的电话是 13800000000")

async def hangs(d, t):
    await asyncio.sleep(60)

async def number(d, t):
    return 42

async def odd_text(d, t):
    d.messages.append({"text": ["a"]})

async def silent(d, t):
    return []

async def exits(d, t):
    raise SystemExit(3)

async def first(d, t):
    d.utter_message(text="一")
    return [SlotSet("x", 1), FollowupAction("action_second")]

async def second(d, t):
    d.utter_message(text=f"二 {t.get_slot('x')} {t.latest_action_name}")
    return []

async def forever(d, t):
    d.utter_message(text="又")
    return [FollowupAction("action_forever")]

class Blocks(Action):
    def name(self):
        return "action_blocks"

    def run(self, dispatcher, tracker, domain):
        time.sleep(1.5)
        return []

for _name, _work in list(globals().items()):
    if asyncio.iscoroutinefunction(_work):
        globals()["Action_" + _name] = make("action_" + _name, _work)
"""
)


SERVED = """
from rasa_sdk import Action

from actions.order import *


class Raises(Action):
    def name(self):
        return "action_raises"

    def run(self, dispatcher, tracker, domain):
        raise ValueError("no connection to the calendar")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "actions"
    home.mkdir()
    (home / "order.py").write_text(ORDER, encoding="utf-8")
    (home / "others.py").write_text(OTHERS, encoding="utf-8")
    return home


@pytest.fixture
async def actions(folder: Path) -> AsyncIterator[Actions]:
    opened = Actions(LocalExecutor([folder], 0.5))
    yield opened
    await opened.close()


def turn(text: str, **state: Any) -> Turn:
    return Turn("conversation-1", text, **state)


async def test_a_real_tracker_and_dispatcher(actions: Actions) -> None:
    result = await actions.run("action_order", turn("查 QS20260103001"), intent="order-status", probability=0.9)
    assert result.text == "订单 QS20260103001 已发货。"
    assert result.suggestions == ("再查一单",)
    assert result.image_url == "https://shop.example.com/map.png"
    assert result.custom == {"order": "QS20260103001"}
    assert result.slots == {"orders": ["QS20260103001"]}
    again = await actions.run("action_order", turn("2026", slots=result.slots, events=result.events))
    assert "之前查过：QS20260103001" in again.text
    assert again.slots["orders"] == ["QS20260103001", "2026"]


async def test_a_loop_waits_for_the_next_message_and_can_refuse_it(actions: Actions) -> None:
    asked = await actions.run("action_order", turn("我的订单到哪了"))
    assert asked.text == "请发订单号。"
    assert tracker.active_loop(asked.events) == "action_order"
    state = {"slots": asked.slots, "events": asked.events}
    with pytest.raises(ActionRejectedError):
        await actions.run("action_order", turn("怎么退货", **state))
    done = await actions.run("action_order", turn("就是 12345678", **state))
    assert "12345678" in done.text
    assert tracker.active_loop(done.events) is None


async def test_followup_actions_see_what_went_before(actions: Actions) -> None:
    result = await actions.run("action_first", turn("x"))
    assert result.text == "一\n\n二 1 action_first"
    endless = await actions.run("action_forever", turn("x"))
    assert endless.text == "又\n\n又\n\n又"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("action_breaks", "action_failed"),
        ("action_exits", "action_failed"),
        ("action_hangs", "action_slow"),
        ("action_blocks", "action_slow"),
        ("action_number", "action_failed"),
        ("action_odd_text", "action_nonsense"),
        ("action_unknown", "action_not_found"),
    ],
)
async def test_what_an_action_does_wrong_has_a_name(actions: Actions, name: str, code: str) -> None:
    started = time.perf_counter()
    with pytest.raises(ActionError) as caught:
        await actions.run(name, turn("我叫王小明"))
    assert caught.value.code == code
    assert name in str(caught.value)
    assert "13800000000" not in str(caught.value)
    assert "王小明" not in str(caught.value)
    assert time.perf_counter() - started < 40  # one of them would take a minute
    if name == "action_breaks":
        assert "others.py" in str(caught.value)


async def test_a_blocking_action_holds_up_nobody(actions: Actions) -> None:
    blocked = asyncio.gather(
        *(actions.run("action_blocks", turn("x")) for _ in range(RUNNING_MAX)), return_exceptions=True
    )
    await asyncio.sleep(0.05)
    with pytest.raises(ActionError) as caught:
        await actions.run("action_order", turn("2026"))
    assert caught.value.code == "action_busy"
    assert not blocked.done(), "it waited for them"
    assert all(isinstance(error, ActionError) for error in await blocked)
    async with asyncio.timeout(240):  # the threads end, and their places are free again
        while True:
            with suppress(ActionError):
                assert (await actions.run("action_order", turn("2026"))).text
                break
            await asyncio.sleep(0.1)


def test_a_broken_file_is_named_with_its_line_and_the_others_load(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "bad_syntax.py").write_text("def f(:\n", encoding="utf-8")
    (folder / "bad_import.py").write_text("x = 1\nimport no_such_module\n", encoding="utf-8")
    (folder / "leaves.py").write_text("raise SystemExit(1)\n", encoding="utf-8")
    own = tmp_path / "own"
    own.mkdir()
    (own / "order.py").write_text(ORDER.replace("已发货", "在路上"), encoding="utf-8")
    with caplog.at_level(logging.ERROR):
        executor = LocalExecutor([own, folder, tmp_path / "missing"], 1)
    assert "action_order" in executor.names
    assert len(executor.problems) == 3
    joined = "\n".join(executor.problems)
    assert "bad_syntax.py:1" in joined
    assert "bad_import.py:2" in joined
    assert "leaves.py:1" in joined
    assert len(caplog.records) == 3
    result = asyncio.run(Actions(executor).run("action_order", turn("2026")))
    assert "在路上" in result.text  # the company's own folder goes before the other


async def test_the_turn_runs_the_entrys_action_and_keeps_its_state(
    talk_with: Callable[..., Any], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    talk = await talk_with(actions_dir=folder, action_timeout_seconds=0.5)
    visitor, other = await talk.begin(), await talk.begin()
    asked = await visitor.say("我的订单到哪了")
    assert (asked["decision"], asked["text"]) == ("action", "请发订单号。")
    between = await visitor.say("怎么开发票")  # the loop refuses it; it is answered as ever
    assert between["decision"] == "answer"
    await other.say("QS20260103009")  # another visitor's conversation knows nothing of the loop
    found = await visitor.say("QS20260103001")
    assert found["decision"] == "action"
    assert found["text"].startswith("订单 QS20260103001 已发货。")
    assert found["suggestions"] == ["再查一单"]
    assert found["image_url"] == "https://shop.example.com/map.png"
    second = await visitor.say("我的订单到哪了 QS20260103002")
    assert "之前查过：QS20260103001" in second["text"]
    assert (await other.say("我的订单到哪了"))["text"] == "请发订单号。"
    cancelled = await other.say("算了")
    assert cancelled["decision"] == "chitchat"
    assert (await other.say("12345678"))["decision"] == "handoff"
    with caplog.at_level(logging.WARNING, "kefu.dialogue"):
        failed = await visitor.say("帮我检测一下网络线路")
    assert failed["decision"] == "handoff"
    assert "400-000-0001" in failed["text"]
    assert "action_breaks" in caplog.text
    assert "13800000000" not in caplog.text
    assert "网络线路" not in caplog.text


@pytest.mark.slow
async def test_the_real_action_server_speaks_with_us(folder: Path, tmp_path: Path) -> None:
    """rasa-sdk's own server, in a process of its own."""
    port = unused_port()
    (tmp_path / "actions" / "__init__.py").touch()
    (tmp_path / "actions" / "served.py").write_text(SERVED, encoding="utf-8")
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rasa_sdk", "--actions", "actions.served", "--port", str(port),
        cwd=tmp_path, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        stdin=asyncio.subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    actions = Actions(None, RemoteExecutor(f"http://127.0.0.1:{port}/webhook", 20))
    try:
        result = None
        for _ in range(200):
            with suppress(ActionError):
                result = await actions.run("action_order", turn("查 QS20260103001"))
                break
            await asyncio.sleep(0.2)
        assert result is not None
        assert result.text == "订单 QS20260103001 已发货。"
        assert result.slots == {"orders": ["QS20260103001"]}
        asked = await actions.run("action_order", turn("我的订单到哪了"))
        with pytest.raises(ActionRejectedError):
            await actions.run("action_order", turn("别的", events=asked.events))
        with pytest.raises(ActionError) as caught:
            await actions.run("action_none", turn("x"))
        assert caught.value.code == "action_not_found"
        with pytest.raises(ActionError) as caught:  # its server says 400 of this, too, as of a rejection
            await actions.run("action_raises", turn("x"))
        assert caught.value.code == "action_failed"
    finally:
        await actions.close()
        os.killpg(server.pid, signal.SIGKILL)  # its workers too
        await server.wait()


async def test_whatever_an_action_server_answers() -> None:
    async def webhook(request: web.Request) -> web.StreamResponse:
        call = json.loads(zlib.decompress(await request.content.read()))
        assert request.headers["Content-Encoding"] == "deflate"
        name = call["next_action"]
        if name.isdecimal():
            return web.json_response({"error": "x", "action_name": name}, status=int(name))
        if name == "slow":
            await asyncio.sleep(5)
        if name == "redirect":
            raise web.HTTPFound("http://127.0.0.1:9/")
        if name.startswith("bad"):
            said = {
                "bad text": "Failed when parsing body",
                "bad json": '{"status": 400}',
                "bad list": '["action_name"]',
            }
            return web.Response(status=400, text=said[name])
        bodies = {"text": "hello", "list": "[]", "nested": '{"events": 1, "responses": []}', "null": "null"}
        return web.Response(text=bodies.get(name, "{}"), content_type="application/json")

    app = web.Application(handler_args={"auto_decompress": False})
    app.router.add_post("/webhook", webhook)
    server = TestServer(app)
    await server.start_server()
    url = str(server.make_url("/"))
    actions = Actions(None, RemoteExecutor(url, 0.3))
    expected = {
        "404": "action_not_found", "400": "action_rejected", "449": "action_failed", "500": "action_failed",
        "redirect": "action_failed", "slow": "action_slow", "text": "action_nonsense", "list": "action_nonsense",
        "nested": "action_nonsense", "null": "action_nonsense",
        "bad text": "action_failed", "bad json": "action_failed", "bad list": "action_failed",
    }  # fmt: skip
    try:
        for name, code in expected.items():
            with pytest.raises(ActionError) as caught:
                await actions.run(name, turn("x"))
            assert caught.value.code == code, name
    finally:
        await actions.close()
        await server.close()
    gone = Actions(None, RemoteExecutor(url, 1))
    with pytest.raises(ActionError) as caught:
        await gone.run("any", turn("x"))
    assert caught.value.code == "action_unreachable"
    await gone.close()


def test_slots_and_events() -> None:
    events = [
        {"event": "slot", "name": "a", "value": 1},
        {"event": "slot", "name": "b", "value": [2]},
        {"event": "slot"},
        {"event": "unknown"},
    ]
    assert tracker.apply({"c": 3}, events) == {"a": 1, "b": [2], "c": 3}
    assert tracker.apply({"c": 3}, [*events, {"event": "reset_slots"}]) == {}
    many = [{"event": "user", "text": str(i)} for i in range(500)]
    assert len(tracker.kept(many)) == tracker.EVENTS_KEPT
    assert len(tracker.kept([*many, {"event": "restart"}, *many[:3]])) == 4


@pytest.mark.parametrize("hours", [-12, 14])
def test_tomorrow_is_meant_where_the_company_is(hours: int) -> None:
    """Two zones that never have the same day."""
    zone = timezone(timedelta(hours=hours))
    days = {datetime.now(zone).date()}
    read = [e["value"] for e in Actions(zone=zone).read(turn("明天下午三点来取")).entities if e["entity"] == "time"]
    days.add(datetime.now(zone).date())
    assert [datetime.fromisoformat(one).hour for one in read] == [15]
    assert datetime.fromisoformat(read[0]).date() - timedelta(days=1) in days
    assert datetime.fromisoformat(read[0]).utcoffset() == timedelta(hours=hours)


def test_entities_stand_where_they_stand() -> None:
    text = "订单ＱＳ２０２６－1，电话13812345678，信箱 a@b.com，数量 3"
    found = entities(text, datetime.now().astimezone())
    assert [(e["entity"], e["value"]) for e in found] == [
        ("code", "QS2026-1"), ("phone", "13812345678"), ("email", "a@b.com"), ("number", "3"),
    ]  # fmt: skip
    assert text[found[1]["start"] : found[1]["end"]] == "13812345678"
