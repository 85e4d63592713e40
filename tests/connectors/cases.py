"""What the shared suite needs to know of each channel: its configuration, its stand-in, and how a customer writes."""

import asyncio
import io
import json
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.servers import chatwoot, dingtalk, feishu, telegram, webhook, wechat, wecom
from tests.servers.outside import Outside


@dataclass
class Sent:
    """A callback as the platform makes it."""

    method: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class Case(ABC):
    """One channel of the suite. `limit` is the most a single message may hold, as `measure` counts.

    `signs_body` is false where the platform's signature does not cover the body, `signs` false where there are no
    callbacks at all. `knows_again` is true where the platform recognises a message that is sent twice.
    """

    kind = ""
    limit = 10**9
    signs = True
    signs_body = True
    stale_after: float | None = None
    has_groups = False
    knows_again = False

    def __init__(self) -> None:
        self.outside = self.make_outside()
        self.base = ""

    @staticmethod
    def measure(text: str) -> int:
        return len(text)

    @property
    def path(self) -> str:
        return f"/webhooks/{self.kind}/shop"

    @abstractmethod
    def make_outside(self) -> Outside: ...

    @abstractmethod
    def table(self) -> dict[str, Any]:
        """The `[[channels]]` table; `base` is the stand-in's address."""

    @abstractmethod
    def message(self, user: str, text: str, id_: str, *, group: str = "", at: float | None = None) -> Sent:
        """A customer's message as a callback."""

    def strange(self, user: str, id_: str) -> Sent | None:
        """A message of a type that nobody knows."""
        return None

    async def post(self, http: aiohttp.ClientSession, url: str, sent: Sent) -> int:
        """Make the callback; what the customer sees at once is noted. The status."""
        async with http.request(
            sent.method, url + self.path, params=sent.query, headers=sent.headers, data=io.BytesIO(sent.body)
        ) as response:
            await response.read()
            return response.status

    async def say(
        self, http: aiohttp.ClientSession, url: str, user: str, text: str, id_: str, *, group: str = ""
    ) -> int:
        """A customer writes."""
        return await self.post(http, url, self.message(user, text, id_, group=group))

    async def read_on(self, desk: Any, user: str) -> None:  # noqa: B027 - nothing, on most
        """What a customer does to see the rest of a long answer."""

    def joined(self, texts: list[str]) -> str:
        """The pieces of a long answer as one text."""
        return "\n".join(texts)

    def recipient(self, user: str, group: str = "") -> str:
        """Whom an answer goes to, as the stand-in names them."""
        return group or user


class Webhook(Case):
    kind = "webhook"
    stale_after = 300
    knows_again = True

    def make_outside(self) -> Outside:
        return webhook.Receiver()

    def table(self) -> dict[str, Any]:
        return {"kind": "webhook", "name": "shop", "secret": webhook.SECRET, "url": self.base + "/replies"}

    def message(self, user: str, text: str, id_: str, *, group: str = "", at: float | None = None) -> Sent:
        body = json.dumps({"sender": user, "text": text, "message_id": id_}).encode()
        return Sent("POST", {}, webhook.headers(body, f"d-{id_}", at=at), body)


class WeChat(Case):
    kind = "wechat"
    limit = 2048
    signs_body = False  # plain mode signs the time alone; what comes twice is known by its id
    safe = False

    @staticmethod
    def measure(text: str) -> int:
        return len(text.encode())

    def make_outside(self) -> Outside:
        return wechat.WeChat(safe=self.safe)

    def table(self) -> dict[str, Any]:
        table = {"kind": "wechat", "name": "shop", "app_id": wechat.APP_ID, "app_secret": wechat.APP_SECRET,
                 "token": wechat.TOKEN, "api_base": self.base}  # fmt: skip
        return table | ({"encoding_aes_key": wechat.AES_KEY} if self.safe else {})

    @property
    def platform(self) -> wechat.WeChat:
        assert isinstance(self.outside, wechat.WeChat)
        return self.outside

    def message(self, user: str, text: str, id_: str, *, group: str = "", at: float | None = None) -> Sent:
        query, body = self.platform.wrapped(self.platform.text_xml(user, text, id_))
        return Sent("POST", query, {}, body)

    def strange(self, user: str, id_: str) -> Sent:
        query, body = self.platform.wrapped(self.platform.text_xml(user, "", id_, "hologram"))
        return Sent("POST", query, {}, body)

    async def say(
        self, http: aiohttp.ClientSession, url: str, user: str, text: str, id_: str, *, group: str = ""
    ) -> int:
        return await self.platform.deliver(http, url + self.path, user, self.platform.text_xml(user, text, id_))

    async def read_on(self, desk: Any, user: str) -> None:
        while True:
            await asyncio.sleep(1.0)
            await desk.say(user, "继续")

    def joined(self, texts: list[str]) -> str:
        own = [text for text in texts if text != "答：继续"]  # asked when nothing was held
        return "\n".join(text.removesuffix("（未完，回复任意文字继续）") for text in own)


class WeChatSafe(WeChat):
    signs_body = True
    safe = True


class WeCom(Case):
    kind = "wecom"
    limit = 2048
    knows_again = True

    @staticmethod
    def measure(text: str) -> int:
        return len(text.encode())

    def make_outside(self) -> Outside:
        return wecom.WeCom()

    def table(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": "shop", "corp_id": wecom.CORP_ID, "agent_id": wecom.AGENT_ID,
                "secret": wecom.SECRET, "token": wecom.TOKEN, "encoding_aes_key": wecom.AES_KEY,
                "api_base": self.base}  # fmt: skip

    def message(self, user: str, text: str, id_: str, *, group: str = "", at: float | None = None) -> Sent:
        assert isinstance(self.outside, wecom.WeCom)
        return Sent("POST", *swapped(wecom.wrapped(self.outside.text_xml(user, text, id_), wecom.CORP_ID)))

    def strange(self, user: str, id_: str) -> Sent:
        assert isinstance(self.outside, wecom.WeCom)
        return Sent("POST", *swapped(wecom.wrapped(self.outside.text_xml(user, "", id_, "hologram"), wecom.CORP_ID)))


def swapped(made: tuple[dict[str, str], bytes]) -> tuple[dict[str, str], dict[str, str], bytes]:
    return made[0], {}, made[1]


class Kf(WeCom):
    kind = "wecom_kf"

    def make_outside(self) -> Outside:
        return wecom.Kf(page=50)

    @property
    def platform(self) -> wecom.Kf:
        assert isinstance(self.outside, wecom.Kf)
        return self.outside

    def table(self) -> dict[str, Any]:
        return {name: value for name, value in super().table().items() if name != "agent_id"}

    def message(self, user: str, text: str, id_: str, *, group: str = "", at: float | None = None) -> Sent:
        return Sent("POST", *swapped(self.platform.notice()))

    def strange(self, user: str, id_: str) -> Sent:
        self.platform.wrote(user, "", id_, msgtype="hologram", hologram={})
        return self.message(user, "", id_)

    async def say(
        self, http: aiohttp.ClientSession, url: str, user: str, text: str, id_: str, *, group: str = ""
    ) -> int:
        self.platform.wrote(user, text, id_)
        return await self.post(http, url, self.message(user, text, id_))

    async def read_on(self, desk: Any, user: str) -> None:
        while True:
            await asyncio.sleep(1.0)
            self.platform.quota[user] = 5
            self.platform.wrote(user, "", f"more{time.time()}", msgtype="image", image={"media_id": "m"})
            await desk.case.post(desk.http, desk.url, self.message(user, "", ""))

    def joined(self, texts: list[str]) -> str:
        return "\n".join(text for text in texts if not text.startswith("抱歉，我暂时只能看懂文字"))


class WeComBot(Case):
    kind = "wecom_bot"
    limit = 20_480
    has_groups = True

    @staticmethod
    def measure(text: str) -> int:
        return len(text.encode())

    def make_outside(self) -> Outside:
        return wecom.Bot()

    @property
    def platform(self) -> wecom.Bot:
        assert isinstance(self.outside, wecom.Bot)
        return self.outside

    def table(self) -> dict[str, Any]:
        return {"kind": "wecom_bot", "name": "shop", "token": wecom.TOKEN, "encoding_aes_key": wecom.AES_KEY,
                "api_base": self.base}  # fmt: skip

    def message(self, user: str, text: str, id_: str, *, group: str = "", at: float | None = None) -> Sent:
        plain = self.platform.question(user, text, id_, group, self.base)
        return Sent("POST", *swapped(wecom.wrapped(plain, "", as_json=True)))

    def strange(self, user: str, id_: str) -> Sent:
        plain = json.dumps({"msgid": id_, "from": {"userid": user}, "msgtype": "hologram"})
        return Sent("POST", *swapped(wecom.wrapped(plain, "", as_json=True)))

    async def say(
        self, http: aiohttp.ClientSession, url: str, user: str, text: str, id_: str, *, group: str = ""
    ) -> int:
        plain = self.platform.question(user, text, id_, group, self.base)
        return await self.platform.converse(http, url + self.path, group or user, plain)


class DingTalk(Case):
    kind = "dingtalk"
    limit = 15_000
    signs_body = False
    stale_after = 3600
    has_groups = True

    @staticmethod
    def measure(text: str) -> int:
        return len(text.encode())

    def make_outside(self) -> Outside:
        return dingtalk.DingTalk()

    @property
    def platform(self) -> dingtalk.DingTalk:
        assert isinstance(self.outside, dingtalk.DingTalk)
        self.outside.base = self.base
        return self.outside

    def table(self) -> dict[str, Any]:
        return {"kind": "dingtalk", "name": "shop", "client_id": dingtalk.CLIENT_ID,
                "client_secret": dingtalk.CLIENT_SECRET, "mode": "http", "api_base": self.base}  # fmt: skip

    def message(self, user: str, text: str, id_: str, *, group: str = "", at: float | None = None) -> Sent:
        body = json.dumps(self.platform.message(user, text, id_, group)).encode()
        return Sent("POST", {}, dingtalk.headers(at), body)

    def strange(self, user: str, id_: str) -> Sent:
        body = json.dumps(self.platform.message(user, "", id_, kind="hologram")).encode()
        return Sent("POST", {}, dingtalk.headers(), body)


class DingTalkStream(DingTalk):
    signs = False

    def table(self) -> dict[str, Any]:
        assert self.platform.base == self.base
        return super().table() | {"mode": "stream"}

    async def post(self, http: aiohttp.ClientSession, url: str, sent: Sent) -> int:
        message = json.loads(sent.body)
        await self.platform.push(message, message["msgId"])
        return 200


class Feishu(Case):
    kind = "feishu"
    limit = 30_000
    has_groups = True
    knows_again = True
    encrypted = True

    @staticmethod
    def measure(text: str) -> int:
        return len(text.encode())

    def make_outside(self) -> Outside:
        return feishu.Feishu(encrypted=self.encrypted)

    @property
    def platform(self) -> feishu.Feishu:
        assert isinstance(self.outside, feishu.Feishu)
        return self.outside

    def table(self) -> dict[str, Any]:
        table = {"kind": "feishu", "name": "shop", "app_id": feishu.APP_ID, "app_secret": feishu.APP_SECRET,
                 "verification_token": feishu.TOKEN, "api_base": self.base}  # fmt: skip
        return table | ({"encrypt_key": feishu.ENCRYPT_KEY} if self.encrypted else {})

    def message(self, user: str, text: str, id_: str, *, group: str = "", at: float | None = None) -> Sent:
        return Sent("POST", {}, *self.platform.signed(self.platform.event(user, text, id_, group)))

    def strange(self, user: str, id_: str) -> Sent:
        event = self.platform.event(user, "", id_, message_type="hologram")
        return Sent("POST", {}, *self.platform.signed(event))

    def recipient(self, user: str, group: str = "") -> str:
        return group or f"oc_{user}"


class FeishuPlain(Feishu):
    signs_body = False  # the token inside is all there is
    encrypted = False


class Telegram(Case):
    kind = "telegram"
    limit = 4096
    signs_body = False
    has_groups = True

    @staticmethod
    def measure(text: str) -> int:
        return len(text.encode("utf-16-le")) // 2

    def make_outside(self) -> Outside:
        return telegram.Telegram()

    @property
    def platform(self) -> telegram.Telegram:
        assert isinstance(self.outside, telegram.Telegram)
        return self.outside

    def table(self) -> dict[str, Any]:
        return {"kind": "telegram", "name": "shop", "bot_token": telegram.BOT_TOKEN,
                "secret_token": telegram.SECRET_TOKEN, "mode": "webhook", "api_base": self.base}  # fmt: skip

    def message(self, user: str, text: str, id_: str, *, group: str = "", at: float | None = None) -> Sent:
        body = json.dumps(self.platform.update(user, text, id_, group)).encode()
        return Sent("POST", {}, {"X-Telegram-Bot-Api-Secret-Token": telegram.SECRET_TOKEN}, body)

    def strange(self, user: str, id_: str) -> Sent:
        body = json.dumps(self.platform.update(user, "", id_, hologram={})).encode()
        return Sent("POST", {}, {"X-Telegram-Bot-Api-Secret-Token": telegram.SECRET_TOKEN}, body)

    def recipient(self, user: str, group: str = "") -> str:
        return str(telegram.number(group or user))


class TelegramPolling(Telegram):
    signs = False

    def table(self) -> dict[str, Any]:
        return super().table() | {"mode": "polling"}

    async def post(self, http: aiohttp.ClientSession, url: str, sent: Sent) -> int:
        self.platform.put(json.loads(sent.body))
        return 200


class Chatwoot(Case):
    kind = "chatwoot"

    def make_outside(self) -> Outside:
        return chatwoot.Chatwoot()

    @property
    def platform(self) -> chatwoot.Chatwoot:
        assert isinstance(self.outside, chatwoot.Chatwoot)
        return self.outside

    def table(self) -> dict[str, Any]:
        return {"kind": "chatwoot", "name": "shop", "base_url": self.base, "account_id": chatwoot.ACCOUNT,
                "api_access_token": chatwoot.ACCESS_TOKEN, "webhook_secret": chatwoot.SECRET}  # fmt: skip

    def message(self, user: str, text: str, id_: str, *, group: str = "", at: float | None = None) -> Sent:
        return Sent("POST", {}, *chatwoot.signed(self.platform.event(user, text, id_)))

    def strange(self, user: str, id_: str) -> Sent:
        return Sent("POST", {}, *chatwoot.signed(self.platform.event(user, "", id_, event="hologram")))

    def recipient(self, user: str, group: str = "") -> str:
        return str(chatwoot.conversation_of(user))


CASES: list[type[Case]] = [
    Webhook, WeChat, WeChatSafe, WeCom, Kf, WeComBot, DingTalk, DingTalkStream, Feishu, FeishuPlain, Telegram,
    TelegramPolling, Chatwoot,
]  # fmt: skip
