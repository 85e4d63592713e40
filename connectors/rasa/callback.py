"""Rasa's callback channel: messages at `/webhooks/callback/webhook`, replies POSTed to `url`.

Source: Rasa 3.6, `rasa/core/channels/callback.py` (Apache-2.0).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from aiohttp import web

from connectors.calls import Platform
from connectors.channel import Channel, Finding, Service
from connectors.errors import DeliveryError
from connectors.http import bearer_token, read_body, same_secret
from connectors.rasa import wire
from connectors.types import Delivery, Inbound, Outbound


class CallbackChannel(Channel):
    """Rasa's own has no message ids: what is sent twice is answered twice, as there."""

    kind = "callback"
    also_at: ClassVar[str] = "webhook"

    def __init__(self, name: str, parameters: Mapping[str, Any], service: Service) -> None:
        super().__init__(name, parameters, service)
        self._token = parameters["token"]
        self._url = parameters["url"]
        self._platform = Platform(service.http, self._url)

    async def receive(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return web.json_response({"status": "ok"})
        given = request.query.get("token") or bearer_token(request)
        if self._token is not None and not same_secret(given, self._token):
            return web.json_response({"status": "failure", "reason": "NotAuthenticated"}, status=401)
        message = wire.parse(await read_body(request))
        if message.text.strip():
            conversation = self.conversation(message.sender, account=message.input_channel or "")
            inbound = Inbound(
                conversation, message.text, metadata=message.metadata, reply_to={"recipient": message.sender}
            )
            await self.service.accept(self, [inbound])
        return web.Response(text="success")

    def render(self, address: dict[str, Any], reply: Outbound) -> list[dict[str, Any]]:
        return wire.render(address["recipient"], reply)

    def address_of(self, user: str, group: str) -> dict[str, Any] | None:  # noqa: ARG002 - there are no groups
        return {"recipient": user}

    async def send(self, delivery: Delivery) -> None:
        answer = await self._platform.call("POST", self._url, body=delivery.payload)
        if not 200 <= answer.status < 300:
            raise DeliveryError(
                f"http_{answer.status}", f"接收方返回 HTTP {answer.status}：请检查 url",
                f"The receiver answers HTTP {answer.status}: check the url",
            )  # fmt: skip

    async def check(self) -> list[Finding]:
        if (await self._platform.call("GET", self._url, judged=False)).status == 404:
            zh, en = "url 的地址不存在（404）：请检查路径", "there is nothing at url (404): check its path"
            return [Finding(ok=False, zh=zh, en=en)]
        note = "" if self._token else "；没有设 token，任何人都能发消息"
        note_en = "" if self._token else "; without a token anybody can write"
        return [Finding(ok=True, zh=f"回复会送到 {self._platform.host}{note}",
                        en=f"replies go to {self._platform.host}{note_en}")]  # fmt: skip
