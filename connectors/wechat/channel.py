"""微信公众号: answers within the callback where it can, by customer-service message where it may, else at the next one.

WeChat waits five seconds for an answer and asks three times in all. What is not ready by the third is held; whoever has
no customer service gets it with their next message.
"""

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from aiohttp import web

from connectors.calls import Platform
from connectors.channel import Channel, Finding, Service
from connectors.crypto import MessageCrypt, is_signed
from connectors.errors import DeliveryError, refused
from connectors.freshness import check_fresh, clock_findings
from connectors.http import read_body
from connectors.pacing import Pace, Rate, Window
from connectors.types import Delivery, Inbound, Outbound
from connectors.wechat import wire
from connectors.wechat.client import API, WeChatClient

ANSWER_SECONDS = 4.6  # of the five that WeChat waits, less the way back
GIVE_UP_SECONDS = 9.0  # long after WeChat hung up
ATTEMPTS = 3
TOLERANCE_SECONDS = 3600.0  # its own attempts are over in fifteen; the rest is for clocks that are wrong
REMEMBERED_MAX = 10_000
PICKUP_CHARACTERS_MAX = 6
LATER = "正在为您查找，请稍等片刻，然后回复任意文字获取答案。"
MORE = "（未完，回复任意文字继续）"
NOTHING = "success"


class WeChatChannel(Channel):
    """One official account, in plain mode, or in safe mode where there is an `encoding_aes_key`."""

    kind = "wechat"
    pace: ClassVar[Pace] = Pace(everyone=Rate(50, 1.0), each=Rate(5, 1.0))
    window: ClassVar[Window | None] = Window(48 * 3600.0, 5)
    hold_seconds: ClassVar[float] = 15.5

    def __init__(self, name: str, parameters: Mapping[str, Any], service: Service) -> None:
        super().__init__(name, parameters, service)
        self._token = parameters["token"]
        aes_key = parameters["encoding_aes_key"]
        self._crypt = MessageCrypt(self._token, aes_key, parameters["app_id"]) if aes_key else None
        self._platform = Platform(service.http, parameters["api_base"] or API)
        self._client = WeChatClient(self._platform, parameters["app_id"], parameters["app_secret"], service.clock)
        self._asked: OrderedDict[str, int] = OrderedDict()
        self._told_later: OrderedDict[str, str] = OrderedDict()  # by user: the message whose answer was put off
        # Whether customer-service messages may be sent; None until one was tried.
        self._may_push: bool | None = None

    async def receive(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        if request.method == "GET":
            if not is_signed(query.get("signature"), self._token, query.get("timestamp", ""), query.get("nonce", "")):
                raise refused()
            return web.Response(text=query.get("echostr", ""))
        xml = wire.unwrap(await read_body(request), query, self._token, self._crypt)
        if self._crypt is None:  # whoever saw one plain signature could put it on words of their own, for ever
            check_fresh(query.get("timestamp", ""), self.service.clock(), TOLERANCE_SECONDS)
        message = wire.parse(xml)
        if message is None:
            return web.Response(text=NOTHING)
        return await self._take(request, message)

    async def _take(self, request: web.Request, message: wire.Message) -> web.StreamResponse:
        attempt = self._count(message.key)
        conversation = self.conversation(message.user)
        inbound = Inbound(
            conversation, message.text, message.key, media=message.media, location=message.location,
            event=message.event, pressed=message.pressed, reply_to={"user": message.user, "account": message.account},
        )  # fmt: skip
        put_off = self._told_later.get(message.user, "") if 0 < len(message.text) <= PICKUP_CHARACTERS_MAX else ""
        held = await self.service.answers(self, put_off, ANSWER_SECONDS) if put_off not in ("", message.key) else []
        if held is None:
            return await self._too_late(request, message, attempt, put_off)
        if put_off:
            self._told_later.pop(message.user, None)
        if not held and attempt == 1 and message.text:
            held = await self.service.held(self, conversation)
        if held:
            return await self._pick_up(request, message, inbound, held)
        await self.service.accept(self, [inbound])
        found = await self.service.answers(self, message.key, ANSWER_SECONDS)
        if found:
            return await self._answer(request, message, found)
        if found is None and message.event is None:
            return await self._too_late(request, message, attempt, message.key)
        return web.Response(text=NOTHING)

    async def _answer(self, request: web.Request, message: wire.Message, found: list[Delivery]) -> web.StreamResponse:
        """The first piece as the callback's answer, the others behind it: where nothing can be pushed, as many at once
        as one message holds, for each further message costs the customer a word."""
        if self._may_push and "menu" in found[0].payload:
            await self.service.given_back(found)  # buttons to press exist only there
            return web.Response(text=NOTHING)
        texts = [str(one.payload["text"]) for one in found]
        count = 1 if self._may_push else _fitting(texts)
        first, rest = found[:count], found[count:]
        text = "\n".join(texts[:count])
        if rest and not self._may_push:
            text = _with_mark(text)
        try:
            response = await self._write(request, message, text)
        except OSError:
            await self.service.given_back(found)
            raise
        if response is None:
            await self.service.given_back(found)
            return web.Response(text=NOTHING)
        await self.service.delivered(first)
        if rest:
            await self.service.given_back(rest)
        return response

    async def _pick_up(
        self, request: web.Request, message: wire.Message, inbound: Inbound, held: list[Delivery]
    ) -> web.StreamResponse:
        """The customer wrote again: what waited for that goes first. A short word only fetches it."""
        if len(message.text.strip()) <= PICKUP_CHARACTERS_MAX:
            inbound = replace(inbound, event="other")
        (new,) = await self.service.accept(self, [inbound])
        if not new:
            await self.service.given_back(held)
            return web.Response(text=NOTHING)
        return await self._answer(request, message, held)

    async def _too_late(
        self, request: web.Request, message: wire.Message, attempt: int, awaited: str
    ) -> web.StreamResponse:
        """There is no answer to the message `awaited` yet."""
        if attempt >= ATTEMPTS:
            if self._may_push:
                return web.Response(text=NOTHING)  # it comes by itself
            _remember(self._told_later, message.user, awaited)
            response = await self._write(request, message, LATER)
            return response or web.Response(text=NOTHING)
        # An answer now would end the attempts, and with them the chance to answer in a moment.
        await asyncio.sleep(GIVE_UP_SECONDS - ANSWER_SECONDS)
        return web.Response(text=NOTHING)

    async def _write(self, request: web.Request, message: wire.Message, text: str) -> web.StreamResponse | None:
        """Answer the callback with a text; None where nobody listens any more."""
        if request.transport is None or request.transport.is_closing():
            return None
        xml = wire.passive(message.user, message.account, text, int(self.service.clock()))
        if self._crypt is not None:
            stamp, nonce = request.query.get("timestamp", "0"), request.query.get("nonce", "")
            xml = wire.sealed(xml, self._crypt, stamp if stamp.isdigit() else "0", nonce)
        response = web.Response(text=xml, content_type="application/xml")
        await response.prepare(request)
        await response.write_eof()
        return response

    def _count(self, key: str) -> int:
        """Which attempt at this message it is."""
        count = self._asked.pop(key, 0) + 1
        _remember(self._asked, key, count)
        return count

    def render(self, address: dict[str, Any], reply: Outbound) -> list[dict[str, Any]]:  # noqa: ARG002 - needs none
        return wire.render(reply)

    async def send(self, delivery: Delivery) -> None:
        try:
            await self._client.send(delivery.address["user"], delivery.payload)
        except DeliveryError as error:
            if error.code in wire.NOT_ALLOWED:
                self._may_push = False
            raise
        self._may_push = True

    async def typing(self, address: dict[str, Any]) -> None:
        if self._may_push:
            await self._client.typing(address["user"])

    async def check(self) -> list[Finding]:
        await self._client.token.get()
        mode = "安全模式" if self._crypt else "明文模式"
        mode_en = "safe mode" if self._crypt else "plain mode"
        return [Finding(ok=True, zh=f"app_id、app_secret 和 IP 白名单正常，{mode}",
                        en=f"app_id, app_secret and the IP whitelist are right; {mode_en}"),
                *clock_findings(self._platform, self.service.clock())]  # fmt: skip


def _remember(known: OrderedDict[str, Any], key: str, value: Any) -> None:
    known[key] = value
    if len(known) > REMEMBERED_MAX:
        known.popitem(last=False)


def _fitting(texts: Sequence[str]) -> int:
    """How many of them, at least one, are one message together."""
    sizes = itertools.accumulate(len(text.encode()) + 1 for text in texts)
    return max(1, sum(size - 1 <= wire.TEXT_BYTES_MAX for size in sizes))


def _with_mark(text: str) -> str:
    """A piece with the word that more follows, where there is room for it."""
    longer = f"{text}\n{MORE}"
    return longer if len(longer.encode()) <= wire.TEXT_BYTES_MAX else text
