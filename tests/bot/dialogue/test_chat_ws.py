"""The conversation over a WebSocket: sign-in, live replies, breaking off and coming back."""

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSMsgType

from bot import keys
from bot.errors import UnavailableError

GROUNDED = "帐篷 HW-6021 可抗 6 级风，超过 6 级请收起。"
CAMPING = "帐篷能抗几级风"


@asynccontextmanager
async def line(visitor: Any, after: str | None = None, token: str | None = None, **options: Any) -> Any:
    """An open, signed-in line."""
    path = f"/api/sessions/{visitor.id}/ws" + (f"?after={after}" if after else "")
    async with visitor.talk.client.ws_connect(path, **options) as socket:
        await socket.send_json({"type": "auth", "token": token or visitor.token})
        yield socket


async def until(socket: Any, kind: str) -> list[dict[str, Any]]:
    """Frames up to and with the first of that type."""
    frames = []
    async with asyncio.timeout(20):
        while not frames or frames[-1]["type"] != kind:
            frames.append(await socket.receive_json())
    return frames


async def test_a_message_and_its_reply(talk_with: Callable[..., Any], scripted: Any) -> None:
    talk = await talk_with(scripted(GROUNDED, "帐内严禁", "生火。"))
    visitor = await talk.begin()
    async with line(visitor) as socket:
        assert await until(socket, "ready") == [{"type": "ready", "session_id": visitor.id}]
        await socket.send_json({"type": "message", "text": CAMPING, "client_id": "m1"})
        frames = await until(socket, "done")
        assert [frame["type"] for frame in frames] == ["message", "meta", "delta", "delta", "done"]
        assert frames[0]["message"]["client_id"] == "m1"
        assert {frame["reply_to"] for frame in frames[1:]} == {"m1"}
        assert frames[1]["decision"] == "generate"
        done = frames[-1]["message"]
        assert done["text"] == frames[2]["text"] + frames[3]["text"]
        await socket.send_json({"type": "ping"})
        assert await socket.receive_json() == {"type": "pong"}
    assert (await visitor.history())[-1] == done


async def test_breaking_off_and_coming_back(talk_with: Callable[..., Any], scripted: Any) -> None:
    engine = scripted(GROUNDED, *["帐内严禁生火。"] * 4, pause_seconds=0.15)
    talk = await talk_with(engine)
    visitor = await talk.begin()
    async with line(visitor) as socket:
        await until(socket, "ready")
        await socket.send_json({"type": "message", "text": CAMPING, "client_id": "m1"})
        frames = await until(socket, "delta")
        known = frames[0]["message"]["id"]
    async with line(visitor, after=known) as socket:  # while it is being written
        frames = await until(socket, "done")
        assert [frame["type"] for frame in frames[:2]] == ["ready", "meta"]
        text = "".join(frame["text"] for frame in frames if frame["type"] == "delta")
        assert frames[-1]["message"]["text"] == text == GROUNDED + "帐内严禁生火。" * 4
        # The message that got no answer on the first line is sent again, and stays one message.
        await socket.send_json({"type": "message", "text": CAMPING, "client_id": "m1"})
        assert (await until(socket, "done"))[-1] == frames[-1]
    async with line(visitor, after=known) as socket:  # when it is done
        frames = await until(socket, "ready")
        assert [frame["type"] for frame in frames] == ["message", "ready"]
        assert frames[0]["message"]["text"] == text
        await socket.send_json({"type": "message", "text": CAMPING, "client_id": "m1"})
        assert (await until(socket, "done"))[-1]["message"]["text"] == text
    assert len(engine.asked) == 1
    assert len(await visitor.history()) == 2


async def test_a_turn_that_failed_is_tried_again_with_the_same_id(talk: Any, monkeypatch: Any) -> None:
    visitor = await talk.begin()
    knowledge_base = talk.app[keys.KNOWLEDGE_BASE]
    search = knowledge_base.search

    async def down(*_: Any, **__: Any) -> Any:
        raise UnavailableError("starting", "还在启动", "still starting")

    async with line(visitor) as socket:
        await until(socket, "ready")
        monkeypatch.setattr(knowledge_base, "search", down)
        await socket.send_json({"type": "message", "text": "我想退货", "client_id": "m1"})
        error = (await until(socket, "error"))[-1]
        assert (error["reply_to"], error["error"]["code"]) == ("m1", "starting")
        monkeypatch.setattr(knowledge_base, "search", search)
        await socket.send_json({"type": "message", "text": "我想退货", "client_id": "m1"})
        assert (await until(socket, "done"))[-1]["message"]["decision"] == "answer"
    assert len(await visitor.history()) == 2


async def test_two_pages_see_the_same(talk: Any) -> None:
    visitor = await talk.begin()
    async with line(visitor) as one, line(visitor) as two:
        await until(one, "ready")
        await until(two, "ready")
        await one.send_json({"type": "message", "text": "我想退货", "client_id": "a"})
        told = [await until(socket, "done") for socket in (one, two)]
        assert told[0] == told[1]
        reply = await visitor.say("怎么开发票")  # by a plain request
        assert (await until(two, "done"))[-1]["message"] == reply


async def test_who_may_not(talk_with: Callable[..., Any]) -> None:
    talk = await talk_with(widget_origins=("https://shop.example.com",))
    visitor, other = await talk.begin(), await talk.begin()

    async def closed(socket: Any) -> int:
        async with asyncio.timeout(20):
            while (await socket.receive()).type not in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.CLOSING):
                pass
        return int(socket.close_code)

    async with line(visitor, token=other.token) as socket:
        assert await closed(socket) == 4401
    async with talk.client.ws_connect(f"/api/sessions/{visitor.id}/ws") as socket:
        await socket.send_str("not json")
        assert await closed(socket) == 4401
    async with talk.client.ws_connect("/api/sessions/none/ws") as socket:
        await socket.send_json({"type": "auth", "token": visitor.token})
        assert await closed(socket) == 4404
    evil = {"Origin": "https://evil.example.com", "Upgrade": "websocket", "Connection": "Upgrade"}
    async with talk.client.get(f"/api/sessions/{visitor.id}/ws", headers=evil) as response:
        assert response.status == 403
    async with line(visitor, headers={"Origin": "https://shop.example.com"}) as socket:
        await until(socket, "ready")
    async with line(visitor, headers={"Origin": talk.url}) as socket:
        await until(socket, "ready")
    async with talk.client.ws_connect(f"/api/sessions/{visitor.id}/ws", headers=visitor.headers) as socket:
        await until(socket, "ready")


async def test_wrong_frames_are_answered_and_the_line_stays(talk_with: Callable[..., Any]) -> None:
    talk = await talk_with(messages_per_minute=4)
    visitor = await talk.begin()
    async with line(visitor) as socket:
        await until(socket, "ready")
        for frame in ("nonsense", "[]", '{"type": "dance"}', '{"type": "message"}', '{"type": "message", "text": 1}',
                      '{"type": "message", "text": "", "client_id": "e"}'):  # fmt: skip
            await socket.send_str(frame)
            error = await socket.receive_json()
            assert error["type"] == "error", frame
            assert error["error"]["message"]
        assert error["reply_to"] == "e"
        await socket.send_json({"type": "message", "text": "退" * 100_000, "client_id": "long"})
        assert (await until(socket, "done"))[-1]["message"]["decision"] == "refuse"
        for _ in range(2):
            await socket.send_json({"type": "message", "text": "你好"})
            await until(socket, "done")
        await socket.send_json({"type": "message", "text": "你好", "client_id": "much"})
        error = (await until(socket, "error"))[-1]
        assert error["error"]["code"] == "too_many_requests"
        assert error["reply_to"] == "much"


async def test_stopping_hangs_up(talk: Any) -> None:
    visitor = await talk.begin()
    async with line(visitor) as socket:
        await until(socket, "ready")
        started = asyncio.get_running_loop().time()
        stopping = asyncio.create_task(talk.client.close())
        message = await socket.receive()
        assert message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.CLOSING)
        await stopping
        assert asyncio.get_running_loop().time() - started < 10
