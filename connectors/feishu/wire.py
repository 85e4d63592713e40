"""Feishu: event callbacks (v2, plain and encrypted) ↔ messages.

Source: open.feishu.cn, "事件概述 → 配置 Encrypt Key", "接收消息 im.message.receive_v1", "发送消息", "回复消息".
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors.errcodes import table
from connectors.errors import refused
from connectors.http import json_object
from connectors.markdown import pieces, plain
from connectors.text import GENERATED, in_bytes
from connectors.types import EventKind, Media, MediaKind, Outbound

TEXT_BYTES_MAX = 28_000  # what also fits into a card of 30 KB
ELEMENT = "answer"
MEDIA: dict[str, MediaKind] = {
    "image": "image", "file": "file", "audio": "voice", "media": "video", "sticker": "sticker",
    "share_chat": "other", "share_user": "other", "location": "other",
}  # fmt: skip
MEANINGS = table("""
-1 retry
    飞书系统繁忙，稍后自动重试
    Feishu is busy; it is tried again
10003 retry
    app_id 或 app_secret 不对：请从开发者后台「凭证与基础信息」复制
    app_id or app_secret is wrong: copy them from the developer console
10014 retry
    app_secret 不对：请从开发者后台「凭证与基础信息」复制
    app_secret is wrong: copy it from the developer console
99991400 retry 1
    调用太频繁
    calls come too fast
99991663 retry
    tenant_access_token 无效：请检查 app_id 和 app_secret 是否同一个应用的
    the tenant access token is not valid: check that app_id and app_secret are of one application
99991672 retry
    应用没有该权限：请在「权限管理」开通 im:message 并发布新版本
    the application lacks the permission: add im:message and publish a version
230001 dead
    发送参数不对
    a parameter of the message is wrong
230002 dead
    机器人不在这个群里
    the bot is not in this chat
230006 retry
    没有启用机器人能力：请在「添加应用能力」添加机器人并发布
    the bot is not enabled: add it to the application and publish
230013 dead
    用户不在机器人的可用范围内
    the user may not use the bot
230020 retry 1
    给这个群发送太快
    messages to this chat come too fast
""")
MEANINGS[99991661] = MEANINGS[99991664] = MEANINGS[99991668] = MEANINGS[99991671] = MEANINGS[99991663]
TOKEN_REFUSED = frozenset({99991661, 99991663, 99991664, 99991668, 99991671})


@dataclass(frozen=True, slots=True)
class Message:
    """One event. `mentions` are the open ids that a group message names."""

    key: str
    user: str
    chat: str
    group: bool
    message_id: str
    text: str = ""
    media: Media | None = None
    event: EventKind | None = None
    pressed: bool = False
    mentions: tuple[str, ...] = ()


def decrypt(encrypt_key: str, encrypted: str) -> bytes:
    """The plaintext of an `encrypt` field. Raises ConnectorError."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    try:
        raw = base64.b64decode(encrypted, validate=True)
    except (binascii.Error, ValueError):
        raise refused() from None
    if len(raw) < 32 or len(raw) % 16:
        raise refused()
    cipher = Cipher(algorithms.AES(hashlib.sha256(encrypt_key.encode()).digest()), modes.CBC(raw[:16])).decryptor()
    text = cipher.update(raw[16:]) + cipher.finalize()
    pad = text[-1]
    if not 1 <= pad <= 16 or text[-pad:] != bytes([pad]) * pad:
        raise refused()
    return text[:-pad]


def is_signed(encrypt_key: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether the signature over the body as it came is right."""
    stamp, nonce = headers.get("X-Lark-Request-Timestamp", ""), headers.get("X-Lark-Request-Nonce", "")
    expected = hashlib.sha256((stamp + nonce + encrypt_key).encode() + body).hexdigest()
    return hmac.compare_digest(headers.get("X-Lark-Signature", "").encode(), expected.encode())


def open_event(body: bytes, headers: Mapping[str, str], token: str, encrypt_key: str | None) -> dict[str, Any]:
    """The event in a callback that is Feishu's own.

    With an encrypt key the signature decides; only the confirmation of the address may come without one. The token
    inside is compared in any case. Raises ConnectorError.
    """
    event = json_object(body)
    if isinstance(event.get("encrypt"), str):
        if not encrypt_key:
            raise refused()
        event = json_object(decrypt(encrypt_key, event["encrypt"]))
    elif encrypt_key and not is_signed(encrypt_key, headers, body):
        raise refused()
    header = event.get("header")
    given = header.get("token") if isinstance(header, dict) else event.get("token")
    if not hmac.compare_digest(str(given or "").encode(), token.encode()):
        raise refused()
    confirming = event.get("type") == "url_verification" and "challenge" in event and not isinstance(header, dict)
    if encrypt_key and not confirming and not is_signed(encrypt_key, headers, body):
        raise refused()
    return event


def parse(event: Mapping[str, Any]) -> Message | None:
    """The message in an event; None for one of a type that needs no answer."""
    header, content = event.get("header"), event.get("event")
    if not isinstance(header, dict) or not isinstance(content, dict):
        return None
    kind, event_id = header.get("event_type"), str(header.get("event_id", ""))
    if kind == "im.message.receive_v1":
        return _message(content)
    if kind == "card.action.trigger":
        return _pressed(content, event_id)
    if kind == "im.chat.access_event.bot_p2p_chat_entered_v1" and not content.get("last_message_id"):
        user = _path(content, "operator_id", "open_id")
        chat = str(content.get("chat_id", ""))
        return Message(event_id, user, chat, group=False, message_id="", event="welcome") if user else None
    return None


def _message(content: Mapping[str, Any]) -> Message | None:
    message, user = content.get("message"), _path(content, "sender", "sender_id", "open_id")
    if not isinstance(message, dict) or not user or _path(content, "sender", "sender_type") not in ("user", ""):
        return None
    id_, kind = str(message.get("message_id", "")), str(message.get("message_type", ""))
    body = json_object(str(message.get("content") or "{}"))
    named = message.get("mentions")
    mentions = [one for one in named if isinstance(one, dict)] if isinstance(named, list) else []
    if kind == "text":
        text, media = str(body.get("text", "")), None
    elif kind == "post":
        text, media = _post(body), None
    elif kind in MEDIA:
        text, media = "", Media(MEDIA[kind], str(body.get("file_key") or body.get("image_key") or ""))
    else:
        return None
    for one in mentions:
        text = text.replace(str(one.get("key", "")) or "\0", "")
    group = message.get("chat_type") != "p2p"
    ids = tuple(_path(one, "id", "open_id") for one in mentions)
    return Message(id_, user, str(message.get("chat_id", "")), group, id_, text.strip(), media, mentions=ids)


def _post(body: Mapping[str, Any]) -> str:
    """The words of a rich text."""
    lines = [str(body.get("title") or "")]
    content = body.get("content")
    for row in content if isinstance(content, list) else []:
        parts = [one for one in row if isinstance(one, dict)] if isinstance(row, list) else []
        lines.append("".join(str(one.get("text", "")) for one in parts if one.get("tag") in ("text", "a", "md")))
    return "\n".join(line for line in lines if line)


def _pressed(content: Mapping[str, Any], event_id: str) -> Message | None:
    user, text = _path(content, "operator", "open_id"), _path(content, "action", "value", "text")
    chat, message_id = _path(content, "context", "open_chat_id"), _path(content, "context", "open_message_id")
    if not user or not text:
        return None
    group = _path(content, "action", "value", "group") == "yes"
    return Message(event_id, user, chat, group, message_id, text, pressed=True)


def _path(value: Any, *names: str) -> str:
    """A text deep inside, "" where there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


def render(address: Mapping[str, Any], reply: Outbound) -> list[dict[str, Any]]:
    """A reply as texts; a choice as a card with buttons."""
    text = f"{reply.text}\n\n{GENERATED}" if reply.generated else reply.text
    text = f"{text}\n{reply.image_url}" if reply.image_url else text
    if not reply.buttons:
        made = [{"msg_type": "text", "content": {"text": one}} for one in pieces(text, TEXT_BYTES_MAX, in_bytes)]
        if len(made) == 1 and made[0]["content"] != {"text": text}:
            made[0]["markdown"] = text  # a card shows it as it was written
        return made
    group = "yes" if address.get("group") else "no"
    buttons = [
        {"tag": "button", "text": {"tag": "plain_text", "content": one.title},
         "value": {"text": one.payload, "group": group}}
        for one in reply.buttons
    ]  # fmt: skip
    card = {
        "config": {"wide_screen_mode": True},
        "elements": [
            {"tag": "div", "text": {"tag": "plain_text", "content": plain(text)[0]}},
            {"tag": "action", "layout": "flow", "actions": buttons},
        ],
    }
    return [{"msg_type": "interactive", "content": card}]


def streaming_card(text: str) -> dict[str, Any]:
    """A card whose one element takes the words of an answer while they are written (card JSON 2.0)."""
    return {
        "schema": "2.0",
        "config": {"streaming_mode": True, "summary": {"content": ""}, "update_multi": True},
        "body": {"elements": [{"tag": "markdown", "element_id": ELEMENT, "content": card_text(text)}]},
    }


def card_text(markdown: str) -> str:
    """Words for a card: Markdown as it is, but no element of Feishu's own, such as one that calls everybody."""
    return markdown.replace("<", "&#60;")
