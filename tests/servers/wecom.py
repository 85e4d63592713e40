"""WeCom's side: applications, 微信客服 with its cursor and session states, 智能机器人 with its streams."""

import asyncio
import json
import os
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from tests.servers.outside import Outside
from tests.servers.wechat import AES_KEY, TOKEN, decrypt, encrypt, sha1

CORP_ID, SECRET, AGENT_ID = "ww0123456789abcdef", "the-secret", "1000002"
KFID = "wkShop"


def wrapped(text: str, receiver: str, *, as_json: bool = False) -> tuple[dict[str, str], bytes]:
    """Query and body of an encrypted callback."""
    stamp, nonce, secret = str(int(time.time())), os.urandom(4).hex(), encrypt(text.encode(), receiver)
    query = {"msg_signature": sha1(TOKEN, stamp, nonce, secret), "timestamp": stamp, "nonce": nonce}
    if as_json:
        return query, json.dumps({"encrypt": secret}).encode()
    body = f"<xml><ToUserName><![CDATA[{receiver}]]></ToUserName><Encrypt><![CDATA[{secret}]]></Encrypt></xml>"
    return query, body.encode()


@dataclass
class WeCom(Outside):
    """The API of an application. Knows a message again by its content, where it is asked to."""

    token: str = ""
    issued: int = 0
    trusted: bool = True
    sent: list[dict[str, Any]] = field(default_factory=list)
    once: set[tuple[str, str]] = field(default_factory=set)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/cgi-bin/gettoken", self.gettoken),
            web.post("/cgi-bin/message/send", self.message_send),
            web.post("/cgi-bin/agent/get", self.agent_get),
        ]

    async def gettoken(self, request: web.Request) -> web.Response:
        if request.query.get("corpid") != CORP_ID:
            return web.json_response({"errcode": 40013, "errmsg": "invalid corpid"})
        if request.query.get("corpsecret") != SECRET:
            return web.json_response({"errcode": 40001, "errmsg": "invalid credential"})
        if not self.token or self.token == "ended":
            self.issued += 1
            self.token = f"token-{self.issued}"
        return web.json_response({"errcode": 0, "access_token": self.token, "expires_in": 7200})

    def refuses(self, request: web.Request) -> web.Response | None:
        if request.query.get("access_token") != self.token:
            return web.json_response({"errcode": 42001, "errmsg": "access_token expired"})
        if not self.trusted:
            return web.json_response({"errcode": 60020, "errmsg": "not allow to access from your ip"})
        return None

    async def agent_get(self, request: web.Request) -> web.Response:
        if request.query.get("agentid") != AGENT_ID:
            return web.json_response({"errcode": 301002, "errmsg": "not allow operate another agent"})
        return self.refuses(request) or web.json_response({"errcode": 0, "name": "客服"})

    async def message_send(self, request: web.Request) -> web.Response:
        if refused := self.refuses(request):
            return refused
        body = await request.json()
        text, user = body["text"]["content"], body["touser"]
        assert body["agentid"] == int(AGENT_ID)
        if len(text.encode()) > 2048:
            return web.json_response({"errcode": 40058, "errmsg": "too long"})
        if user == "gone":
            return web.json_response({"errcode": 0, "errmsg": "ok", "invaliduser": "gone"})
        self.sent.append(body)
        if not (body.get("enable_duplicate_check") and (user, text) in self.once):
            self.once.add((user, text))
            self.arrived(user, text)
        return web.json_response({"errcode": 0, "errmsg": "ok", "msgid": "m"})

    def text_xml(self, user: str, text: str, id_: str, kind: str = "text") -> str:
        return (
            f"<xml><ToUserName><![CDATA[{CORP_ID}]]></ToUserName><FromUserName><![CDATA[{user}]]></FromUserName>"
            f"<CreateTime>{int(time.time())}</CreateTime><MsgType><![CDATA[{kind}]]></MsgType>"
            f"<Content><![CDATA[{text}]]></Content><MsgId>{id_}</MsgId><AgentID>{AGENT_ID}</AgentID></xml>"
        )


@dataclass
class Kf(WeCom):
    """微信客服: messages lie in a log; `state` of a session: 0 new, 1 bot, 2 queue, 3 person, 4 ended."""

    log: list[dict[str, Any]] = field(default_factory=list)
    state: dict[str, int] = field(default_factory=dict)
    quota: dict[str, int] = field(default_factory=dict)
    page: int = 2
    seen: set[str] = field(default_factory=set)
    codes: dict[str, str] = field(default_factory=dict)
    cursors: list[str | None] = field(default_factory=list)
    names: tuple[str, ...] = ("小山客服",)
    sync_token: str = "sync-token"

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/cgi-bin/gettoken", self.gettoken),
            web.post("/cgi-bin/kf/sync_msg", self.sync_msg),
            web.post("/cgi-bin/kf/send_msg", self.send_msg),
            web.post("/cgi-bin/kf/send_msg_on_event", self.on_event),
            web.post("/cgi-bin/kf/service_state/trans", self.trans),
            web.post("/cgi-bin/kf/account/list", self.accounts),
        ]

    def wrote(self, user: str, text: str, id_: str, *, origin: int = 3, at: float | None = None, **more: Any) -> None:
        """Something is in the log now; a callback says so."""
        self.quota[user] = 10_000 if self.quota.get(user, 0) >= 5_000 else 5
        self.log.append({
            "msgid": id_, "open_kfid": KFID, "external_userid": user, "send_time": int(at or time.time()),
            "origin": origin, "msgtype": "text", "text": {"content": text}, **more,
        })  # fmt: skip

    def notice(self) -> tuple[dict[str, str], bytes]:
        return wrapped(
            f"<xml><ToUserName><![CDATA[{CORP_ID}]]></ToUserName><CreateTime>{int(time.time())}</CreateTime>"
            "<MsgType><![CDATA[event]]></MsgType><Event><![CDATA[kf_msg_or_event]]></Event>"
            f"<Token><![CDATA[{self.sync_token}]]></Token><OpenKfId><![CDATA[{KFID}]]></OpenKfId></xml>",
            CORP_ID,
        )

    async def sync_msg(self, request: web.Request) -> web.Response:
        if refused := self.refuses(request):
            return refused
        body = await request.json()
        assert body["open_kfid"] == KFID
        if body.get("token") not in (None, self.sync_token):
            return web.json_response({"errcode": 95007, "errmsg": "invalid msg token"})
        self.cursors.append(body.get("cursor"))
        begin = int(body.get("cursor") or "0")
        size = min(int(body.get("limit", 1000)), self.page)
        part = self.log[begin : begin + size]
        end = begin + len(part)
        return web.json_response({
            "errcode": 0, "next_cursor": str(end), "has_more": int(end < len(self.log)), "msg_list": part,
        })  # fmt: skip

    async def send_msg(self, request: web.Request) -> web.Response:
        if refused := self.refuses(request):
            return refused
        body = await request.json()
        user = body["touser"]
        assert body["open_kfid"] == KFID
        assert 0 < len(body["msgid"]) <= 32
        if self.state.get(user, 0) not in (0, 1):
            return web.json_response({"errcode": 95018, "errmsg": "send msg session status invalid"})
        if self.quota.get(user, 0) <= 0:
            return web.json_response({"errcode": 95001, "errmsg": "send msg count limit"})
        if body["msgid"] not in self.seen:
            self.seen.add(body["msgid"])
            self.quota[user] -= 1
            self.arrived(user, self._text(body))
        self.sent.append(body)
        return web.json_response({"errcode": 0, "errmsg": "ok", "msgid": body["msgid"]})

    @staticmethod
    def _text(body: dict[str, Any]) -> str:
        if body["msgtype"] == "msgmenu":
            menu = body["msgmenu"]
            return "\n".join([menu["head_content"], *(one["click"]["content"] for one in menu["list"])])
        assert len(body["text"]["content"].encode()) <= 2048
        return str(body["text"]["content"])

    async def on_event(self, request: web.Request) -> web.Response:
        if refused := self.refuses(request):
            return refused
        body = await request.json()
        if body["code"] not in self.codes:
            return web.json_response({"errcode": 95000, "errmsg": "invalid code"})
        self.arrived(self.codes.pop(body["code"]), body["text"]["content"])
        return web.json_response({"errcode": 0, "errmsg": "ok"})

    async def trans(self, request: web.Request) -> web.Response:
        if refused := self.refuses(request):
            return refused
        body = await request.json()
        self.state[body["external_userid"]] = body["service_state"]
        return web.json_response({"errcode": 0, "errmsg": "ok"})

    async def accounts(self, request: web.Request) -> web.Response:
        return self.refuses(request) or web.json_response(
            {"errcode": 0, "account_list": [{"name": name} for name in self.names]}
        )


@dataclass
class Bot(Outside):
    """智能机器人: asks for a stream until it is finished."""

    streams: dict[str, str] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    answered: list[Any] = field(default_factory=list)

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/cgi-bin/aibot/response", self.response)]

    async def response(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.answered.append(body)
        self.arrived(request.query["user"], body["markdown"]["content"])
        return web.json_response({"errcode": 0})

    def question(self, user: str, text: str, id_: str, group: str = "", base: str = "") -> str:
        where = {"chattype": "group", "chatid": group} if group else {"chattype": "single"}
        return json.dumps({
            "msgid": id_, "aibotid": "b", **where, "from": {"userid": user}, "msgtype": "text",
            "response_url": f"{base}/cgi-bin/aibot/response?user={group or user}",
            "text": {"content": f"@客服 {text}" if group else text},
        }, ensure_ascii=False)  # fmt: skip

    async def converse(self, http: aiohttp.ClientSession, url: str, seen_by: str, plain: str) -> int:
        """Ask, and ask for the stream until it is finished. The first status.

        Of the callbacks, `failing` are not made and of `lost` the answer is not heard: each is made again.
        """
        first = 0
        for _ in range(400):
            query, body = wrapped(plain, "", as_json=True)
            if self.failing and self.chance.random() < self.failing:
                await asyncio.sleep(0.3)
                continue
            try:
                async with http.post(url, params=query, data=body) as response:
                    status, text = response.status, await response.text()
            except aiohttp.ClientError:
                await asyncio.sleep(0.3)
                continue
            if self.lost and self.chance.random() < self.lost:
                await asyncio.sleep(0.3)
                continue
            first = first or status
            if status != 200 or not text:
                if first == 200 and status == 404:
                    await asyncio.sleep(0.3)
                    continue
                return first
            sealed = json.loads(text)
            assert sealed["msgsignature"] == sha1(TOKEN, str(sealed["timestamp"]), sealed["nonce"], sealed["encrypt"])
            stream = json.loads(decrypt(sealed["encrypt"], ""))["stream"]
            self.streams[stream["id"]] = stream["content"]
            assert len(stream["content"].encode()) <= 20_480
            if stream["finish"]:
                if stream["id"] not in self.finished:
                    self.finished.add(stream["id"])
                    if stream["content"]:
                        self.arrived(seen_by, stream["content"])
                return first
            plain = json.dumps({"msgid": os.urandom(8).hex(), "aibotid": "b", "from": {"userid": "u"},
                                "msgtype": "stream", "stream": {"id": stream["id"]}})  # fmt: skip
            await asyncio.sleep(0.2)
        return first


__all__ = ["AES_KEY", "AGENT_ID", "CORP_ID", "KFID", "SECRET", "TOKEN", "Bot", "Kf", "WeCom", "wrapped"]
