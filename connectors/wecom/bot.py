"""智能机器人: JSON callbacks answered with a stream, which WeCom asks for again until it is finished.

Source: developer.work.weixin.qq.com, "智能机器人": 接收消息 (path/100719),
被动回复消息 (path/101031), 主动回复消息 (path/101138).
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from aiohttp import web

from connectors.calls import Platform
from connectors.cards import PER_MESSAGE
from connectors.channel import Channel, Finding, Service
from connectors.crypto import MessageCrypt
from connectors.errors import ConnectorError, DeliveryError, refused
from connectors.http import json_object, read_body
from connectors.markdown import pieces, plain
from connectors.text import in_bytes
from connectors.types import Delivery, Inbound, Media, Outbound
from connectors.wecom import wire
from connectors.wecom.client import API

HOSTS = ("qyapi.weixin.qq.com",)
STREAM_BYTES_MAX = 20_480
FIRST_SECONDS, POLL_SECONDS = 3.5, 0.8
THINKING = "正在思考…"
MENTION = re.compile(r"^\s*@\S+\s+")


class WeComBotChannel(Channel):
    """One bot. Its answers are taken by WeCom's own asking; what it stops asking for goes to `response_url`, once."""

    kind = "wecom_bot"
    hold_seconds: ClassVar[float] = 370.0  # WeCom asks for six minutes (reported by users)

    def __init__(self, name: str, parameters: Mapping[str, Any], service: Service) -> None:
        super().__init__(name, parameters, service)
        self._crypt = MessageCrypt(parameters["token"], parameters["encoding_aes_key"], "")
        self._platform = Platform(service.http, parameters["api_base"] or API, HOSTS)
        self._asked: set[str] = set()

    async def receive(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        if request.method == "GET":
            return web.Response(body=wire.confirm(query, self._crypt), content_type="text/plain")
        encrypted = json_object(await read_body(request)).get("encrypt")
        if not isinstance(encrypted, str):
            raise refused()
        opened = self._crypt.open(
            encrypted, query.get("msg_signature"), query.get("timestamp", ""), query.get("nonce", "")
        )
        message = json_object(opened)
        if message.get("msgtype") == "stream":
            stream = message.get("stream")
            asked = str(stream.get("id", "")) if isinstance(stream, dict) else ""
            return await self._stream(request, asked, POLL_SECONDS)
        inbound = self._inbound(message)
        if inbound is None:
            return web.Response(text="")
        await self.service.accept(self, [inbound])
        if inbound.event is not None:
            return await self._greet(request, inbound.message_id or "")
        return await self._stream(request, inbound.message_id or "", FIRST_SECONDS)

    def _inbound(self, message: Mapping[str, Any]) -> Inbound | None:
        sender, kind, id_ = message.get("from"), str(message.get("msgtype", "")), message.get("msgid")
        if not isinstance(sender, dict) or not sender.get("userid") or not id_:
            raise ConnectorError("invalid_message", "消息缺少发送者或编号", "The message lacks its sender or its id")
        content = message.get(kind)
        content = content if isinstance(content, dict) else {}
        text, media = str(content.get("content", "")), None
        if kind == "mixed":
            text = _texts(content.get("msg_item"))
        elif kind in ("image", "file"):
            media = Media("image" if kind == "image" else "file")
        elif kind == "event":
            if content.get("eventtype") != "enter_chat":
                return None
        elif kind not in ("text", "voice"):
            return None
        group = str(message.get("chatid", "")) if message.get("chattype") == "group" else ""
        address = {"user": sender["userid"], "response_url": message.get("response_url")}
        return Inbound(
            self.conversation(str(sender["userid"]), group), MENTION.sub("", text) if group else text, str(id_),
            media=media, event="welcome" if kind == "event" else None, reply_to=address,
        )  # fmt: skip

    async def _greet(self, request: web.Request, id_: str) -> web.StreamResponse:
        """The welcome to somebody who opens the chat: WeCom takes a text there, and no stream."""
        found = await self.service.answers(self, id_, FIRST_SECONDS)
        if not found:
            return web.Response(text="")
        response = self._sealed(request, {"msgtype": "text", "text": {"content": found[0].payload["text"]}})
        await response.prepare(request)
        await response.write_eof()
        await self.service.delivered(found)
        return response

    async def _stream(self, request: web.Request, id_: str, seconds: float) -> web.StreamResponse:
        """The answer so far to the message `id_`, which names the stream too."""
        if id_ in self._asked:  # twice at once: one of them gets it, the other asks again
            return self._unfinished(request, id_)
        self._asked.add(id_)
        try:
            return await self._answer(request, id_, seconds)
        finally:
            self._asked.discard(id_)

    async def _answer(self, request: web.Request, id_: str, seconds: float) -> web.StreamResponse:
        found = await self.service.answers(self, id_, seconds)
        if found is None:
            return self._unfinished(request, id_)
        if not found:  # none at all, or WeCom did not hear it and asks again, perhaps after a restart
            known = await self.service.recall(self, PER_MESSAGE + id_)
            return self._reply(request, id_, str(known or ""), finish=True)
        text = str(found[0].payload["text"])
        await self.service.remember(self, PER_MESSAGE + id_, text)
        response = self._reply(request, id_, text, finish=True)
        await response.prepare(request)
        await response.write_eof()
        await self.service.delivered(found[:1])
        await self.service.given_back(found[1:])  # behind the first, at the address to reply to
        return response

    def _unfinished(self, request: web.Request, id_: str) -> web.Response:
        partial = pieces(self.service.partial(self, id_) or THINKING, STREAM_BYTES_MAX, in_bytes)
        return self._reply(request, id_, partial[0] if partial else THINKING, finish=False)

    def _reply(self, request: web.Request, id_: str, text: str, *, finish: bool) -> web.Response:
        return self._sealed(request, {"msgtype": "stream", "stream": {"id": id_, "finish": finish, "content": text}})

    def _sealed(self, request: web.Request, message: Mapping[str, Any]) -> web.Response:
        import json

        stamp, nonce = request.query.get("timestamp", ""), request.query.get("nonce", "")
        encrypted = self._crypt.encrypt(json.dumps(message, ensure_ascii=False).encode())
        return web.json_response({
            "encrypt": encrypted, "msgsignature": self._crypt.sign(encrypted, stamp, nonce),
            "timestamp": int(stamp) if stamp.isdigit() else stamp, "nonce": nonce,
        })  # fmt: skip

    def render(self, address: dict[str, Any], reply: Outbound) -> list[dict[str, Any]]:  # noqa: ARG002 - needs none
        return [{"text": piece} for piece in pieces(wire.words(reply), STREAM_BYTES_MAX, in_bytes)]

    async def send(self, delivery: Delivery) -> None:
        url = delivery.address.get("response_url")
        if not url:
            raise DeliveryError(
                "no_way_back", "企业微信没有再来取回复，也没有给出回复地址",
                "WeCom asked no more for the answer and gave no address to send it to", outcome="dead",
            )  # fmt: skip
        body = {"msgtype": "markdown", "markdown": {"content": plain(delivery.payload["text"])[0]}}
        answer = await self._platform.call("POST", str(url), body=body)
        code = answer.json.get("errcode", answer.status if answer.status >= 400 else 0)
        if code != 0:
            raise DeliveryError(
                f"errcode_{code}", "回复地址已用过或已过期（一小时内只能用一次）",
                "The address to reply to was used or is over (once, within an hour)", outcome="dead",
            )  # fmt: skip

    async def check(self) -> list[Finding]:
        return [Finding(ok=True, zh="参数格式正确；机器人没有可以测试的接口，请在企业微信里发一句话",
                        en="the parameters look right; the bot has no call to test: write to it in WeCom")]  # fmt: skip


def _texts(parts: Any) -> str:
    """The words of a message that mixes them with pictures."""
    held = [one.get("text") for one in parts if isinstance(one, dict)] if isinstance(parts, list) else []
    words = [one.get("content") for one in held if isinstance(one, dict)]
    return "\n".join(one for one in words if isinstance(one, str) and one)
