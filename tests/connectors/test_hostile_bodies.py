"""Bodies that are JSON and yet cannot be kept or answered as they are."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from connectors.calls import Platform
from connectors.chatwoot import wire as chatwoot
from connectors.errors import ConnectorError, DeliveryError
from connectors.http import DEPTH_MAX, json_object
from connectors.openai import wire as openai
from connectors.rasa import wire as rasa
from connectors.types import Conversation, Inbound
from connectors.webhook import wire as webhook
from tests.connectors.cases import (
    Case,
    Chatwoot,
    DingTalk,
    Feishu,
    FeishuPlain,
    Sent,
    Telegram,
    Webhook,
    WeComBot,
)
from tests.connectors.cases.tencent import swapped
from tests.servers import webhook as receiver
from tests.servers import wecom
from tests.servers.chatwoot import signed
from tests.servers.outside import Outside


@pytest.mark.parametrize(
    "body", [rb'{"text": "ok\ud83d", "list": ["\udc00"]}', b'{"text": "ok\xed\xa0\xbd", "list": ["\xed\xb0\x80"]}']
)
def test_half_an_emoji_is_replaced_not_kept(body: bytes) -> None:
    found = json_object(body)
    assert found == {"text": "ok\ufffd", "list": ["\ufffd"]}
    json.dumps(found, ensure_ascii=False).encode()


def test_a_whole_emoji_stays() -> None:
    assert json_object(rb'{"text": "\ud83d\ude00"}') == {"text": "😀"}


def test_a_sender_that_is_too_long_is_refused_not_cut() -> None:
    body = {"sender": "s" * 256, "text": "x"}
    assert webhook.parse(json.dumps(body).encode()).sender == "s" * 256
    with pytest.raises(ConnectorError) as caught:
        webhook.parse(json.dumps(body | {"sender": "s" * 257}).encode())
    assert caught.value.field == "sender"


@pytest.mark.parametrize(("number", "is_one"), [(11, True), ("abc", False), ([1], False), (None, False)])
def test_a_conversation_that_cannot_be_answered_is_not_taken(number: object, is_one: bool) -> None:
    event = {
        "event": "message_created", "message_type": "incoming", "id": 1, "content": "x", "account": {"id": 1},
        "conversation": {"id": number, "status": "pending"}, "sender": {"id": 2},
    }  # fmt: skip
    assert (chatwoot.parse(event, "1") is not None) is is_one


@pytest.mark.parametrize("depth", [DEPTH_MAX, 900, 100_000])
@pytest.mark.parametrize("brackets", ["[]", ('{"a":', "}")])
def test_what_is_nested_too_deep_is_said_to_be(brackets: str, depth: int) -> None:
    body = '{"text": ' + brackets[0] * depth + "1" * (brackets[0] != "[") + brackets[1] * depth + "}"
    with pytest.raises(ConnectorError) as caught:
        json_object(body.encode())
    assert (caught.value.code, caught.value.status) == ("invalid_json", 400)
    assert "嵌套太深" in caught.value.zh


@pytest.mark.parametrize("parse", [rasa.parse, openai.parse, webhook.parse])
def test_no_protocol_takes_what_is_nested_too_deep(parse: Callable[[bytes], Any]) -> None:
    fields = {
        "model": "kefu",
        "messages": [{"role": "user", "content": "x"}],
        "sender": "u",
        "message": "x",
        "text": "x",
    }
    parse(json.dumps(fields | {"metadata": {"a": nested(20)}}).encode())
    with pytest.raises(ConnectorError) as caught:
        parse(json.dumps(fields | {"metadata": {"a": nested(300)}}).encode())
    assert caught.value.status == 400


def test_what_is_nested_as_deep_as_it_may_be_can_be_kept() -> None:
    body = json_object(b'{"text": ' + b"[" * (DEPTH_MAX - 1) + b"]" * (DEPTH_MAX - 1) + b"}")
    inbound = Inbound(Conversation("shop", "u1"), "x", metadata=body)
    assert Inbound.from_json(json.loads(json.dumps(inbound.to_json()))) == inbound


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


DEEP = {"metadata": {"a": nested(300)}, "sender": "u1", "text": "x", "message": "x"}
BODY = json.dumps(DEEP).encode()
CALLBACKS: list[tuple[type[Case], Callable[[Any], Sent]]] = [
    (Webhook, lambda _case: Sent("POST", {}, receiver.headers(BODY, "d"), BODY)),
    (Telegram, lambda case: replace(case.message("u1", "x", "1"), body=BODY)),
    (Chatwoot, lambda _case: Sent("POST", {}, *signed(DEEP))),
    (DingTalk, lambda case: replace(case.message("u1", "x", "1"), body=BODY)),
    (Feishu, lambda case: Sent("POST", {}, *case.platform.signed(DEEP))),
    (FeishuPlain, lambda case: Sent("POST", {}, *case.platform.signed(DEEP))),
    (WeComBot, lambda _case: Sent("POST", *swapped(wecom.wrapped(json.dumps(DEEP), "", as_json=True)))),
]  # fmt: skip


@pytest.mark.parametrize(("case", "callback"), CALLBACKS, indirect=["case"])
async def test_what_is_nested_too_deep_is_refused_by_every_channel(
    case: Case, callback: Callable[[Any], Sent], start_desk: Any
) -> None:
    desk, sent = await start_desk(), callback(case)
    async with desk.http.request(
        sent.method, desk.url + case.path, params=sent.query, headers=sent.headers, data=sent.body
    ) as response:
        assert response.status == 400
        assert "嵌套太深" in (await response.json())["error"]["message"]


class Silent(Outside):
    def routes(self) -> list[web.RouteDef]:
        return [web.post("/replies", self.wait)]

    async def wait(self, _request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError


async def test_who_does_not_answer_is_not_called_unreachable() -> None:
    silent = Silent()
    base = await silent.start()
    try:
        async with aiohttp.ClientSession() as http:
            with pytest.raises(DeliveryError) as caught:
                await Platform(http, base).call("POST", "/replies", body={}, seconds=0.2)
    finally:
        await silent.stop()
    assert caught.value.code == "no_answer"
    assert caught.value.uncertain
    assert "0.2 秒内没有应答" in caught.value.zh
    assert "network" in caught.value.en
