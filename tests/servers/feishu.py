"""Feishu's side: signed and encrypted events, the long connection, the message API and its cards.

Encryption and frames are written anew here.
"""

import asyncio
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

from tests.servers.cards import Card
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
    is_bot: bool = True
    issued: int = 0
    seen: set[str] = field(default_factory=set)
    sent: list[Any] = field(default_factory=list)
    chats: dict[str, str] = field(default_factory=dict)
    cards: dict[str, Card] = field(default_factory=dict)
    cards_allowed: bool = True
    base: str = ""
    sockets: list[web.WebSocketResponse] = field(default_factory=list)
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    acknowledged: dict[str, int] = field(default_factory=dict)
    pings: int = 0
    deaf: bool = False
    part_bytes: int = 1_000_000

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/open-apis/auth/v3/tenant_access_token/internal", self.tenant_token),
            web.get("/open-apis/bot/v3/info", self.info),
            web.post("/open-apis/im/v1/messages", self.create),
            web.post("/open-apis/im/v1/messages/{id}/reply", self.reply),
            web.post("/open-apis/cardkit/v1/cards", self.create_card),
            web.put("/open-apis/cardkit/v1/cards/{id}/elements/{element}/content", self.write_card),
            web.patch("/open-apis/cardkit/v1/cards/{id}/settings", self.set_card),
            web.post("/callback/ws/endpoint", self.endpoint),
            web.get("/ws/v2", self.long_connection),
        ]

    async def tenant_token(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["app_id"] != APP_ID:
            return web.json_response({"code": 10003, "msg": "invalid param"})
        if body["app_secret"] != APP_SECRET:
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
        bot = {"open_id": BOT, "app_name": "客服"} if self.is_bot else {}
        return self.refuses(request) or web.json_response({"code": 0, "bot": bot})

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
            if content.get("type") == "card":
                card = self.cards[content["data"]["card_id"]]
                assert not card.to, "a card is sent once"
                card.to = to
                self._tell()
                return web.json_response({"code": 0, "msg": "ok", "data": {"message_id": "om_c"}})
            text = content["text"] if body["msg_type"] == "text" else json.dumps(content, ensure_ascii=False)
            assert len(body["content"].encode()) <= 150_000
            self.arrived(to, text)
        return web.json_response({"code": 0, "msg": "ok", "data": {"message_id": "om_x"}})

    async def create_card(self, request: web.Request) -> web.Response:
        if refused := self.refuses(request):
            return refused
        if not self.cards_allowed:
            return web.json_response({"code": 99991672, "msg": "no permission"}, status=400)
        body = await request.json()
        assert body["type"] == "card_json"
        data = json.loads(body["data"])
        assert (data["schema"], data["config"]["streaming_mode"]) == ("2.0", True)
        (element,) = data["body"]["elements"]
        assert (element["tag"], element["element_id"]) == ("markdown", "answer")
        id_ = f"card{len(self.cards)}"
        self.cards[id_] = card = Card()
        card.show(element["content"])
        return web.json_response({"code": 0, "data": {"card_id": id_}})

    def _change(self, request: web.Request, body: dict[str, Any]) -> tuple[Card, web.Response | None]:
        card = self.cards[request.match_info["id"]]
        if body.get("uuid") and body["uuid"] in card.updates:
            return card, web.json_response({"code": 0})
        if card.finished:
            return card, web.json_response({"code": 300309, "msg": "streaming mode is closed"}, status=400)
        if not card.sequence < body["sequence"] < 2**31:
            return card, web.json_response({"code": 300317, "msg": "sequence"}, status=400)
        card.sequence = body["sequence"]
        card.updates.add(body.get("uuid", ""))
        return card, None

    async def write_card(self, request: web.Request) -> web.Response:
        if refused := self.refuses(request):
            return refused
        body = await request.json()
        card, answer = self._change(request, body)
        if answer is None:
            card.show(body["content"])
            self._tell()
        return answer or web.json_response({"code": 0})

    async def set_card(self, request: web.Request) -> web.Response:
        if refused := self.refuses(request):
            return refused
        body = await request.json()
        card, answer = self._change(request, body)
        if answer is None:
            assert json.loads(body["settings"]) == {"config": {"streaming_mode": False}}
            card.finished = True
            self.arrived(card.to, card.text)
        return answer or web.json_response({"code": 0})

    async def endpoint(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body != {"AppID": APP_ID, "AppSecret": APP_SECRET}:
            return web.json_response({"code": 10014, "msg": "app secret invalid"})
        url = f"{self.base.replace('http', 'ws', 1)}/ws/v2?device_id=d1&service_id=77&ticket=t"
        config = {"PingInterval": 1, "ReconnectCount": -1, "ReconnectInterval": 1, "ReconnectNonce": 1}
        return web.json_response({"code": 0, "data": {"URL": url, "ClientConfig": config}})

    async def long_connection(self, request: web.Request) -> web.WebSocketResponse:
        assert request.query["ticket"] == "t"
        socket = web.WebSocketResponse(autoping=not self.deaf)
        await socket.prepare(request)
        self.sockets.append(socket)
        self.connected.set()
        try:
            async for received in socket:
                method, service, headers, payload = read_frame(received.data)
                assert service == 77
                if method == 0:
                    assert headers == {"type": "ping"}
                    self.pings += 1
                    await socket.send_bytes(frame(0, 77, {"type": "pong"}, b'{"PingInterval": 1}'))
                else:
                    self.acknowledged[headers["message_id"]] = json.loads(payload)["code"]
                    self._tell()
        finally:
            self.sockets.remove(socket)
            if not self.sockets:
                self.connected.clear()
        return socket

    async def push(self, event: dict[str, Any]) -> None:
        """Through the long connection, and again until it is taken."""
        id_, payload = event["header"]["event_id"], json.dumps(event, ensure_ascii=False).encode()
        parts = [payload[at : at + self.part_bytes] for at in range(0, len(payload), self.part_bytes)]
        for _ in range(600):
            await asyncio.wait_for(self.connected.wait(), 120)
            try:
                for number, part in enumerate(parts):
                    headers = {
                        "type": "event",
                        "message_id": id_,
                        "trace_id": "t",
                        "sum": str(len(parts)),
                        "seq": str(number),
                    }
                    await self.sockets[-1].send_bytes(frame(1, 77, headers, part))
            except (ConnectionError, IndexError):
                await asyncio.sleep(0.1)
                continue
            for _ in range(20):
                await asyncio.sleep(0.05)
                if self.acknowledged.get(id_) == 200:
                    return
        raise AssertionError("never acknowledged")

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

    def signed(
        self, event: dict[str, Any], *, sign: bool = True, at: float | None = None
    ) -> tuple[dict[str, str], bytes]:
        """Headers and body of a callback."""
        text = json.dumps(event, ensure_ascii=False)
        if not self.encrypted:
            return {"Content-Type": "application/json"}, text.encode()
        body = json.dumps({"encrypt": encrypt(text)}).encode()
        stamp, nonce = str(int(time.time() if at is None else at)), os.urandom(4).hex()
        signature = hashlib.sha256((stamp + nonce + ENCRYPT_KEY).encode() + body).hexdigest()
        headers = {"X-Lark-Request-Timestamp": stamp, "X-Lark-Request-Nonce": nonce, "X-Lark-Signature": signature}
        return headers if sign else {}, body


def frame(method: int, service: int, headers: dict[str, str], payload: bytes = b"") -> bytes:
    """A frame of the long connection, by the protobuf encoding guide."""

    def number(value: int) -> bytes:
        groups = [value >> shift & 127 for shift in range(0, max(value.bit_length(), 1), 7)]
        return bytes([*(group | 128 for group in groups[:-1]), groups[-1]])

    def field_(tag: int, value: bytes) -> bytes:
        return number(tag * 8 + 2) + number(len(value)) + value

    pairs = b"".join(field_(5, field_(1, k.encode()) + field_(2, v.encode())) for k, v in headers.items())
    head = b"".join(
        number(tag * 8) + number(value) for tag, value in ((1, 9), (2, 2**63 + 5), (3, service), (4, method))
    )
    return head + pairs + field_(6, b"") + field_(7, b"json") + field_(8, payload) + field_(9, b"log")


def read_frame(raw: bytes) -> tuple[int, int, dict[str, str], bytes]:
    """Method, service, headers and payload of a frame."""

    def number(at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            value |= (raw[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if raw[at - 1] < 128:
                return value, at

    found: dict[int, Any] = {3: 0, 4: 0, 8: b""}
    headers, at = {}, 0
    while at < len(raw):
        key, at = number(at)
        value, at = number(at)
        if key & 7 == 2:
            content, at = raw[at : at + value], at + value
            if key >> 3 == 5:
                length = content[1]
                headers[content[2 : 2 + length].decode()] = content[4 + length :].decode()
            else:
                found[key >> 3] = content
        else:
            found[key >> 3] = value
    return found[4], found[3], headers, found[8]
