"""What the HTTP sides of connectors share: bearer tokens, JSON bodies, pieces of a reply with signs of life between."""

import asyncio
import hmac
import json
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from typing import Any

from aiohttp import web

from connectors.errors import ConnectorError
from connectors.types import Outbound

BODY_BYTES_MAX = 4 * 1024 * 1024
DEPTH_MAX = 100


def bearer_token(request: web.Request) -> str | None:
    """The token of an `Authorization: Bearer` header (RFC 6750), None without one."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def same_secret(given: str | None, expected: str) -> bool:
    """Whether two secrets are equal, in a time that does not tell how much of them is."""
    return hmac.compare_digest((given or "").encode(), expected.encode())


async def read_body(request: web.Request) -> bytes:
    """The raw body, at most BODY_BYTES_MAX. Raises ConnectorError."""
    body = bytearray()
    async for part in request.content.iter_chunked(65_536):
        body += part
        if len(body) > BODY_BYTES_MAX:
            raise ConnectorError(
                "too_large",
                f"请求超过 {BODY_BYTES_MAX} 字节",
                f"The request is larger than {BODY_BYTES_MAX} bytes",
                status=413,
            )
    return bytes(body)


def json_value(text: bytes | str) -> Any:
    """What JSON from outside says, nested DEPTH_MAX deep at most: whoever takes it apart level by level would end in a
    RecursionError where it is deeper. Raises ConnectorError."""
    try:
        value = json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise ConnectorError("invalid_json", "请求体不是正确的 JSON", "The body is not valid JSON") from None
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [one for each in level if isinstance(each, dict | list) for one in _inside(each)]
        if not level:
            return value
    if any(isinstance(each, dict | list) for each in level):
        raise _too_deep()
    return value


def _no_number(name: str) -> float:
    raise ValueError(name)  # NaN and Infinity are Python's own; neither a database nor another program reads them


def _inside(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _too_deep() -> ConnectorError:
    zh, en = f"JSON 嵌套太深：最多 {DEPTH_MAX} 层", f"The JSON is nested too deep: {DEPTH_MAX} levels at most"
    return ConnectorError("invalid_json", zh, en)


def json_object(body: bytes | str) -> dict[str, Any]:
    """The JSON object a body holds; half an emoji, as a program leaves it that cuts texts, becomes U+FFFD.

    Raises:
        ConnectorError: there is none, or it is nested too deep.
    """
    value = without_surrogates(json_value(body))
    if not isinstance(value, dict):
        raise ConnectorError("invalid_json", "请求体应是一个 JSON 对象", "The body must be a JSON object")
    return value


def without_surrogates(value: Any) -> Any:
    """The value without lone surrogates, which JSON can write and neither a database nor a reply can hold."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return value


async def with_signs_of_life(
    pieces: AsyncGenerator[Outbound, None], seconds: float
) -> AsyncGenerator[Outbound | None, None]:
    """The pieces as they come, and None each `seconds` in which none came. Closing it closes `pieces`."""
    waiting: asyncio.Future[Outbound] | None = None
    try:
        while True:
            waiting = waiting or asyncio.ensure_future(anext(pieces))
            done, _ = await asyncio.wait({waiting}, timeout=seconds)
            if not done:
                yield None
                continue
            finished, waiting = waiting, None
            try:
                piece = finished.result()
            except StopAsyncIteration:
                return
            yield piece
    finally:
        if waiting is not None:
            waiting.cancel()
            with suppress(asyncio.CancelledError, StopAsyncIteration):
                await waiting
        await pieces.aclose()
