"""A server of OpenAI's chat completions, as its API reference has it: keys, refusals as JSON, streamed chunks.

Adapters as vLLM has them at run time: one that is loaded already is refused with 400, an unknown model with 404.
https://platform.openai.com/docs/api-reference/chat/create-chat-completion and
https://docs.vllm.ai/en/latest/features/lora/#dynamically-serving-lora-adapters.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.servers.outside import Outside

KEY = "sk-test-1234"
Trouble = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


def refusal(status: int, message: str, code: str | None = None, **headers: str) -> web.Response:
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
    return web.json_response(body, status=status, headers=headers)


@dataclass
class OpenAI(Outside):
    """Serves `model`, writes `says` in pieces of three characters, and keeps every request's body in `asked`."""

    model: str = "qwen3-4b"
    says: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    loaded: dict[str, str] = field(default_factory=dict)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/models", self.list_models),
            web.post("/v1/chat/completions", self.complete),
            web.post("/v1/load_lora_adapter", self.load),
            web.post("/v1/unload_lora_adapter", self.unload),
        ]

    async def list_models(self, request: web.Request) -> web.Response:
        if refused := self._refused(request):
            return refused
        data = [
            {"id": name, "object": "model", "created": 1, "owned_by": "test"} for name in (self.model, *self.loaded)
        ]
        return web.json_response({"object": "list", "data": data})

    async def load(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["lora_name"] in self.loaded:
            return refusal(400, f"The lora adapter '{body['lora_name']}' has already been loaded.")
        self.loaded[body["lora_name"]] = body["lora_path"]
        return web.Response(text=f"Success: LoRA adapter '{body['lora_name']}' added successfully.")

    async def unload(self, request: web.Request) -> web.Response:
        name = (await request.json())["lora_name"]
        if self.loaded.pop(name, None) is None:
            return refusal(404, f"The lora adapter '{name}' cannot be found.")
        return web.Response(text=f"Success: LoRA adapter '{name}' removed successfully.")

    async def complete(self, request: web.Request) -> web.StreamResponse:
        if refused := self._refused(request):
            return refused
        body = await request.json()
        self.asked.append(body)
        if body["model"] not in (self.model, *self.loaded):
            return refusal(404, f"The model `{body['model']}` does not exist", "model_not_found")
        if not body["messages"] or body["max_tokens"] < 1:
            return refusal(400, "Invalid request")
        response = await begun(request)
        await response.write(chunk(body["model"], {"role": "assistant", "content": ""}))
        for place in range(0, len(self.says), 3):
            await response.write(chunk(body["model"], {"content": self.says[place : place + 3]}))
        await response.write(chunk(body["model"], {}, "stop"))
        if (body.get("stream_options") or {}).get("include_usage"):
            usage = {"prompt_tokens": 99, "completion_tokens": len(self.says), "total_tokens": 99 + len(self.says)}
            await response.write(chunk(body["model"], None, usage=usage))
        await response.write(b"data: [DONE]\n\n")
        return response

    def _refused(self, request: web.Request) -> web.Response | None:
        given = request.headers.get("Authorization")
        return None if given == f"Bearer {KEY}" else refusal(401, "Incorrect API key provided.", "invalid_api_key")


async def begun(request: web.Request) -> web.StreamResponse:
    """A stream of events that has begun."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    return response


def chunk(model: str, delta: dict[str, str] | None, finish: str | None = None, **more: Any) -> bytes:
    """One event; without a delta it has no choice, as the last one with the usage."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
    event = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": choices}
    return f"data: {json.dumps({**event, 'usage': None, **more}, ensure_ascii=False)}\n\n".encode()


def status(code: int, **headers: str) -> Trouble:
    """Refuses with this status."""

    async def trouble(_request: web.Request) -> web.StreamResponse:
        return refusal(code, "The engine is currently overloaded, please try again later", **headers)

    return trouble


def stalls(*texts: str) -> Trouble:
    """Writes this much and then nothing more, the connection open."""

    async def trouble(request: web.Request) -> web.StreamResponse:
        response = await begun(request)
        for text in texts:
            await response.write(chunk("m", {"content": text}))
        await asyncio.sleep(30)
        return response

    return trouble


def writes(raw: bytes) -> Trouble:
    """Writes these bytes as its stream, and ends."""

    async def trouble(request: web.Request) -> web.StreamResponse:
        response = await begun(request)
        await response.write(raw)
        return response

    return trouble


def moves(to: str) -> Trouble:
    """Redirects."""

    async def trouble(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": to})

    return trouble
