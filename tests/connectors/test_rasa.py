"""Rasa's REST channel, over a real HTTP server."""

import io
import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from connectors.errors import ConnectorError
from connectors.rasa import wire
from connectors.rasa.channel import RestChannel
from connectors.types import Button, Inbound, Outbound


async def echo(inbound: Inbound) -> AsyncGenerator[Outbound, None]:
    yield Outbound(text=inbound.text, final=False)
    yield Outbound(text=f"{inbound.conversation.user}：{inbound.text}")


async def serve(channel: RestChannel) -> TestClient:
    app = web.Application()
    app.add_routes(channel.routes())
    client = TestClient(TestServer(app))
    await client.start_server()
    return client


async def test_status_message_and_stream() -> None:
    client = await serve(RestChannel(echo))
    try:
        assert await (await client.get("/webhooks/rest/")).json() == {"status": "ok"}
        answer = await client.post("/webhooks/rest/webhook", json={"sender": 123, "message": "你好\n\n在吗"})
        assert answer.status == 200
        assert await answer.json() == [
            {"recipient_id": "123", "text": "123：你好"},
            {"recipient_id": "123", "text": "在吗"},
        ]
        streamed = await client.post("/webhooks/rest/webhook?stream=true", json={"message": "a\n\nb"})
        assert streamed.content_type == "text/event-stream"
        lines = (await streamed.text()).splitlines()
        assert [json.loads(line) for line in lines] == [
            {"recipient_id": "default", "text": "default：a"},
            {"recipient_id": "default", "text": "b"},
        ]
        empty = await client.post("/webhooks/rest/webhook", json={"sender": "u"})
        assert await empty.json() == []
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"\xff\xfe", 400),
        (b"[]", 400),
        (b'{"sender": ["x"], "message": "m"}', 400),
        (b'{"sender": true, "message": "m"}', 400),
        (b'{"message": 7}', 400),
        (b'{"message": "m", "metadata": "x"}', 400),
        (b"[" * 200_000, 400),
        (b'{"message": "' + b"a" * 5_000_000 + b'"}', 413),
    ],
)
async def test_bad_bodies(body: bytes, status: int) -> None:
    app = web.Application(client_max_size=100 * 2**20)
    app.add_routes(RestChannel(echo).routes())
    async with TestClient(TestServer(app)) as client:
        answer = await client.post("/webhooks/rest/webhook", data=io.BytesIO(body))
        assert answer.status == status
        assert (await answer.json())["status"] == "failure"


async def test_token_is_required_where_one_is_set() -> None:
    client = await serve(RestChannel(echo, token="s3cret"))
    try:
        message = {"message": "m"}
        assert (await client.post("/webhooks/rest/webhook", json=message)).status == 401
        assert (await client.post("/webhooks/rest/webhook?token=wrong", json=message)).status == 401
        assert (await client.post("/webhooks/rest/webhook?token=s3cret", json=message)).status == 200
        bearer = {"Authorization": "Bearer s3cret"}
        assert (await client.post("/webhooks/rest/webhook", json=message, headers=bearer)).status == 200
    finally:
        await client.close()


def test_choices_become_buttons() -> None:
    reply = Outbound(text="您想问的是：", buttons=(Button("运费多少", "运费多少"),))
    assert wire.render("u", reply) == [
        {"recipient_id": "u", "text": "您想问的是：", "buttons": [{"title": "运费多少", "payload": "运费多少"}]}
    ]


def test_outside_vectors(bench_data: Path) -> None:
    vectors = json.loads((bench_data / "channels" / "rasa_web.json").read_text(encoding="utf-8"))["vectors"]
    by_id = {vector["id"]: vector for vector in vectors}
    mapping = by_id["response-mapping"]
    made = []
    for reply in mapping["bot_replies"]:
        outbound = Outbound(text=reply.get("text", ""), image_url=reply.get("image"), custom=reply.get("custom"))
        made += wire.render(mapping["recipient"], outbound)
    assert made == mapping["expect"]
    integer = by_id["integer-sender"]
    assert wire.parse(json.dumps(integer["input"]).encode()).sender == integer["expect"]["sender_id"]
    request = by_id["rest-request"]
    assert wire.parse(json.dumps(request["request"]["json"]).encode()).sender == request["expect"]["recipient_id"]


def test_errors_name_the_field() -> None:
    with pytest.raises(ConnectorError, match="sender") as caught:
        wire.parse(b'{"sender": {}}')
    assert caught.value.field == "sender"
