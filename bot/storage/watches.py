"""What is watched after a switch, and what came of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import case, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.storage.release_tables import WatchRow
from bot.storage.tables import ActivationRow, MessageRow
from bot.storage.values import iso, now

Outcome = Literal["passed", "rolled_back", "replaced"]


@dataclass(frozen=True, slots=True)
class Watch:
    """An adapter that is watched, or was; `before` and `after` are figures of `bot.learning.health`."""

    id: int
    kind: str
    adapter: str
    before: dict[str, Any]
    after: dict[str, Any]
    outcome: str | None
    cause: str | None
    returned_to: str | None
    started_at: datetime
    ended_at: datetime | None

    def to_json(self) -> dict[str, Any]:
        """As the API shows it."""
        shown = {name: getattr(self, name) for name in Watch.__slots__ if name != "id"}
        return shown | {"started_at": iso(self.started_at), "ended_at": iso(self.ended_at)}


def _watch(row: WatchRow) -> Watch:
    return Watch(*(getattr(row, name) for name in Watch.__slots__))


async def begin(session: AsyncSession, kind: str, adapter: str, before: dict[str, Any]) -> Watch:
    """Watch an adapter from now on, and none of its kind beside it."""
    await session.execute(
        update(WatchRow)
        .where(WatchRow.kind == kind, WatchRow.outcome.is_(None))
        .values(outcome="replaced", ended_at=now())
    )
    row = WatchRow(kind=kind, adapter=adapter, before=before, after={}, started_at=now())
    session.add(row)
    await session.flush()
    return _watch(row)


async def end(
    session: AsyncSession, watch_id: int, outcome: Outcome, after: dict[str, Any],
    cause: str | None = None, returned_to: str | None = None,
) -> None:  # fmt: skip
    await session.execute(
        update(WatchRow)
        .where(WatchRow.id == watch_id, WatchRow.outcome.is_(None))
        .values(outcome=outcome, after=after, cause=cause, returned_to=returned_to, ended_at=now())
    )


async def newest(session: AsyncSession, kind: str) -> Watch | None:
    """The last adapter of a kind that was watched."""
    row = await session.scalar(select(WatchRow).where(WatchRow.kind == kind).order_by(WatchRow.id.desc()).limit(1))
    return _watch(row) if row else None


async def rolled_back(session: AsyncSession, since: datetime, limit: int = 10) -> list[Watch]:
    """What was rolled back by itself since then, newest first."""
    wanted = select(WatchRow).where(WatchRow.outcome == "rolled_back", WatchRow.ended_at >= since)
    return [_watch(row) for row in await session.scalars(wanted.order_by(WatchRow.id.desc()).limit(limit))]


async def proved_bad(session: AsyncSession, name: str) -> bool:
    """Whether an adapter was rolled back by itself, or could not be switched to: nobody but a person takes it again."""
    broken = select(WatchRow.id).where(WatchRow.outcome == "rolled_back", WatchRow.adapter == name)
    if await session.scalar(broken.limit(1)) is not None:
        return True
    earlier: dict[str, str | None] = {}
    for row in await session.scalars(select(ActivationRow).order_by(ActivationRow.id)):
        if row.reason in ("failed", "broken") and earlier.get(row.kind) == name:
            return True
        earlier[row.kind] = row.adapter_name
    return False


async def handed_over(session: AsyncSession, first: datetime, last: datetime) -> tuple[int, int]:
    """How many replies the bot gave in a time, and how many of them called a person."""
    mine = (MessageRow.role == "bot", MessageRow.created_at >= first, MessageRow.created_at < last)
    counted = select(func.count(), func.sum(case((MessageRow.decision == "handoff", 1), else_=0))).where(*mine)
    replies, calls = (await session.execute(counted)).one()
    return replies or 0, calls or 0
