"""Conversations, their messages and the thumbs on them."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, CursorResult, and_, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.dialogue.types import Source
from bot.storage.tables import ConversationRow, FeedbackRow, MessageRow
from bot.storage.values import iso, new_id, now

TOKEN_BYTES = 32
HISTORY_MAX = 200
HELD = ("paused", "human")
STAFF = "staff:"
Rating = Literal["up", "down"]


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation's own data. `state` is of `ConversationRow`: while it is one of HELD the bot is silent."""

    id: str
    channel: str
    account: str
    user: str
    group: str
    language: str
    state: str
    slots: dict[str, Any]
    events: tuple[dict[str, Any], ...]
    nickname: str = ""


@dataclass(frozen=True, slots=True)
class Opening:
    """How a conversation begins that is not there yet."""

    channel: str
    account: str = ""
    user: str = ""
    group: str = ""
    language: str = "zh"
    nickname: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as stored. `seq` orders messages; `rating` is the visitor's thumb."""

    seq: int
    id: str
    conversation_id: str
    role: str
    text: str
    client_id: str | None
    reply_to: str | None
    decision: str | None
    sources: tuple[dict[str, Any], ...]
    suggestions: tuple[str, ...]
    generated: bool
    image_url: str | None
    latency_ms: int | None
    created_at: datetime
    author: str | None = None
    rating: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The contract's reply; a visitor's own message carries `client_id`, a reply `reply_to` and `feedback`."""
        reply: dict[str, Any] = {
            "id": self.id,
            "role": self.role,
            "text": self.text,
            "decision": self.decision,
            "sources": list(self.sources),
            "suggestions": list(self.suggestions),
            "generated": self.generated,
            "created_at": iso(self.created_at),
            "latency_ms": self.latency_ms,
        }
        if self.role == "user":
            reply["client_id"] = self.client_id
        else:
            reply |= {"reply_to": self.reply_to, "feedback": self.rating}
        if self.image_url:
            reply["image_url"] = self.image_url
        return reply


def token_hash(token: str) -> str:
    """What is stored of a visitor's token: its SHA-256 (the token itself is 256 random bits)."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def channel_conversation_id(channel: str, account: str, user: str, group: str) -> str:
    """The id of a channel's conversation: the same four always give the same, so that two first messages meet."""
    key = f"{channel}\0{account}\0{user}\0{group}".encode("utf-8", "replace")
    return "c" + hashlib.sha256(key).hexdigest()[:32]


async def open_visitor(session: AsyncSession, *, language: str = "zh") -> tuple[Conversation, str]:
    """A new conversation of the web page and its token, which is stored as a hash alone."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    row = ConversationRow(**opened_row(new_id(), Opening("web", language=language)) | {"token_hash": token_hash(token)})
    session.add(row)
    await session.flush()
    return conversation_of_row(row), token


async def find_visitor(session: AsyncSession, conversation_id: str, token: str) -> Conversation | None:
    """The conversation, where the token is its own."""
    row = await session.get(ConversationRow, conversation_id)
    if row is None or row.token_hash is None:
        return None
    return conversation_of_row(row) if secrets.compare_digest(row.token_hash, token_hash(token)) else None


async def exists(session: AsyncSession, conversation_id: str) -> bool:
    return await session.get(ConversationRow, conversation_id) is not None


async def find(session: AsyncSession, conversation_id: str) -> Conversation | None:
    row = await session.get(ConversationRow, conversation_id)
    return conversation_of_row(row) if row else None


async def append_human(
    session: AsyncSession, conversation_id: str, text: str, client_id: str, author: str
) -> tuple[Message, bool]:
    """What a person of the staff says, and whether it is new: the same `client_id` twice is one message."""
    known_by = f"{STAFF}{client_id}"  # customers choose their own, and must not meet these
    same = (MessageRow.conversation_id == conversation_id, MessageRow.client_id == known_by)
    known = await session.scalar(select(MessageRow).where(*same, MessageRow.role == "human"))
    if known is not None:
        return message_of_row(known), False
    row = MessageRow(
        id=new_id(), conversation_id=conversation_id, role="human", text=text, client_id=known_by, author=author,
        created_at=now(),
    )  # fmt: skip
    return await _append(session, row), True


async def history(
    session: AsyncSession,
    conversation_id: str,
    *,
    after: str | None = None,
    before: int | None = None,
    limit: int = HISTORY_MAX,
) -> list[Message]:
    """Messages oldest first: those after the message `after`, else the newest `limit` (below the number `before`).

    An `after` that is not in the conversation (deleted, or another's) counts as none.
    """
    query = (
        select(MessageRow, FeedbackRow.rating)
        .outerjoin(FeedbackRow, FeedbackRow.message_id == MessageRow.id)
        .where(MessageRow.conversation_id == conversation_id)
    )
    if before is not None:
        query = query.where(MessageRow.seq < before)
    place = None
    if after:
        known = (MessageRow.id == after, MessageRow.conversation_id == conversation_id)
        place = await session.scalar(select(MessageRow.seq).where(*known))
    if place is not None:
        rows = (await session.execute(query.where(MessageRow.seq > place).order_by(MessageRow.seq).limit(limit))).all()
    else:
        rows = (await session.execute(query.order_by(MessageRow.seq.desc()).limit(limit))).all()[::-1]
    return [message_of_row(row, rating) for row, rating in rows]


async def set_feedback(
    session: AsyncSession, conversation_id: str, message_id: str, rating: Rating | None, comment: str | None
) -> bool:
    """Set, change or (None) take back the thumb on a reply; False where the conversation has no such reply."""
    row = await session.scalar(
        select(MessageRow).where(MessageRow.id == message_id, MessageRow.conversation_id == conversation_id)
    )
    if row is None or row.role == "user":
        return False
    known = await session.get(FeedbackRow, message_id)
    if rating is None:
        if known:
            await session.delete(known)
    elif known:
        known.rating, known.comment, known.created_at = rating, comment, now()
    else:
        session.add(FeedbackRow(message_id=message_id, rating=rating, comment=comment, created_at=now()))
    return True


async def conversation_of(session: AsyncSession, message_id: str) -> str | None:
    """The conversation a message belongs to."""
    found: str | None = await session.scalar(select(MessageRow.conversation_id).where(MessageRow.id == message_id))
    return found


def silent_since(moment: datetime) -> ColumnElement[bool]:
    """Conversations without a message since then; imported ones are the company's files and are not among them."""
    return and_(ConversationRow.updated_at < moment, ConversationRow.imported.is_(False))


async def delete_older(session: AsyncSession, days: int, moment: datetime | None = None) -> int:
    """Delete conversations without a message for that many days before the moment (None: now)."""
    result = await session.execute(
        delete(ConversationRow).where(silent_since((moment or now()) - timedelta(days=days)))
    )
    return result.rowcount if isinstance(result, CursorResult) else 0


async def of_same_visitor(session: AsyncSession, conversation_id: str) -> list[tuple[str, str, bool]]:
    """(id, user, imported) of a conversation and, on a messaging channel, of all that its user had there."""
    row = await session.get(ConversationRow, conversation_id)
    if row is None:
        return []
    if not row.user or row.imported:
        return [(row.id, row.user, row.imported)]
    same = (ConversationRow.channel == row.channel, ConversationRow.account == row.account)
    wanted = select(ConversationRow.id, ConversationRow.user, ConversationRow.imported)
    found = await session.execute(wanted.where(*same, ConversationRow.user == row.user))
    return [(id_, user, imported) for id_, user, imported in found]


async def delete_all(session: AsyncSession, ids: Sequence[str]) -> int:
    """Delete conversations with their messages and thumbs; returns how many."""
    result = await session.execute(delete(ConversationRow).where(ConversationRow.id.in_(ids)))
    return result.rowcount if isinstance(result, CursorResult) else 0


def source_json(source: Source) -> dict[str, Any]:
    """A source as the contract writes it."""
    return {
        "faq_id": source.faq_id, "document_id": source.document_id, "title": source.title, "quote": source.quote,
        "score": round(source.score, 6),
    }  # fmt: skip


def opened_row(id_: str, opening: Opening) -> dict[str, Any]:
    """The row of a conversation that begins now, for the repositories beside this one."""
    moment = now()
    return {
        "id": id_, "channel": opening.channel[:64], "account": opening.account[:128], "user": opening.user[:256],
        "group": opening.group[:256], "nickname": opening.nickname[:64], "token_hash": None,
        "language": opening.language[:16], "state": "bot", "slots": {}, "events": [], "imported": False,
        "created_at": moment, "updated_at": moment,
    }  # fmt: skip


async def _append(session: AsyncSession, row: MessageRow) -> Message:
    session.add(row)
    touched = update(ConversationRow).where(ConversationRow.id == row.conversation_id).values(updated_at=row.created_at)
    await session.execute(touched)
    await session.flush()
    return message_of_row(row)


def conversation_of_row(row: Any) -> Conversation:
    """For the repositories beside this one."""
    return Conversation(
        row.id, row.channel, row.account, row.user, row.group, row.language, row.state, dict(row.slots),
        tuple(row.events), row.nickname,
    )  # fmt: skip


def message_of_row(row: Any, rating: str | None = None) -> Message:
    """For the repositories beside this one."""
    return Message(
        seq=row.seq,
        id=row.id,
        conversation_id=row.conversation_id,
        role=row.role,
        text=row.text,
        client_id=row.client_id,
        reply_to=row.reply_to,
        decision=row.decision,
        sources=tuple(row.sources or ()),
        suggestions=tuple(row.suggestions or ()),
        generated=bool(row.generated),
        image_url=row.image_url,
        latency_ms=row.latency_ms,
        created_at=row.created_at,
        author=row.author,
        rating=rating,
    )
