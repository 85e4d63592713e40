"""飞书机器人: events in, by callbacks or a long connection; texts and cards out. In a group it answers who names it."""

import asyncio
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar

import aiohttp
from aiohttp import web

from connectors.calls import Platform
from connectors.cards import Cards
from connectors.channel import Channel, Finding, Service
from connectors.errors import ConnectorError, DeliveryError
from connectors.feishu import wire
from connectors.feishu.cards import FeishuCards
from connectors.feishu.client import API, FeishuClient
from connectors.feishu.stream import Line
from connectors.freshness import check_fresh, clock_findings
from connectors.http import read_body
from connectors.pacing import Pace, Rate
from connectors.types import Delivery, Inbound, Outbound

LOOK_AGAIN_SECONDS = 60.0
REOPEN_SECONDS = 1.0
# The last time that an event comes again is seven hours after the first (15 s, 5 min, 1 h and 6 h later each).
TOLERANCE_SECONDS = 8 * 3600.0
log = logging.getLogger("kefu.connectors.feishu")


class FeishuChannel(Channel):
    """One application's bot, `mode` "http" or "ws"."""

    kind = "feishu"
    pace: ClassVar[Pace] = Pace(everyone=Rate(50, 1.0), each=Rate(5, 1.0))

    def __init__(self, name: str, parameters: Mapping[str, Any], service: Service) -> None:
        super().__init__(name, parameters, service)
        self._encrypt_key = parameters["encrypt_key"]
        self._token = parameters["verification_token"] if parameters["mode"] == "http" else None
        self._platform = Platform(service.http, parameters["api_base"] or API)
        self._client = FeishuClient(self._platform, parameters["app_id"], parameters["app_secret"], service.clock)
        self._streams = parameters["mode"] == "ws"
        self._cards = Cards(self, FeishuCards(self._client, service.clock, self._say))
        self._bot_id = ""

    async def receive(self, request: web.Request) -> web.StreamResponse:
        if request.method != "POST":
            raise web.HTTPMethodNotAllowed(request.method, ["POST"])
        if not self._token:
            return await super().receive(request)  # events come by the long connection, and by no other way
        event = wire.open_event(await read_body(request), request.headers, self._token, self._encrypt_key)
        if event.get("type") == "url_verification" and "header" not in event:
            return web.json_response({"challenge": event.get("challenge", "")})
        if self._encrypt_key:
            check_fresh(request.headers.get("X-Lark-Request-Timestamp", ""), self.service.clock(), TOLERANCE_SECONDS)
        await self._take(event)
        return web.json_response({})

    async def _take(self, event: Mapping[str, Any]) -> None:
        message = wire.parse(event)
        if message is None or not self._is_for_us(message):
            return
        address = {
            "chat": message.chat, "message": message.message_id, "group": message.group, "key": message.key
        }  # fmt: skip
        inbound = Inbound(
            self.conversation(message.user, message.chat if message.group else ""), message.text, message.key,
            media=message.media, event=message.event, pressed=message.pressed, reply_to=address,
        )  # fmt: skip
        await self.service.accept(self, [inbound])

    def _is_for_us(self, message: wire.Message) -> bool:
        """In a group only what names the bot; while its id is not known, what names anybody."""
        if not message.group or message.pressed:
            return True
        return self._bot_id in message.mentions if self._bot_id else bool(message.mentions)

    async def run(self) -> None:
        """Learns the bot's own id; the long connection, where that is the mode, opened again whenever it ends."""
        learning = asyncio.create_task(self._learn(), name=f"name of {self.id}")
        try:
            if not self._streams:
                await asyncio.Event().wait()
            while True:
                url, ping_seconds = await self._client.open_stream()
                await self._listen(Line(url, ping_seconds, self._take))
                await asyncio.sleep(REOPEN_SECONDS)
        finally:
            learning.cancel()
            await asyncio.gather(learning, return_exceptions=True)

    async def _learn(self) -> None:
        while not self._bot_id:
            with suppress(ConnectorError):
                self._bot_id = await self._client.bot_id()
            if not self._bot_id:
                await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def _listen(self, line: Line) -> None:
        try:
            log.info("%s: the long connection is open", self.id)
            await line.run(self.service.http)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise DeliveryError(
                "stream", f"长连接断开：{type(error).__name__}，稍后重连",
                f"The long connection is broken ({type(error).__name__}); it is opened again",
            ) from None  # fmt: skip

    def render(self, address: dict[str, Any], reply: Outbound) -> list[dict[str, Any]]:
        return wire.render(address, reply)

    async def send(self, delivery: Delivery) -> None:
        payload, address = delivery.payload, delivery.address
        words = payload.get("markdown") or payload["content"].get("text", "")
        if words and await self._cards.finish(address.get("key", ""), delivery, words):
            return
        await self._say(address, payload, delivery.id)

    async def show(self, address: dict[str, Any], text: str) -> None:
        if address.get("key"):
            await self._cards.show(address["key"], address, text)

    async def _say(self, address: Mapping[str, Any], payload: dict[str, Any], uuid: str) -> None:
        """Send a message; the same `uuid` within an hour is sent once."""
        body = {
            "msg_type": payload["msg_type"],
            "content": json.dumps(payload["content"], ensure_ascii=False),
            "uuid": uuid,
        }
        if address["group"] and address["message"]:
            await self._client.call("POST", f"/open-apis/im/v1/messages/{address['message']}/reply", body)
        else:
            query = {"receive_id_type": "chat_id" if address["chat"] else "open_id"}
            body["receive_id"] = address["chat"] or address["user"]
            await self._client.call("POST", "/open-apis/im/v1/messages", body, query)

    def address_of(self, user: str, group: str) -> dict[str, Any] | None:
        return {"chat": group, "user": user, "message": "", "group": bool(group), "key": ""}

    def unasked(self, address: dict[str, Any]) -> dict[str, Any]:
        return {**address, "message": "", "key": ""}

    async def check(self) -> list[Finding]:
        id_ = await self._client.bot_id()
        if not id_:
            zh = "没有启用机器人能力：请在开发者后台「添加应用能力」添加机器人，再发布版本"
            en = "the bot is not enabled: add it in the developer console and publish a version"
            return [Finding(ok=False, zh=zh, en=en)]
        if self._streams:
            await self._client.open_stream()
        zh, en = "app_id、app_secret 和机器人能力正常", "app_id, app_secret and the bot are right"
        return [Finding(ok=True, zh=zh, en=en), *clock_findings(self._platform, self.service.clock())]
