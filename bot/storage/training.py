"""Conversations that were brought in to learn from: rows in, labelled questions out."""

import hashlib
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.storage import decisions
from bot.storage.tables import ConversationRow, FaqEntry, MessageRow
from bot.storage.values import new_id, now

CHANNEL = "import"
ROLES = {"user": "user", "assistant": "human", "system": "system"}
BATCH = 500


@dataclass(frozen=True, slots=True)
class TrainingMessage:
    """One message; `role` is user, assistant or system. Where `reviewed`, `faq_id` answers it, None is out of scope.

    `machine`: a reply of the bot, not of a person.
    """

    role: str
    text: str
    faq_id: str | None = None
    reviewed: bool = False
    machine: bool = False


@dataclass(frozen=True, slots=True)
class TrainingConversation:
    """One conversation, oldest message first; `imported` where it came in a file, under that file's id."""

    id: str
    messages: tuple[TrainingMessage, ...]
    imported: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """What there is to learn from."""

    conversations: int
    messages: int
    labelled: int


async def store(session: AsyncSession, found: Sequence[TrainingConversation]) -> dict[str, int]:
    """Keep conversations under their own ids; returns how many were `added`, `updated` and `skipped` (unchanged)."""
    tally = {"added": 0, "updated": 0, "skipped": 0}
    by_row = {_row_id(one.id): one for one in found}  # of two with one id the later counts
    moment = now()
    for ids in batched(by_row, BATCH):
        rows = {
            row.id: row for row in await session.scalars(select(ConversationRow).where(ConversationRow.id.in_(ids)))
        }
        before = dict(zip(rows, await _messages_of(session, list(rows.values())), strict=True))
        changed = [row_id for row_id in ids if before.get(row_id) != by_row[row_id].messages]
        tally["added"] += len(set(ids) - set(rows))
        tally["updated"] += len(set(changed) & set(rows))
        tally["skipped"] += len(ids) - len(changed)
        await session.execute(delete(MessageRow).where(MessageRow.conversation_id.in_(set(changed) & set(rows))))
        for row_id in changed:
            row = rows.get(row_id)
            if row is None:
                given = by_row[row_id].id[:256]
                row = ConversationRow(id=row_id, channel=CHANNEL, user=given, imported=True, created_at=moment)
                session.add(row)
            row.updated_at = moment
        await session.flush()
        messages = [_values(row_id, message, moment) for row_id in changed for message in by_row[row_id].messages]
        if messages:
            await session.execute(insert(MessageRow), messages)
    return tally


def batched(items: Iterable[str], size: int) -> Iterator[list[str]]:
    """Lists of at most `size` items."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


def _values(conversation_id: str, message: TrainingMessage, moment: datetime) -> dict[str, Any]:
    return {
        "id": new_id(),
        "conversation_id": conversation_id,
        "role": "bot" if message.machine else ROLES[message.role],
        "text": message.text,
        "reviewed": message.reviewed,
        "faq_id": message.faq_id,
        "created_at": moment,
    }


def _row_id(given: str) -> str:
    return hashlib.sha256(f"{CHANNEL}\0{given}".encode()).hexdigest()[:40]


def _message(row: MessageRow) -> TrainingMessage:
    role = {"user": "user", "system": "system"}.get(row.role, "assistant")
    return TrainingMessage(role, row.text, row.faq_id, row.reviewed, row.role == "bot")


async def conversations(
    session: AsyncSession, *, imported_only: bool = False, teaching: bool = False
) -> AsyncIterator[TrainingConversation]:
    """Conversations, oldest first: those brought in, and (unless `imported_only`) those that customers had here.

    `teaching`: only those with a label or a person's reply, a small part of what customers say.
    """
    last = ("", "")
    while True:
        wanted = select(ConversationRow).order_by(ConversationRow.channel, ConversationRow.id).limit(BATCH)
        wanted = wanted.where(
            (ConversationRow.channel > last[0])
            | ((ConversationRow.channel == last[0]) & (ConversationRow.id > last[1]))
        )
        if imported_only:
            wanted = wanted.where(ConversationRow.imported.is_(True))
        if teaching:
            taught = (MessageRow.reviewed.is_(True)) | (MessageRow.role == "human")
            mine = select(MessageRow.seq).where(MessageRow.conversation_id == ConversationRow.id, taught)
            wanted = wanted.where(mine.exists())
        rows = list(await session.scalars(wanted))
        if not rows:
            return
        last = (rows[-1].channel, rows[-1].id)
        for row, messages in zip(rows, await _messages_of(session, rows), strict=True):
            if messages:
                yield TrainingConversation(row.user if row.imported else row.id, messages, row.imported)


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


async def reviewed(session: AsyncSession) -> int:
    """How many messages of customers carry a person's label: those brought in, and those decided in the review."""
    wanted = select(func.count()).select_from(MessageRow)
    brought = await session.scalar(wanted.where(MessageRow.reviewed.is_(True), MessageRow.role == "user")) or 0
    return brought + await decisions.labelled(session)


async def known_entries(session: AsyncSession) -> set[str]:
    """The ids of all live entries."""
    return set(await session.scalars(select(FaqEntry.id).where(FaqEntry.deleted_at.is_(None))))
