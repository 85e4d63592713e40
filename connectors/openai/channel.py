"""The OpenAI-compatible API: `/v1/models`, `/v1/chat/completions`, and vLLM's loading of adapters."""

import json
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Protocol

from aiohttp import web

from connectors.errors import ConnectorError
from connectors.http import bearer_token, read_body, with_signs_of_life
from connectors.openai import wire
from connectors.text import numbered
from connectors.types import Conversation, Handler, Inbound, Outbound

ACTIVE_MODEL = "kefu"
KEEPALIVE_SECONDS = 10.0
log = logging.getLogger("kefu.connectors.openai")

Authorise = Callable[[web.Request, str | None], Awaitable[str | None]]
Models = Callable[[], Awaitable[Sequence[str]]]


class Adapters(Protocol):
    """Who owns the adapters. Both raise whatever has a `status` and a sentence in `en`, as for a caller who may not."""

    async def load(self, request: web.Request, asked: wire.AdapterRequest) -> None: ...

    async def unload(self, request: web.Request, asked: wire.AdapterRequest) -> None: ...


class OpenAIChannel:
    """OpenAI's chat completions over `handler`.

    `authorise(request, bearer token)` returns who calls, None for nobody known. `models()` names the generator adapters
    beside `kefu`, the active one, and `adapters` loads them. The client sends the whole conversation each time; nothing
    of it is kept here.
    """

    kind = "openai"

    def __init__(
        self,
        handler: Handler,
        authorise: Authorise,
        models: Models,
        adapters: Adapters,
        *,
        keepalive_seconds: float = KEEPALIVE_SECONDS,
    ) -> None:
        self._handler = handler
        self._authorise = authorise
        self._models = models
        self._adapters = adapters
        self._keepalive_seconds = keepalive_seconds
        self._started = int(time.time())

    def routes(self) -> list[web.RouteDef]:
        """The API's addresses."""
        return [
            web.get("/v1/models", self.list_models),
            web.get("/v1/models/{model}", self.show_model),
            web.post("/v1/chat/completions", self.complete),
            web.post("/v1/load_lora_adapter", self.load),
            web.post("/v1/unload_lora_adapter", self.unload),
        ]

    async def list_models(self, request: web.Request) -> web.Response:
        if await self._authorise(request, bearer_token(request)) is None:
            return _refused()
        return web.json_response(wire.model_list(await self._names(), self._started))

    async def show_model(self, request: web.Request) -> web.Response:
        if await self._authorise(request, bearer_token(request)) is None:
            return _refused()
        name = request.match_info["model"]
        if name not in await self._names():
            return _unknown_model(name)
        return web.json_response(wire.model_card(name, self._started))

    async def load(self, request: web.Request) -> web.Response:
        """Load an adapter before it is first asked for, as vLLM does."""
        return await self._change(request, self._adapters.load, "added")

    async def unload(self, request: web.Request) -> web.Response:
        """Let go of an adapter."""
        return await self._change(request, self._adapters.unload, "removed")

    async def _change(
        self, request: web.Request, change: Callable[[web.Request, wire.AdapterRequest], Awaitable[None]], done: str
    ) -> web.Response:
        if await self._authorise(request, bearer_token(request)) is None:
            return _refused()
        try:
            asked = wire.parse_adapter(await read_body(request))
            await change(request, asked)
        except Exception as failure:  # noqa: BLE001 - logged, and shown in OpenAI's form
            status, shown = _failure(failure)
            return web.json_response(shown, status=status)
        return web.Response(text=f"Success: LoRA adapter '{asked.name}' {done} successfully.")

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """One completion; the body's `stream` decides its form, never `Accept`."""
        caller = await self._authorise(request, bearer_token(request))
        if caller is None:
            return _refused()
        try:
            asked = wire.parse(await read_body(request))
        except ConnectorError as error:
            shown = wire.error(error.en, "invalid_request_error", error.code, error.field)
            return web.json_response(shown, status=error.status)
        if asked.model not in await self._names():
            return _unknown_model(asked.model)
        inbound = Inbound(
            conversation=Conversation(channel=self.kind, user=asked.user, account=caller),
            text=asked.text,
            history=asked.history,
            model=None if asked.model == ACTIVE_MODEL else asked.model,
        )
        reply_id = f"chatcmpl-{secrets.token_hex(12)}"
        if asked.stream:
            return await self._stream(request, asked, inbound, reply_id)
        return await self._whole(asked, inbound, reply_id)

    async def _whole(self, asked: wire.ChatRequest, inbound: Inbound, reply_id: str) -> web.Response:
        last: Outbound | None = None
        try:
            async with aclosing(self._handler(inbound)) as pieces:
                async for piece in pieces:
                    last = piece if piece.final else last
        except Exception as failure:  # noqa: BLE001 - logged, and shown in OpenAI's form
            status, shown = _failure(failure)
            return web.json_response(shown, status=status)
        text = _whole_text(last) if last else ""
        usage = wire.usage(last.prompt_tokens if last else 0, last.completion_tokens if last else 0)
        return web.json_response(wire.completion(reply_id, asked.model, int(time.time()), text, usage), dumps=_dumps)

    async def _stream(
        self, request: web.Request, asked: wire.ChatRequest, inbound: Inbound, reply_id: str
    ) -> web.StreamResponse:
        # The first piece is waited for before the status is sent, so that a refusal still has its own status.
        pieces = with_signs_of_life(self._handler(inbound), self._keepalive_seconds)
        try:
            first = await anext(pieces, None)
        except Exception as failure:  # noqa: BLE001 - logged, and shown in OpenAI's form
            status, shown = _failure(failure)
            return web.json_response(shown, status=status)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        async with aclosing(self._events(asked, first, pieces, reply_id)) as events:
            async for event in events:
                await response.write(event.encode())
        await response.write_eof()
        return response

    async def _events(
        self,
        asked: wire.ChatRequest,
        first: Outbound | None,
        pieces: AsyncGenerator[Outbound | None, None],
        reply_id: str,
    ) -> AsyncGenerator[str, None]:
        created = int(time.time())
        yield _data(wire.chunk(reply_id, asked.model, created, {"role": "assistant", "content": ""}))
        sent = ""
        last: Outbound | None = None
        try:
            async for piece in _chain(first, pieces):
                if piece is None:
                    yield ": keepalive\n\n"
                    continue
                if piece.final:
                    last = piece
                    text = _whole_text(piece)
                    more = text[len(sent) :] if text.startswith(sent) else ""
                else:
                    more = piece.text
                sent += more
                if more:
                    yield _data(wire.chunk(reply_id, asked.model, created, {"content": more}))
        except Exception as failure:  # noqa: BLE001 - logged, and shown in OpenAI's form
            yield _data(_failure(failure)[1])
            return
        yield _data(wire.chunk(reply_id, asked.model, created, {}, "stop"))
        if asked.include_usage:
            usage = wire.usage(last.prompt_tokens if last else 0, last.completion_tokens if last else 0)
            yield _data(wire.usage_chunk(reply_id, asked.model, created, usage))
        yield "data: [DONE]\n\n"

    async def _names(self) -> list[str]:
        return [ACTIVE_MODEL, *await self._models()]


async def _chain(
    first: Outbound | None, rest: AsyncGenerator[Outbound | None, None]
) -> AsyncGenerator[Outbound | None, None]:
    yield first
    async for piece in rest:
        yield piece


def _whole_text(reply: Outbound) -> str:
    """The reply with its choices under it: a chat completion has no buttons."""
    return f"{reply.text}\n{numbered(reply.buttons)}" if reply.buttons else reply.text


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _data(value: object) -> str:
    return f"data: {_dumps(value)}\n\n"


def _refused() -> web.Response:
    shown = wire.error("Incorrect API key provided", "invalid_request_error", "invalid_api_key")
    return web.json_response(shown, status=401, headers={"WWW-Authenticate": "Bearer"})


def _unknown_model(name: str) -> web.Response:
    message = f"The model '{name}' does not exist; see /v1/models"
    return web.json_response(wire.error(message, "invalid_request_error", "model_not_found", "model"), status=404)


def _failure(failure: Exception) -> tuple[int, dict[str, object]]:
    """A failure of the service: its own sentence where it has one that is safe to show, never more."""
    status = getattr(failure, "status", None)
    text = getattr(failure, "en", None)
    if not isinstance(status, int) or not isinstance(text, str):
        log.error("a chat completion failed", exc_info=failure)
        return 500, wire.error("The server had an error while answering", "server_error", "internal_error")
    kind = "rate_limit_error" if status == 429 else "server_error" if status >= 500 else "invalid_request_error"
    return status, wire.error(text, kind, getattr(failure, "code", None), getattr(failure, "field", None))
