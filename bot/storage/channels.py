"""Channels set up in the console."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.storage.tables import ChannelRow
from bot.storage.values import now


@dataclass(frozen=True, slots=True)
class StoredChannel:
    """One of them; `sealed` is for `bot.security.vault`."""

    kind: str
    name: str
    sealed: bytes
    enabled: bool
    updated_at: datetime


async def stored(session: AsyncSession) -> list[StoredChannel]:
    rows = await session.scalars(select(ChannelRow).order_by(ChannelRow.kind, ChannelRow.name))
    return [StoredChannel(row.kind, row.name, row.sealed, row.enabled, row.updated_at) for row in rows]


async def put(session: AsyncSession, kind: str, name: str, sealed: bytes, *, enabled: bool = True) -> None:
    """Add a channel, or change it."""
    moment = now()
    row = await session.get(ChannelRow, (kind, name))
    if row is None:
        session.add(
            ChannelRow(kind=kind, name=name, sealed=sealed, enabled=enabled, created_at=moment, updated_at=moment)
        )
    else:
        row.sealed, row.enabled, row.updated_at = sealed, enabled, moment


async def remove(session: AsyncSession, kind: str, name: str) -> bool:
    """Whether there was such a channel."""
    row = await session.get(ChannelRow, (kind, name))
    if row is None:
        return False
    await session.delete(row)
    return True
