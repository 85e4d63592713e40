"""Candidates that answer in the shadow: which one, what it answered, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any, Literal

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.errors import ConflictError
from bot.storage import revisions
from bot.storage.release_tables import ShadowAnswerRow, ShadowRow
from bot.storage.tables import MessageRow
from bot.storage.values import iso, new_id, now

# Raised with what is activated, so that whoever follows the one follows the other.
COUNTER = "adapters"
Outcome = Literal["released", "dropped", "replaced", "removed", "failed"]


@dataclass(frozen=True, slots=True)
class Shadow:
    """A candidate in the shadow of `against` (None: the base model); `outcome` None while it is."""

    id: str
    adapter: str
    against: str | None
    share: float
    questions_max: int
    missed: int
    outcome: str | None
    error: dict[str, Any] | None
    started_by: str
    started_at: datetime
    ended_by: str | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Compared:
    """What one question came to; `question` is empty where both agree. Times are of encoding it, in milliseconds."""

    message_id: str
    question: str
    same: bool
    active: dict[str, Any]
    candidate: dict[str, Any]
    active_ms: float | None = None
    candidate_ms: float | None = None
    error: str | None = None


def _shadow(row: ShadowRow) -> Shadow:
    return Shadow(*(getattr(row, name) for name in Shadow.__slots__))


async def running(session: AsyncSession) -> Shadow | None:
    """The one that goes on."""
    row = await _running(session)
    return _shadow(row) if row else None


async def _running(session: AsyncSession) -> ShadowRow | None:
    wanted = select(ShadowRow).where(ShadowRow.outcome.is_(None)).order_by(ShadowRow.started_at.desc())
    return (await session.scalars(wanted)).first()


async def newest(session: AsyncSession) -> Shadow | None:
    """The last one, running or ended."""
    row = (await session.scalars(select(ShadowRow).order_by(ShadowRow.started_at.desc()).limit(1))).first()
    return _shadow(row) if row else None


async def start(
    session: AsyncSession, adapter: str, against: str | None, share: float, questions_max: int, actor: str
) -> Shadow:
    """Begin. Raises ConflictError where another candidate is in the shadow already."""
    if (other := await _running(session)) is not None:
        raise ConflictError(
            "shadow_running",
            f"{other.adapter} 正在影子试答；请先启用或放弃它",
            f"{other.adapter} is answering in the shadow already; release or drop it first",
        )
    row = ShadowRow(
        id=new_id(), adapter=adapter, against=against, share=share, questions_max=questions_max, missed=0,
        started_by=actor[:160], started_at=now(),
    )  # fmt: skip
    session.add(row)
    await session.flush()
    await revisions.bump(session, COUNTER)
    return _shadow(row)


async def end(
    session: AsyncSession, outcome: Outcome, actor: str, error: dict[str, Any] | None = None, only: str | None = None
) -> Shadow | None:
    """End the one that goes on (`only` where it is of this adapter); returns it, None where there is none."""
    row = await _running(session)
    if row is None or only not in (None, row.adapter):
        return None
    row.outcome, row.ended_by, row.ended_at, row.error = outcome, actor[:160], now(), error
    await revisions.bump(session, COUNTER)
    return _shadow(row)


async def settle(session: AsyncSession, active: str | None, actor: str) -> None:
    """In the transaction that makes another encoder the active one: a candidate is released by it, or out of date."""
    row = await _running(session)
    if row is not None:
        await end(session, "released" if row.adapter == active else "replaced", actor)


async def taken_back(session: AsyncSession, adapter: str, error: dict[str, Any]) -> None:
    """Its release could not be made: that is what came of the last shadow, where it was this adapter's."""
    row = (await session.scalars(select(ShadowRow).order_by(ShadowRow.started_at.desc()).limit(1))).first()
    if row is not None and row.adapter == adapter and row.outcome == "released":
        row.outcome, row.error = "failed", error


async def add(session: AsyncSession, shadow_id: str, found: Sequence[Compared], missed: int) -> None:
    """Keep answers of messages that are still there, and count the questions that were passed over under load."""
    row = await session.get(ShadowRow, shadow_id)
    if row is None or row.outcome is not None:
        return
    row.missed += missed
    wanted = select(MessageRow.id).where(MessageRow.id.in_([one.message_id for one in found]))
    there = set(await session.scalars(wanted))
    moment = now()
    values = [
        {name: getattr(one, name) for name in Compared.__slots__} | {"shadow_id": shadow_id, "created_at": moment}
        for one in found
        if one.message_id in there
    ]
    if values:
        await session.execute(insert(ShadowAnswerRow), values)


async def asked(session: AsyncSession, shadow_id: str) -> int:
    """How many questions a candidate was asked."""
    return await session.scalar(select(func.count()).where(ShadowAnswerRow.shadow_id == shadow_id)) or 0


async def figures(session: AsyncSession, shadow_id: str) -> dict[str, Any]:
    """`asked`, `same`, `errors`, and the encoding's median and 95th percentile of both, in milliseconds."""
    rows = await session.execute(
        select(
            ShadowAnswerRow.same, ShadowAnswerRow.error, ShadowAnswerRow.active_ms, ShadowAnswerRow.candidate_ms
        ).where(ShadowAnswerRow.shadow_id == shadow_id)
    )
    found = rows.all()
    timed = [(row.active_ms, row.candidate_ms) for row in found if row.active_ms and row.candidate_ms]
    active, candidate = ([pair[place] for pair in timed] for place in (0, 1))
    ratio = median([mine / theirs for theirs, mine in timed]) if timed else None
    return {
        "asked": len(found),
        "same": sum(row.same for row in found),
        "errors": sum(row.error is not None for row in found),
        "active_ms": _spread(active),
        "candidate_ms": _spread(candidate),
        "latency_ratio": round(ratio, 3) if ratio else None,
    }


def _spread(times: Sequence[float]) -> dict[str, float] | None:
    if not times:
        return None
    ordered = sorted(times)
    return {"p50": round(median(ordered), 2), "p95": round(ordered[int(0.95 * (len(ordered) - 1))], 2)}


async def differences(
    session: AsyncSession, shadow_id: str, offset: int, limit: int
) -> tuple[list[dict[str, Any]], int]:
    """The questions that the two answer differently, newest first, and how many there are."""
    mine = (ShadowAnswerRow.shadow_id == shadow_id, ShadowAnswerRow.same.is_(False))
    total = await session.scalar(select(func.count()).where(*mine)) or 0
    rows = await session.scalars(
        select(ShadowAnswerRow).where(*mine).order_by(ShadowAnswerRow.seq.desc()).offset(offset).limit(limit)
    )
    return [
        {
            "question": row.question,
            "active": row.active,
            "candidate": row.candidate,
            "error": row.error,
            "asked_at": iso(row.created_at),
        }
        for row in rows
    ], total
