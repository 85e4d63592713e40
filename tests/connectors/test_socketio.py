"""Rasa's Socket.IO channel: python-socketio's own client against the real hub, and Engine.IO's frames by hand."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from socketio import AsyncClient
from socketio.exceptions import ConnectionError as RefusedError

from bot import channels, keys
from bot.config import Settings
from bot.messaging.hub import HUB
from bot.security.limits import LIMITS, Limits
from bot.storage import passing
from bot.storage.conversations import channel_conversation_id
from bot.storage.database import Database
from connectors.rasa import wire
from connectors.types import Button, Outbound
from tests.servers.desk import CHOICES, SLOW, Answers, make_app

TABLE = {"kind": "socketio", "name": "socketio"}
Start = Callable[..., Any]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    servers: list[TestServer] = []

    async def begin(
        answers: Answers | None = None, messages: int = 60, sessions: int = 300, **parameters: Any
    ) -> TestServer:
        app = make_app(tmp_path / "data", [TABLE | parameters], answers)
        app[keys.SETTINGS] = Settings(data=tmp_path / "data", widget_origins=("https://shop.example.com",))
        app[LIMITS] = Limits(sessions, messages)
        app.router.add_route("*", "/socket.io/", channels.socket_io)
        app.on_shutdown.append(channels.hang_up)
        server = TestServer(app)
        await server.start_server()
        servers.append(server)
        return server

    yield begin
    for server in servers:
        await server.close()


async def is_held(database: Database, session: str) -> bool:
    """Whether something waits for the customer of a session to be back."""
    recipient = channel_conversation_id("socketio", "socketio", session, "")
    return await database.read(lambda it: passing.anything_held(it, "socketio/socketio", recipient))


class Customer:
    """A page with a socket: `heard` is what it was sent."""

    def __init__(self) -> None:
        self.client = AsyncClient(reconnection=False)
        self.heard: asyncio.Queue[Any] = asyncio.Queue()
        self.session: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.client.on("bot_uttered", self.heard.put)
        self.client.on("session_confirm", lambda session: self.session.set_result(session))

    async def come(self, server: TestServer, session: str | None = None, **options: Any) -> str:
        await self.client.connect(str(server.make_url("/")), **options)
        await self.client.emit("session_request", {"session_id": session})
        return await asyncio.wait_for(self.session, 20)

    async def say(self, text: Any, session: str, **more: Any) -> None:
        await self.client.emit("user_uttered", {"message": text, "session_id": session, **more})

    async def next(self) -> Any:
        return await asyncio.wait_for(self.heard.get(), 20)


@pytest.fixture
async def customer() -> AsyncIterator[Callable[[], Customer]]:
    made: list[Customer] = []

    def new() -> Customer:
        made.append(Customer())
        return made[-1]

    yield new
    for one in made:
        await one.client.disconnect()


async def test_a_session_is_given_and_messages_are_answered(start: Start, customer: Callable[[], Customer]) -> None:
    server = await start()
    page, other = customer(), customer()
    session = await page.come(server)
    assert len(session) == 32
    int(session, 16)
    assert await other.come(server, "given-before", transports=["polling"]) == "given-before"
    await page.say("怎么退货", session, customData={"language": "zh"})
    assert await page.next() == {"text": "答：怎么退货"}
    await page.say(CHOICES, session)
    assert await page.next() == {
        "text": "您想问的是下面哪一个？",
        "quick_replies": [
            {"content_type": "text", "title": "怎么退货", "payload": "怎么退货"},
            {"content_type": "text", "title": "运费谁出", "payload": "运费谁出"},
        ],
    }
    await other.say("在吗", "given-before")
    assert await other.next() == {"text": "答：在吗"}
    assert page.heard.empty()


async def test_strange_events_are_passed_over(start: Start, customer: Callable[[], Customer]) -> None:
    answers = Answers()
    server = await start(answers)
    page = customer()
    session = await page.come(server)
    for data in (None, "text", [], {"message": 7, "session_id": session}, {"message": "  ", "session_id": session}, {}):
        await page.client.emit("user_uttered", data)
    await page.client.emit("session_request")
    await page.client.emit("unknown", {"a": 1})
    await page.client.emit("user_uttered", {"message": "没有会话", "session_id": {"a": 1}})
    assert await page.next() == {"text": "答：没有会话"}
    assert len(answers.said) == 1


async def test_what_cannot_be_kept_is_told_and_not_logged(
    start: Start, customer: Callable[[], Customer], caplog: pytest.LogCaptureFixture
) -> None:
    answers = Answers()
    server = await start(answers)
    page = customer()
    session = await page.come(server)
    for depth in (900, 100_000):
        deep = f'{{"message": "在吗", "session_id": "{session}", "metadata": {{"a": {"[" * depth}{"]" * depth}}}}}'
        await page.client.eio.send(f'2["user_uttered",{deep}]')
        assert "嵌套太深" in (await page.next())["text"]
    await page.client.eio.send(f'2["user_uttered",{{"message": "好\\ud83d", "session_id": "{session}"}}]')
    assert await page.next() == {"text": "答：好\ufffd"}
    assert [one for one in caplog.records if one.levelname in ("WARNING", "ERROR")] == []


async def test_a_page_from_before_a_restart_is_no_fault(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    server = await start()
    async with aiohttp.ClientSession() as http:
        old = server.make_url("/socket.io/?EIO=4&transport=polling&sid=from-before")
        async with http.get(old) as polled, http.post(old, data="4") as told:
            assert (polled.status, told.status) == (400, 400)
    assert [one for one in caplog.records if one.levelname in ("WARNING", "ERROR")] == []


async def test_what_was_answered_while_the_page_was_closed_is_there_when_it_is_back(
    start: Start, customer: Callable[[], Customer], database: Database
) -> None:
    answers = Answers()
    answers.slow_seconds = 3.0
    server = await start(answers)
    page = customer()
    session = await page.come(server)
    await page.say(f"{SLOW}问题", session)
    while not answers.said:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.05)
    await page.client.disconnect()
    while not await is_held(database, session):  # noqa: ASYNC110 - the database tells nobody
        await asyncio.sleep(0.2)
    back = customer()
    assert await back.come(server, session) == session
    assert await back.next() == {"text": f"答：{SLOW}问题"}
    await back.say("还在", session)
    assert await back.next() == {"text": "答：还在"}
    assert back.heard.empty()


async def test_a_person_writes_to_every_page_of_a_session(start: Start, customer: Callable[[], Customer]) -> None:
    server = await start()
    first, second = customer(), customer()
    session = await first.come(server)
    await second.come(server, session)
    await first.say("人工", session)
    assert await first.next() == await second.next() == {"text": "正在为您转接人工。"}
    await server.app[HUB].push("socketio/socketio", session, "我是客服小王")
    assert await first.next() == await second.next() == {"text": "我是客服小王"}


async def test_a_token_is_required_where_one_is_set(start: Start, customer: Callable[[], Customer]) -> None:
    server = await start(token="s3cret")
    for options in ({}, {"auth": {"token": "wrong"}}, {"auth": {"token": 7}}, {"auth": "s3cret"}):
        with pytest.raises(RefusedError):
            await customer().client.connect(str(server.make_url("/")), **options)
    with pytest.raises(RefusedError):
        await customer().client.connect(str(server.make_url("/?token=wrong")))
    await customer().come(server, auth={"token": "s3cret"})
    await customer().come(server, headers={"Authorization": "Bearer s3cret"})
    by_query = customer()
    await by_query.client.connect(str(server.make_url("/?token=s3cret")))
    assert by_query.client.connected


async def test_pages_of_other_sites_are_refused(start: Start) -> None:
    server = await start()
    async with aiohttp.ClientSession() as http:
        address = server.make_url("/socket.io/?EIO=4&transport=polling")
        for origin, status in (("https://shop.example.com", 200), ("https://evil.example.com", 400), (None, 200)):
            async with http.get(address, headers={"Origin": origin} if origin else {}) as answer:
                assert answer.status == status
                assert answer.headers.get("Access-Control-Allow-Origin") == (origin if status == 200 else None)
        async with http.get(server.make_url("/socket.io/?EIO=3&transport=polling")) as answer:
            assert answer.status == 400  # socket.io-client 2


async def test_too_many_messages_are_said(start: Start, customer: Callable[[], Customer]) -> None:
    answers = Answers()
    server = await start(answers, messages=3)
    page = customer()
    session = await page.come(server)
    for number in range(30):
        await page.say(f"第{number}句", session)
    told = [(await page.next())["text"] for _ in range(30)]
    refused = [text for text in told if "太快" in text]
    assert len(refused) >= 20
    assert len(answers.said) == 30 - len(refused)


async def test_one_page_cannot_begin_sessions_without_end(start: Start, customer: Callable[[], Customer]) -> None:
    answers = Answers()
    server = await start(answers, sessions=5)
    page = customer()
    await page.come(server)
    for number in range(20):
        await page.say("在吗", f"name-{number}")
    refused = 0
    while refused < 14:  # what a session is answered after the page has left it, it does not hear
        refused += "太快" in (await page.next())["text"]
    assert {user for user, _, _ in answers.said} <= {f"name-{number}" for number in range(6)}


async def test_messages_keep_their_order(start: Start, customer: Callable[[], Customer]) -> None:
    answers = Answers()
    server = await start(answers, messages=1000)
    page = customer()
    session = await page.come(server)
    for number in range(40):
        await page.say(f"第{number}句", session)
    for number in range(40):
        assert await page.next() == {"text": f"答：第{number}句"}
    assert [text for _, _, text in answers.said] == [f"第{number}句" for number in range(40)]


async def test_what_came_before_a_kill_is_answered_after_it(start: Start, customer: Callable[[], Customer]) -> None:
    server = await start()
    page = customer()
    session = await page.come(server)
    answers = Answers()
    answers.slow_seconds = 0.1
    await page.say(f"{SLOW}问题", session)
    await asyncio.sleep(0.3)
    await server.close()  # in the middle of the answer
    again = await start(answers)
    back = customer()
    await back.come(again, session)
    assert await back.next() == {"text": f"答：{SLOW}问题"}
    assert back.heard.empty()


async def test_the_service_stops_while_pages_are_open(start: Start, customer: Callable[[], Customer]) -> None:
    server = await start()
    page = customer()
    await page.come(server, transports=["websocket"])
    gone = asyncio.Event()
    page.client.on("disconnect", lambda *_: gone.set())
    await asyncio.wait_for(server.close(), 20)
    await asyncio.wait_for(gone.wait(), 20)


async def test_the_frames_of_the_protocol(start: Start, bench_data: Path) -> None:
    vectors = json.loads((bench_data / "channels" / "rasa_web.json").read_text(encoding="utf-8"))["vectors"]
    vector = next(one for one in vectors if one["id"] == "socketio-null-session")
    server = await start()
    async with aiohttp.ClientSession() as http:
        address = server.make_url("/socket.io/?EIO=4&transport=websocket")
        async with http.ws_connect(address) as socket:
            assert (await socket.receive_str()).startswith("0{")
            await socket.send_str("40")
            assert (await socket.receive_str()).startswith("40{")
            await socket.send_str(vector["frames"][0][1])
            event, session = json.loads((await socket.receive_str()).removeprefix("42"))
            assert event == "session_confirm"
            assert len(session) == 32
            await socket.send_str(f'42["user_uttered",{{"message":"运费","session_id":"{session}"}}]')
            assert json.loads((await socket.receive_str()).removeprefix("42")) == ["bot_uttered", {"text": "答：运费"}]


def test_images_and_custom_payloads() -> None:
    reply = Outbound(text="看图", image_url="https://x.example.com/a.png", custom={"kind": "card"})
    assert wire.bot_uttered(reply) == [
        {"text": "看图"},
        {"attachment": {"type": "image", "payload": {"src": "https://x.example.com/a.png"}}},
        {"kind": "card"},
    ]
    assert wire.bot_uttered(Outbound(text="选", buttons=(Button("甲", "A"),)))[0]["quick_replies"][0]["payload"] == "A"
    assert wire.bot_uttered(Outbound(text=" ")) == []


def test_it_is_there_without_being_configured() -> None:
    from bot.messaging.sources import Configured, merged

    assert [one.path for one in merged([], [])] == ["/socket.io/"]
    own = Configured({"kind": "socketio", "name": "site", "token": "t"}, "file")
    assert merged([own], []) == [own]
    assert own.is_closed


async def test_whoever_only_looks_is_told_and_not_logged(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    server = await start()
    async with aiohttp.ClientSession() as http:
        async with http.get(server.make_url("/socket.io/")) as response:
            assert (response.status, "socket.io-client" in await response.text()) == (400, True)
        assert [one for one in caplog.records if one.levelname in ("WARNING", "ERROR")] == []
        async with http.get(server.make_url("/socket.io/?EIO=3&transport=polling")) as response:
            assert response.status == 400
    assert "unsupported version" in caplog.text  # a front end that cannot work is said to be one
