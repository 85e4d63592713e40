"""Feishu's side: signed and encrypted events, and the message API. Encryption is written anew here."""

import base64
import hashlib
import json
import os
import time
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.servers.outside import Outside

APP_ID, APP_SECRET, ENCRYPT_KEY, TOKEN = "cli_shop", "the-app-secret", "the encrypt key", "verify-me"
BOT = "ou_bot"


def encrypt(text: str, key: str = ENCRYPT_KEY) -> str:
    iv = os.urandom(16)
    padder = padding.PKCS7(128).padder()
    plain = padder.update(text.encode()) + padder.finalize()
    context = Cipher(algorithms.AES(hashlib.sha256(key.encode()).digest()), modes.CBC(iv)).encryptor()
    return base64.b64encode(iv + context.update(plain) + context.finalize()).decode()


@dataclass
class Feishu(Outside):
    encrypted: bool = True
    token: str = ""
    issued: int = 0
    seen: set[str] = field(default_factory=set)
    sent: list[Any] = field(default_factory=list)
    chats: dict[str, str] = field(default_factory=dict)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/open-apis/auth/v3/tenant_access_token/internal", self.tenant_token),
            web.get("/open-apis/bot/v3/info", self.info),
            web.post("/open-apis/im/v1/messages", self.create),
            web.post("/open-apis/im/v1/messages/{id}/reply", self.reply),
        ]

    async def tenant_token(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body != {"app_id": APP_ID, "app_secret": APP_SECRET}:
            return web.json_response({"code": 10014, "msg": "app secret invalid"})
        if not self.token or self.token == "ended":
            self.issued += 1
            self.token = f"t-{self.issued}"
        return web.json_response({"code": 0, "tenant_access_token": self.token, "expire": 7200})

    def refuses(self, request: web.Request) -> web.Response | None:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response({"code": 99991663, "msg": "token invalid"}, status=400)
        return None

    async def info(self, request: web.Request) -> web.Response:
        return self.refuses(request) or web.json_response({"code": 0, "bot": {"open_id": BOT, "app_name": "客服"}})

    async def create(self, request: web.Request) -> web.Response:
        if refused := self.refuses(request):
            return refused
        body = await request.json()
        assert request.query["receive_id_type"] in ("chat_id", "open_id")
        return self._take(body, body["receive_id"])

    async def reply(self, request: web.Request) -> web.Response:
        if refused := self.refuses(request):
            return refused
        return self._take(await request.json(), self.chats[request.match_info["id"]])

    def _take(self, body: dict[str, Any], to: str) -> web.Response:
        assert len(body["uuid"]) <= 50
        content = json.loads(body["content"])
        if body["uuid"] not in self.seen:
            self.seen.add(body["uuid"])
            self.sent.append(body)
            text = content["text"] if body["msg_type"] == "text" else json.dumps(content, ensure_ascii=False)
            assert len(body["content"].encode()) <= 150_000
            self.arrived(to, text)
        return web.json_response({"code": 0, "msg": "ok", "data": {"message_id": "om_x"}})

    def event(self, user: str, text: str, id_: str, group: str = "", **more: Any) -> dict[str, Any]:
        chat, message_id = group or f"oc_{user}", f"om_{id_}"
        self.chats[message_id] = chat
        mentions = [{"key": "@_user_1", "id": {"open_id": BOT}, "name": "客服"}] if group else []
        message = {
            "message_id": message_id, "chat_id": chat, "chat_type": "group" if group else "p2p", "message_type": "text",
            "content": json.dumps({"text": f"@_user_1 {text}" if group else text}), "mentions": mentions, **more,
        }  # fmt: skip
        sender = {"sender_id": {"open_id": user}, "sender_type": "user"}
        return self.wrapped("im.message.receive_v1", f"ev-{id_}", {"sender": sender, "message": message})

    def wrapped(self, kind: str, id_: str, content: dict[str, Any]) -> dict[str, Any]:
        header = {"event_id": id_, "event_type": kind, "token": TOKEN, "app_id": APP_ID, "create_time": "1"}
        return {"schema": "2.0", "header": header, "event": content}

    def signed(self, event: dict[str, Any], *, sign: bool = True) -> tuple[dict[str, str], bytes]:
        """Headers and body of a callback."""
        text = json.dumps(event, ensure_ascii=False)
        if not self.encrypted:
            return {"Content-Type": "application/json"}, text.encode()
        body = json.dumps({"encrypt": encrypt(text)}).encode()
        stamp, nonce = str(int(time.time())), os.urandom(4).hex()
        signature = hashlib.sha256((stamp + nonce + ENCRYPT_KEY).encode() + body).hexdigest()
        headers = {"X-Lark-Request-Timestamp": stamp, "X-Lark-Request-Nonce": nonce, "X-Lark-Signature": signature}
        return headers if sign else {}, body
