"""What crosses the border between an outside system and the service."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol


@dataclass(frozen=True, slots=True)
class Conversation:
    """Whose conversation it is. One per (channel, account, user, group): users never see each other's context."""

    channel: str
    user: str
    account: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """An earlier message, for protocols that send the whole conversation with every request."""

    role: Literal["user", "assistant", "system"]
    text: str


@dataclass(frozen=True, slots=True)
class Inbound:
    """One message from outside.

    `message_id` is the platform's own, unique within the conversation; the same one twice is one message.
    `history` is None where the service keeps the conversation itself. `model` names an adapter, None for the active
    one.
    """

    conversation: Conversation
    text: str
    message_id: str | None = None
    history: tuple[Turn, ...] | None = None
    model: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Button:
    """A choice offered to the customer; `payload` is what is sent back when it is pressed."""

    title: str
    payload: str


@dataclass(frozen=True, slots=True)
class Outbound:
    """One piece of a reply.

    `final` False is a piece of text while the reply is still being written (only streaming channels use them); the
    piece with `final` True carries the whole text. `prompt_tokens` and `completion_tokens` count the model's work, 0
    where none ran.
    """

    text: str
    final: bool = True
    buttons: tuple[Button, ...] = ()
    image_url: str | None = None
    custom: dict[str, Any] | None = None
    decision: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Handler(Protocol):
    """The service, as a connector sees it: a message in, the reply's pieces out. Closing the generator cancels it."""

    def __call__(self, inbound: Inbound) -> AsyncGenerator[Outbound, None]: ...
