"""Telegram: updates by webhook, or by asking for them where no address of ours can be reached from outside."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar

from aiohttp import web

from connectors.calls import Platform
from connectors.channel import Channel, Finding, Service
from connectors.errors import ConnectorError, DeliveryError, refused
from connectors.http import json_object, read_body, same_secret
from connectors.pacing import Pace, Rate
from connectors.telegram import wire
from connectors.telegram.client import API, TelegramClient
from connectors.types import Delivery, Inbound, Outbound

AGAIN_SECONDS, AGAIN_SECONDS_MAX, LOOK_AGAIN_SECONDS = 1.0, 15.0, 60.0
log = logging.getLogger("kefu.connectors.telegram")


class TelegramChannel(Channel):
    """One bot, `mode` "webhook" or "polling"."""

    kind = "telegram"
    # One a second to a chat, twenty a minute to a group; short bursts are allowed.
    pace: ClassVar[Pace] = Pace(everyone=Rate(30, 1.0), each=Rate(20, 20.0))

    def __init__(self, name: str, parameters: Mapping[str, Any], service: Service) -> None:
        super().__init__(name, parameters, service)
        self._secret = parameters["secret_token"]
        self._polls = parameters["mode"] == "polling"
        self._client = TelegramClient(Platform(service.http, parameters["api_base"] or API), parameters["bot_token"])
        self._bot_name = ""

    async def receive(self, request: web.Request) -> web.StreamResponse:
        if request.method != "POST":
            raise web.HTTPMethodNotAllowed(request.method, ["POST"])
        if not self._secret or not same_secret(request.headers.get("X-Telegram-Bot-Api-Secret-Token"), self._secret):
            raise refused(401)
        await self._take([json_object(await read_body(request))])
        return web.json_response({})

    async def _take(self, updates: list[dict[str, Any]]) -> None:
        taken = []
        for update in updates:
            message = wire.parse(update, self._bot_name)
            if message is None or not message.named:
                continue
            if message.callback_id:
                asyncio.create_task(self._stop_spinning(message.callback_id))  # noqa: RUF006 - nobody waits for it
            address = {"chat": message.chat, "group": message.group, "message": message.message_id}
            taken.append(Inbound(
                self.conversation(message.user, message.chat if message.group else ""), message.text, message.key,
                media=message.media, location=message.location, event=message.event, pressed=message.pressed,
                reply_to=address, nickname=message.nickname,
            ))  # fmt: skip
        if taken:
            await self.service.accept(self, taken)

    async def _stop_spinning(self, callback_id: str) -> None:
        with suppress(ConnectorError):
            await self._client.call("answerCallbackQuery", {"callback_query_id": callback_id})

    async def run(self) -> None:
        """Learns the bot's name; then polls, where that is the mode."""
        while not self._bot_name:
            with suppress(ConnectorError):
                self._bot_name = str((await self._client.call("getMe")).get("username", ""))
            if not self._bot_name:
                await asyncio.sleep(LOOK_AGAIN_SECONDS if not self._polls else 5.0)
        if not self._polls:
            await asyncio.Event().wait()
        await self._client.call("deleteWebhook")
        offset = int(await self.service.recall(self, "offset") or 0)
        pause = AGAIN_SECONDS
        while True:
            try:
                updates = await self._client.updates(offset)
            except DeliveryError as error:
                # What was taken stays taken: a hiccup must not hold the answers back as an outage does.
                log.info("%s: no updates (%s), asked again in %g s", self.id, error.code, pause)
                await asyncio.sleep(max(pause, error.retry_after or 0.0))
                pause = min(pause * 2, AGAIN_SECONDS_MAX)
                continue
            pause = AGAIN_SECONDS
            if not updates:
                continue
            await self._take(updates)
            # Only now may Telegram forget them; what comes again until then is known by its update_id.
            offset = max(int(one.get("update_id", 0)) for one in updates) + 1
            await self.service.remember(self, "offset", offset)

    def render(self, address: dict[str, Any], reply: Outbound) -> list[dict[str, Any]]:  # noqa: ARG002 - needs none
        return wire.render(reply)

    def address_of(self, user: str, group: str) -> dict[str, Any] | None:
        return {"chat": group or user, "group": bool(group), "message": 0}

    def unasked(self, address: dict[str, Any]) -> dict[str, Any]:
        return {**address, "message": 0}

    async def send(self, delivery: Delivery) -> None:
        address = delivery.address
        body: dict[str, Any] = {"chat_id": _id(address["chat"]), **delivery.payload}
        if address["group"] and address["message"]:
            body["reply_parameters"] = {"message_id": address["message"], "allow_sending_without_reply": True}
        await self._client.call("sendMessage", body)

    async def typing(self, address: dict[str, Any]) -> None:
        await self._client.call("sendChatAction", {"chat_id": _id(address["chat"]), "action": "typing"})

    async def check(self) -> list[Finding]:
        name = (await self._client.call("getMe")).get("username", "")
        known = f"bot_token 正常：@{name}", f"bot_token is right: @{name}"
        if self._polls:
            return [Finding(ok=True, zh=f"{known[0]}，轮询模式", en=f"{known[1]}; polling")]
        url = (await self._client.call("getWebhookInfo")).get("url", "")
        if self.id in url:
            return [Finding(ok=True, zh=f"{known[0]}，webhook 正常", en=f"{known[1]}; the webhook is set")]
        zh = f"{known[0]}，但 webhook 还没有指向 …/webhooks/{self.id}：请调用 setWebhook"
        en = f"{known[1]}, but the webhook does not lead to …/webhooks/{self.id}: call setWebhook"
        return [Finding(ok=False, zh=zh, en=en)]


def _id(chat: str) -> int | str:
    return int(chat) if chat.lstrip("-").isdigit() else chat
