"""What crosses the border between an outside system and the service."""

from collections.abc import AsyncGenerator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

MediaKind = Literal["image", "voice", "video", "file", "sticker", "other"]
EventKind = Literal["welcome", "left", "other"]


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
class Media:
    """An image, a file or a voice message. `id` is the platform's own name of it; its content is never fetched."""

    kind: MediaKind
    id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Location:
    """A place on the map, in degrees."""

    latitude: float
    longitude: float
    label: str = ""


@dataclass(frozen=True, slots=True)
class Inbound:
    """One message from outside.

    `message_id` is the platform's own, unique within the conversation; the same one twice is one message.
    `history` is None where the service keeps the conversation itself. `model` names an adapter, None for the active
    one. `text` is also the transcript of a voice message, and what a pressed button sends (`pressed` is then true).
    `reply_to` is what the channel needs to answer, opaque to everything else. `nickname` is what the platform calls the
    user, "" where it does not say.
    """

    conversation: Conversation
    text: str
    message_id: str | None = None
    history: tuple[Turn, ...] | None = None
    model: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    media: Media | None = None
    location: Location | None = None
    pressed: bool = False
    event: EventKind | None = None
    reply_to: dict[str, Any] = field(default_factory=dict)
    nickname: str = ""

    def to_json(self) -> dict[str, Any]:
        """For a message that waits in the database; a whole conversation (`history`) never does."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Inbound":
        """Back from `to_json`."""
        media, location = value.get("media"), value.get("location")
        return cls(
            conversation=Conversation(**value["conversation"]),
            text=value["text"],
            message_id=value["message_id"],
            model=value["model"],
            metadata=value["metadata"],
            media=Media(**media) if media else None,
            location=Location(**location) if location else None,
            pressed=value["pressed"],
            event=value["event"],
            reply_to=value["reply_to"],
            nickname=value.get("nickname", ""),  # not in what an earlier version kept
        )


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
    generated: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Handler(Protocol):
    """The service, as a connector sees it: a message in, the reply's pieces out. Closing the generator cancels it."""

    def __call__(self, inbound: Inbound) -> AsyncGenerator[Outbound, None]: ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message of the platform on its way out. `id` is the same at every attempt, for platforms that know it again.

    `recipient` names whom it goes to: one after the other, in order. `age_seconds` counts from its first attempt on.
    `answers` tells the answer to a message from what somebody writes first.
    """

    id: str
    recipient: str
    address: dict[str, Any]
    payload: dict[str, Any]
    attempts: int = 0
    age_seconds: float = 0.0
    answers: bool = False
