"""Telegram: updates ↔ messages.

Source: core.telegram.org/bots/api (Update, Message, sendMessage, ResponseParameters).
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors.calls import Answer, too_many
from connectors.errors import ConnectorError, DeliveryError
from connectors.markdown import pieces
from connectors.text import GENERATED, in_utf16
from connectors.types import EventKind, Location, Media, MediaKind, Outbound

TEXT_UNITS_MAX = 4096
CALLBACK_BYTES_MAX = 64
MEDIA: dict[str, MediaKind] = {
    "photo": "image", "voice": "voice", "audio": "voice", "video": "video", "video_note": "video", "animation": "video",
    "document": "file", "sticker": "sticker", "contact": "other", "poll": "other", "dice": "other",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Message:
    """One update that somebody may be answered to. `named` says that a group message is meant for the bot."""

    key: str
    user: str
    chat: str
    group: bool
    message_id: int
    text: str = ""
    media: Media | None = None
    location: Location | None = None
    event: EventKind | None = None
    pressed: bool = False
    callback_id: str = ""
    named: bool = True
    nickname: str = ""


def parse(update: Mapping[str, Any], bot_name: str = "") -> Message | None:
    """The message in an update; None for one that needs no answer. Raises ConnectorError where it has no id."""
    id_ = update.get("update_id")
    if isinstance(id_, bool) or not isinstance(id_, int):
        raise ConnectorError("invalid_update", "更新缺少 update_id", "The update lacks its update_id")
    pressed = update.get("callback_query")
    if isinstance(pressed, dict):
        return _pressed(str(id_), pressed)
    message = update.get("message")
    if not isinstance(message, dict):
        return None
    sender, chat = _object(message, "from"), _object(message, "chat")
    if not sender.get("id") or not chat.get("id") or sender.get("is_bot"):
        return None
    group = chat.get("type") in ("group", "supergroup")
    text = str(message.get("text") or message.get("caption") or "")
    named = not group or _named(message, text, bot_name)
    event, text = _command(text, bot_name)
    place = _object(message, "location")
    location = Location(_number(place, "latitude"), _number(place, "longitude")) if place else None
    kind = next((MEDIA[name] for name in MEDIA if name in message), None)
    if not text and not event and not kind and not location:
        return None
    return Message(
        str(id_), str(sender["id"]), str(chat["id"]), group, int(_number(message, "message_id")), text,
        Media(kind) if kind else None, location, event, named=named, nickname=_nickname(sender),
    )  # fmt: skip


def _command(text: str, bot_name: str) -> tuple[EventKind | None, str]:
    """`/start` is a greeting; a mention of the bot is not part of the question."""
    first = text.split(maxsplit=1)[0] if text.strip() else ""
    if first.partition("@")[0] in ("/start", "/help"):
        return "welcome", ""
    return None, _mention(bot_name).sub("", text).strip() if bot_name else text


def _named(message: Mapping[str, Any], text: str, bot_name: str) -> bool:
    """While the bot's name is not known, just after a start, what names anybody: to be silent would lose it."""
    replied = _object(_object(message, "reply_to_message"), "from")
    if replied.get("username") == bot_name if bot_name else replied.get("is_bot"):
        return True
    if _mention(bot_name or r"\w+").search(text):
        return True
    return text.startswith("/") and ("@" not in text.split(maxsplit=1)[0])


def _mention(name: str) -> re.Pattern[str]:
    """Names have letters, digits and _, in either case; Telegram needs no space behind one in Chinese."""
    return re.compile(rf"@{name}(?![A-Za-z0-9_])", re.IGNORECASE | re.ASCII)


def _pressed(key: str, query: Mapping[str, Any]) -> Message | None:
    sender, message = _object(query, "from"), _object(query, "message")
    chat, data = _object(message, "chat"), query.get("data")
    if not sender.get("id") or not chat.get("id") or not isinstance(data, str) or not data:
        return None
    group = chat.get("type") in ("group", "supergroup")
    return Message(
        key, str(sender["id"]), str(chat["id"]), group, int(_number(message, "message_id")), data, pressed=True,
        callback_id=str(query.get("id", "")), nickname=_nickname(sender),
    )  # fmt: skip


def _nickname(sender: Mapping[str, Any]) -> str:
    names = (sender.get("first_name"), sender.get("last_name"))
    return " ".join(one for one in names if isinstance(one, str)) or str(sender.get("username") or "")


def _number(value: Mapping[str, Any], name: str) -> float:
    found = value.get(name)
    return found if isinstance(found, int | float) and math.isfinite(found) else 0


def _object(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def render(reply: Outbound) -> list[dict[str, Any]]:
    """A reply as texts of at most 4096 UTF-16 units; choices are buttons under the last one."""
    text = f"{reply.text}\n\n{GENERATED}" if reply.generated else reply.text
    text = f"{text}\n{reply.image_url}" if reply.image_url else text
    made: list[dict[str, Any]] = [{"text": one} for one in pieces(text, TEXT_UNITS_MAX, in_utf16)]
    if reply.buttons and made:
        rows = []
        for number, button in enumerate(reply.buttons, 1):
            short = len(button.payload.encode()) <= CALLBACK_BYTES_MAX
            # What does not fit is chosen by its number, as if it had been typed.
            rows.append([{"text": button.title, "callback_data": button.payload if short else str(number)}])
        made[-1]["reply_markup"] = {"inline_keyboard": rows}
    return made


def check(answer: Answer) -> Any:
    """The result of a call. Raises DeliveryError in plain words."""
    if answer.json.get("ok"):
        return answer.json.get("result")
    code, told = answer.json.get("error_code", answer.status), str(answer.json.get("description", ""))[:200]
    if code == 429:
        wait = _object(answer.json, "parameters").get("retry_after")
        raise too_many(float(wait) if isinstance(wait, int | float) else None, whole_channel=False)
    if code in (401, 404):
        raise DeliveryError(
            "unauthorized", "bot_token 不对：请向 @BotFather 重新获取",
            "bot_token is wrong: ask @BotFather for it",
        )  # fmt: skip
    if code == 403:
        raise DeliveryError(
            "blocked", "用户已屏蔽机器人，或机器人不在群里", "The user blocked the bot, or it is not in the group",
            outcome="dead",
        )  # fmt: skip
    if code == 409:
        raise DeliveryError(
            "conflict", "同一个机器人被别处占用：另有程序在轮询，或仍设着 webhook",
            "The bot is in use elsewhere: another program polls, or a webhook is set",
        )  # fmt: skip
    raise DeliveryError(
        f"telegram_{code}", f"Telegram 返回错误 {code}：{told}", f"Telegram answers {code}: {told}",
        outcome="dead" if code == 400 else "retry",
    )  # fmt: skip
