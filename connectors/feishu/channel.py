"""飞书机器人: events in, texts and cards out. In a group it answers who names it."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar

from aiohttp import web

from connectors.calls import Platform
from connectors.channel import Channel, Finding, Service
from connectors.errors import ConnectorError
from connectors.feishu import wire
from connectors.feishu.client import API, FeishuClient
from connectors.http import read_body
from connectors.pacing import Pace, Rate
from connectors.types import Delivery, Inbound, Outbound

LOOK_AGAIN_SECONDS = 60.0


class FeishuChannel(Channel):
    """One application's bot."""

    kind = "feishu"
    pace: ClassVar[Pace] = Pace(everyone=Rate(50, 1.0), each=Rate(5, 1.0))

    def __init__(self, name: str, parameters: Mapping[str, Any], service: Service) -> None:
        super().__init__(name, parameters, service)
        self._encrypt_key = parameters["encrypt_key"]
        self._token = parameters["verification_token"]
        platform = Platform(service.http, parameters["api_base"] or API)
        self._client = FeishuClient(platform, parameters["app_id"], parameters["app_secret"], service.clock)
        self._bot_id = ""

    async def receive(self, request: web.Request) -> web.StreamResponse:
        if request.method != "POST":
            raise web.HTTPMethodNotAllowed(request.method, ["POST"])
        event = wire.open_event(await read_body(request), request.headers, self._token, self._encrypt_key)
        if event.get("type") == "url_verification" and "header" not in event:
            return web.json_response({"challenge": event.get("challenge", "")})
        message = wire.parse(event)
        if message is not None and self._is_for_us(message):
            address = {"chat": message.chat, "message": message.message_id, "group": message.group}
            inbound = Inbound(
                self.conversation(message.user, message.chat if message.group else ""), message.text, message.key,
                media=message.media, event=message.event, pressed=message.pressed, reply_to=address,
            )  # fmt: skip
            await self.service.accept(self, [inbound])
        return web.json_response({})

    def _is_for_us(self, message: wire.Message) -> bool:
        """In a group only what names the bot; while its id is not known, what names anybody."""
        if not message.group or message.pressed:
            return True
        return self._bot_id in message.mentions if self._bot_id else bool(message.mentions)

    async def run(self) -> None:
        """Learns the bot's own id."""
        while not self._bot_id:
            with suppress(ConnectorError):
                self._bot_id = await self._client.bot_id()
            if not self._bot_id:
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
        await asyncio.Event().wait()

    def render(self, address: dict[str, Any], reply: Outbound) -> list[dict[str, Any]]:
        return wire.render(address, reply)

    async def send(self, delivery: Delivery) -> None:
        address, payload = delivery.address, delivery.payload
        body = {
            "msg_type": payload["msg_type"],
            "content": json.dumps(payload["content"], ensure_ascii=False),
            "uuid": delivery.id,  # the same one within an hour is sent once
        }
        if address["group"] and address["message"]:
            await self._client.call("POST", f"/open-apis/im/v1/messages/{address['message']}/reply", body)
        else:
            query = {"receive_id_type": "chat_id" if address["chat"] else "open_id"}
            body["receive_id"] = address["chat"] or address["user"]
            await self._client.call("POST", "/open-apis/im/v1/messages", body, query)

    def address_of(self, user: str, group: str) -> dict[str, Any] | None:
        return {"chat": group, "user": user, "message": "", "group": bool(group)}

    async def check(self) -> list[Finding]:
        id_ = await self._client.bot_id()
        if not id_:
            zh = "没有启用机器人能力：请在开发者后台「添加应用能力」添加机器人，再发布版本"
            en = "the bot is not enabled: add it in the developer console and publish a version"
            return [Finding(ok=False, zh=zh, en=en)]
        zh, en = "app_id、app_secret 和机器人能力正常", "app_id, app_secret and the bot are right"
        return [Finding(ok=True, zh=zh, en=en)]
