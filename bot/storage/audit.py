"""Who did what, append-only."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.storage.tables import AuditRow
from bot.storage.values import now


@dataclass(frozen=True, slots=True)
class Record:
    """One deed. `detail` holds ids and counts."""

    id: int
    actor: str
    action: str
    target: str
    detail: dict[str, Any]
    created_at: datetime


async def record(
    session: AsyncSession, actor: str, action: str, target: str = "", detail: dict[str, Any] | None = None
) -> None:
    """Write a deed in the transaction that does it. Never message text, secrets or personal data."""
    session.add(AuditRow(actor=actor[:160], action=action, target=target[:160], detail=detail or {}, created_at=now()))


async def recent(session: AsyncSession, limit: int = 100, offset: int = 0) -> list[Record]:
    """The newest deeds first."""
    rows = await session.scalars(select(AuditRow).order_by(AuditRow.id.desc()).limit(limit).offset(offset))
    return [Record(row.id, row.actor, row.action, row.target, row.detail, row.created_at) for row in rows]
