"""The generic webhook: signed messages in at `/webhooks/webhook/NAME`, signed replies out to `url`."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from aiohttp import web

from connectors.calls import Platform
from connectors.channel import Channel, Finding, Service
from connectors.errors import DeliveryError
from connectors.http import read_body
from connectors.pacing import Pace, Rate
from connectors.types import Delivery, Inbound, Outbound
from connectors.webhook import wire

HOUR = 3600.0
# A receiver that answered 410 is asked again after that: it may have come back, and nobody else would notice.
GONE_SECONDS = HOUR


class WebhookChannel(Channel):
    """Standard Webhooks in and out."""

    kind = "webhook"
    # The company's own receiver: it says 429 where that is too fast.
    pace: ClassVar[Pace] = Pace(everyone=Rate(200, 1.0), each=Rate(20, 1.0))
    # The specification's own; the first attempt is made at once.
    schedule: ClassVar[tuple[float, ...]] = (
        5.0, 300.0, 1800.0, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR,
    )  # fmt: skip

    def __init__(self, name: str, parameters: Mapping[str, Any], service: Service) -> None:
        super().__init__(name, parameters, service)
        self._key = wire.key_of(parameters["secret"])
        self._url = str(parameters["url"])
        self._platform = Platform(service.http, self._url)
        self._gone_until = 0.0

    async def receive(self, request: web.Request) -> web.StreamResponse:
        if request.method != "POST":
            raise web.HTTPMethodNotAllowed(request.method, ["POST"])
        body = await read_body(request)
        delivery_id = wire.verify(self._key, request.headers, body, self.service.clock())
        message = wire.parse(body)
        id_ = message.message_id or delivery_id
        inbound = Inbound(
            self.conversation(message.sender),
            message.text,
            # A program may number each customer's messages from 1.
            f"{message.sender}/{message.message_id}" if message.message_id else id_,
            metadata=message.metadata,
            reply_to={"recipient": message.sender, "in_reply_to": id_},
            nickname=str(message.metadata.get("nickname") or ""),
        )
        await self.service.accept(self, [inbound])
        return web.json_response({"status": "ok"})

    def render(self, address: dict[str, Any], reply: Outbound) -> list[dict[str, Any]]:
        return [wire.render(address, reply)]

    def address_of(self, user: str, group: str) -> dict[str, Any] | None:  # noqa: ARG002 - there are no groups
        return {"recipient": user, "in_reply_to": None}

    def unasked(self, address: dict[str, Any]) -> dict[str, Any]:
        return {**address, "in_reply_to": None}

    async def send(self, delivery: Delivery) -> None:
        if self.service.clock() < self._gone_until:
            raise self._disabled()
        await self._post(delivery.id, delivery.payload)

    async def check(self) -> list[Finding]:
        await self._post("check", {"type": "check", "data": {}})
        host = urlsplit(self._url).netloc
        return [Finding(ok=True, zh=f"{host} 收下了测试消息", en=f"{host} took the test message")]

    async def _post(self, id_: str, payload: dict[str, Any]) -> None:
        body = json.dumps(payload, ensure_ascii=False).encode()
        now = int(self.service.clock())
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "webhook-id": id_,
            "webhook-timestamp": str(now),
            "webhook-signature": wire.sign(self._key, id_, now, body),
        }
        answer = await self._platform.call("POST", self._url, data=body, headers=headers)
        if answer.status == 410:
            self._gone_until = self.service.clock() + GONE_SECONDS
            raise self._disabled()
        if not 200 <= answer.status < 300:
            raise DeliveryError(
                f"http_{answer.status}",
                f"接收方返回 HTTP {answer.status}：请检查 url 和对方的验签",
                f"The receiver answers HTTP {answer.status}: check the url and its verification",
            )

    def _disabled(self) -> DeliveryError:
        return DeliveryError(
            "gone",
            "接收方返回 410，不再接收，一小时内不再发给它：请改正 url（写在配置文件里的要重启），再重发",
            "The receiver answered 410 and takes no more; nothing goes there for an hour: correct the url (and "
            "restart, where it is in the file), then resend",
            outcome="dead",
        )
