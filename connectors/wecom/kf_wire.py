"""微信客服: what `sync_msg` brings ↔ messages.

Source: developer.work.weixin.qq.com, "接收消息和事件" (path/94670), "发送消息" (path/94677), "会话分配与消息收发"
(path/94669), "发送欢迎语等事件响应消息" (path/95122).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors.errcodes import table
from connectors.markdown import pieces
from connectors.text import in_bytes
from connectors.types import EventKind, Location, Media, MediaKind, Outbound
from connectors.wecom import wire

CUSTOMER, SYSTEM = 3, 4
QUEUE = 2
MEDIA: dict[str, MediaKind] = {
    "image": "image", "voice": "voice", "video": "video", "file": "file", "link": "other", "miniprogram": "other",
    "business_card": "other", "channels_shop_product": "other", "channels_shop_order": "other",
}  # fmt: skip
MEANINGS = wire.MEANINGS | table("""
95001 held
    48 小时内已发满 5 条，等客户再来消息时接着发
    five messages went out within 48 hours; it waits for the customer's next message
95002 held
    客户超过 48 小时没有说话，等他再来消息时一起发
    the customer has been silent for over 48 hours; it waits for their next message
95014 dropped
    会话已由人工接待或已结束，机器人不再发送
    a person has the conversation, or it has ended: the bot sends no more
95018 dropped
    会话已由人工接待或已结束，机器人不再发送
    a person has the conversation, or it has ended: the bot sends no more
""")
WITH_A_PERSON = frozenset({"errcode_95014", "errcode_95018"})


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a page. `welcome_code` may be answered once, within 20 seconds."""

    key: str
    user: str
    account: str
    sent_at: float
    text: str = ""
    media: Media | None = None
    location: Location | None = None
    event: EventKind | None = None
    pressed: bool = False
    welcome_code: str = ""


def items(page: Mapping[str, Any]) -> list[Item]:
    """Every item of a page that the bot has something to do with, in order: what customers sent, and their arrival."""
    found = page.get("msg_list")
    parsed = [_item(one) for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return [one for one in parsed if one is not None]


def _item(one: Mapping[str, Any]) -> Item | None:
    kind, origin = str(one.get("msgtype", "")), one.get("origin")
    head = (str(one.get("msgid", "")), str(one.get("external_userid", "")), str(one.get("open_kfid", "")))
    sent_at = float(one.get("send_time") or 0)
    content = one.get(kind)
    content = content if isinstance(content, dict) else {}
    if kind == "event":
        return _event(head[0], content, sent_at)
    if origin != CUSTOMER or not all(head):
        return None
    if kind == "text":
        return Item(*head, sent_at, str(content.get("content", "")), pressed=bool(content.get("menu_id")))
    if kind == "location":
        return Item(*head, sent_at, location=Location(0.0, 0.0, str(content.get("name", ""))))
    if kind in MEDIA:
        return Item(*head, sent_at, media=Media(MEDIA[kind], str(content.get("media_id", ""))))
    return None


def _event(key: str, content: Mapping[str, Any], sent_at: float) -> Item | None:
    user, account = str(content.get("external_userid", "")), str(content.get("open_kfid", ""))
    kind = content.get("event_type")
    if not key or not user:
        return None
    if kind == "enter_session" and content.get("welcome_code"):
        code = str(content["welcome_code"])
        return Item(key, user, account, sent_at, event="welcome", welcome_code=code)
    if kind == "session_status_change" and content.get("change_type") == 3:
        return Item(key, user, account, sent_at, event="left")
    return None


def render(reply: Outbound) -> list[dict[str, Any]]:
    """A reply as texts of at most 2048 bytes; a choice as a menu to press; a handoff moves the session as well."""
    made: list[dict[str, Any]] = [{"text": piece} for piece in pieces(wire.words(reply), wire.TEXT_BYTES_MAX, in_bytes)]
    if reply.buttons and len(made) == 1:
        listed = [{"type": "click", "click": {"id": str(n), "content": button.title}}
                  for n, button in enumerate(reply.buttons, 1)]  # fmt: skip
        made[0]["menu"] = {"head_content": reply.text, "list": listed}
    if reply.decision == "handoff":
        made.append({"transfer": QUEUE})
    return made


def message(user: str, account: str, id_: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """The body of `kf/send_msg`; `id_` is at most 32 letters and digits, the same at every attempt."""
    body: dict[str, Any] = {"touser": user, "open_kfid": account, "msgid": id_}
    if "menu" in payload:
        return body | {"msgtype": "msgmenu", "msgmenu": payload["menu"]}
    return body | {"msgtype": "text", "text": {"content": payload["text"]}}


def welcome(code: str, id_: str, text: str) -> dict[str, Any]:
    """The body of `kf/send_msg_on_event`."""
    return {"code": code, "msgid": id_, "msgtype": "text", "text": {"content": text}}
