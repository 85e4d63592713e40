"""Telegram, the generic webhook, and Chatwoot."""

import json
from typing import Any

import aiohttp

from tests.connectors.cases.base import Case, Sent
from tests.servers import chatwoot, telegram, webhook
from tests.servers.outside import Outside


class Telegram(Case):
    kind = "telegram"
    limit = 4096
    signs_body = False
    has_groups = True
    refusal = (401, {"ok": False, "error_code": 401, "description": "Unauthorized"})

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
        return {name: value for name, value in super().table().items() if name != "secret_token"} | {"mode": "polling"}

    async def post(self, http: aiohttp.ClientSession, url: str, sent: Sent) -> int:
        self.platform.put(json.loads(sent.body))
        return 200


class Chatwoot(Case):
    kind = "chatwoot"
    stale_after = 300
    refusal = (401, {"error": "Invalid Access Token"})

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
        return Sent("POST", {}, *chatwoot.signed(self.platform.event(user, text, id_), at=at))

    def strange(self, user: str, id_: str) -> Sent:
        return Sent("POST", {}, *chatwoot.signed(self.platform.event(user, "", id_, event="hologram")))

    def recipient(self, user: str, group: str = "") -> str:
        return str(chatwoot.conversation_of(user))


class Webhook(Case):
    kind = "webhook"
    stale_after = 300
    knows_again = True
    refusal = (401, {})

    def make_outside(self) -> Outside:
        return webhook.Receiver()

    def table(self) -> dict[str, Any]:
        return {"kind": "webhook", "name": "shop", "secret": webhook.SECRET, "url": self.base + "/replies"}

    def message(self, user: str, text: str, id_: str, *, group: str = "", at: float | None = None) -> Sent:
        body = json.dumps({"sender": user, "text": text, "message_id": id_}).encode()
        return Sent("POST", {}, webhook.headers(body, f"d-{id_}", at=at), body)
