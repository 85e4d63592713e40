"""WeChat and WeCom."""

import asyncio
import json
import time
from typing import Any

import aiohttp

from tests.connectors.cases.base import Case, Sent
from tests.servers import wechat, wecom
from tests.servers.outside import Outside


class WeChat(Case):
    kind = "wechat"
    limit = 2048
    signs_body = False  # plain mode signs the time alone; what comes twice is known by its id
    safe = False
    stale_after: float | None = 3600
    refusal = (200, {"errcode": 40001, "errmsg": "invalid credential"})

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
        query, body = self.platform.wrapped(self.platform.text_xml(user, text, id_), at)
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
    stale_after = None  # an old one cannot be changed, and is known by its id


class WeCom(Case):
    kind = "wecom"
    limit = 2048
    knows_again = True
    refusal = (200, {"errcode": 40014, "errmsg": "invalid access_token"})

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
