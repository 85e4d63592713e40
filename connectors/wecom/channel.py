"""企业微信应用: messages of members to an application, answered by message/send."""

from collections.abc import Mapping
from typing import Any, ClassVar

from aiohttp import web

from connectors.calls import Platform
from connectors.channel import Channel, Finding, Service
from connectors.crypto import MessageCrypt
from connectors.errors import DeliveryError
from connectors.http import read_body
from connectors.pacing import Pace, Rate
from connectors.types import Delivery, Inbound, Outbound
from connectors.wecom import wire
from connectors.wecom.client import API, WeComClient


class WeComChannel(Channel):
    """One application."""

    kind = "wecom"
    pace: ClassVar[Pace] = Pace(everyone=Rate(50, 1.0), each=Rate(30, 60.0))

    def __init__(self, name: str, parameters: Mapping[str, Any], service: Service) -> None:
        super().__init__(name, parameters, service)
        corp_id = parameters["corp_id"]
        self._agent_id = str(parameters["agent_id"])
        self._crypt = MessageCrypt(parameters["token"], parameters["encoding_aes_key"], corp_id)
        platform = Platform(service.http, parameters["api_base"] or API)
        self._client = WeComClient(platform, corp_id, parameters["secret"], service.clock)

    async def receive(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return web.Response(body=wire.confirm(request.query, self._crypt), content_type="text/plain")
        message = wire.parse(wire.unwrap(await read_body(request), request.query, self._crypt))
        if message is not None:
            inbound = Inbound(
                self.conversation(message.user), message.text, message.key, media=message.media,
                location=message.location, event=message.event, pressed=message.pressed,
                reply_to={"user": message.user},
            )  # fmt: skip
            await self.service.accept(self, [inbound])
        return web.Response(text="")

    def render(self, address: dict[str, Any], reply: Outbound) -> list[dict[str, Any]]:  # noqa: ARG002 - needs none
        return wire.render(reply)

    def address_of(self, user: str, group: str) -> dict[str, Any] | None:  # noqa: ARG002 - there are no groups
        return {"user": user}

    async def send(self, delivery: Delivery) -> None:
        body = wire.application_message(
            delivery.address["user"], self._agent_id, delivery.payload["text"], again=delivery.attempts > 0
        )
        answer = await self._client.call("/cgi-bin/message/send", body)
        if answer.get("invaliduser"):
            raise DeliveryError(
                "invalid_user", "该成员不在应用的可见范围内，或已离职", "The member cannot see the application",
                outcome="dead",
            )  # fmt: skip

    async def check(self) -> list[Finding]:
        await self._client.token.get()
        answer = await self._client.call("/cgi-bin/agent/get?agentid=" + self._agent_id, None)
        name = answer.get("name") or self._agent_id
        return [Finding(ok=True, zh=f"corp_id、secret、agent_id 和可信 IP 正常：{name}",
                        en=f"corp_id, secret, agent_id and the trusted address are right: {name}")]  # fmt: skip
