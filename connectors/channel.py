"""What every messaging channel is: callbacks in, messages out; the service behind it keeps, answers and delivers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import aiohttp
from aiohttp import web

from connectors.delivery import SCHEDULE
from connectors.errors import ConnectorError
from connectors.pacing import Pace, Window
from connectors.types import Conversation, Delivery, Inbound, Outbound


@dataclass(frozen=True, slots=True)
class Finding:
    """What a live check saw, in plain words with the next step."""

    ok: bool
    zh: str
    en: str


class Service(Protocol):
    """What a channel is given. `http` calls out; `clock()` is the time of day in seconds."""

    http: aiohttp.ClientSession
    clock: Callable[[], float]

    async def accept(self, channel: "Channel", messages: Sequence[Inbound]) -> list[bool]:
        """Keep messages so that no kill loses them, and answer them in the background; True for each that is new.

        A message is known by the channel and its `message_id`. When this returns, the platform may be told so.
        """
        ...

    async def answers(self, channel: "Channel", message_id: str, seconds: float) -> list[Delivery] | None:
        """What answers a message and is not sent yet, waiting so long for it; None where there is no answer by then.

        It is the caller's now: each of them must end in `delivered` or `given_back`.
        """
        ...

    def partial(self, channel: "Channel", message_id: str) -> str:
        """The words so far of an answer that is being written."""
        ...

    async def held(self, channel: "Channel", conversation: Conversation) -> list[Delivery]:
        """What is held for a customer until they write again (`DeliveryError.outcome` "held"); the caller's now."""
        ...

    async def delivered(self, deliveries: Sequence[Delivery]) -> None:
        """The customer got them."""
        ...

    async def given_back(self, deliveries: Sequence[Delivery]) -> None:
        """They were not sent after all; they go out the usual way."""
        ...

    async def recall(self, channel: "Channel", key: str) -> Any:
        """What was remembered under a key, None without it."""
        ...

    async def remember(self, channel: "Channel", key: str, value: Any) -> None:
        """Keep a small value, such as a cursor, or forget it (None); once this returns, no kill loses it."""
        ...


class Channel:
    """One configured channel. Subclasses say what their platform does; nothing here knows a platform.

    `hold_seconds` is how long an answer waits before it is pushed, for channels that answer within the callback.
    `also_at` is a second name in the address, where a protocol fixes it.
    `has_desk`: staff reply on the platform itself.
    """

    kind: ClassVar[str]
    pace: ClassVar[Pace] = Pace()
    window: ClassVar[Window | None] = None
    schedule: ClassVar[tuple[float, ...]] = SCHEDULE
    hold_seconds: ClassVar[float] = 0.0
    also_at: ClassVar[str] = ""
    has_desk: ClassVar[bool] = False

    def __init__(self, name: str, parameters: Mapping[str, Any], service: Service) -> None:
        self.name = name
        self.service = service
        self.parameters = parameters

    @property
    def id(self) -> str:
        """`kind/name`, unique in an installation."""
        return f"{self.kind}/{self.name}"

    def conversation(self, user: str, group: str = "", account: str = "") -> Conversation:
        """Whose conversation a message belongs to. The kind is part of it: two kinds may bear one name."""
        return Conversation(self.name, user, f"{self.kind}:{account}" if account else self.kind, group)

    async def receive(self, request: web.Request) -> web.StreamResponse:  # noqa: ARG002 - for those that take calls
        """Answer a call to `/webhooks/{kind}/{name}`. Raises ConnectorError for what cannot be believed or read."""
        raise ConnectorError("not_found", "这个渠道没有回调地址", "This channel takes no callbacks", status=404)

    def render(self, address: dict[str, Any], reply: Outbound) -> list[dict[str, Any]]:
        """The platform's messages that a reply becomes, in order."""
        raise NotImplementedError

    async def send(self, delivery: Delivery) -> None:
        """Send one of them. Raises DeliveryError."""
        raise NotImplementedError

    async def typing(self, address: dict[str, Any]) -> None:
        """Show the customer that an answer is being written, where the platform can. Failing is no matter."""

    async def show(self, address: dict[str, Any], text: str) -> None:
        """Show the customer all the words so far of an answer that is being written, where the platform can.

        `address` is where the message came from (`Inbound.reply_to`). The answer itself goes out by `send` in any case.
        Raises DeliveryError; whether it is worth trying again is its `outcome`.
        """

    async def check(self) -> list[Finding]:
        """Look whether the platform would serve us. Raises DeliveryError."""
        return []

    async def hang_up(self) -> None:
        """End the connections that are held open: the service stops, and waits for whoever is connected."""

    async def run(self) -> None:
        """What the channel does beside callbacks, until cancelled: polling, a stream."""

    def address_of(self, user: str, group: str) -> dict[str, Any] | None:  # noqa: ARG002 - for those that have one
        """Where to write to somebody of whom no message is remembered; None where the platform has no such way."""
        return None

    def unasked(self, address: dict[str, Any]) -> dict[str, Any]:
        """Where to write to somebody who did not just ask, given where their newest message came from: the same place,
        without what would make it an answer to that message."""
        return address
