"""WeCom applications: callbacks ↔ messages.

Source: developer.work.weixin.qq.com, "接收消息与事件" (path/90238 to 90241), "发送应用消息" (path/90236).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors.crypto import MessageCrypt, parse_xml
from connectors.errcodes import table
from connectors.errors import ConnectorError
from connectors.markdown import pieces
from connectors.text import GENERATED, in_bytes, numbered
from connectors.types import EventKind, Location, Media, MediaKind, Outbound

TEXT_BYTES_MAX = 2048
MEDIA: dict[str, MediaKind] = {"image": "image", "voice": "voice", "video": "video", "file": "file", "link": "other"}
DUPLICATE_SECONDS = 1800
MEANINGS = table("""
-1 retry
    企业微信系统繁忙，稍后自动重试
    WeCom is busy; it is tried again
40001 retry
    secret 不对：请从管理后台该应用的详情页复制
    secret is wrong: copy it from the application's page in the admin console
40003 dead
    成员的 userid 无效
    the member's userid is not valid
40013 retry
    corp_id 不对：请从管理后台「我的企业」复制
    corp_id is wrong: copy it from "my company" in the admin console
40014 retry
    access_token 无效：请检查 secret，或是否有别的程序也在获取 token
    the access token is not valid: check secret, or whether another program fetches tokens
40056 retry
    agent_id 不对：请从应用详情页复制 AgentId
    agent_id is wrong: copy it from the application's page
45009 retry 60
    接口调用太频繁
    calls come too fast
60011 retry
    应用没有给该成员发消息的权限：请检查可见范围
    the application may not write to this member: check who can see it
60020 retry
    这台机器的公网 IP 不在可信列表：请在应用详情页「企业可信IP」加入
    this machine's public address is not trusted: add it to the application's trusted addresses
81013 dead
    该成员不在应用的可见范围内
    the member cannot see the application
301002 retry
    secret 与 agent_id 不是同一个应用
    secret and agent_id belong to different applications
""")
MEANINGS[42001] = MEANINGS[40014]
TOKEN_REFUSED = frozenset({40014, 42001})


@dataclass(frozen=True, slots=True)
class Message:
    """One callback. `key` knows it again; `text` is what there is to answer."""

    user: str
    key: str
    text: str = ""
    media: Media | None = None
    location: Location | None = None
    event: EventKind | None = None
    pressed: bool = False


def confirm(query: Mapping[str, str], crypt: MessageCrypt) -> bytes:
    """The bytes that confirm the callback address: exactly the decrypted `echostr`. Raises ConnectorError."""
    return crypt.open(
        query.get("echostr", ""), query.get("msg_signature"), query.get("timestamp", ""), query.get("nonce", "")
    )


def unwrap(body: bytes, query: Mapping[str, str], crypt: MessageCrypt) -> bytes:
    """The XML of a callback whose signature is right. Raises ConnectorError."""
    encrypted = parse_xml(body).get("Encrypt", "")
    return crypt.open(encrypted, query.get("msg_signature"), query.get("timestamp", ""), query.get("nonce", ""))


def parse(xml: bytes) -> Message | None:
    """The message in a callback; None for one of a type that needs no answer. Raises ConnectorError."""
    fields = parse_xml(xml)
    user, kind = fields.get("FromUserName", ""), fields.get("MsgType", "")
    if not user or not kind:
        raise ConnectorError("invalid_message", "消息缺少发送者或类型", "The message lacks its sender or its type")
    stamp = user + fields.get("CreateTime", "")
    key = fields.get("MsgId") or stamp
    if kind == "event":
        return _event(fields, user, stamp)
    if kind == "text":
        return Message(user, key, fields.get("Content", ""))
    if kind == "location":
        return Message(user, key, location=Location(0.0, 0.0, fields.get("Label", "")))
    if kind in MEDIA:
        return Message(user, key, media=Media(MEDIA[kind], fields.get("MediaId", "")))
    return None


def _event(fields: Mapping[str, str], user: str, key: str) -> Message | None:
    event = fields.get("Event", "").lower()
    if event == "subscribe":
        return Message(user, key, event="welcome")
    if event in ("click", "template_card_event") and fields.get("EventKey"):
        return Message(user, key + event, fields["EventKey"], pressed=True)
    return None


def words(reply: Outbound) -> str:
    """A reply as one Markdown text: its choices under it, its image as an address, the mark of what a model wrote."""
    text = f"{reply.text}\n\n{GENERATED}" if reply.generated else reply.text
    text = f"{text}\n{reply.image_url}" if reply.image_url else text
    return f"{text}\n{numbered(reply.buttons)}" if reply.buttons else text


def render(reply: Outbound) -> list[dict[str, Any]]:
    """A reply as texts of at most 2048 bytes."""
    return [{"text": piece} for piece in pieces(words(reply), TEXT_BYTES_MAX, in_bytes)]


def application_message(user: str, agent_id: str, text: str, *, again: bool) -> dict[str, Any]:
    """The body of `message/send`. `again` lets WeCom drop it where an earlier attempt arrived after all.

    It knows a message again by its content alone: asked for at the first attempt, it would also drop an answer that is
    given twice because the customer asked twice.
    """
    body: dict[str, Any] = {
        "touser": user,
        "msgtype": "text",
        "agentid": int(agent_id) if agent_id.isdigit() else agent_id,
        "text": {"content": text},
    }
    if again:
        body |= {"enable_duplicate_check": 1, "duplicate_check_interval": DUPLICATE_SECONDS}
    return body
