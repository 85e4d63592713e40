"""Standard Webhooks: signatures, and a generic message.

Source: https://github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors.errors import ConnectorError, refused
from connectors.http import json_object
from connectors.types import Outbound

TOLERANCE_SECONDS = 300
PREFIX = "whsec_"
SENDER_CHARACTERS_MAX = 256


@dataclass(frozen=True, slots=True)
class Message:
    """One message from a program. `message_id` is None where it names none: then the delivery's own id stands in."""

    sender: str
    text: str
    message_id: str | None
    metadata: dict[str, Any]


def key_of(secret: str) -> bytes:
    """The key of a secret, with or without its prefix and padding. Raises ConnectorError for an empty or broken one."""
    text = secret.removeprefix(PREFIX)
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ConnectorError(
            "secret", "secret 必须是 Base64（可带 whsec_ 前缀），且不能为空",
            "secret must be base64, with or without whsec_, and not empty", field="secret",
        )  # fmt: skip
    return key


def sign(key: bytes, id_: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` of a delivery."""
    signed = hmac.new(key, f"{id_}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(signed).decode()


def verify(key: bytes, headers: Mapping[str, str], body: bytes, now: float) -> str:
    """The delivery's id, where one of its signatures is right and it is not older or newer than five minutes.

    Raises:
        ConnectorError: with status 401.
    """
    id_, stamp, given = (headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
    if not id_ or not given or not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        raise refused(401)
    if abs(now - int(stamp)) > TOLERANCE_SECONDS:
        raise refused(401)
    expected = sign(key, id_, int(stamp), body).encode()
    # All are compared, so that the time does not tell which one was near.
    if not sum(hmac.compare_digest(one.encode(), expected) for one in given.split(" ")):
        raise refused(401)
    return id_


def parse(body: bytes) -> Message:
    """A generic message. Raises ConnectorError naming the field."""
    fields = json_object(body)
    sender, text, message_id = fields.get("sender"), fields.get("text"), fields.get("message_id")
    if isinstance(sender, bool) or not isinstance(sender, str | int) or sender == "":
        raise _wrong("sender", "非空的文字或整数", "a non-empty string or an integer")
    if not isinstance(text, str):
        raise _wrong("text", "文字", "a string")
    if len(str(sender)) > SENDER_CHARACTERS_MAX:
        # Cut, two customers could become one, and the reply would be to somebody the program does not know.
        raise _wrong("sender", f"最多 {SENDER_CHARACTERS_MAX} 个字", f"at most {SENDER_CHARACTERS_MAX} characters")
    if message_id is not None and (isinstance(message_id, bool) or not isinstance(message_id, str | int)):
        raise _wrong("message_id", "文字或整数", "a string or an integer")
    metadata = fields.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise _wrong("metadata", "对象", "an object")
    return Message(str(sender), text, None if message_id in (None, "") else str(message_id), metadata)


def render(address: Mapping[str, Any], reply: Outbound) -> dict[str, Any]:
    """A reply as it is delivered; its text stays Markdown, for the receiver knows what it can show."""
    data: dict[str, Any] = {
        "recipient": address["recipient"],
        "text": reply.text,
        "suggestions": [button.title for button in reply.buttons],
        "in_reply_to": address.get("in_reply_to"),
    }
    if reply.generated:
        data["generated"] = True
    if reply.decision:
        data["decision"] = reply.decision
    if reply.image_url:
        data["image_url"] = reply.image_url
    if reply.custom:
        data["custom"] = reply.custom
    return {"type": "message", "data": data}


def _wrong(field: str, zh: str, en: str) -> ConnectorError:
    return ConnectorError("invalid_field", f"字段 {field} 应是{zh}", f"The field {field} must be {en}", field=field)
