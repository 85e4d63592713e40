"""A live look at a channel from outside the service: what its platform says, in plain words with the next step."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import aiohttp

from bot.messaging.sources import Configured
from connectors import registry
from connectors.channel import Channel, Finding, Service
from connectors.errors import ConnectorError

if TYPE_CHECKING:
    from connectors.types import Conversation, Delivery, Inbound


class Detached:
    """What a channel needs to look whether it works; it takes and sends nothing."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http
        self.clock = time.time

    async def accept(self, _channel: Channel, _messages: "Sequence[Inbound]") -> list[bool]:
        return []

    async def answers(self, _channel: Channel, _message_id: str, _seconds: float) -> "list[Delivery] | None":
        return None

    def partial(self, _channel: Channel, _message_id: str) -> str:
        return ""

    async def held(self, _channel: Channel, _conversation: "Conversation") -> "list[Delivery]":
        return []

    async def delivered(self, _deliveries: "Sequence[Delivery]") -> None: ...

    async def given_back(self, _deliveries: "Sequence[Delivery]") -> None: ...

    async def recall(self, _channel: Channel, _key: str) -> Any:
        return None

    async def remember(self, _channel: Channel, _key: str, _value: Any) -> None: ...


async def look_at(one: Configured) -> list[Finding]:
    """What a check of one channel finds; a failure is a finding too."""
    async with aiohttp.ClientSession() as http:
        service: Service = Detached(http)
        try:
            return await findings(registry.make(one.table, service))
        except ConnectorError as error:
            return [Finding(ok=False, zh=error.zh, en=error.en)]


async def findings(channel: Channel) -> list[Finding]:
    """The same for a channel at work."""
    try:
        return [*await channel.check(), *notes(channel)]
    except ConnectorError as error:
        return [Finding(ok=False, zh=error.zh, en=error.en)]


def notes(channel: Channel) -> list[Finding]:
    """What is given and does nothing: whoever set it may count on it."""
    mode = channel.parameters.get("mode")
    return [
        Finding(
            ok=True,
            zh=f"mode = {mode} 用不到 {one.name}（{one.zh}），它不起作用，可以删去",
            en=f"mode = {mode} has no use for {one.name} ({one.en}): it does nothing and may go",
        )
        for one in registry.unused(channel.kind, channel.parameters)
    ]
