"""DingTalk and Feishu."""

import json
from typing import Any

import aiohttp

from tests.connectors.cases.base import Case, Sent
from tests.servers import dingtalk, feishu
from tests.servers.outside import Outside


class DingTalk(Case):
    kind = "dingtalk"
    limit = 15_000
    signs_body = False
    stale_after = 3600
    has_groups = True
    refusal = (401, {"code": "InvalidAuthentication", "message": "token"})

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


class DingTalkCards(DingTalkStream):
    shows_cards = True

    def table(self) -> dict[str, Any]:
        return super().table() | {"card_template_id": dingtalk.TEMPLATE}


class Feishu(Case):
    kind = "feishu"
    limit = 30_000
    has_groups = True
    knows_again = True
    shows_cards = True
    encrypted = True
    stale_after: float | None = 8 * 3600
    refusal = (400, {"code": 99991663, "msg": "token invalid"})

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
        return Sent("POST", {}, *self.platform.signed(self.platform.event(user, text, id_, group), at=at))

    def strange(self, user: str, id_: str) -> Sent:
        event = self.platform.event(user, "", id_, message_type="hologram")
        return Sent("POST", {}, *self.platform.signed(event))

    def recipient(self, user: str, group: str = "") -> str:
        return group or f"oc_{user}"


class FeishuPlain(Feishu):
    signs_body = False  # the token inside is all there is
    encrypted = False
    stale_after = None


class FeishuLongConnection(Feishu):
    signs = False
    encrypted = False

    def table(self) -> dict[str, Any]:
        self.platform.base = self.base
        return {"kind": "feishu", "name": "shop", "app_id": feishu.APP_ID, "app_secret": feishu.APP_SECRET,
                "mode": "ws", "api_base": self.base}  # fmt: skip

    async def post(self, http: aiohttp.ClientSession, url: str, sent: Sent) -> int:
        await self.platform.push(json.loads(sent.body))
        return 200
