"""Bodies that are JSON and yet cannot be kept or answered as they are."""

import asyncio
import json

import aiohttp
import pytest
from aiohttp import web

from connectors.calls import Platform
from connectors.chatwoot import wire as chatwoot
from connectors.errors import ConnectorError, DeliveryError
from connectors.http import json_object
from connectors.webhook import wire as webhook
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
