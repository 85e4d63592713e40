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
            web.post("/api/v1/accounts/2/conversations/{id}/messages", self.other_account),
        ]

    def refuses(self, request: web.Request) -> web.Response | None:
        """As its access_token_auth_helper.rb: a bot may write and little else."""
        if request.headers.get("api_access_token") != ACCESS_TOKEN:
            return web.json_response({"error": "Invalid Access Token"}, status=401)
        return None

    async def message(self, request: web.Request) -> web.Response:
        if refused := self.refuses(request):
            return refused
        body = await request.json()
        if request.match_info["id"] == "0":
            return web.json_response({"error": "Resource could not be found"}, status=404)
        assert body["message_type"] == "outgoing"
        self.arrived(request.match_info["id"], body["content"])
        return web.json_response({"id": 1})

    async def toggle(self, request: web.Request) -> web.Response:
        if refused := self.refuses(request):
            return refused
        self.status[int(request.match_info["id"])] = (await request.json())["status"]
        return web.json_response({"success": True})

    async def meta(self, request: web.Request) -> web.Response:
        told = {"error": "Access to this endpoint is not authorized for bots"}
        return self.refuses(request) or web.json_response(told, status=401)

    async def other_account(self, request: web.Request) -> web.Response:
        told = {"error": "You are not authorized to access this account"}
        return self.refuses(request) or web.json_response(told, status=401)

    def event(self, user: str, text: str, id_: str, **more: Any) -> dict[str, Any]:
        number = conversation_of(user)
        return {
            "event": "message_created", "id": int(id_), "content": text, "message_type": "incoming", "private": False,
            "sender": {"id": user, "type": "contact"}, "account": {"id": 1, "name": "acme"},
            "conversation": {"id": number, "status": self.status.get(number, "pending")}, **more,
        }  # fmt: skip


def signed(event: dict[str, Any], secret: str = SECRET, at: float | None = None) -> tuple[dict[str, str], bytes]:
    body, stamp = json.dumps(event).encode(), str(int(time.time() if at is None else at))
    digest = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"X-Chatwoot-Timestamp": stamp, "X-Chatwoot-Signature": f"sha256={digest}"}, body
