"""The remote engine against a real HTTP server that behaves, stalls, fails and talks nonsense."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.engines.base import EngineError, Piece
from bot.engines.remote import Patience, RemoteEngine

QUICK = Patience(connect=2, first=1, between=0.3, tries=3, pause=0.01, failures_max=3, rest=0.4)
ASKED = [{"role": "system", "content": "你是客服"}, {"role": "user", "content": "我的电话是13800138000"}]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Answers each request with the next handler, the last one again and again; keeps what it was sent."""

    def __init__(self) -> None:
        self.handlers: list[Handler] = []
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append({"path": request.path, **await request.json()})
        self.keys.append(request.headers.get("Authorization"))
        handler = self.handlers.pop(0) if len(self.handlers) > 1 else self.handlers[0]
        return await handler(request)


def event(**changes: Any) -> bytes:
    return f"data: {json.dumps(changes, ensure_ascii=False)}\n\n".encode()


def delta(text: str) -> bytes:
    return event(choices=[{"delta": {"content": text}, "finish_reason": None}])


END = (
    event(choices=[{"delta": {}, "finish_reason": "stop"}])
    + event(choices=[], usage={"prompt_tokens": 12, "completion_tokens": 3})
    + b"data: [DONE]\n\n"
)


def stream(*parts: bytes, pause: float = 0.0, hang: bool = False) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for part in parts:
            await response.write(part)
            await asyncio.sleep(pause)
        if hang:
            await asyncio.sleep(30)
        return response

    return handle


def status(code: int) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"message": "no"}}, status=code)

    return handle


GOOD = stream(b": hello\n\n", delta("三个"), delta("工作日"), END)


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, str]]:
    behaviour = Server()
    app = web.Application()
    app.router.add_post("/v1/{path}", behaviour.handle)
    app.router.add_post("/v1/chat/completions", behaviour.handle)
    running = TestServer(app, shutdown_timeout=0.1)
    await running.start_server()
    yield behaviour, str(running.make_url("/v1"))
    await running.close()


@pytest.fixture
async def engine(server: tuple[Server, str]) -> AsyncIterator[RemoteEngine]:
    mask = lambda text: text.replace("13800138000", "[电话]")  # noqa: E731
    made = RemoteEngine(server[1], "qwen", mask, key="secret", patience=QUICK)
    yield made
    await made.close()


async def pieces(engine: RemoteEngine, **options: Any) -> list[Piece]:
    return [piece async for piece in engine.generate(ASKED, **options)]


async def test_a_reply_is_streamed_and_nothing_personal_is_sent(
    server: tuple[Server, str], engine: RemoteEngine
) -> None:
    server[0].handlers = [GOOD]
    found = await pieces(engine, max_tokens=7, user="visitor-1")
    assert found == [Piece("三个"), Piece("工作日"), Piece("", finished=True, prompt_tokens=12, completion_tokens=3)]
    sent = server[0].asked[0]
    assert (sent["model"], sent["max_tokens"], sent["temperature"]) == ("qwen", 7, 0)
    assert sent["messages"][1]["content"] == "我的电话是[电话]"
    assert "visitor-1" not in json.dumps(sent)
    assert server[0].keys == ["Bearer secret"]


@pytest.mark.parametrize("code", [429, 500, 503])
async def test_a_server_that_recovers_is_asked_again(
    server: tuple[Server, str], engine: RemoteEngine, code: int
) -> None:
    server[0].handlers = [status(code), status(502), GOOD]
    assert "".join(piece.text for piece in await pieces(engine)) == "三个工作日"


@pytest.mark.parametrize(
    ("handler", "error", "requests"),
    [
        (status(500), "engine_failed", 3),
        (status(429), "engine_busy", 3),
        (status(401), "engine_failed", 1),
        (status(404), "model_not_found", 1),
        (stream(b"<html>hello</html>\n"), "engine_failed", 1),
        (stream(b"data: {not json\n\n"), "engine_failed", 1),
        (stream(b"data: [1, 2]\n\n"), "engine_failed", 1),
        (stream(b"data: \xff\xfe\n\n"), "engine_failed", 1),
        (stream(b"data: " + b"x" * 2_000_000 + b"\n\n"), "engine_failed", 1),
        (stream(event(error={"message": "out of memory"})), "engine_failed", 1),
        (stream(delta("半句")), "engine_failed", 1),
        (stream(delta("半句"), b"data: [DONE]\n\n"), "engine_failed", 1),
        (stream(delta("半句"), hang=True), "engine_failed", 1),
        (stream(), "engine_failed", 1),
    ],
)
async def test_whatever_goes_wrong_is_an_error_of_the_engine(
    server: tuple[Server, str], engine: RemoteEngine, handler: Handler, error: str, requests: int
) -> None:
    server[0].handlers = [handler]
    with pytest.raises(EngineError) as caught:
        await pieces(engine)
    assert caught.value.code == error
    assert len(server[0].asked) == requests


async def test_what_was_passed_on_is_not_asked_for_again(server: tuple[Server, str], engine: RemoteEngine) -> None:
    server[0].handlers = [stream(delta("三个"), hang=True), GOOD]
    writing = engine.generate(ASKED)
    assert await anext(writing) == Piece("三个")
    with pytest.raises(EngineError):
        await anext(writing)
    assert len(server[0].asked) == 1


async def test_a_slow_server_is_waited_for(server: tuple[Server, str], engine: RemoteEngine) -> None:
    server[0].handlers = [stream(delta("三个"), delta("工"), delta("作"), delta("日"), END, pause=0.15)]
    assert "".join(piece.text for piece in await pieces(engine)) == "三个工作日"


async def test_after_failures_it_rests_and_then_tries_once(server: tuple[Server, str], engine: RemoteEngine) -> None:
    server[0].handlers = [status(401)]
    for _ in range(QUICK.failures_max + 3):
        with pytest.raises(EngineError):
            await pieces(engine)
    assert len(server[0].asked) == QUICK.failures_max
    await asyncio.sleep(QUICK.rest)
    server[0].handlers = [GOOD]
    results = await asyncio.gather(*(pieces(engine) for _ in range(3)), return_exceptions=True)
    assert sum(isinstance(result, EngineError) for result in results) == 2
    assert len(server[0].asked) == QUICK.failures_max + 1
    assert len(await pieces(engine)) == 3


async def test_a_customer_who_leaves_ends_the_request(server: tuple[Server, str], engine: RemoteEngine) -> None:
    left = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(delta("一"))
                await asyncio.sleep(0.01)
        finally:
            left.set()

    server[0].handlers = [endless]
    async with aclosing(engine.generate(ASKED)) as writing:
        await anext(writing)
    async with asyncio.timeout(5):
        await left.wait()


async def test_adapters_are_loaded_by_the_server(server: tuple[Server, str], engine: RemoteEngine) -> None:
    server[0].handlers = [status(200), GOOD]
    await engine.use_adapter(Path("/adapters/generator-1"), "generator-1")
    assert server[0].asked[0] == {
        "path": "/v1/load_lora_adapter",
        "lora_name": "generator-1",
        "lora_path": "/adapters/generator-1",
    }
    await pieces(engine)
    await pieces(engine, model="qwen")
    assert [asked["model"] for asked in server[0].asked[1:]] == ["generator-1", "qwen"]
    server[0].handlers = [status(400)]
    with pytest.raises(EngineError):
        await engine.use_adapter(Path("/adapters/bad"), "bad")
    with pytest.raises(EngineError) as caught:
        await pieces(engine, model="bad")
    assert caught.value.code == "model_not_found"
    assert engine.active_adapter == "generator-1"
    assert engine.adapters == ("generator-1",)


async def test_nobody_there(engine: RemoteEngine) -> None:
    made = RemoteEngine("http://127.0.0.1:9/v1", "qwen", str, patience=QUICK)
    with pytest.raises(EngineError) as caught:
        await pieces(made)
    assert caught.value.code == "engine_failed"
    await made.close()
