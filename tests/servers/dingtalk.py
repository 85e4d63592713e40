"""DingTalk's side: the robot's callback and conversation address, its API, its cards, and the stream."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.servers.cards import Card
from tests.servers.outside import Outside

CLIENT_ID, CLIENT_SECRET = "dingshop", "the-client-secret"
TEMPLATE = "a1b2.schema"
STREAM_TOPIC = "/v1.0/im/bot/messages/get"


def headers(at: float | None = None) -> dict[str, str]:
    stamp = str(int((time.time() if at is None else at) * 1000))
    digest = hmac.new(CLIENT_SECRET.encode(), f"{stamp}\n{CLIENT_SECRET}".encode(), hashlib.sha256).digest()
    return {"timestamp": stamp, "sign": base64.b64encode(digest).decode(), "Content-Type": "application/json"}


@dataclass
class DingTalk(Outside):
    base: str = ""
    token: str = ""
    issued: int = 0
    webhook_seconds: float = 5400.0
    by_api: list[Any] = field(default_factory=list)
    sockets: list[web.WebSocketResponse] = field(default_factory=list)
    acknowledged: set[str] = field(default_factory=set)
    tickets: set[str] = field(default_factory=set)
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    cards: dict[str, Card] = field(default_factory=dict)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1.0/oauth2/accessToken", self.access_token),
            web.post("/robot/sendBySession", self.by_session),
            web.post("/v1.0/robot/oToMessages/batchSend", self.to_one),
            web.post("/v1.0/robot/groupMessages/send", self.to_group),
            web.post("/v1.0/gateway/connections/open", self.open),
            web.post("/v1.0/card/instances/createAndDeliver", self.create_card),
            web.put("/v1.0/card/streaming", self.write_card),
            web.get("/stream", self.stream),
        ]

    async def access_token(self, request: web.Request) -> web.Response:
        body = await request.json()
        if (body["appKey"], body["appSecret"]) != (CLIENT_ID, CLIENT_SECRET):
            return web.json_response({"code": "invalidClientIdOrSecret", "message": "wrong"}, status=400)
        self.issued += 1
        self.token = f"token-{self.issued}"
        return web.json_response({"accessToken": self.token, "expireIn": 7200})

    async def by_session(self, request: web.Request) -> web.Response:
        body = await request.json()
        if request.query.get("session") == "ended":
            return web.json_response({"errcode": 300001, "errmsg": "session is not exist"})
        self.arrived(request.query["to"], body["text"]["content"])
        return web.json_response({"errcode": 0, "errmsg": "ok"})

    async def _api(self, request: web.Request, to: str) -> web.Response:
        if request.headers.get("x-acs-dingtalk-access-token") != self.token:
            return web.json_response({"code": "InvalidAuthentication", "message": "token"}, status=401)
        body = await request.json()
        assert body["msgKey"] == "sampleText"
        self.by_api.append(body)
        self.arrived(body[to][0] if to == "userIds" else body[to], json.loads(body["msgParam"])["content"])
        return web.json_response({"processQueryKey": "k"})

    def _refused(self, request: web.Request) -> web.Response | None:
        if request.headers.get("x-acs-dingtalk-access-token") != self.token:
            return web.json_response({"code": "InvalidAuthentication", "message": "token"}, status=401)
        return None

    async def create_card(self, request: web.Request) -> web.Response:
        if refused := self._refused(request):
            return refused
        body = await request.json()
        if body["cardTemplateId"] != TEMPLATE:
            return web.json_response({"code": "param.templateNotExist", "message": "template"}, status=400)
        if body["outTrackId"] in self.cards:
            return web.json_response({"code": "param.outTrackIdExist", "message": "exists"}, status=400)
        assert body["callbackType"] in ("STREAM", "HTTP")
        kind, to = body["openSpaceId"].removeprefix("dtv1.card//").split(".", 1)
        model = body["imGroupOpenDeliverModel" if kind == "IM_GROUP" else "imRobotOpenDeliverModel"]
        assert model["robotCode"] if kind == "IM_GROUP" else model["spaceType"] == "IM_ROBOT"
        assert all(isinstance(value, str) for value in body["cardData"]["cardParamMap"].values())
        self.cards[body["outTrackId"]] = Card(to=to)
        self._tell()
        return web.json_response({"success": True, "result": {"outTrackId": body["outTrackId"]}})

    async def write_card(self, request: web.Request) -> web.Response:
        if refused := self._refused(request):
            return refused
        body = await request.json()
        card = self.cards.get(body["outTrackId"])
        if card is None:
            return web.json_response({"code": "param.cardNotExist", "message": "no such card"}, status=400)
        if body["guid"] in card.updates:
            return web.json_response({"success": True, "result": True})
        if card.finished:
            return web.json_response({"code": "param.cardFinalized", "message": "finalized"}, status=400)
        assert (body["key"], body["isFull"], body["isError"]) == ("content", True, False)
        card.updates.add(body["guid"])
        card.show(body["content"])
        if body["isFinalize"]:
            card.finished = True
            self.arrived(card.to, body["content"])
        self._tell()
        return web.json_response({"success": True, "result": True})

    async def to_one(self, request: web.Request) -> web.Response:
        return await self._api(request, "userIds")

    async def to_group(self, request: web.Request) -> web.Response:
        return await self._api(request, "openConversationId")

    async def open(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["clientSecret"] != CLIENT_SECRET:
            return web.json_response({"code": "authFailed", "message": "wrong"}, status=401)
        assert body["subscriptions"] == [{"type": "CALLBACK", "topic": STREAM_TOPIC}]
        ticket = f"t+{len(self.tickets)}/="
        self.tickets.add(ticket)
        return web.json_response({"endpoint": f"{self.base.replace('http', 'ws', 1)}/stream", "ticket": ticket})

    async def stream(self, request: web.Request) -> web.WebSocketResponse:
        assert request.query["ticket"] in self.tickets
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        self.connected.set()
        try:
            async for received in socket:
                ack = json.loads(received.data)
                if ack["code"] == 200:
                    self.acknowledged.add(ack["headers"]["messageId"])
        finally:
            self.sockets.remove(socket)
            if not self.sockets:
                self.connected.clear()
        return socket

    def message(self, user: str, text: str, id_: str, group: str = "", kind: str = "text") -> dict[str, Any]:
        return {
            "conversationId": group or f"cid-{user}", "conversationType": "2" if group else "1", "msgId": id_,
            "senderNick": "张三", "senderStaffId": user, "senderId": f"$:{user}", "msgtype": kind,
            "robotCode": CLIENT_ID, "text": {"content": f" {text}"},
            "sessionWebhook": f"{self.base}/robot/sendBySession?session=s&to={group or user}",
            "sessionWebhookExpiredTime": int((time.time() + self.webhook_seconds) * 1000),
        }  # fmt: skip

    async def push(self, message: dict[str, Any], id_: str) -> None:
        """Through the stream, and again until it is acknowledged."""
        frame = {
            "specVersion": "1.0", "type": "CALLBACK",
            "headers": {"messageId": f"f-{id_}", "topic": STREAM_TOPIC, "contentType": "application/json"},
            "data": json.dumps(message, ensure_ascii=False),
        }  # fmt: skip
        for _ in range(600):
            await asyncio.wait_for(self.connected.wait(), 120)
            try:
                await self.sockets[-1].send_json(frame)
            except (ConnectionError, IndexError):
                await asyncio.sleep(0.1)
                continue
            for _ in range(20):
                await asyncio.sleep(0.05)
                if f"f-{id_}" in self.acknowledged:
                    return
        raise AssertionError("never acknowledged")
