"""The OpenAI-compatible API, driven by the real `openai` client over a real HTTP server."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from connectors.errors import ConnectorError
from connectors.openai import wire
from connectors.openai.channel import OpenAIChannel
from connectors.types import Button, Inbound, Outbound

KEY = "kefu-test-key"


class BusyError(Exception):
    status = 429
    code = "too_many_requests"
    zh = "太快了"
    en = "Too many requests"


class Service:
    """Stands for the product behind the border: says back what it was given."""

    def __init__(self) -> None:
        self.seen: list[Inbound] = []
        self.closed = asyncio.Event()
        self.changed: list[tuple[str, str, str]] = []

    async def __call__(self, inbound: Inbound) -> AsyncGenerator[Outbound, None]:
        self.seen.append(inbound)
        if inbound.text == "busy":
            raise BusyError
        if inbound.text == "broken":
            raise RuntimeError("secret detail")
        if inbound.text == "ask back":
            yield Outbound("哪一个？", buttons=(Button("运费多少", "运费多少"), Button("运费谁出", "运费谁出")))
            return
        if inbound.text == "endless":
            try:
                while True:
                    yield Outbound("字", final=False)
                    await asyncio.sleep(0.01)
            finally:
                self.closed.set()
        if inbound.text == "slow":
            await asyncio.sleep(0.3)
        for piece in ("你", "好"):
            yield Outbound(piece, final=False)
        if inbound.text == "break midway":
            raise RuntimeError("secret detail")
        yield Outbound("你好", prompt_tokens=5, completion_tokens=2)

    async def load(self, _request: web.Request, asked: wire.AdapterRequest) -> None:
        if asked.name == "busy":
            raise BusyError
        self.changed.append(("load", asked.name, asked.path))

    async def unload(self, _request: web.Request, asked: wire.AdapterRequest) -> None:
        self.changed.append(("unload", asked.name, asked.path))


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def server(service: Service) -> AsyncIterator[TestServer]:
    async def authorise(_request: web.Request, token: str | None) -> str | None:
        return "tester" if token == KEY else None

    async def models() -> list[str]:
        return ["generator-1"]

    app = web.Application()
    app.add_routes(OpenAIChannel(service, authorise, models, service, keepalive_seconds=0.1).routes())
    async with TestServer(app) as started:
        yield started


@pytest.fixture
async def client(server: TestServer) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=str(server.make_url("/v1")), api_key=KEY, max_retries=0) as made:
        yield made


async def test_completion(client: openai.AsyncOpenAI, service: Service) -> None:
    reply = await client.chat.completions.create(
        model="kefu",
        messages=[
            {"role": "system", "content": "简短"},
            {"role": "user", "content": "一"},
            {"role": "assistant", "content": "二"},
            {"role": "user", "content": [{"type": "text", "text": "你好"}, {"type": "text", "text": "在吗"}]},
        ],
    )
    assert reply.choices[0].message.content == "你好"
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None
    assert reply.usage.total_tokens == 7
    inbound = service.seen[0]
    assert inbound.text == "你好\n在吗"
    assert [turn.role for turn in inbound.history or ()] == ["system", "user", "assistant"]
    assert inbound.model is None
    assert inbound.conversation.account == "tester"


async def test_stream(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="generator-1",
        messages=[{"role": "user", "content": "你好"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    seen = [
        (
            piece.choices[0].delta.content if piece.choices else None,
            piece.choices[0].finish_reason if piece.choices else None,
            piece.usage.total_tokens if piece.usage else None,
        )
        async for piece in stream
    ]
    assert seen == [("", None, None), ("你", None, None), ("好", None, None), (None, "stop", None), (None, None, 7)]


async def test_models(client: openai.AsyncOpenAI, service: Service) -> None:
    assert [model.id async for model in client.models.list()] == ["kefu", "generator-1"]
    assert (await client.models.retrieve("generator-1")).owned_by == "kefu"
    await client.chat.completions.create(model="generator-1", messages=[{"role": "user", "content": "x"}])
    assert service.seen[-1].model == "generator-1"


async def test_adapters_are_loaded_and_let_go_of_as_vllm_does_it(
    client: openai.AsyncOpenAI, server: TestServer, service: Service
) -> None:
    async def post(what: str, body: Any) -> str:
        return str(await client.post(f"/{what}_lora_adapter", body=body, cast_to=str))

    assert await post("load", {"lora_name": "a", "lora_path": "/adapters/a"}) == (
        "Success: LoRA adapter 'a' added successfully."
    )
    assert await post("unload", {"lora_name": "a"}) == "Success: LoRA adapter 'a' removed successfully."
    assert service.changed == [("load", "a", "/adapters/a"), ("unload", "a", "")]
    for body, param in (
        ({}, "lora_name"), ({"lora_name": 5}, "lora_name"), ({"lora_name": ""}, "lora_name"),
        ({"lora_name": "a", "lora_path": 5}, "lora_path"),
    ):  # fmt: skip
        with pytest.raises(openai.BadRequestError) as refused:
            await post("load", body)
        assert refused.value.param == param
    with pytest.raises(openai.RateLimitError):
        await post("load", {"lora_name": "busy"})
    async with openai.AsyncOpenAI(base_url=str(server.make_url("/v1")), api_key="other", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError):
            await stranger.post("/load_lora_adapter", body={"lora_name": "a"}, cast_to=str)
    assert len(service.changed) == 2


async def test_choices_are_numbered(client: openai.AsyncOpenAI) -> None:
    messages = [{"role": "user", "content": "ask back"}]
    whole = await client.chat.completions.create(model="kefu", messages=messages)
    assert whole.choices[0].message.content == "哪一个？\n1. 运费多少\n2. 运费谁出"
    stream = await client.chat.completions.create(model="kefu", messages=messages, stream=True)
    parts = [piece.choices[0].delta.content or "" async for piece in stream]
    assert "".join(parts) == whole.choices[0].message.content


async def test_refusals(client: openai.AsyncOpenAI, server: TestServer) -> None:
    messages = [{"role": "user", "content": "x"}]
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        await client.chat.completions.create(model="gpt-9", messages=messages)
    with pytest.raises(openai.BadRequestError, match="last message"):
        await client.chat.completions.create(model="kefu", messages=[{"role": "assistant", "content": "x"}])
    for role in ("boss", ["user"], {}):
        with pytest.raises(openai.BadRequestError, match="role is not one of"):
            await client.chat.completions.create(model="kefu", messages=[{"role": role, "content": "x"}])  # type: ignore[list-item]
    with pytest.raises(openai.RateLimitError):
        await client.chat.completions.create(model="kefu", messages=[{"role": "user", "content": "busy"}])
    with pytest.raises(openai.RateLimitError):
        await client.chat.completions.create(model="kefu", messages=[{"role": "user", "content": "busy"}], stream=True)
    with pytest.raises(openai.InternalServerError) as caught:
        await client.chat.completions.create(model="kefu", messages=[{"role": "user", "content": "broken"}])
    assert "secret" not in str(caught.value)
    async with openai.AsyncOpenAI(base_url=str(server.make_url("/v1")), api_key="wrong", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError):
            await stranger.chat.completions.create(model="kefu", messages=messages)
        with pytest.raises(openai.AuthenticationError):
            await stranger.models.list()


async def test_a_wrong_type_is_refused_in_openais_form(client: openai.AsyncOpenAI) -> None:
    for extra in ({"stream": "yes"}, {"n": True}):
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(
                model="kefu", messages=[{"role": "user", "content": "x"}], extra_body=extra
            )
        (name,) = extra
        assert (caught.value.param, caught.value.code, caught.value.type) == (
            name, "invalid_type", "invalid_request_error",
        )  # fmt: skip
        assert f"Invalid type for '{name}'" in caught.value.message


def test_what_clients_send_as_null_or_for_others_is_taken() -> None:
    more = {"n": 1, "stream": None, "stream_options": None, "temperature": 0, "max_tokens": 9, "stop": ["a"], "seed": 1,
            "user": None, "tools": [], "top_p": 0.5, "response_format": {"type": "text"}, "unknown": 7}  # fmt: skip
    asked = wire.parse(json.dumps({"model": "kefu", "messages": [{"role": "user", "content": "x"}], **more}).encode())
    assert (asked.stream, asked.include_usage, asked.user) == (False, False, "")


async def test_a_failure_midway_is_told_in_the_stream(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="kefu", messages=[{"role": "user", "content": "break midway"}], stream=True
    )
    with pytest.raises(openai.APIError, match="had an error"):
        [piece async for piece in stream]


async def test_keepalive_comments_while_waiting(server: TestServer) -> None:
    async with TestClient(server) as http:
        body = {"model": "kefu", "messages": [{"role": "user", "content": "slow"}], "stream": True}
        answer = await http.post("/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {KEY}"})
        text = await answer.text()
    assert ": keepalive\n\n" in text
    assert text.endswith("data: [DONE]\n\n")


async def test_a_client_that_leaves_stops_the_work(client: openai.AsyncOpenAI, service: Service) -> None:
    stream = await client.chat.completions.create(
        model="kefu", messages=[{"role": "user", "content": "endless"}], stream=True
    )
    await anext(aiter(stream))
    await stream.close()
    await asyncio.wait_for(service.closed.wait(), 5)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model": None}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "x"}, "messages"),
        ({"messages": [7]}, "messages[0]"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages"),
        ({"n": 2}, "n"),
        ({"n": True}, "n"),
        ({"n": "1"}, "n"),
        ({"n": 1.0}, "n"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream": True, "stream_options": []}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": "no"}}, "stream_options.include_usage"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"user": 7}, "user"),
        ({"stop": 7}, "stop"),
        ({"tools": {}}, "tools"),
    ],
)
def test_bad_fields_are_named(change: dict[str, object], field: str) -> None:
    body = {"model": "kefu", "messages": [{"role": "user", "content": "x"}], **change}
    with pytest.raises(ConnectorError) as caught:
        wire.parse(json.dumps(body).encode())
    assert caught.value.field == field


def test_outside_vectors(bench_data: Path) -> None:
    vectors = json.loads((bench_data / "channels" / "openai_compat.json").read_text(encoding="utf-8"))["vectors"]
    by_id = {vector["id"]: vector for vector in vectors}
    parts = wire.parse(json.dumps(by_id["content-parts"]["request"]["json"]).encode())
    assert all(text in parts.text for text in by_id["content-parts"]["expect"]["user_text_has"])
    assert wire.parse(json.dumps(by_id["stream"]["request"]["json"]).encode()).include_usage
    shown = by_id["non-stream"]["response"]
    made = wire.completion(shown["id"], shown["model"], shown["created"], "你好", wire.usage(9, 12))
    made["choices"][0]["message"].pop("refusal")
    assert made == shown
    frames = [json.loads(frame[6:]) for frame in by_id["stream"]["response"]["frames"] if frame.startswith("data: {")]
    for frame in frames:
        frame.pop("system_fingerprint", None)
    ids = ("chatcmpl-123", "m", 1694268190)
    assert frames == [
        wire.chunk(*ids, {"role": "assistant", "content": ""}),
        wire.chunk(*ids, {"content": "Hello"}),
        wire.chunk(*ids, {}, "stop"),
        wire.usage_chunk(*ids, wire.usage(5, 1)),
    ]
