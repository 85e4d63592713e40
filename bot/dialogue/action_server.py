"""Actions on a server of the company's own, by rasa's action-server protocol (rasa-sdk 3.x, `POST /webhook`)."""

import asyncio
import json
import zlib
from collections.abc import Mapping
from typing import Any

import aiohttp

from bot.dialogue.stage import ActionError, ActionRejectedError

ANSWER_BYTES_MAX = 4 * 1024 * 1024


class RemoteExecutor:
    """Calls `url`, the server's webhook (`http://host:5055/webhook`). Bodies are sent deflated, as rasa does."""

    names: frozenset[str] = frozenset()

    def __init__(self, url: str, timeout_seconds: float) -> None:
        self._url = url if url.rstrip("/").endswith("/webhook") else url.rstrip("/") + "/webhook"
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._session: aiohttp.ClientSession | None = None

    async def run(self, call: dict[str, Any]) -> Mapping[str, Any]:
        """The result body of one call. Raises ActionError, ActionRejectedError."""
        name = str(call["next_action"])
        body = zlib.compress(json.dumps(call, ensure_ascii=False).encode())
        headers = {"Content-Type": "application/json", "Content-Encoding": "deflate"}
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        try:
            async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
                content = await _whole(response.content)
                status = response.status
        except TimeoutError as error:
            raise ActionError("action_slow", name, f"no result within {self._timeout.total:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ActionError("action_unreachable", name, type(error).__name__) from error
        return _answer(name, status, content)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            # aiohttp closes TLS transports in the next turns of the loop (docs: client, graceful shutdown).
            await asyncio.sleep(0)
            self._session = None


async def _whole(stream: aiohttp.StreamReader) -> bytes:
    """All of the body, up to a byte more than is taken: one read gives what has come so far."""
    content = bytearray()
    async for chunk in stream.iter_chunked(64 * 1024):
        content += chunk
        if len(content) > ANSWER_BYTES_MAX:
            break
    return bytes(content)


def _rejects(content: bytes) -> bool:
    """Whether a 400 is the action's own rejection, which names it. rasa-sdk's server says 400 of an action that raised,
    too: what handles the error there reads the request again, and takes its deflated body for bad JSON.
    """
    try:
        answer = json.loads(content[:ANSWER_BYTES_MAX])
    except (ValueError, RecursionError):
        return False
    return isinstance(answer, Mapping) and "action_name" in answer


def _answer(name: str, status: int, content: bytes) -> Mapping[str, Any]:
    if status == 400 and _rejects(content):
        raise ActionRejectedError(name)
    if status == 404:
        raise ActionError("action_not_found", name, "status 404")
    if status != 200:
        meaning = {449: "the server asks for the domain again"}.get(status, "the action failed there")
        raise ActionError("action_failed", name, f"status {status}: {meaning}")
    if len(content) > ANSWER_BYTES_MAX:
        raise ActionError("action_nonsense", name, f"more than {ANSWER_BYTES_MAX} bytes")
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ActionError("action_nonsense", name, "no JSON") from error
    if not isinstance(answer, Mapping):
        raise ActionError("action_nonsense", name, "no JSON object")
    return answer
