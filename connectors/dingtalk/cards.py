"""钉钉 AI 卡片: an answer that grows while it is written, in a template made in DingTalk's card builder."""

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors.dingtalk import wire
from connectors.dingtalk.client import DingTalkClient

CREATE, STREAM = "/v1.0/card/instances/createAndDeliver", "/v1.0/card/streaming"


@dataclass(frozen=True, slots=True)
class DingTalkCards:
    """`connectors.cards.CardApi`. `template` is the card's, `key` its variable that takes the words."""

    client: DingTalkClient
    template: str
    key: str

    async def prepare(self, message: str, text: str) -> dict[str, Any]:  # noqa: ARG002 - it is created when presented
        return {"id": hashlib.sha256(f"{self.client.client_id}/{message}".encode()).hexdigest()}

    async def present(self, card: Mapping[str, Any], message: str, address: Mapping[str, Any]) -> None:  # noqa: ARG002
        robot = address["robot"] or self.client.client_id
        await self._call("POST", CREATE, wire.card_message(address, robot, self.template, card["id"]))

    async def write(self, card: Mapping[str, Any], text: str) -> None:
        await self._call("PUT", STREAM, wire.card_words(card["id"], self.key, text, uuid.uuid4().hex, last=False))

    async def finish(self, card: Mapping[str, Any], text: str, id_: str) -> None:
        await self._call("PUT", STREAM, wire.card_words(card["id"], self.key, text, id_, last=True))

    async def _call(self, method: str, place: str, body: Mapping[str, Any]) -> None:
        # No permission, no such template: trying again helps nobody, and the answer goes out as text.
        await self.client.call(method, place, body, refusal="dead")
