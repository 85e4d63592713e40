"""Actions and action servers that do their worst, in whole conversations over HTTP: each goes on, nothing twice."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.dialogue import tracker
from bot.dialogue.action_files import LocalExecutor
from bot.dialogue.action_server import RemoteExecutor
from bot.dialogue.actions import FRUITLESS_MAX, ActionError, Actions
from bot.dialogue.domain import read_domain
from bot.dialogue.types import Turn

# The shop's entry 「我的订单到哪了」 runs action_order: each of these is one.
WORST = {
    "raises": "raise ValueError('13800000000')",
    "hangs": "import asyncio; await asyncio.sleep(60)",
    "returns_nonsense": "dispatcher.messages.append({'text': ['a']})",
    "returns_10_MB": "dispatcher.utter_message(text='长' * 10_000_000)",
    "keeps_10_MB": "return [SlotSet('x', 'y' * 10_000_000)]",
    "keeps_an_object": "dispatcher.utter_message(text='好'); return [SlotSet('x', object())]",
    "keeps_no_number": "dispatcher.utter_message(text='好'); return [SlotSet('x', float('nan'))]",
    "says_no_unicode": "dispatcher.utter_message(text='\\ud800')",
    "says_nothing": "return []",
    "exits": "raise SystemExit(3)",
}
ACTION = """
from rasa_sdk import Action
from rasa_sdk.events import ActiveLoop, FollowupAction, SlotSet

class Order(Action):
    def name(self):
        return "action_order"

    async def run(self, dispatcher, tracker, domain):
        {}
"""


def written(folder: Path, code: str, domain: str) -> Path:
    folder.mkdir()
    (folder / "order.py").write_text(ACTION.format(code), encoding="utf-8")
    (folder / "domain.yml").write_text(domain, encoding="utf-8")
    return folder


async def shop(talk_with: Callable[..., Any], folder: Path, code: str, domain: str = "") -> Any:
    written(folder, code, domain)
    actions = Actions(LocalExecutor([folder], 2), None, read_domain([folder]))
    return await talk_with(actions=actions)


@pytest.mark.parametrize("code", WORST.values(), ids=WORST)
async def test_the_conversation_goes_on(talk_with: Callable[..., Any], tmp_path: Path, code: str) -> None:
    talk = await shop(talk_with, tmp_path / "own", code)
    visitor = await talk.begin()
    failed = await visitor.say("我的订单到哪了", client_id="one")
    assert failed["decision"] == "handoff"
    assert "没有成功" in failed["text"]
    assert (await visitor.say("我的订单到哪了", client_id="one"))["id"] == failed["id"]
    assert (await visitor.say("怎么开发票"))["decision"] == "answer"
    assert [one["role"] for one in await visitor.history()] == ["user", "bot", "user", "bot"]


async def test_an_action_that_follows_itself_is_stopped(talk_with: Callable[..., Any], tmp_path: Path) -> None:
    code = "dispatcher.utter_message(text='又'); return [FollowupAction('action_order')]"
    talk = await shop(talk_with, tmp_path / "own", code)
    visitor = await talk.begin()
    assert (await visitor.say("我的订单到哪了"))["text"] == "又\n\n又\n\n又"
    assert (await visitor.say("怎么开发票"))["decision"] == "answer"


async def test_a_loop_that_never_ends_lets_go(talk_with: Callable[..., Any], tmp_path: Path) -> None:
    talk = await shop(
        talk_with, tmp_path / "own", "dispatcher.utter_message(text='请发单号'); return [ActiveLoop('action_order')]"
    )
    visitor = await talk.begin()
    await visitor.say("我的订单到哪了")
    replies = [await visitor.say("怎么开发票") for _ in range(FRUITLESS_MAX + 1)]
    assert replies[0]["text"] == "请发单号"
    assert replies[-1]["decision"] == "answer"
    other = await talk.begin()
    await other.say("我的订单到哪了")
    assert (await other.say("转人工"))["decision"] == "handoff"
    assert (await other.say("算了"))["decision"] == "chitchat"
    assert (await other.say("怎么开发票"))["decision"] == "answer"


async def test_a_loop_of_an_action_that_is_not_there_is_forgotten(
    talk_with: Callable[..., Any], tmp_path: Path
) -> None:
    code = "dispatcher.utter_message(text='好'); return [ActiveLoop('action_gone')]"
    talk = await shop(talk_with, tmp_path / "own", code)
    visitor = await talk.begin()
    await visitor.say("我的订单到哪了")
    assert (await visitor.say("怎么开发票"))["decision"] == "answer"


async def test_a_loop_whose_action_fails_twice_is_over(talk_with: Callable[..., Any], tmp_path: Path) -> None:
    code = (
        "if tracker.active_loop: raise ValueError\n"
        "        dispatcher.utter_message(text='请发单号'); return [ActiveLoop('action_order')]"
    )
    talk = await shop(talk_with, tmp_path / "own", code)
    visitor = await talk.begin()
    await visitor.say("我的订单到哪了")
    assert [(await visitor.say("怎么开发票"))["decision"] for _ in range(3)] == ["handoff", "handoff", "answer"]


async def test_a_form_that_asks_nothing_it_can_ask_is_an_apology(talk_with: Callable[..., Any], tmp_path: Path) -> None:
    talk = await shop(
        talk_with, tmp_path / "own", "return [FollowupAction('mute_form')]",
        "forms: {mute_form: {required_slots: [x]}}\nslots: {x: {type: text, mappings: [{type: from_text}]}}\n",
    )  # fmt: skip
    visitor = await talk.begin()
    assert (await visitor.say("我的订单到哪了"))["decision"] == "handoff"
    assert (await visitor.say("怎么开发票"))["decision"] == "answer"


async def test_a_pause_of_the_bot_hands_the_conversation_over(talk_with: Callable[..., Any], tmp_path: Path) -> None:
    code = (
        "from rasa_sdk.events import ConversationPaused\n"
        "        dispatcher.utter_message(text='同事来接'); return [ConversationPaused()]"
    )
    talk = await shop(talk_with, tmp_path / "own", code)
    visitor = await talk.begin()
    assert (await visitor.say("我的订单到哪了"))["text"] == "同事来接"
    status, held = await visitor.post("在吗")
    assert status == 202
    assert held["message_id"]


@pytest.fixture
async def server() -> AsyncIterator[tuple[Actions, list[str], dict[str, Any]]]:
    """An action server that behaves as `mode` says, the calls it got, and the executor that speaks with it."""
    mode: dict[str, Any] = {"answer": {"responses": [{"text": "好"}], "events": []}}
    calls: list[str] = []

    async def webhook(request: web.Request) -> web.StreamResponse:
        call = json.loads(zlib.decompress(await request.content.read()))
        calls.append(call["next_action"])
        if mode.get("pause_seconds"):
            await asyncio.sleep(mode["pause_seconds"])
        if mode.get("location"):
            raise web.HTTPTemporaryRedirect(mode["location"])
        body = mode.get("body") or json.dumps(mode["answer"]).encode()
        headers = {"Content-Type": "application/json"}
        if mode.get("encoding") == "gzip":
            body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
        elif mode.get("encoding") == "deflate":
            body, headers["Content-Encoding"] = zlib.compress(body), "deflate"
        return web.Response(body=body, status=mode.get("status", 200), headers=headers)

    app = web.Application(handler_args={"auto_decompress": False})
    app.router.add_post("/webhook", webhook)
    running = TestServer(app)
    await running.start_server()
    mode["url"] = str(running.make_url("/"))
    actions = Actions(None, RemoteExecutor(mode["url"], 5))
    yield actions, calls, mode
    await actions.close()
    await running.close()


@pytest.mark.parametrize("encoding", ["", "gzip", "deflate"])
async def test_a_compressed_answer_is_read(server: tuple[Actions, list[str], dict[str, Any]], encoding: str) -> None:
    actions, calls, mode = server
    mode["encoding"] = encoding
    assert (await actions.run("action_x", Turn("c", "x"))).text == "好"
    assert calls == ["action_x"]


async def test_an_answer_in_many_pieces_is_whole(server: tuple[Actions, list[str], dict[str, Any]]) -> None:
    actions, _, mode = server
    mode["answer"] = {
        "responses": [{"text": "字" * 10_000}],
        "events": [{"event": "slot", "name": "a", "value": "b" * 200_000}],
    }
    assert len((await actions.run("action_x", Turn("c", "x"))).text) == 10_000


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"status": 500}, "action_failed"),
        ({"status": 503, "body": b"<html>"}, "action_failed"),
        ({"body": b"<html>"}, "action_nonsense"),
        ({"body": b"\xff\xfe\x00"}, "action_nonsense"),
        ({"body": b'{"responses": [{"text": "' + b"x" * 10_000_000 + b'"}], "events": []}'}, "action_nonsense"),
        ({"body": b'{"responses": [{"text": "' + b"x" * 20_000_000 + b'"}]}', "encoding": "gzip"}, "action_nonsense"),
        ({"body": b"[" * 100_000}, "action_nonsense"),
        ({"body": b'{"responses": [' + b'{"text": "x"}, ' * 20_000 + b'{"text": "x"}]}'}, "action_nonsense"),
        ({"location": "/webhook"}, "action_failed"),
        ({"pause_seconds": 30}, "action_slow"),
    ],
    ids=["500", "503", "html", "bytes", "10 MB", "20 MB gzipped", "deep", "many chunks", "redirect to itself", "slow"],
)
async def test_a_bad_server_is_asked_once(
    server: tuple[Actions, list[str], dict[str, Any]], change: dict[str, Any], code: str
) -> None:
    actions, calls, mode = server
    mode |= change
    with pytest.raises(ActionError) as caught:
        await actions.run("action_x", Turn("c", "x"))
    assert caught.value.code == code
    assert calls == ["action_x"], "an action may have booked something: it is never tried again"


async def test_a_server_that_is_gone_in_the_middle_of_a_form(
    server: tuple[Actions, list[str], dict[str, Any]], talk_with: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "domain.yml").write_text(
        "forms: {action_order: {required_slots: [n]}}\n"
        "slots: {n: {type: text, mappings: [{type: from_entity, entity: number}]}}\n"
        "responses: {utter_ask_n: [{text: 几号单？}]}\nactions: [validate_action_order]\n"
    )
    _, calls, mode = server
    remote = Actions(None, RemoteExecutor(mode["url"], 2), read_domain([tmp_path]))
    mode["answer"] = {"responses": [], "events": []}
    talk = await talk_with(actions=remote)
    visitor = await talk.begin()
    assert (await visitor.say("我的订单到哪了"))["text"] == "几号单？"
    mode["status"] = 500
    assert (await visitor.say("12"))["decision"] == "handoff"
    aside = await visitor.say("怎么开发票")
    assert aside["decision"] == "answer"
    assert aside["text"].endswith("接着刚才的事：几号单？")
    mode["status"] = 200
    assert (await visitor.say("12"))["text"] == "好的，已记录。"
    assert calls == ["validate_action_order"] * 3


def test_what_rewind_and_undo_take_back() -> None:
    def of(*kinds: str) -> list[dict[str, Any]]:
        return [{"event": kind, "name": "a" if kind == "action" else None} for kind in kinds]

    listened = [{"event": "action", "name": "action_listen"}]
    assert tracker.applied([*of("slot"), *listened, *of("user", "action", "rewind")]) == of("slot")
    assert tracker.applied(of("user", "action", "bot", "undo")) == of("user")
    assert tracker.applied(of("rewind", "undo")) == []
    assert not tracker.paused(of("pause", "resume"))
    assert tracker.paused(of("resume", "pause"))
