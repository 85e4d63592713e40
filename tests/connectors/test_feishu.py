"""飞书: the outside vectors, confirmation, groups, cards, tokens."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from connectors.errors import ConnectorError
from connectors.feishu import frames, stream, wire
from connectors.feishu.stream import Line
from tests.connectors.cases import Feishu, FeishuLongConnection, FeishuPlain
from tests.servers import feishu
from tests.servers.desk import CHOICES


@pytest.fixture(params=[Feishu, FeishuPlain])
async def case(request: pytest.FixtureRequest) -> Any:
    made = request.param()
    made.base = await made.outside.start()
    yield made
    await made.outside.stop()


def test_outside_vectors(bench_data: Path) -> None:
    found = json.loads((bench_data / "channels" / "feishu.json").read_text(encoding="utf-8"))["vectors"]
    for one in found:
        config, expected = one["config"], one["expect"]
        if one["kind"] == "decrypt":
            opened = wire.decrypt(config["encrypt_key"], one["input"]["encrypt"])
            assert opened.decode() == expected["plaintext"]
        elif one["kind"] == "signature":
            headers, body = one["request"]["headers"], one["request"]["body"].encode()
            assert wire.is_signed(config["encrypt_key"], headers, body) is expected["valid"]
            assert not wire.is_signed(config["encrypt_key"], headers, body + b" ")
        elif one["kind"] == "url_verify":
            body = json.dumps(one["request"]["json"]).encode()
            event = wire.open_event(body, {}, config["verification_token"], None)
            assert {"challenge": event["challenge"]} == expected["json"]
            with pytest.raises(ConnectorError):
                wire.open_event(body, {}, "another", None)
    assert len(found) == 4


async def test_the_address_is_confirmed_even_unsigned_but_only_with_the_token(desk: Any) -> None:
    for token, status in ((feishu.TOKEN, 200), ("another", 403)):
        event = {"challenge": "c-1", "token": token, "type": "url_verification"}
        headers, body = desk.outside.signed(event, sign=False)
        async with desk.http.post(desk.url + desk.case.path, headers=headers, data=body) as response:
            assert response.status == status
            if status == 200:
                assert await response.json() == {"challenge": "c-1"}


async def test_with_an_encrypt_key_nothing_else_comes_unsigned(desk: Any) -> None:
    if not desk.case.encrypted:
        pytest.skip("has no key")
    event = desk.outside.event("u1", "怎么退货", "1") | {"type": "url_verification", "challenge": "x"}
    _, body = desk.outside.signed(event, sign=False)
    async with desk.http.post(desk.url + desk.case.path, data=body) as response:
        assert response.status == 403
    plain = json.dumps(desk.outside.event("u1", "怎么退货", "2")).encode()
    async with desk.http.post(desk.url + desk.case.path, data=plain) as response:
        assert response.status == 403
    assert await desk.outside.quiet() == []


async def test_in_a_group_only_who_names_the_bot_is_answered(desk: Any) -> None:
    await desk.outside.quiet(0.3)  # it learns its own id
    await desk.say("u1", "怎么退货", group="g1")
    for number, mentions in ((50, []), (51, [{"key": "@_user_1", "id": {"open_id": "ou_else"}}])):
        event = desk.outside.event("u2", "午饭吃什么", str(number), "g1", mentions=mentions)
        headers, body = desk.outside.signed(event)
        async with desk.http.post(desk.url + desk.case.path, headers=headers, data=body) as response:
            assert response.status == 200
    await desk.outside.until(1)
    assert await desk.outside.quiet() == [("g1", "答：怎么退货")]
    assert desk.answers.said == [("u1", "g1", "怎么退货")]


async def test_a_choice_is_a_card_and_its_button_a_question(desk: Any) -> None:
    await desk.say("u1", CHOICES)
    await desk.outside.until(1)
    (sent,) = desk.outside.sent
    assert sent["msg_type"] == "interactive"
    action = json.loads(sent["content"])["elements"][1]["actions"][0]
    content = {
        "operator": {"open_id": "u1"}, "action": {"value": action["value"], "tag": "button"},
        "context": {"open_chat_id": "oc_u1", "open_message_id": "om_x"},
    }  # fmt: skip
    for _ in range(2):
        headers, body = desk.outside.signed(desk.outside.wrapped("card.action.trigger", "ev-press", content))
        async with desk.http.post(desk.url + desk.case.path, headers=headers, data=body) as response:
            assert response.status == 200
    await desk.outside.until(2)
    assert (await desk.outside.quiet())[-1] == ("oc_u1", "答：怎么退货")
    assert len(desk.outside.got) == 2


async def test_the_words_of_a_post_are_read_and_an_ended_token_is_renewed(desk: Any) -> None:
    content = {"title": "问题", "content": [[{"tag": "text", "text": "怎么"}, {"tag": "a", "text": "退货"}]]}
    event = desk.outside.event("u1", "", "60", message_type="post", content=json.dumps(content))
    desk.outside.token = "ended"
    headers, body = desk.outside.signed(event)
    async with desk.http.post(desk.url + desk.case.path, headers=headers, data=body) as response:
        assert response.status == 200
    assert await desk.outside.until(1) == [("oc_u1", "答：问题\n怎么退货")]


async def test_the_check_says_what_is_wrong(start_desk: Any) -> None:
    desk = await start_desk(app_secret="wrong")
    with pytest.raises(ConnectorError, match="app_secret"):
        await desk.hub.channel("feishu/shop").check()
    good = await start_desk()
    assert all(one.ok for one in await good.hub.channel("feishu/shop").check())


long_connection = pytest.mark.parametrize("case", [FeishuLongConnection], indirect=True, ids=["long"])


@long_connection
async def test_a_lost_long_connection_is_opened_again(desk: Any) -> None:
    assert await desk.say("u1", "第一句") == 200
    await desk.outside.sockets[0].close()
    assert await desk.say("u1", "第二句") == 200
    await desk.outside.until(2)
    assert [text for _, text in desk.outside.got] == ["答：第一句", "答：第二句"]
    async with asyncio.timeout(30):
        while not desk.outside.pings:
            await desk.outside._changed.wait()


@long_connection
async def test_an_event_in_parts_is_put_together(desk: Any) -> None:
    desk.outside.part_bytes = 100
    assert await desk.say("u1", "怎么退货") == 200
    assert await desk.outside.until(1) == [("oc_u1", "答：怎么退货")]


@long_connection
async def test_callbacks_are_not_taken_beside_the_long_connection(desk: Any) -> None:
    headers, body = desk.outside.signed(desk.outside.event("u1", "怎么退货", "1"))
    async with desk.http.post(desk.url + desk.case.path, headers=headers, data=body) as response:
        assert response.status == 404
    assert await desk.outside.quiet() == []


@long_connection
async def test_an_event_that_cannot_be_kept_is_refused_and_taken_the_next_time(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = desk.hub.channel("feishu/shop")
    accept = channel.service.accept
    failures = [OSError("disk full")]

    async def full(*given: Any) -> list[bool]:
        if failures:
            raise failures.pop()
        return list(await accept(*given))

    monkeypatch.setattr(channel.service, "accept", full)
    assert await desk.say("u1", "怎么退货") == 200
    assert await desk.outside.until(1) == [("oc_u1", "答：怎么退货")]
    assert failures == []


async def test_frames_of_strangers_do_no_harm() -> None:
    taken: list[Any] = []

    async def take(event: dict[str, Any]) -> None:
        taken.append(event)

    line = Line("ws://127.0.0.1/?service_id=x", 1.0, take)
    good = feishu.frame(1, 3, {"type": "event", "message_id": "m", "sum": "1", "seq": "0"}, b'{"a": 1}')
    assert frames.decode(good).log_id == 2**63 + 5
    answer = await line.on_frame(good)
    assert answer is not None
    assert feishu.read_frame(answer)[1] == 3
    assert taken == [{"a": 1}]
    for raw in (b"", b"\xff" * 40, good[:-3], b"\x08", b"\x0d\x00\x00\x00\x00", b"\x2a\xff\xff\xff\xff\x0f"):
        await line.on_frame(raw)
    headers = {"type": "event", "message_id": "n", "sum": "9999999999", "seq": "3"}
    assert await line.on_frame(feishu.frame(1, 3, headers, b"{}")) is None
    strange = await line.on_frame(feishu.frame(1, 3, {"type": "event"}, b"no json"))
    assert strange is not None
    assert json.loads(feishu.read_frame(strange)[3])["code"] == 200
    assert taken == [{"a": 1}]


@long_connection
async def test_a_line_that_is_dead_without_a_word_is_noticed(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.4)
    assert await desk.say("u1", "第一句") == 200
    desk.outside.deaf = True
    first = desk.outside.sockets[0]
    await first.close()
    async with asyncio.timeout(60):
        while not desk.outside.sockets or desk.outside.sockets[0] is first:  # noqa: ASYNC110 - a list tells nobody
            await asyncio.sleep(0.05)
        deaf = desk.outside.sockets[0]
        desk.outside.deaf = False
        while deaf in desk.outside.sockets:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert await desk.say("u1", "第二句") == 200
    await desk.outside.until(2)
