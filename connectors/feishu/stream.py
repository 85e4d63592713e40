"""飞书长连接: events over a WebSocket that we open, so that nothing of ours need be reachable from outside.

Source: open.feishu.cn, "使用长连接接收事件", and `ws/client.py` of larksuite/oapi-sdk-python (MIT): the address is had
from at /callback/ws/endpoint, a ping goes every `PingInterval` seconds, an event without an answer comes again.
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp

from connectors.errors import ConnectorError
from connectors.feishu import frames
from connectors.feishu.frames import CONTROL, DATA, Frame
from connectors.http import json_object

FRAME_BYTES_MAX = 4 * 1024 * 1024
PING_SECONDS = 120.0
# Of WebSocket's own pings, as the platform's SDK sends them: theirs alone would notice a dead line after six minutes.
HEARTBEAT_SECONDS = 30.0
SILENT_PINGS_MAX = 3
PARTS_MAX = 64
Take = Callable[[dict[str, Any]], Awaitable[None]]


class Line:
    """One open connection; `take(event)` returns once an event is kept."""

    def __init__(self, url: str, ping_seconds: float, take: Take) -> None:
        service = parse_qs(urlsplit(url).query).get("service_id", ["0"])[0]
        self._service = int(service) if service.isdigit() else 0
        self._url = url
        self._ping_seconds = ping_seconds
        self._take = take
        self._parts: OrderedDict[str, list[bytes]] = OrderedDict()

    async def run(self, http: aiohttp.ClientSession) -> None:
        """Until the connection ends, or nothing was heard for several pings. Raises what aiohttp raises."""
        async with http.ws_connect(self._url, heartbeat=HEARTBEAT_SECONDS, max_msg_size=FRAME_BYTES_MAX) as socket:
            pinging = asyncio.create_task(self._ping(socket), name="feishu ping")
            try:
                while True:
                    async with asyncio.timeout(SILENT_PINGS_MAX * self._ping_seconds):
                        received = await socket.receive()
                    if received.type is not aiohttp.WSMsgType.BINARY:
                        if received.type is aiohttp.WSMsgType.TEXT:
                            continue
                        return
                    answer = await self.on_frame(received.data)
                    if answer is not None:
                        await socket.send_bytes(answer)
            finally:
                pinging.cancel()
                await asyncio.gather(pinging, return_exceptions=True)

    async def _ping(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        ping = frames.encode(Frame(CONTROL, self._service, {"type": "ping"}))
        while True:
            await socket.send_bytes(ping)
            await asyncio.sleep(self._ping_seconds)

    async def on_frame(self, raw: bytes) -> bytes | None:
        """The acknowledgement of a frame, None where none is due. An event that could not be kept is refused."""
        try:
            frame = frames.decode(raw)
        except ValueError:
            return None
        kind = frame.headers.get("type", "")
        if frame.method != DATA:
            if kind == "pong" and frame.payload:
                with suppress(ConnectorError):
                    self._ping_seconds = interval(json_object(frame.payload), self._ping_seconds)
            return None
        payload = self._whole(frame)
        if payload is None:
            return None
        code = 200
        try:
            await self._take(json_object(payload))
        except ConnectorError:
            pass  # no event that anybody could read: the same again would not help
        except Exception:  # noqa: BLE001 - it comes again
            code = 500
        told = json.dumps({"code": code, "headers": {}, "data": None}).encode()
        return frames.encode(replace(frame, payload=told, headers={**frame.headers, "biz_rt": "0"}))

    def _whole(self, frame: Frame) -> bytes | None:
        """The payload, once all its parts are there."""
        total, part = _number(frame.headers.get("sum"), 1), _number(frame.headers.get("seq"), 0)
        if total <= 1:
            return frame.payload
        if total > PARTS_MAX or part >= total:
            return None
        parts = self._parts.setdefault(frame.headers.get("message_id", ""), [b""] * total)
        if len(parts) != total:
            return None
        parts[part] = frame.payload
        if len(self._parts) > PARTS_MAX:
            self._parts.popitem(last=False)
        return b"".join(self._parts.pop(frame.headers.get("message_id", ""))) if all(parts) else None


def interval(config: dict[str, Any], default: float = PING_SECONDS) -> float:
    """Seconds between pings, as a `ClientConfig` of the platform says."""
    given = config.get("PingInterval")
    return float(given) if isinstance(given, int | float) and 1 <= given <= 3600 else default


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else default
