"""Chatwoot: the bot answers while a conversation is pending, and hands it to the staff by opening it."""

from collections.abc import Mapping
from typing import Any, ClassVar

from aiohttp import web

from connectors.calls import Answer, Platform
from connectors.channel import Channel, Finding, Service
from connectors.chatwoot import wire
from connectors.errors import DeliveryError, refused
from connectors.freshness import check_fresh, clock_findings
from connectors.http import json_object, read_body, same_secret
from connectors.types import Delivery, Inbound, Outbound

# A webhook is signed when it is sent, and sent once: five minutes are for clocks, as in Standard Webhooks.
TOLERANCE_SECONDS = 300.0


class ChatwootChannel(Channel):
    """One agent bot of one account. Chatwoot gives a webhook five seconds and never tries again."""

    kind = "chatwoot"
    has_desk: ClassVar[bool] = True

    def __init__(self, name: str, parameters: Mapping[str, Any], service: Service) -> None:
        super().__init__(name, parameters, service)
        self._account = str(parameters["account_id"])
        self._secret = parameters["webhook_secret"]
        self._headers = {"api_access_token": parameters["api_access_token"]}
        self._platform = Platform(service.http, parameters["api_base"] or parameters["base_url"])

    async def receive(self, request: web.Request) -> web.StreamResponse:
        if request.method != "POST":
            raise web.HTTPMethodNotAllowed(request.method, ["POST"])
        body = await read_body(request)
        # Servers before signatures carry the secret in the address.
        by_address = "X-Chatwoot-Signature" not in request.headers and "secret" in request.query
        if self._secret and not (
            same_secret(request.query.get("secret"), self._secret)
            if by_address
            else wire.is_signed(self._secret, request.headers, body)
        ):
            raise refused(401)
        if self._secret and not by_address:
            check_fresh(request.headers.get("X-Chatwoot-Timestamp", ""), self.service.clock(), TOLERANCE_SECONDS)
        message = wire.parse(json_object(body), self._account)
        if message is not None:
            inbound = Inbound(
                self.conversation(message.user, message.conversation, self._account), message.text, message.key,
                media=message.media, reply_to={"conversation": message.conversation},
                nickname=message.nickname,
            )  # fmt: skip
            await self.service.accept(self, [inbound])
        return web.json_response({})

    def render(self, address: dict[str, Any], reply: Outbound) -> list[dict[str, Any]]:  # noqa: ARG002 - needs none
        return wire.render(reply)

    async def send(self, delivery: Delivery) -> None:
        place = f"/api/v1/accounts/{self._account}/conversations/{int(delivery.address['conversation'])}"
        if "status" in delivery.payload:
            answer = await self._call("POST", f"{place}/toggle_status", {"status": delivery.payload["status"]})
        else:
            body = {"content": delivery.payload["content"], "message_type": "outgoing"}
            answer = await self._call("POST", f"{place}/messages", body)
        _check(answer)

    async def check(self) -> list[Finding]:
        # A bot may do little but write. There is no conversation 0: whoever may write is told so (404), nobody else.
        place = f"/api/v1/accounts/{self._account}/conversations/0/messages"
        answer = await self._call("POST", place, {"content": "check", "message_type": "outgoing"})
        if answer.status not in (404, 422):
            _check(answer)
        if not answer.json:
            # A page, of another program or of a path that Chatwoot does not have: its API answers in JSON.
            zh = "base_url 那里不是 Chatwoot 的接口：只填 https://域名，不带 /app/… 等路径"
            en = "There is no Chatwoot API at base_url: give https://HOST only, without /app/…"
            return [Finding(ok=False, zh=zh, en=en)]
        note = "" if self._secret else "；没有设 webhook_secret，任何人都能冒充 Chatwoot：请从机器人设置页复制"
        note_en = "" if self._secret else "; without webhook_secret anybody can pretend to be Chatwoot: copy it"
        works = Finding(ok=True, zh=f"api_access_token 可用{note}", en=f"api_access_token works{note_en}")
        return [works, *clock_findings(self._platform, self.service.clock())]

    async def _call(self, method: str, place: str, body: Any) -> Answer:
        return await self._platform.call(method, place, body=body, headers=self._headers)


def _check(answer: Answer) -> None:
    if answer.status < 300:
        return
    told = str(answer.json.get("error", ""))
    if answer.status == 401 and "account" in told.lower():
        raise DeliveryError(
            "other_account", "account_id 不对，或机器人还没有接到这个账号的收件箱：请在「收件箱 → 机器人」里选中它",
            "account_id is wrong, or the bot is in no inbox of that account: choose it in the inbox's settings",
        )  # fmt: skip
    if answer.status == 401:
        raise DeliveryError(
            "unauthorized", "api_access_token 不对：请从 Chatwoot 的机器人设置页复制",
            "api_access_token is wrong: copy it from the bot's page in Chatwoot",
        )  # fmt: skip
    outcome: Any = "dead" if answer.status in (404, 422) else "retry"
    raise DeliveryError(
        f"http_{answer.status}", f"Chatwoot 返回 HTTP {answer.status}：请检查 base_url、account_id 和会话是否存在",
        f"Chatwoot answers HTTP {answer.status}: check base_url, account_id, and that the conversation exists",
        outcome=outcome,
    )  # fmt: skip
