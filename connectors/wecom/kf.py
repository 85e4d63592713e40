"""微信客服: a callback says that there is something; `sync_msg` brings it, page after page, each item once."""

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

from aiohttp import web

from connectors.calls import Platform
from connectors.channel import Channel, Finding, Service
from connectors.crypto import MessageCrypt, parse_xml
from connectors.errors import DeliveryError
from connectors.http import read_body
from connectors.pacing import Pace, Rate, Window
from connectors.types import Delivery, Inbound, Outbound
from connectors.wecom import kf_wire, wire
from connectors.wecom.client import API, WeComClient

PAGE = 1000
# The first time, the pages reach back three days; nobody waits for an answer to those any more.
OLD_SECONDS, REPLAYED_SECONDS = 600.0, 3 * 86_400.0
WELCOME_SECONDS = 20.0
# A callback's token is good for so long; without one WeCom answers too, but not as often.
TOKEN_SECONDS = 600.0
LOOK_AGAIN_SECONDS, WITHOUT_TOKEN_SECONDS = 5.0, 60.0


class WeComKfChannel(Channel):
    """All 微信客服 accounts of one company that are linked with this secret."""

    kind = "wecom_kf"
    has_desk: ClassVar[bool] = True
    pace: ClassVar[Pace] = Pace(everyone=Rate(50, 1.0), each=Rate(5, 1.0))
    window: ClassVar[Window | None] = Window(48 * 3600.0, 5)

    def __init__(self, name: str, parameters: Mapping[str, Any], service: Service) -> None:
        super().__init__(name, parameters, service)
        corp_id = parameters["corp_id"]
        self._crypt = MessageCrypt(parameters["token"], parameters["encoding_aes_key"], corp_id)
        platform = Platform(service.http, parameters["api_base"] or API)
        self._client = WeComClient(platform, corp_id, parameters["secret"], service.clock, kf_wire.MEANINGS)
        self._to_sync: dict[str, tuple[str, float]] = {}  # by account: a token, and until when it is good
        self._moved = asyncio.Event()
        self._with_a_person: set[tuple[str, str]] = set()

    async def receive(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return web.Response(body=wire.confirm(request.query, self._crypt), content_type="text/plain")
        fields = parse_xml(wire.unwrap(await read_body(request), request.query, self._crypt))
        account = fields.get("OpenKfId", "")
        if fields.get("Event") == "kf_msg_or_event" and account:
            # Kept before it is acknowledged: whoever is killed now looks for it at the next start.
            known = await self.service.recall(self, "accounts") or []
            if account not in known:
                await self.service.remember(self, "accounts", [*known, account])
            self._to_sync[account] = fields.get("Token", ""), self.service.clock() + TOKEN_SECONDS
            self._moved.set()
        return web.Response(text="success")

    async def run(self) -> None:
        """Fetches what the callbacks announce, and at a start what came meanwhile."""
        for account in await self.service.recall(self, "accounts") or []:
            self._to_sync.setdefault(account, ("", 0.0))
        while True:
            while self._to_sync:
                account, (token, until) = next(iter(self._to_sync.items()))
                del self._to_sync[account]
                token = token if self.service.clock() < until else ""
                try:
                    await self._sync(account, token)
                except DeliveryError:
                    self._to_sync.setdefault(account, (token, until))
                    await asyncio.sleep(LOOK_AGAIN_SECONDS if token else WITHOUT_TOKEN_SECONDS)
            self._moved.clear()
            if not self._to_sync:
                await self._moved.wait()

    async def _sync(self, account: str, token: str) -> None:
        """Every page from the kept cursor on; the cursor moves on once a page is kept."""
        cursor = await self.service.recall(self, f"cursor {account}")
        since = await self.service.recall(self, f"since {account}")
        if not cursor and since is None:
            since = self.service.clock() - OLD_SECONDS
            await self.service.remember(self, f"since {account}", since)
        while True:
            body: dict[str, Any] = {"open_kfid": account, "limit": PAGE}
            body |= {"cursor": cursor} if cursor else {}
            body |= {"token": token} if token else {}
            page = await self._client.call("/cgi-bin/kf/sync_msg", body)
            found = kf_wire.items(page)
            if since is not None:
                found = [one for one in found if not since - REPLAYED_SECONDS < one.sent_at < since]
            await self._take(found)
            after = page.get("next_cursor")
            if after and after != cursor:
                cursor = after
                await self.service.remember(self, f"cursor {account}", cursor)
            elif page.get("has_more"):
                return  # a cursor that does not move would go round for ever
            if not page.get("has_more"):
                return

    async def _take(self, found: list[kf_wire.Item]) -> None:
        taken = []
        for one in found:
            who = (one.account, one.user)
            if one.event is not None:
                self._with_a_person.discard(who)
            if who in self._with_a_person or (one.welcome_code and self._age(one) > WELCOME_SECONDS):
                continue
            conversation = self.conversation(one.user, account=one.account)
            address = {"user": one.user, "account": one.account}
            if one.welcome_code:
                address["welcome_code"] = one.welcome_code
            taken.append(Inbound(
                conversation, one.text, one.key, media=one.media, location=one.location, event=one.event,
                pressed=one.pressed, reply_to=address,
            ))  # fmt: skip
        if not taken:
            return
        await self.service.accept(self, taken)
        for inbound in taken:
            if held := await self.service.held(self, inbound.conversation):
                await self.service.given_back(held)

    def _age(self, one: kf_wire.Item) -> float:
        return self.service.clock() - one.sent_at

    def render(self, address: dict[str, Any], reply: Outbound) -> list[dict[str, Any]]:  # noqa: ARG002 - needs none
        return kf_wire.render(reply)

    async def send(self, delivery: Delivery) -> None:
        user, account = delivery.address["user"], delivery.address["account"]
        try:
            if "transfer" in delivery.payload:
                body = {"open_kfid": account, "external_userid": user, "service_state": delivery.payload["transfer"]}
                await self._client.call("/cgi-bin/kf/service_state/trans", body)
                self._with_a_person.add((account, user))
            elif "welcome_code" in delivery.address:
                body = kf_wire.welcome(delivery.address["welcome_code"], delivery.id, delivery.payload["text"])
                await self._client.call("/cgi-bin/kf/send_msg_on_event", body)
            else:
                body = kf_wire.message(user, account, delivery.id, delivery.payload)
                await self._client.call("/cgi-bin/kf/send_msg", body)
        except DeliveryError as error:
            if error.code in kf_wire.WITH_A_PERSON:
                self._with_a_person.add((account, user))
            raise

    async def check(self) -> list[Finding]:
        await self._client.token.get()
        answer = await self._client.call("/cgi-bin/kf/account/list", {"offset": 0, "limit": 100})
        accounts = answer.get("account_list")
        names = "、".join(str(one.get("name")) for one in accounts) if isinstance(accounts, list) else ""
        zh, en = "corp_id、secret 和可信 IP 正常", "corp_id, secret and the trusted address are right"
        if not names:
            zh += "，但没有可用的客服账号：请在「微信客服」里创建账号，并在「可调用接口的应用」里交给 API 管理"
            return [Finding(ok=False, zh=zh, en=f"{en}, but there is no account: make one and hand it to the API")]
        return [Finding(ok=True, zh=f"{zh}，客服账号：{names}", en=f"{en}: {names}")]
