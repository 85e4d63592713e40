"""Any server with OpenAI's chat completions: vLLM with LoRA loaded at run time, or a hosted one.

https://platform.openai.com/docs/api-reference/chat/create-chat-completion and, for adapters,
https://docs.vllm.ai/en/latest/features/lora/#dynamically-serving-lora-adapters.
"""

import asyncio
import json
import logging
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from bot.engines.base import EngineError, Message, Piece

RETRIED = (429, 500, 502, 503, 504)
log = logging.getLogger("kefu.engine")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the server is waited for, and how often it is asked again; all in seconds but the counts."""

    connect: float = 5.0
    first: float = 20.0
    between: float = 20.0
    tries: int = 3
    pause: float = 0.5
    """Before the second try; doubled for each further one, and at random between half and all of it."""
    failures_max: int = 5
    rest: float = 30.0
    """After `failures_max` failures in a row nothing is sent for so long; then one request tries it again."""


class _UnreachableError(EngineError):
    """Nobody answered: the server may be there later."""


class RemoteEngine:
    """See `Engine`. What is sent has gone through `mask`, which takes personal data out of one message's text.

    A request is only repeated while nothing of its reply has been passed on. `installed` gives the folder of every
    adapter that a request may name, `check` raises for one that must not be loaded. The server is told to load an
    adapter when it is first used, and again where it has forgotten it.
    """

    def __init__(
        self,
        url: str,
        model: str,
        mask: Callable[[str], str],
        *,
        key: str = "",
        patience: Patience | None = None,
        installed: Callable[[], dict[str, Path]] = dict,
        check: Callable[[Path], object] = bool,
    ) -> None:
        self._url = url.rstrip("/")
        self._model = model
        self._mask = mask
        self._key = key
        self._patience = patience or Patience()
        self._installed = installed
        self._check = check
        self._active: str | None = None
        self._used: dict[str, Path] = {}
        self._loaded: set[str] = set()
        self._session: aiohttp.ClientSession | None = None
        self._failures = 0
        self._rests_until = 0.0

    @property
    def name(self) -> str:
        return self._model

    @property
    def active_adapter(self) -> str | None:
        return self._active

    @property
    def adapters(self) -> tuple[str, ...]:
        return tuple(sorted({*self._installed(), *self._used}))

    @property
    def loaded(self) -> tuple[str, ...]:
        return tuple(sorted(self._loaded))

    async def open(self) -> None:
        """Nothing is asked yet: a server that is down now may be up when a customer asks."""
        if self._session is None:
            headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
            limits = aiohttp.ClientTimeout(total=None, connect=self._patience.connect, sock_read=self._patience.between)
            self._session = aiohttp.ClientSession(headers=headers, timeout=limits)

    async def generate(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int = 200,
        model: str | None = None,
        user: str = "",  # noqa: ARG002 - who the customer is stays here
    ) -> AsyncGenerator[Piece]:
        """See `Engine.generate`."""
        chosen = self._choose(model)
        body = {
            "model": chosen,
            "messages": [{"role": m["role"], "content": self._mask(m["content"])} for m in messages],
            "max_tokens": max_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        self._check_rest()
        response = await self._ask(chosen, body)
        try:
            async for piece in _pieces(response):
                yield piece
        except (aiohttp.ClientError, HttpProcessingError, TimeoutError, ValueError, TypeError, AttributeError) as error:
            self._note(failed=True)
            raise _failed(f"{type(error).__name__}: {str(error)[:200]}") from error
        except EngineError:
            self._note(failed=True)
            raise
        finally:
            response.close()
        self._note(failed=False)

    async def use_adapter(self, folder: Path | None, name: str | None) -> None:
        """See `Engine.use_adapter`: the server, which must see the same folder, is told to load it."""
        if folder is not None and name is not None and name not in self._loaded:
            try:
                await self._load(name, folder)
            except _UnreachableError:
                log.warning("%s is not there; it is told to load %s when it is", self._url, name)
            self._used[name] = folder
        self._active = name if folder is not None else None

    def prefer(self, name: str | None) -> None:
        """See `Engine.prefer`."""
        self._active = name

    async def load(self, name: str) -> None:
        """See `Engine.load`: the server is told to."""
        folder = self._used.get(name) or self._installed().get(name)
        if folder is None:
            raise _unknown(name)
        await self._load(name, folder)

    async def unload(self, name: str) -> None:
        """See `Engine.unload`: the server is told to; one that has it no more is content."""
        try:
            (await self._answer("/unload_lora_adapter", {"lora_name": name})).close()
        except EngineError as error:
            if error.code != "model_not_found":
                raise
        self._loaded.discard(name)

    async def models(self) -> tuple[str, ...]:
        """The names of what the server serves. Raises EngineError."""
        response = await self._answer("/models")
        try:
            async with asyncio.timeout(self._patience.first):
                return tuple(str(one["id"]) for one in (await response.json(content_type=None))["data"])
        except (aiohttp.ClientError, TimeoutError, ValueError, TypeError, KeyError) as error:
            raise _failed(f"{type(error).__name__}: {str(error)[:200]}") from error
        finally:
            response.close()

    async def close(self) -> None:
        if self._session:
            await self._session.close()
            self._session = None

    def _choose(self, model: str | None) -> str:
        chosen = model or self._active or self._model
        if chosen != self._model and chosen not in self._used and chosen not in self._installed():
            raise _unknown(chosen)
        return chosen

    async def _ask(self, chosen: str, body: dict[str, Any]) -> aiohttp.ClientResponse:
        """The response to a prompt; an adapter that the server does not have, or has no more, is loaded first."""
        if chosen == self._model:
            return await self._answer("/chat/completions", body)
        if known := chosen in self._loaded:
            try:
                return await self._answer("/chat/completions", body)
            except EngineError as error:
                if error.code != "model_not_found":
                    raise
        log.info("%s is told to load %s%s", self._url, chosen, " again" if known else "")
        await self._load(chosen, self._used.get(chosen) or self._installed()[chosen])
        return await self._answer("/chat/completions", body)

    async def _load(self, name: str, folder: Path) -> None:
        """Raises EngineError, `_UnreachableError` where nobody answers."""
        try:
            await asyncio.to_thread(self._check, folder)
        except Exception as error:
            raise _failed(f"{name}: {str(error)[:200]}") from error
        try:
            response = await self._answer("/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})
            response.close()
        except _UnreachableError:
            raise
        except EngineError:
            # vLLM refuses an adapter that it has already, as after a restart of ours.
            if name not in await self.models():
                raise
        self._loaded.add(name)

    async def _answer(self, path: str, body: dict[str, Any] | None = None) -> aiohttp.ClientResponse:
        """The response whose status is 200, its body not read yet; a GET without `body`. Raises EngineError."""
        await self.open()
        assert self._session is not None  # noqa: S101 - `open` made it
        error = _failed("no attempt")
        for attempt in range(self._patience.tries):
            if attempt:
                await asyncio.sleep(self._patience.pause * 2 ** (attempt - 1) * random.uniform(0.5, 1.0))  # noqa: S311
            try:
                async with asyncio.timeout(self._patience.first):
                    # A redirect would carry the customer's words and the key to where nobody meant them to go.
                    response = await self._session.request(
                        "POST" if body else "GET", self._url + path, json=body, allow_redirects=False
                    )
            except (aiohttp.ClientError, TimeoutError) as problem:
                error = _failed(f"{type(problem).__name__}: {problem}", _UnreachableError)
                continue
            if response.status == 200:
                return response
            response.close()
            named = (body or {}).get("model") or (body or {}).get("lora_name") or path
            error = _refusal(response.status, str(named))
            if response.status not in RETRIED:
                break
        self._note(failed=error.code != "model_not_found")
        raise error

    def _check_rest(self) -> None:
        now = time.monotonic()
        if now < self._rests_until:
            raise _failed(f"not asked for another {self._rests_until - now:.0f} s after failures")
        if self._rests_until:  # this request tries it; others wait for what it finds
            self._rests_until = now + self._patience.rest

    def _note(self, *, failed: bool) -> None:
        self._failures = self._failures + 1 if failed else 0
        if not failed:
            self._rests_until = 0.0
        elif self._failures >= self._patience.failures_max:
            self._rests_until = time.monotonic() + self._patience.rest
            log.warning("%s failed %s times in a row and rests %s s", self._url, self._failures, self._patience.rest)


async def _pieces(response: aiohttp.ClientResponse) -> AsyncIterator[Piece]:
    """The reply's pieces from a stream of server-sent events; raises where it breaks off or is no such stream."""
    whole = False
    usage: dict[str, Any] = {}
    pieces = 0
    async for raw in response.content:
        line = raw.decode("utf-8").strip()
        if not line.startswith("data:"):
            if line and line[0] != ":" and not line.startswith(("event:", "id:", "retry:")):
                raise ValueError(f"not a stream of events: {line[:80]!r}")
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            break
        event = json.loads(data)
        if event.get("error"):
            raise _failed(str(event["error"])[:200])
        usage = event.get("usage") or usage
        for choice in event.get("choices") or ():
            text = (choice.get("delta") or {}).get("content")
            if text:
                pieces += 1
                yield Piece(str(text))
            whole = whole or bool(choice.get("finish_reason"))
    if not whole:
        raise _failed("the reply broke off")
    prompt, written = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or pieces)
    yield Piece("", finished=True, prompt_tokens=prompt, completion_tokens=written)


def _refusal(status: int, model: str) -> EngineError:
    if status == 404:
        return _unknown(model)
    if status == 429:
        return EngineError(
            "engine_busy", "生成服务太忙，请稍后再试。", "The generation server is busy; please try later."
        )
    return _failed(f"HTTP {status}{', the key is not accepted' if status in (401, 403) else ''}")


def _unknown(model: str) -> EngineError:
    return EngineError("model_not_found", f"没有名为 {model!r} 的模型。", f"There is no model named {model!r}.")


def _failed(detail: str, kind: type[EngineError] = EngineError) -> EngineError:
    return kind("engine_failed", f"生成服务出错：{detail}", f"The generation server failed: {detail}")
