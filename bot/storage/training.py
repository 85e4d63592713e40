"""Conversations that were brought in to learn from: rows in, labelled questions out."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.storage.tables import ConversationRow, FaqEntry, MessageRow
from bot.storage.values import new_id, now

CHANNEL = "import"
ROLES = {"user": "user", "assistant": "bot", "system": "system"}
BATCH = 500


@dataclass(frozen=True, slots=True)
class TrainingMessage:
    """One message; `role` is user, assistant or system. Where `reviewed`, `faq_id` answers it, None is out of scope."""

    role: str
    text: str
    faq_id: str | None = None
    reviewed: bool = False


@dataclass(frozen=True, slots=True)
class TrainingConversation:
    """One conversation, oldest message first."""

    id: str
    messages: tuple[TrainingMessage, ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """What there is to learn from."""

    conversations: int
    messages: int
    labelled: int


async def store(session: AsyncSession, conversation: TrainingConversation) -> str:
    """Keep one conversation under its own id; returns `added`, `updated` or `skipped` (it is there as it is)."""
    row_id = _row_id(conversation.id)
    row = await session.get(ConversationRow, row_id)
    moment = now()
    status = "added"
    if row is None:
        row = ConversationRow(id=row_id, channel=CHANNEL, user=conversation.id[:256], imported=True, created_at=moment)
        session.add(row)
    elif await _messages(session, row_id) == conversation.messages:
        return "skipped"
    else:
        status = "updated"
        await session.execute(delete(MessageRow).where(MessageRow.conversation_id == row_id))
    row.updated_at = moment
    await session.flush()
    session.add_all(
        MessageRow(
            id=new_id(),
            conversation_id=row_id,
            role=ROLES[message.role],
            text=message.text,
            reviewed=message.reviewed,
            faq_id=message.faq_id,
            created_at=moment,
        )
        for message in conversation.messages
    )
    await session.flush()
    return status


def _row_id(given: str) -> str:
    return hashlib.sha256(f"{CHANNEL}\0{given}".encode()).hexdigest()[:40]


async def _messages(session: AsyncSession, conversation_id: str) -> tuple[TrainingMessage, ...]:
    rows = await session.scalars(
        select(MessageRow).where(MessageRow.conversation_id == conversation_id).order_by(MessageRow.seq)
    )
    return tuple(_message(row) for row in rows)


def _message(row: MessageRow) -> TrainingMessage:
    role = {"user": "user", "system": "system"}.get(row.role, "assistant")
    return TrainingMessage(role, row.text, row.faq_id, row.reviewed)


async def conversations(session: AsyncSession, *, imported_only: bool = False) -> AsyncIterator[TrainingConversation]:
    """Conversations, oldest first: those brought in, and (unless `imported_only`) those that customers had here."""
    last = ("", "")
    while True:
        wanted = select(ConversationRow).order_by(ConversationRow.channel, ConversationRow.id).limit(BATCH)
        wanted = wanted.where(
            (ConversationRow.channel > last[0])
            | ((ConversationRow.channel == last[0]) & (ConversationRow.id > last[1]))
        )
        if imported_only:
            wanted = wanted.where(ConversationRow.imported.is_(True))
        rows = list(await session.scalars(wanted))
        if not rows:
            return
        last = (rows[-1].channel, rows[-1].id)
        for row, messages in zip(rows, await _messages_of(session, rows), strict=True):
            if messages:
                yield TrainingConversation(row.user if row.imported else row.id, messages)


async def _messages_of(session: AsyncSession, rows: Sequence[ConversationRow]) -> list[tuple[TrainingMessage, ...]]:
    found: dict[str, list[TrainingMessage]] = {row.id: [] for row in rows}
    messages = await session.scalars(
        select(MessageRow).where(MessageRow.conversation_id.in_(found)).order_by(MessageRow.seq)
    )
    for message in messages:
        found[message.conversation_id].append(_message(message))
    return [tuple(found[row.id]) for row in rows]


async def counts(session: AsyncSession) -> Counts:
    """How many imported conversations and messages there are, and how many of the messages carry a label."""
    joined = select(func.count()).select_from(MessageRow).join(ConversationRow)
    imported = ConversationRow.imported.is_(True)
    total = await session.scalar(select(func.count()).select_from(ConversationRow).where(imported))
    messages = await session.scalar(joined.where(imported))
    labelled = await session.scalar(joined.where(imported, MessageRow.reviewed.is_(True)))
    return Counts(total or 0, messages or 0, labelled or 0)


async def known_entries(session: AsyncSession) -> set[str]:
    """The ids of all live entries."""
    return set(await session.scalars(select(FaqEntry.id).where(FaqEntry.deleted_at.is_(None))))
