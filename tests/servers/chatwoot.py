"""A Chatwoot server as an agent bot sees it."""

import hashlib
import hmac
import json
import time
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.servers.outside import Outside

ACCOUNT, ACCESS_TOKEN, SECRET = "1", "the-access-token", "whsecret"


def conversation_of(user: str, group: str = "") -> int:
    return 1000 + int("".join(c for c in user if c.isdigit()) or 0) + (5000 if group else 0)


@dataclass
class Chatwoot(Outside):
    status: dict[int, str] = field(default_factory=dict)

    def routes(self) -> list[web.RouteDef]:
        base = f"/api/v1/accounts/{ACCOUNT}/conversations"
        return [
            web.post(base + "/{id}/messages", self.message),
            web.post(base + "/{id}/toggle_status", self.toggle),
            web.get(base + "/meta", self.meta),
        ]

    def refuses(self, request: web.Request) -> web.Response | None:
        return web.Response(status=401) if request.headers.get("api_access_token") != ACCESS_TOKEN else None

    async def message(self, request: web.Request) -> web.Response:
        if refused := self.refuses(request):
            return refused
        body = await request.json()
        assert body["message_type"] == "outgoing"
        self.arrived(request.match_info["id"], body["content"])
        return web.json_response({"id": 1})

    async def toggle(self, request: web.Request) -> web.Response:
        if refused := self.refuses(request):
            return refused
        self.status[int(request.match_info["id"])] = (await request.json())["status"]
        return web.json_response({"success": True})

    async def meta(self, request: web.Request) -> web.Response:
        return self.refuses(request) or web.json_response({"meta": {}})

    def event(self, user: str, text: str, id_: str, **more: Any) -> dict[str, Any]:
        number = conversation_of(user)
        return {
            "event": "message_created", "id": int(id_), "content": text, "message_type": "incoming", "private": False,
            "sender": {"id": user, "type": "contact"}, "account": {"id": 1, "name": "acme"},
            "conversation": {"id": number, "status": self.status.get(number, "pending")}, **more,
        }  # fmt: skip


def signed(event: dict[str, Any], secret: str = SECRET) -> tuple[dict[str, str], bytes]:
    body, stamp = json.dumps(event).encode(), str(int(time.time()))
    digest = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"X-Chatwoot-Timestamp": stamp, "X-Chatwoot-Signature": f"sha256={digest}"}, body
