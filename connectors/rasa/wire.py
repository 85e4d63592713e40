"""Rasa's channels: wire ↔ messages.

Source: Rasa 3.6, `rasa/core/channels/rest.py`, `socketio.py` and `channel.py` (Apache-2.0), and its documentation
"Your Own Website".
"""

from dataclasses import dataclass
from typing import Any

from connectors.errors import ConnectorError
from connectors.http import json_object
from connectors.types import Outbound

DEFAULT_SENDER = "default"
SENDER_CHARACTERS_MAX = 256


@dataclass(frozen=True, slots=True)
class RestMessage:
    """One request. `text` is empty where the request carries no message."""

    sender: str
    text: str
    input_channel: str | None
    metadata: dict[str, Any]


def parse(body: bytes) -> RestMessage:
    """Read the body of `POST /webhooks/rest/webhook`.

    Raises:
        ConnectorError: it is no JSON object, or a field is of a wrong kind.
    """
    fields = json_object(body)
    sender = fields.get("sender")
    if sender is None or sender == "":
        sender = DEFAULT_SENDER
    if isinstance(sender, bool) or not isinstance(sender, str | int):
        raise _wrong("sender", "文字或整数", "a string or an integer")
    text = fields.get("message")
    if text is not None and not isinstance(text, str):
        raise _wrong("message", "文字", "a string")
    channel = fields.get("input_channel")
    metadata = fields.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise _wrong("metadata", "对象", "an object")
    return RestMessage(
        sender=str(sender)[:SENDER_CHARACTERS_MAX],
        text=text or "",
        input_channel=channel if isinstance(channel, str) else None,
        metadata=metadata or {},
    )


def render(recipient: str, reply: Outbound) -> list[dict[str, Any]]:
    """The messages one reply becomes, as Rasa's collecting channel makes them: text split at blank lines."""
    messages: list[dict[str, Any]] = []
    if reply.buttons:
        buttons = [{"title": button.title, "payload": button.payload} for button in reply.buttons]
        messages.append({"recipient_id": recipient, "text": reply.text, "buttons": buttons})
    else:
        parts = reply.text.strip().split("\n\n") if reply.text.strip() else []
        messages += [{"recipient_id": recipient, "text": part} for part in parts]
    if reply.image_url:
        messages.append({"recipient_id": recipient, "image": reply.image_url})
    if reply.custom:
        messages.append({"recipient_id": recipient, "custom": reply.custom})
    return messages


def bot_uttered(reply: Outbound) -> list[dict[str, Any]]:
    """The payloads of the `bot_uttered` events that one reply becomes in Rasa's Socket.IO channel."""
    events: list[dict[str, Any]] = []
    if reply.buttons:
        choices = [{"content_type": "text", "title": one.title, "payload": one.payload} for one in reply.buttons]
        events.append({"text": reply.text, "quick_replies": choices})
    elif reply.text.strip():
        events.append({"text": reply.text})
    if reply.image_url:
        events.append({"attachment": {"type": "image", "payload": {"src": reply.image_url}}})
    if reply.custom:
        events.append(reply.custom)
    return events


def _wrong(field: str, zh: str, en: str) -> ConnectorError:
    return ConnectorError(
        "invalid_field", f"字段 {field} 应是{zh}", f"The field {field} must be {en}", status=400, field=field
    )
