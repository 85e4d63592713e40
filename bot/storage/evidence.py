"""What mining reads of the conversations, a batch at a time, and the estimates it leaves on them.

Imported conversations are the company's files: they carry labels of their own and are not mined.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, Select, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from bot.learning.signals import Said
from bot.storage.tables import Blob, ConversationRow, FeedbackRow, MessageRow

CURSOR = "mining"
COLUMNS = (
    MessageRow.seq, MessageRow.id, MessageRow.conversation_id, MessageRow.role, MessageRow.text, MessageRow.created_at,
    MessageRow.reply_to, MessageRow.decision, MessageRow.probability, MessageRow.sources, MessageRow.reasons,
    FeedbackRow.rating, MessageRow.reviewed, MessageRow.faq_id,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far mining has come: the last customer's message, and the last thumb."""

    seq: int = 0
    rated: datetime = datetime(1970, 1, 1)  # noqa: DTZ001 - naive UTC, as the tables hold it


@dataclass(frozen=True, slots=True)
class Asked:
    """A customer's message to be judged."""

    seq: int
    id: str
    conversation_id: str
    at: datetime


async def cursor(session: AsyncSession) -> Cursor:
    row = await session.get(Blob, CURSOR)
    if row is None:
        return Cursor()
    kept = json.loads(row.value)
    return Cursor(kept["seq"], datetime.fromisoformat(kept["rated"]))


async def keep_cursor(session: AsyncSession, place: Cursor) -> None:
    value = json.dumps({"seq": place.seq, "rated": place.rated.isoformat()}).encode()
    await session.merge(Blob(name=CURSOR, value=value))


async def waiting(session: AsyncSession, seq: int, until: datetime) -> int:
    """How many customers' messages are to be judged."""
    return await session.scalar(_asked(func.count()).where(MessageRow.seq > seq, MessageRow.created_at < until)) or 0


async def asked_after(session: AsyncSession, seq: int, until: datetime, limit: int) -> list[Asked]:
    """The next customers' messages older than `until`, in their order."""
    found = _asked(MessageRow.seq, MessageRow.id, MessageRow.conversation_id, MessageRow.created_at)
    found = found.where(MessageRow.seq > seq, MessageRow.created_at < until).order_by(MessageRow.seq).limit(limit)
    return [Asked(*row) for row in await session.execute(found)]


async def asked_and_rated(session: AsyncSession, since: datetime, until: datetime, seq_max: int) -> list[Asked]:
    """Customers' messages up to `seq_max` whose reply got a thumb in (since, until]."""
    reply = aliased(MessageRow)
    found = _asked(MessageRow.seq, MessageRow.id, MessageRow.conversation_id, MessageRow.created_at)
    found = found.join(reply, reply.reply_to == MessageRow.id).join(FeedbackRow, FeedbackRow.message_id == reply.id)
    found = found.where(FeedbackRow.created_at > since, FeedbackRow.created_at <= until, MessageRow.seq <= seq_max)
    return [Asked(*row) for row in await session.execute(found.distinct().order_by(MessageRow.seq))]


def _asked(*columns: Any) -> Select[Any]:
    chosen: Select[Any] = select(*columns)
    return chosen.select_from(MessageRow).join(ConversationRow).where(
        MessageRow.role == "user", ConversationRow.imported.is_(False)
    )  # fmt: skip


async def around(session: AsyncSession, asked: Sequence[Asked], after: timedelta) -> dict[str, list[Said]]:
    """The messages of the conversations from the first of `asked` on, until `after` the last of them, each in order.

    Bounded by what customers say in that time: a conversation of years is not read anew.
    """
    found: dict[str, list[Said]] = {}
    wanted = (
        select(*COLUMNS)
        .outerjoin(FeedbackRow, FeedbackRow.message_id == MessageRow.id)
        .where(
            MessageRow.conversation_id.in_({one.conversation_id for one in asked}),
            MessageRow.seq >= min(one.seq for one in asked),
            MessageRow.created_at <= max(one.at for one in asked) + after,
        )
        .order_by(MessageRow.seq)
    )
    for row in await session.execute(wanted):
        found.setdefault(row.conversation_id, []).append(_said(row))
    return found


def _said(row: Row[Any]) -> Said:
    sources = row.sources or ()
    return Said(
        seq=row.seq,
        id=row.id,
        conversation_id=row.conversation_id,
        role=row.role,
        text=row.text,
        at=row.created_at,
        reply_to=row.reply_to,
        decision=row.decision,
        probability=row.probability,
        entry=sources[0].get("faq_id") if sources else None,
        reasons=tuple(row.reasons or ()),
        rating=row.rating,
        reviewed=bool(row.reviewed),
        label=row.faq_id,
    )


async def still_there(session: AsyncSession, asked: Sequence[Asked]) -> set[int]:
    """Those of the messages, by their `seq`, that were not deleted since they were read."""
    return set(await session.scalars(select(MessageRow.seq).where(MessageRow.seq.in_([one.seq for one in asked]))))


async def keep_estimates(session: AsyncSession, answered: Mapping[int, float | None]) -> None:
    """What is believed of each customer's message, by its `seq`."""
    if answered:
        rows = [{"seq": seq, "answered": value} for seq, value in answered.items()]
        await session.execute(update(MessageRow), rows)
