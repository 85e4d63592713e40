"""Telegram's Bot API: webhook and long polling."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.servers.outside import Outside

BOT_TOKEN, SECRET_TOKEN, NAME = "123:the-bot-token", "vasya228", "shop_bot"


@dataclass
class Telegram(Outside):
    updates: list[dict[str, Any]] = field(default_factory=list)
    sent: list[dict[str, Any]] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    limited: int = 0
    webhook: str = ""
    blocked: set[int] = field(default_factory=set)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/bot{token}/{method}", self.call)]

    async def call(self, request: web.Request) -> web.Response:
        if request.match_info["token"] != BOT_TOKEN:
            return _no(401, "Unauthorized")
        method, body = request.match_info["method"], await _parameters(request)
        self.methods.append(method)
        if method == "getMe":
            return _yes({"id": 1, "is_bot": True, "first_name": "客服", "username": NAME})
        if method == "getWebhookInfo":
            return _yes({"url": self.webhook})
        if method == "getUpdates":
            return await self._updates(body)
        if method == "sendMessage":
            return self._send(body)
        return _yes({})

    async def _updates(self, body: dict[str, Any]) -> web.Response:
        self.updates = [one for one in self.updates if one["update_id"] >= body.get("offset", 0)]
        if not self.updates:
            self.came.clear()
            try:
                await asyncio.wait_for(self.came.wait(), 2.0)
            except TimeoutError:
                return _yes([])
        return _yes(self.updates[:100])

    def _send(self, body: dict[str, Any]) -> web.Response:
        if self.limited:
            self.limited -= 1
            parameters = {"retry_after": 1}
            return web.json_response(
                {"ok": False, "error_code": 429, "description": "Too Many Requests", "parameters": parameters},
                status=429,
            )
        if body["chat_id"] in self.blocked:
            return _no(403, "Forbidden: bot was blocked by the user")
        if not 0 < len(body["text"].encode("utf-16-le")) // 2 <= 4096:
            return _no(400, "Bad Request: message is too long")
        for row in body.get("reply_markup", {}).get("inline_keyboard", []):
            assert all(len(one["callback_data"].encode()) <= 64 for one in row)
        self.sent.append(body)
        shown = body["text"]
        if "reply_markup" in body:
            shown += json.dumps(body["reply_markup"], ensure_ascii=False)
        self.arrived(str(body["chat_id"]), shown)
        chat = {"id": body["chat_id"], "type": "private"}
        return _yes({"message_id": len(self.sent), "date": 1, "chat": chat, "text": body["text"]})

    def update(self, user: str, text: str, id_: str, group: str = "", **more: Any) -> dict[str, Any]:
        chat = {"id": number(group), "type": "group"} if group else {"id": number(user), "type": "private"}
        message = {
            "message_id": 7, "from": {"id": number(user), "is_bot": False, "first_name": user}, "chat": chat,
            "date": 1, **({"text": f"@{NAME} {text}" if group else text} if text else {}), **more,
        }  # fmt: skip
        return {"update_id": int(id_), "message": message}

    def put(self, update: dict[str, Any]) -> None:
        """For who polls; Telegram keeps one of each."""
        if all(one["update_id"] != update["update_id"] for one in self.updates):
            self.updates.append(update)
        self.came.set()


async def _parameters(request: web.Request) -> dict[str, Any]:
    """As JSON or as a form, whose values are JSON or plain text."""
    if request.content_type == "application/json":
        return dict(await request.json())
    found: dict[str, Any] = {}
    for name, value in (await request.post()).items():
        try:
            found[name] = json.loads(str(value))
        except ValueError:
            found[name] = value
    return found


def number(name: str) -> int:
    """A user or a group as a number: groups are negative."""
    value = int("".join(c for c in name if c.isdigit()) or 0) + 1
    return -value if name.startswith("g") else value


def _yes(result: Any) -> web.Response:
    return web.json_response({"ok": True, "result": result})


def _no(code: int, told: str) -> web.Response:
    return web.json_response({"ok": False, "error_code": code, "description": told}, status=code)
