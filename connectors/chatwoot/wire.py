"""Chatwoot: webhooks ↔ messages.

Source: developers.chatwoot.com, agent bots; signatures as in chatwoot/chatwoot lib/webhooks/trigger.rb (MIT).
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors.text import GENERATED, numbered
from connectors.types import Media, Outbound


@dataclass(frozen=True, slots=True)
class Message:
    """A customer's message in a conversation that waits for the bot."""

    key: str
    user: str
    conversation: str
    text: str
    media: Media | None
    nickname: str = ""


def is_signed(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether the signature over time and body is right."""
    stamp = headers.get("X-Chatwoot-Timestamp", "")
    expected = "sha256=" + hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(headers.get("X-Chatwoot-Signature", "").encode(), expected.encode())


def parse(event: Mapping[str, Any], account_id: str) -> Message | None:
    """The message to answer; None for what the bot said itself, notes, and conversations that a person has."""
    conversation, sender, account = (_object(event, name) for name in ("conversation", "sender", "account"))
    if event.get("event") != "message_created" or event.get("message_type") not in ("incoming", 0):
        return None
    if event.get("private") or conversation.get("status") != "pending":
        return None
    id_, number = event.get("id"), conversation.get("id")
    if id_ is None or not isinstance(number, int) or str(account.get("id")) != account_id:
        return None
    media = Media("file") if event.get("attachments") else None
    user, text, nickname = str(sender.get("id", "")), str(event.get("content") or ""), str(sender.get("name") or "")
    return Message(str(id_), user, str(number), text, media, nickname)


def _object(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def render(reply: Outbound) -> list[dict[str, Any]]:
    """A reply as one message (Chatwoot shows Markdown); a handoff opens the conversation for the staff."""
    text = f"{reply.text}\n\n{GENERATED}" if reply.generated else reply.text
    text = f"{text}\n{reply.image_url}" if reply.image_url else text
    text = f"{text}\n{numbered(reply.buttons)}" if reply.buttons else text
    made: list[dict[str, Any]] = [{"content": text}] if text.strip() else []
    if reply.decision == "handoff":
        made.append({"status": "open"})
    return made
