"""The dashboard's numbers, from conversations and messages. Imported conversations do not count."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.storage.tables import ConversationRow, Document, FaqEntry, FeedbackRow, MessageRow


@dataclass(frozen=True, slots=True)
class Period:
    """Whole days of a time zone, the last one included. `offset` is that zone's distance from UTC."""

    first: date
    last: date
    offset: timedelta

    @property
    def start(self) -> datetime:
        """In UTC, as the tables have it."""
        return datetime.combine(self.first, datetime.min.time()) - self.offset

    @property
    def end(self) -> datetime:
        """In UTC, not included."""
        return datetime.combine(self.last + timedelta(days=1), datetime.min.time()) - self.offset


async def read(session: AsyncSession, period: Period) -> dict[str, Any]:
    """The contract's document of `GET /api/stats`."""
    ours = ConversationRow.imported.is_(False)
    began = (ours, ConversationRow.created_at >= period.start, ConversationRow.created_at < period.end)
    said = (ours, MessageRow.created_at >= period.start, MessageRow.created_at < period.end)
    messages = select(func.count()).select_from(MessageRow).join(ConversationRow).where(*said)
    decisions = (
        select(MessageRow.decision, func.count())
        .join(ConversationRow)
        .where(*said, MessageRow.role == "bot", MessageRow.decision.is_not(None))
        .group_by(MessageRow.decision)
    )
    ratings = (
        select(FeedbackRow.rating, func.count())
        .where(FeedbackRow.created_at >= period.start, FeedbackRow.created_at < period.end)
        .group_by(FeedbackRow.rating)
    )
    rated = await _pairs(session, ratings)
    return {
        "from": period.first.isoformat(),
        "to": period.last.isoformat(),
        "conversations": await session.scalar(select(func.count()).select_from(ConversationRow).where(*began)),
        "messages": await session.scalar(messages),
        "decisions": await _pairs(session, decisions),
        "feedback": {"up": rated.get("up", 0), "down": rated.get("down", 0)},
        "entries": await session.scalar(
            select(func.count()).select_from(FaqEntry).where(FaqEntry.deleted_at.is_(None))
        ),
        "documents": await session.scalar(
            select(func.count()).select_from(Document).where(Document.deleted_at.is_(None))
        ),
        "latency_ms": {"p50": await _latency(session, said, 0.5), "p95": await _latency(session, said, 0.95)},
        "days": await _days(session, period, began, said),
    }


async def _latency(session: AsyncSession, said: tuple[ColumnElement[bool], ...], share: float) -> int | None:
    """A percentile of the time replies took, by the nearest rank; None without replies."""
    timed = (*said, MessageRow.role == "bot", MessageRow.latency_ms.is_not(None))
    total = await session.scalar(select(func.count()).select_from(MessageRow).join(ConversationRow).where(*timed)) or 0
    ranked = select(MessageRow.latency_ms).join(ConversationRow).where(*timed).order_by(MessageRow.latency_ms)
    return (await session.scalars(ranked.offset(max(0, -(-int(share * total * 100) // 100) - 1)).limit(1))).first()


async def _days(
    session: AsyncSession,
    period: Period,
    began: tuple[ColumnElement[bool], ...],
    said: tuple[ColumnElement[bool], ...],
) -> list[dict[str, Any]]:
    shift = f"{period.offset.total_seconds() / 60:+.0f} minutes"

    def day(column: Any) -> Any:
        return func.date(column, shift)

    opened = await _pairs(
        session,
        select(day(ConversationRow.created_at), func.count()).where(*began).group_by(day(ConversationRow.created_at)),
    )
    spoken = await _pairs(
        session,
        select(day(MessageRow.created_at), func.count())
        .join(ConversationRow)
        .where(*said)
        .group_by(day(MessageRow.created_at)),
    )
    days = [(period.first + timedelta(days=n)).isoformat() for n in range((period.last - period.first).days + 1)]
    return [{"date": one, "conversations": opened.get(one, 0), "messages": spoken.get(one, 0)} for one in days]


async def _pairs(session: AsyncSession, query: Select[Any, int]) -> dict[str, int]:
    return {str(name): count for name, count in await session.execute(query)}
