"""DingTalk robots: callbacks and stream frames ↔ messages.

Source: open.dingtalk.com, "接收消息", "Stream 模式", "AI 卡片流式更新"; frames and cards as in
open-dingtalk/dingtalk-stream-sdk-python (MIT).
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors.errcodes import table
from connectors.errors import ConnectorError, refused
from connectors.freshness import check_fresh
from connectors.markdown import pieces
from connectors.text import GENERATED, in_bytes, numbered
from connectors.types import Media, MediaKind, Outbound

TOLERANCE_SECONDS = 3600
TEXT_BYTES_MAX = 15_000
BOT_MESSAGES = "/v1.0/im/bot/messages/get"
MEDIA: dict[str, MediaKind] = {"picture": "image", "video": "video", "file": "file", "audio": "voice"}
MEANINGS = table("""
-1 retry
    钉钉系统繁忙，稍后自动重试
    DingTalk is busy; it is tried again
130101 retry 600
    发送太快，机器人被限流十分钟
    the robot sent too fast and is held back for ten minutes
300001 retry
    会话回复地址已失效，改用接口发送
    the conversation's address is no longer valid; the API is used instead
310000 dead
    机器人的安全设置不允许这条内容
    the robot's security settings refuse this content
""")


@dataclass(frozen=True, slots=True)
class Message:
    """One message to the robot. `group` is "" for a private one; `address` is what answering needs."""

    key: str
    user: str
    group: str
    text: str
    media: Media | None
    address: dict[str, Any]
    nickname: str = ""


def sign(secret: str, timestamp: str) -> str:
    """The `sign` header of a robot's callback. It covers the time alone, not the body."""
    signed = hmac.new(secret.encode(), f"{timestamp}\n{secret}".encode(), hashlib.sha256).digest()
    return base64.b64encode(signed).decode()


def verify(secret: str, headers: Mapping[str, str], now: float) -> None:
    """Raises ConnectorError where a callback is not DingTalk's, or its time is more than an hour away."""
    stamp, given = headers.get("timestamp", ""), headers.get("sign", "").replace(" ", "+")
    if not hmac.compare_digest(given.encode(), sign(secret, stamp).encode()):
        raise refused()
    check_fresh(stamp, now, TOLERANCE_SECONDS)


def parse(body: Mapping[str, Any]) -> Message | None:
    """The message in a callback; None for one of a type that needs no answer. Raises ConnectorError."""
    key, user = str(body.get("msgId") or ""), str(body.get("senderStaffId") or body.get("senderId") or "")
    kind = str(body.get("msgtype") or "")
    if not key or not user:
        raise ConnectorError("invalid_message", "消息缺少发送者或编号", "The message lacks its sender or its id")
    group = str(body.get("conversationId") or "") if str(body.get("conversationType")) == "2" else ""
    text, media = _content(kind, body)
    if text is None and media is None:
        return None
    address = {
        "staff": str(body.get("senderStaffId") or ""),
        "group": group,
        "robot": str(body.get("robotCode") or ""),
        "webhook": str(body.get("sessionWebhook") or ""),
        "until_ms": _milliseconds(body.get("sessionWebhookExpiredTime")),
        "message": key,
    }
    return Message(key, user, group, (text or "").strip(), media, address, str(body.get("senderNick") or ""))


def _milliseconds(value: Any) -> int:
    """A time, 0 for what is none: that is over, and the API answers."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return 0


def _content(kind: str, body: Mapping[str, Any]) -> tuple[str | None, Media | None]:
    content = body.get("content")
    content = content if isinstance(content, dict) else {}
    if kind == "text":
        text = body.get("text")
        return str(text.get("content", "")) if isinstance(text, dict) else "", None
    if kind == "richText":
        parts = content.get("richText")
        texts = [str(one.get("text", "")) for one in parts if isinstance(one, dict)] if isinstance(parts, list) else []
        return "".join(texts), None
    if kind in MEDIA:
        return str(content.get("recognition") or ""), Media(MEDIA[kind], str(content.get("downloadCode") or ""))
    return None, None


def render(reply: Outbound) -> list[dict[str, Any]]:
    """A reply as texts."""
    text = f"{reply.text}\n\n{GENERATED}" if reply.generated else reply.text
    text = f"{text}\n{reply.image_url}" if reply.image_url else text
    text = f"{text}\n{numbered(reply.buttons)}" if reply.buttons else text
    made = [{"text": piece} for piece in pieces(text, TEXT_BYTES_MAX, in_bytes)]
    if len(made) == 1 and made[0]["text"] != text:
        made[0]["markdown"] = text  # a card shows it as it was written
    return made


def session_message(address: Mapping[str, Any], text: str) -> dict[str, Any]:
    """The body for a `sessionWebhook`; in a group the asker is mentioned."""
    body: dict[str, Any] = {"msgtype": "text", "text": {"content": text}}
    if address.get("group") and address.get("staff"):
        body["at"] = {"atUserIds": [address["staff"]]}
    return body


def api_message(address: Mapping[str, Any], robot: str, text: str) -> tuple[str, dict[str, Any]]:
    """Place and body for the robot's API, for when the webhook is over."""
    content = {
        "robotCode": robot,
        "msgKey": "sampleText",
        "msgParam": json.dumps({"content": text}, ensure_ascii=False),
    }
    if address.get("group"):
        return "/v1.0/robot/groupMessages/send", {**content, "openConversationId": address["group"]}
    return "/v1.0/robot/oToMessages/batchSend", {**content, "userIds": [address["staff"]]}


def card_message(address: Mapping[str, Any], robot: str, template: str, id_: str) -> dict[str, Any]:
    """The body that puts a new card into a conversation. `id_` (outTrackId) is ours: by it the card is found again."""
    body: dict[str, Any] = {
        "cardTemplateId": template,
        "outTrackId": id_,
        "callbackType": "STREAM",
        "cardData": {"cardParamMap": {}},
        "userIdType": 1,
    }
    if address["group"]:
        return body | {
            "openSpaceId": f"dtv1.card//IM_GROUP.{address['group']}",
            "imGroupOpenSpaceModel": {"supportForward": True},
            "imGroupOpenDeliverModel": {"robotCode": robot},
        }
    return body | {
        "openSpaceId": f"dtv1.card//IM_ROBOT.{address['staff']}",
        "imRobotOpenSpaceModel": {"supportForward": True},
        "imRobotOpenDeliverModel": {"spaceType": "IM_ROBOT", "robotCode": robot},
    }


def card_words(id_: str, key: str, text: str, guid: str, *, last: bool) -> dict[str, Any]:
    """The body that shows all the words so far; the same `guid` twice is one update."""
    return {
        "outTrackId": id_, "guid": guid, "key": key, "content": text, "isFull": True, "isFinalize": last,
        "isError": False,
    }  # fmt: skip


def ack(headers: Mapping[str, Any], data: str, code: int = 200) -> dict[str, Any]:
    """The answer to a stream frame."""
    return {
        "code": code,
        "headers": {"messageId": headers.get("messageId"), "contentType": "application/json"},
        "message": "OK" if code == 200 else "failed",
        "data": data,
    }
