"""WeChat Official Account: callbacks ↔ messages.

Source: developers.weixin.qq.com/doc/offiaccount, "接收普通消息", "接收事件推送", "被动回复用户消息", "客服消息".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors.crypto import MessageCrypt, is_signed, make_xml, parse_xml
from connectors.errcodes import table
from connectors.errors import ConnectorError, refused
from connectors.markdown import pieces
from connectors.text import GENERATED, in_bytes, numbered
from connectors.types import EventKind, Location, Media, MediaKind, Outbound

TEXT_BYTES_MAX = 2048
MENU_ITEMS_MAX = 10
MEDIA: dict[str, MediaKind] = {
    "image": "image", "voice": "voice", "video": "video", "shortvideo": "video", "file": "file", "link": "other",
}  # fmt: skip
MEANINGS = table("""
-1 retry
    微信系统繁忙，稍后自动重试
    WeChat is busy; it is tried again
40001 retry
    access_token 无效：请检查 app_secret，或是否有别的程序也在获取 token
    the access token is not valid: check app_secret, or whether another program fetches tokens
40003 dead
    用户的 openid 无效
    the user's openid is not valid
40013 retry
    app_id 不对：请从公众平台「设置与开发 → 基本配置」复制
    app_id is wrong: copy it from the platform's basic configuration
40125 retry
    app_secret 不对：请在公众平台「基本配置」重置后填写
    app_secret is wrong: reset it on the platform and enter it
40164 retry
    这台机器的公网 IP 不在白名单：请在公众平台「基本配置 → IP白名单」加入
    this machine's public address is not on the platform's IP whitelist: add it
43004 dead
    用户没有关注公众号
    the user does not follow the account
45002 dead
    消息超过长度限制
    the message is too long
45009 retry 3600
    今天的接口调用次数已用完
    today's quota of calls is used up
45011 retry 60
    调用太频繁
    calls come too fast
45015 held
    用户超过 48 小时没有说话，等他再来消息时一起发
    the user has been silent for over 48 hours; it waits for their next message
45047 held
    客服消息条数已到上限，等用户再来消息时接着发
    the limit of messages is reached; it waits for the user's next message
48001 held
    公众号没有客服消息权限（需要认证的服务号），等用户再来消息时发
    only a verified service account may send customer-service messages; it waits for the user's next message
87014 dead
    内容被微信判定为违规
    WeChat refuses the content
""")
MEANINGS[42001] = MEANINGS[40014] = MEANINGS[40001]
MEANINGS[50002] = MEANINGS[48001]
TOKEN_REFUSED = frozenset({40001, 40014, 42001})
NOT_ALLOWED = frozenset({"errcode_48001", "errcode_50002"})


@dataclass(frozen=True, slots=True)
class Message:
    """One callback. `key` knows it again; `text` is what there is to answer."""

    user: str
    account: str
    key: str
    text: str = ""
    media: Media | None = None
    location: Location | None = None
    event: EventKind | None = None
    pressed: bool = False


def unwrap(body: bytes, query: Mapping[str, str], token: str, crypt: MessageCrypt | None) -> bytes:
    """The XML of a callback whose signature is right; with `crypt`, only an encrypted one. Raises ConnectorError."""
    stamp, nonce = query.get("timestamp", ""), query.get("nonce", "")
    if crypt is None:
        if not is_signed(query.get("signature"), token, stamp, nonce):
            raise refused()
        return body
    if not query.get("msg_signature"):
        raise refused()
    return crypt.open(parse_xml(body).get("Encrypt", ""), query.get("msg_signature"), stamp, nonce)


def parse(xml: bytes) -> Message | None:
    """The message in a callback; None for one of a type that needs no answer. Raises ConnectorError."""
    fields = parse_xml(xml)
    user, account, kind = fields.get("FromUserName", ""), fields.get("ToUserName", ""), fields.get("MsgType", "")
    if not user or not kind:
        raise ConnectorError("invalid_message", "消息缺少发送者或类型", "The message lacks its sender or its type")
    key = fields.get("MsgId") or user + fields.get("CreateTime", "")
    if kind == "event":
        return _event(fields, user, account, user + fields.get("CreateTime", ""))
    if kind == "text":
        pressed = "bizmsgmenuid" in fields
        return Message(user, account, key, fields.get("Content", ""), pressed=pressed)
    if kind == "location":
        return Message(user, account, key, location=_location(fields))
    if kind in MEDIA:
        media = Media(MEDIA[kind], fields.get("MediaId", ""), fields.get("Title", ""))
        return Message(user, account, key, fields.get("Recognition", ""), media)
    return None


def _event(fields: Mapping[str, str], user: str, account: str, key: str) -> Message | None:
    event = fields.get("Event", "").lower()
    if event == "subscribe":
        return Message(user, account, key, event="welcome")
    if event == "unsubscribe":
        return Message(user, account, key, event="left")
    if event == "click" and fields.get("EventKey"):
        return Message(user, account, key, fields["EventKey"], pressed=True)  # the menu's key is the question
    return None


def _location(fields: Mapping[str, str]) -> Location | None:
    try:
        return Location(float(fields["Location_X"]), float(fields["Location_Y"]), fields.get("Label", ""))
    except (KeyError, ValueError):
        return Location(0.0, 0.0, fields.get("Label", ""))


def render(reply: Outbound) -> list[dict[str, Any]]:
    """A reply as messages of at most 2048 bytes: `text`, and `menu` for a choice that can be shown as one."""
    text = reply.text if not reply.generated else f"{reply.text}\n\n{GENERATED}"
    if reply.image_url:
        text = f"{text}\n{reply.image_url}"
    if not reply.buttons:
        return [{"text": piece} for piece in pieces(text, TEXT_BYTES_MAX, in_bytes)]
    made: list[dict[str, Any]] = [
        {"text": piece} for piece in pieces(f"{text}\n{numbered(reply.buttons)}", TEXT_BYTES_MAX, in_bytes)
    ]
    if len(made) == 1 and len(reply.buttons) <= MENU_ITEMS_MAX:
        items = [{"id": str(n), "content": button.title} for n, button in enumerate(reply.buttons, 1)]
        made[0]["menu"] = {"head_content": text, "list": items, "tail_content": "点击或回复数字选择"}
    return made


def passive(user: str, account: str, text: str, now: int) -> str:
    """The XML that answers a callback with a text."""
    return make_xml([
        ("ToUserName", user), ("FromUserName", account), ("CreateTime", now), ("MsgType", "text"), ("Content", text),
    ])  # fmt: skip


def sealed(xml: str, crypt: MessageCrypt, timestamp: str, nonce: str) -> str:
    """The same, encrypted for safe mode."""
    encrypted = crypt.encrypt(xml.encode())
    return make_xml([
        ("Encrypt", encrypted), ("MsgSignature", crypt.sign(encrypted, timestamp, nonce)),
        ("TimeStamp", int(timestamp)), ("Nonce", nonce),
    ])  # fmt: skip


def customer_message(user: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """The body of `message/custom/send`."""
    if "menu" in payload:
        return {"touser": user, "msgtype": "msgmenu", "msgmenu": payload["menu"]}
    return {"touser": user, "msgtype": "text", "text": {"content": payload["text"]}}
