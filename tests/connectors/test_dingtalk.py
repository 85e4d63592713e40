"""钉钉: the outside vectors, the ways of answering, and the stream's rules."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from bot.storage import letters
from connectors.crypto import MessageCrypt
from connectors.dingtalk import wire
from connectors.dingtalk.channel import REOPEN_SECONDS
from connectors.errors import ConnectorError
from tests.connectors.cases import DingTalk, DingTalkStream
from tests.servers import dingtalk


@pytest.fixture
async def case(request: pytest.FixtureRequest) -> Any:
    made = getattr(request, "param", DingTalk)()
    made.base = await made.outside.start()
    yield made
    await made.outside.stop()


streaming = pytest.mark.parametrize("case", [DingTalkStream], indirect=True, ids=["stream"])


def vectors(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "channels" / "dingtalk.json").read_text(encoding="utf-8"))["vectors"]
    return {one["id"]: one for one in found}


def test_outside_vectors_of_signatures_and_events(bench_data: Path) -> None:
    known = vectors(bench_data)
    trap = known["trap-timestamp-only-signature"]
    stamp, secret = trap["input"]["timestamp"], trap["config"]["secret"]
    assert wire.sign(secret, stamp) == trap["expect"]["robot_sign_value"]
    with pytest.raises(ConnectorError):
        wire.verify(secret, {"timestamp": stamp, "sign": trap["value"]}, int(stamp) / 1000)
    wire.verify(secret, {"timestamp": stamp, "sign": wire.sign(secret, stamp)}, int(stamp) / 1000 + 3599)
    for name in ("event-callback-a", "event-callback-b"):
        one = known[name]
        query, config = one["request"]["query"], one["config"]
        crypt = MessageCrypt(config["token"], config["aes_key"], config["receive_id"])
        opened = crypt.open(one["request"]["json"]["encrypt"], query["signature"], query["timestamp"], query["nonce"])
        assert opened.decode() == one["expect"]["plaintext"]
        assert crypt.decrypt(crypt.encrypt(b"success")) == b"success"


@streaming
async def test_outside_vectors_of_frames(desk: Any, bench_data: Path) -> None:
    known, channel = vectors(bench_data), desk.hub.channel("dingtalk/shop")
    ping = known["stream-system-ping"]["frame"]
    assert await channel.on_frame(ping) == {
        **{k: v for k, v in known["stream-system-ping"]["expect"]["ack"].items() if k != "data"}, "data": ping["data"],
    }  # fmt: skip
    assert await channel.on_frame(known["stream-system-disconnect"]["frame"]) is None
    message = known["stream-bot-message"]
    frame = message["frame"]
    acks = [await channel.on_frame(frame) for _ in range(3)]
    for ack in acks:
        assert {k: v for k, v in ack.items() if k != "data"} == {
            k: v for k, v in message["expect"]["ack"].items() if k != "data"
        }
        assert "response" in json.loads(ack["data"])
    await desk.outside.quiet(0.5)
    assert [text for _, _, text in desk.answers.said] == ["你好"]


@streaming
async def test_a_message_that_cannot_be_kept_is_refused_and_taken_the_next_time(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = desk.hub.channel("dingtalk/shop")
    data = json.dumps(desk.case.platform.message("u1", "怎么退货", "m1"))
    frame = {"type": "CALLBACK", "headers": {"messageId": "f", "topic": wire.BOT_MESSAGES}, "data": data}
    accept = channel.service.accept

    async def full(*_: Any) -> list[bool]:
        raise OSError("disk full")

    monkeypatch.setattr(channel.service, "accept", full)
    assert (await channel.on_frame(frame))["code"] == 500
    monkeypatch.setattr(channel.service, "accept", accept)
    assert (await channel.on_frame(frame))["code"] == 200
    assert await desk.outside.until(1) == [("u1", "答：怎么退货")]


@streaming
async def test_a_lost_stream_is_opened_again_with_a_new_ticket(desk: Any) -> None:
    assert await desk.say("u1", "第一句") == 200
    await desk.outside.sockets[0].send_json({"type": "SYSTEM", "headers": {"topic": "disconnect"}, "data": "{}"})
    await desk.outside.quiet(0.5)
    assert await desk.say("u1", "第二句") == 200
    await desk.outside.sockets[-1].close()
    assert await desk.say("u1", "第三句") == 200
    await desk.outside.until(3)
    assert [text for _, text in desk.outside.got] == ["答：第一句", "答：第二句", "答：第三句"]
    assert len(desk.outside.tickets) >= 3


async def test_after_the_conversations_address_is_over_the_api_is_used(desk: Any) -> None:
    desk.outside.webhook_seconds = -1
    await desk.say("u1", "怎么退货")
    await desk.say("u1", "运费", group="g1")
    await desk.outside.until(2)
    assert sorted(desk.outside.got) == [("g1", "答：运费"), ("u1", "答：怎么退货")]
    assert len(desk.outside.by_api) == 2
    desk.outside.token = "ended"
    await desk.hub.push("dingtalk/shop", "u9", "您好")
    assert (await desk.outside.until(3))[-1] == ("u9", "您好")
    assert desk.outside.issued == 2


async def test_where_the_address_has_no_time_the_api_answers(desk: Any) -> None:
    message = desk.outside.message("u1", "怎么退货", "m1")
    for number, until in enumerate(("abc", {"a": 1}, None, [], 1e400)):
        changed = message | {"sessionWebhookExpiredTime": until, "msgId": f"x{number}"}
        body = json.dumps(changed).replace("Infinity", "1e400").encode()
        async with desk.http.post(desk.url + desk.case.path, headers=dingtalk.headers(), data=body) as response:
            assert response.status == 200
    assert await desk.outside.until(5, seconds=20) == [("u1", "答：怎么退货")] * 5
    assert len(desk.outside.by_api) == 5


async def test_an_attackers_session_webhook_is_never_called(desk: Any) -> None:
    message = desk.outside.message("u1", "怎么退货", "m1") | {"sessionWebhook": desk.outside.base + "0/robot/x?to=u1"}
    caught: list[bytes] = []

    async def catch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        caught.append(await reader.read(100))
        writer.close()

    trap = await asyncio.start_server(catch, "127.0.0.1")
    port = trap.sockets[0].getsockname()[1]
    for number, url in enumerate((
        "http://169.254.169.254/latest/meta-data", "https://oapi.dingtalk.com.evil.example/robot/sendBySession",
        "https://oapi.dingtalk.com@127.0.0.1/", f"http://127.0.0.1:{port}/robot/sendBySession", "file:///etc/passwd",
    )):  # fmt: skip
        body = json.dumps(message | {"sessionWebhook": url, "msgId": f"x{number}"}).encode()
        async with desk.http.post(desk.url + desk.case.path, headers=dingtalk.headers(), data=body) as response:
            assert response.status == 200

    got = await desk.outside.until(5)
    assert got == [("u1", "答：怎么退货")] * 5  # by the robot's own API, at the platform's own address
    assert len(desk.outside.by_api) == 5
    assert caught == []
    trap.close()
    assert "/robot/sendBySession" not in {path for _, path, _ in desk.outside.calls}
    async with desk.hub._store.database.reading() as session:
        assert await letters.letters(session) == []


async def test_the_check_says_what_is_wrong(start_desk: Any) -> None:
    desk = await start_desk(client_secret="wrong")
    with pytest.raises(ConnectorError, match="client_secret"):
        await desk.hub.channel("dingtalk/shop").check()


@streaming
async def test_a_stream_that_is_closed_as_soon_as_it_is_open_is_not_opened_in_a_rush(desk: Any) -> None:
    begun, rounds = time.monotonic(), 3
    async with asyncio.timeout(60):
        for number in range(1, rounds + 1):
            while len(desk.outside.tickets) < number or not desk.outside.sockets:  # noqa: ASYNC110 - lists tell nobody
                await asyncio.sleep(0.01)
            await desk.outside.sockets[-1].close()
        while len(desk.outside.tickets) <= rounds:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert time.monotonic() - begun >= rounds * REOPEN_SECONDS
    assert await desk.say("u1", "还在吗") == 200
    await desk.outside.until(1)
