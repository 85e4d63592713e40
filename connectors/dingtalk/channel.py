"""钉钉机器人: HTTP callbacks, or a stream that we open (then nothing of ours needs to be reachable from outside)."""

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any, ClassVar

import aiohttp
from aiohttp import web

from connectors.calls import Platform
from connectors.cards import Cards
from connectors.channel import Channel, Finding, Service
from connectors.dingtalk import wire
from connectors.dingtalk.cards import DingTalkCards
from connectors.dingtalk.client import API, HOSTS, DingTalkClient
from connectors.errors import ConnectorError, DeliveryError
from connectors.freshness import clock_findings
from connectors.http import json_object, read_body
from connectors.pacing import Pace, Rate
from connectors.types import Delivery, Inbound, Outbound

HEARTBEAT_SECONDS, REOPEN_SECONDS = 30.0, 1.0
CARD_KEY = "content"
FRAME_BYTES_MAX = 4 * 1024 * 1024
log = logging.getLogger("kefu.connectors.dingtalk")


class DingTalkChannel(Channel):
    """One robot, `mode` "http" or "stream"."""

    kind = "dingtalk"
    pace: ClassVar[Pace] = Pace(everyone=Rate(20, 1.0), each=Rate(5, 1.0))

    def __init__(self, name: str, parameters: Mapping[str, Any], service: Service) -> None:
        super().__init__(name, parameters, service)
        self._secret = parameters["client_secret"]
        self._streams = parameters["mode"] == "stream"
        platform = Platform(service.http, parameters["api_base"] or API, HOSTS)
        self._client = DingTalkClient(platform, parameters["client_id"], self._secret, service.clock)
        template, key = parameters["card_template_id"], parameters["card_key"] or CARD_KEY
        self._cards = Cards(self, DingTalkCards(self._client, template, key)) if template else None

    async def receive(self, request: web.Request) -> web.StreamResponse:
        if request.method != "POST":
            raise web.HTTPMethodNotAllowed(request.method, ["POST"])
        body = await read_body(request)
        wire.verify(self._secret, request.headers, self.service.clock())
        await self._take(json_object(body))
        return web.json_response({"msgtype": "empty"})

    async def _take(self, body: Mapping[str, Any]) -> None:
        message = wire.parse(body)
        if message is None:
            return
        inbound = Inbound(
            self.conversation(message.user, message.group), message.text, message.key, media=message.media,
            reply_to=message.address, nickname=message.nickname,
        )  # fmt: skip
        await self.service.accept(self, [inbound])

    async def run(self) -> None:
        """The stream: opened again whenever DingTalk says so or the connection is lost."""
        if not self._streams:
            await asyncio.Event().wait()
        while True:
            url = await self._client.open_stream()
            try:
                async with self.service.http.ws_connect(
                    url, heartbeat=HEARTBEAT_SECONDS, max_msg_size=FRAME_BYTES_MAX
                ) as socket:
                    log.info("%s: the stream is open", self.id)
                    await self._listen(socket)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise DeliveryError(
                    "stream", f"Stream 连接断开：{type(error).__name__}，稍后重连",
                    f"The stream is broken ({type(error).__name__}); it is opened again",
                ) from None  # fmt: skip
            await asyncio.sleep(REOPEN_SECONDS)  # one that is closed as soon as it is open is not opened in a rush

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Until DingTalk asks for another connection, or this one ends."""
        async for received in socket:
            if received.type is not aiohttp.WSMsgType.TEXT:
                continue
            try:
                frame = json_object(received.data.encode())
            except ConnectorError:
                continue
            answer = await self.on_frame(frame)
            if answer is None:
                return
            await socket.send_str(json.dumps(answer, ensure_ascii=False))

    async def on_frame(self, frame: Mapping[str, Any]) -> dict[str, Any] | None:
        """The acknowledgement of a frame; None where a new connection is asked for.

        A message is kept before its frame is acknowledged, and known again when the frame comes again; where it cannot
        be kept the frame is refused, and DingTalk sends it once more.
        """
        given = frame.get("headers")
        headers = given if isinstance(given, dict) else {}
        topic, data = headers.get("topic"), frame.get("data")
        data = data if isinstance(data, str) else ""
        if frame.get("type") == "SYSTEM":
            return None if topic == "disconnect" else wire.ack(headers, data)
        if frame.get("type") != "CALLBACK" or topic != wire.BOT_MESSAGES:
            return wire.ack(headers, "{}", 404)
        try:
            await self._take(json_object(data.encode()))
        except ConnectorError as error:
            log.info("%s: a message was not taken (%s)", self.id, error.code)
        except Exception:
            log.exception("%s: a message could not be kept", self.id)
            return wire.ack(headers, "{}", 500)
        return wire.ack(headers, json.dumps({"response": None}))

    def render(self, address: dict[str, Any], reply: Outbound) -> list[dict[str, Any]]:  # noqa: ARG002 - needs none
        return wire.render(reply)

    def address_of(self, user: str, group: str) -> dict[str, Any] | None:
        return {"staff": user, "group": group, "robot": "", "webhook": "", "until_ms": 0, "message": ""}

    async def send(self, delivery: Delivery) -> None:
        payload, address = delivery.payload, delivery.address
        words = payload.get("markdown") or payload["text"]
        if self._cards and await self._cards.finish(address.get("message", ""), delivery, words):
            return
        await self._client.send(address, payload["text"])

    async def show(self, address: dict[str, Any], text: str) -> None:
        if self._cards and address.get("message") and (address["group"] or address["staff"]):
            await self._cards.show(address["message"], address, text)

    async def check(self) -> list[Finding]:
        await self._client.token.get()
        if self._streams:
            await self._client.open_stream()
        mode = "Stream" if self._streams else "HTTP"
        return [Finding(ok=True, zh=f"client_id 和 client_secret 正常，{mode} 模式",
                        en=f"client_id and client_secret are right; {mode} mode"),
                *clock_findings(self._client.platform, self.service.clock())]  # fmt: skip
