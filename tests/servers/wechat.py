"""WeChat's side of an official account: asks three times within five seconds each, and has a customer-service API.

Encryption is written anew here with a cipher of its own, so that two mistakes would have to meet.
"""

import asyncio
import base64
import hashlib
import os
import re
import struct
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.servers.outside import Outside

APP_ID, APP_SECRET, TOKEN = "wx0123456789abcdef", "the-app-secret", "callbacktoken"
AES_KEY = base64.b64encode(bytes(range(32))).decode().rstrip("=")
FAULT = "该公众号提供的服务出现故障，请稍后再试"


def sha1(*parts: str) -> str:
    return hashlib.sha1("".join(sorted(parts)).encode(), usedforsecurity=False).hexdigest()


def encrypt(text: bytes, receiver: str = APP_ID, key: str = AES_KEY) -> str:
    raw = base64.b64decode(key + "=")
    padder = padding.PKCS7(256).padder()
    plain = padder.update(os.urandom(16) + struct.pack(">I", len(text)) + text + receiver.encode()) + padder.finalize()
    context = Cipher(algorithms.AES(raw), modes.CBC(raw[:16])).encryptor()
    return base64.b64encode(context.update(plain) + context.finalize()).decode()


def decrypt(text: str, receiver: str = APP_ID, key: str = AES_KEY) -> bytes:
    raw = base64.b64decode(key + "=")
    context = Cipher(algorithms.AES(raw), modes.CBC(raw[:16])).decryptor()
    unpadder = padding.PKCS7(256).unpadder()
    plain = context.update(base64.b64decode(text)) + context.finalize()
    plain = unpadder.update(plain) + unpadder.finalize()
    (length,) = struct.unpack(">I", plain[16:20])
    assert plain[20 + length :].decode() == receiver
    return plain[20 : 20 + length]


def tag(name: str, xml: str) -> str:
    found = re.search(rf"<{name}>(?:<!\[CDATA\[(.*?)\]\]>|(.*?))</{name}>", xml, re.DOTALL)
    return (found[1] if found[1] is not None else found[2]) if found else ""


@dataclass
class WeChat(Outside):
    """`verified` accounts may send customer-service messages: five after each message of the customer."""

    safe: bool = False
    verified: bool = True
    tokens: set[str] = field(default_factory=set)
    issued: int = 0
    quota: dict[str, int] = field(default_factory=dict)
    shown: list[dict[str, Any]] = field(default_factory=list)
    patience_seconds: float = 5.0
    listed: bool = True
    faults: list[tuple[str, str]] = field(default_factory=list)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/cgi-bin/stable_token", self.stable_token),
            web.post("/cgi-bin/message/custom/send", self.custom_send),
            web.post("/cgi-bin/message/custom/typing", self.custom_typing),
        ]

    async def stable_token(self, request: web.Request) -> web.Response:
        body = await request.json()
        if not self.listed:
            return web.json_response({"errcode": 40164, "errmsg": "invalid ip 203.0.113.9, not in whitelist"})
        if body["appid"] != APP_ID:
            return web.json_response({"errcode": 40013, "errmsg": "invalid appid"})
        if body["secret"] != APP_SECRET:
            return web.json_response({"errcode": 40125, "errmsg": "invalid appsecret"})
        if body.get("force_refresh") or not self.tokens:
            self.issued += 1
            self.tokens = {f"token-{self.issued}"}
        return web.json_response({"access_token": next(iter(self.tokens)), "expires_in": 7200})

    def expire(self) -> None:
        """Every token ends before its time."""
        self.tokens = {"one that nobody has"}

    def refuses(self, request: web.Request) -> web.Response | None:
        if request.query.get("access_token") not in self.tokens:
            return web.json_response({"errcode": 42001, "errmsg": "access_token expired"})
        if not self.verified:
            return web.json_response({"errcode": 48001, "errmsg": "api unauthorized"})
        return None

    async def custom_send(self, request: web.Request) -> web.Response:
        if refused := self.refuses(request):
            return refused
        body = await request.json()
        user = body["touser"]
        if self.quota.get(user, 0) <= 0:
            return web.json_response({"errcode": 45047, "errmsg": "out of response count limit"})
        if body["msgtype"] == "msgmenu":
            menu = body["msgmenu"]
            text = "\n".join([menu["head_content"], *(item["content"] for item in menu["list"])])
        else:
            text = body["text"]["content"]
            if len(text.encode()) > 2048:
                return web.json_response({"errcode": 45002, "errmsg": "content size out of limit"})
        self.quota[user] -= 1
        self.shown.append(body)
        self.arrived(user, text)
        return web.json_response({"errcode": 0, "errmsg": "ok"})

    async def custom_typing(self, request: web.Request) -> web.Response:
        return self.refuses(request) or web.json_response({"errcode": 0, "errmsg": "ok"})

    def text_xml(self, user: str, text: str, id_: str, kind: str = "text") -> str:
        return (
            f"<xml><ToUserName><![CDATA[gh_shop]]></ToUserName><FromUserName><![CDATA[{user}]]></FromUserName>"
            f"<CreateTime>{int(time.time())}</CreateTime><MsgType><![CDATA[{kind}]]></MsgType>"
            f"<Content><![CDATA[{text}]]></Content><MsgId>{id_}</MsgId></xml>"
        )

    def wrapped(self, xml: str, at: float | None = None) -> tuple[dict[str, str], bytes]:
        """Query and body of a callback."""
        stamp, nonce = str(int(time.time() if at is None else at)), os.urandom(4).hex()
        if not self.safe:
            return {"signature": sha1(TOKEN, stamp, nonce), "timestamp": stamp, "nonce": nonce}, xml.encode()
        secret = encrypt(xml.encode())
        query = {"msg_signature": sha1(TOKEN, stamp, nonce, secret), "timestamp": stamp, "nonce": nonce,
                 "encrypt_type": "aes"}  # fmt: skip
        body = f"<xml><ToUserName><![CDATA[gh_shop]]></ToUserName><Encrypt><![CDATA[{secret}]]></Encrypt></xml>"
        return query, body.encode()

    def unwrapped(self, body: str) -> str:
        """The XML of a passive answer, its signature checked."""
        if not self.safe:
            return body
        secret = tag("Encrypt", body)
        assert tag("MsgSignature", body) == sha1(TOKEN, tag("TimeStamp", body), tag("Nonce", body), secret)
        return decrypt(secret).decode()

    async def deliver(self, http: aiohttp.ClientSession, url: str, user: str, xml: str) -> int:
        """A customer writes: up to three attempts of five seconds. What they see goes to `got`. The last status."""
        self.quota[user] = 5
        status = 0
        for _ in range(3):
            begun = time.monotonic()
            query, body = self.wrapped(xml)
            try:
                timeout = aiohttp.ClientTimeout(total=self.patience_seconds, ceil_threshold=60)
                async with http.post(url, params=query, data=body, timeout=timeout) as response:
                    status, text = response.status, await response.text()
            except (TimeoutError, aiohttp.ClientError):
                await asyncio.sleep(max(0.0, begun + self.patience_seconds - time.monotonic()))
                continue
            self.see(user, status, text)
            return status
        self.faults.append((user, FAULT))
        return status

    def see(self, user: str, status: int, text: str) -> None:
        if status != 200:
            return
        if text in ("", "success"):
            return
        xml = self.unwrapped(text)
        content = tag("Content", xml).replace("]]]]><![CDATA[>", "]]>")
        fine = tag("ToUserName", xml) == user and tag("MsgType", xml) == "text" and len(content.encode()) <= 2048
        if fine:
            self.arrived(user, content)
        else:
            self.faults.append((user, content))
