"""The turns of the schedule, one row each, and what counts as new since the last training."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.storage import decisions
from bot.storage.release_tables import ScheduledRunRow
from bot.storage.review_tables import DataSetRow, TrainingRunRow
from bot.storage.tables import AdapterRow, ConversationRow, MessageRow
from bot.storage.values import iso, now


@dataclass(frozen=True, slots=True)
class Turn:
    """What came of a slot; see `ScheduledRunRow`."""

    slot: str
    state: str
    reason: str | None
    examples: int
    job_id: str | None
    adapter: str | None
    created_at: datetime
    ended_at: datetime | None

    def to_json(self) -> dict[str, str | int | None]:
        """As the API shows it."""
        shown: dict[str, str | int | None] = {name: getattr(self, name) for name in Turn.__slots__}
        return shown | {"created_at": iso(self.created_at), "ended_at": iso(self.ended_at)}


def _turn(row: ScheduledRunRow) -> Turn:
    return Turn(*(getattr(row, name) for name in Turn.__slots__))


async def newest(session: AsyncSession, until: str) -> Turn | None:
    """The turn whose training goes on, else the last up to the slot `until`: one that was taken while the clock was
    wrong, years ahead, is no reason to wait for years.
    """
    trains = ScheduledRunRow.state == "training"
    wanted = select(ScheduledRunRow).where(trains | (ScheduledRunRow.slot <= until))
    row = await session.scalar(wanted.order_by(trains.desc(), ScheduledRunRow.slot.desc()).limit(1))
    return _turn(row) if row else None


async def take(session: AsyncSession, slot: str, state: str, examples: int, reason: str | None = None) -> bool:
    """Take a slot's turn, once: False where somebody has it already, here or in another service."""
    if await session.get(ScheduledRunRow, slot) is not None:
        return False
    moment = now()
    session.add(
        ScheduledRunRow(
            slot=slot, state=state, reason=reason, examples=examples, created_at=moment,
            ended_at=None if state == "training" else moment,
        )
    )  # fmt: skip
    await session.flush()
    return True


async def assign(session: AsyncSession, slot: str, job_id: str) -> None:
    """The job that trains for a turn that was taken."""
    (await session.get_one(ScheduledRunRow, slot)).job_id = job_id


async def end(
    session: AsyncSession, slot: str, state: str, reason: str | None = None, adapter: str | None = None
) -> bool:
    """What came of a turn's training; False where that is written already."""
    row = await session.get(ScheduledRunRow, slot)
    if row is None or row.state != "training":
        return False
    row.state, row.reason, row.adapter, row.ended_at = state, reason, adapter, now()
    return True


async def trained_at(session: AsyncSession, kind: str) -> datetime | None:
    """When the data of the last training that came to its end was gathered; None where there was none. One of a day
    that is yet to come, by a clock that was wrong, does not count.
    """
    wanted = (
        select(func.max(TrainingRunRow.created_at))
        .join(DataSetRow, DataSetRow.version == TrainingRunRow.version)
        .join(AdapterRow, AdapterRow.name == TrainingRunRow.name)
        .where(DataSetRow.kind == kind, TrainingRunRow.created_at <= now())
    )
    found: datetime | None = await session.scalar(wanted)
    return found


async def new_examples(session: AsyncSession, kind: str = "encoder") -> int:
    """How many questions people have reviewed, here or in conversations brought in, since the last training."""
    since = await trained_at(session, kind)
    brought = select(func.count()).select_from(MessageRow)
    brought = brought.where(MessageRow.reviewed.is_(True), MessageRow.role == "user")
    if since:
        brought = brought.where(MessageRow.created_at > since)
    return (await session.scalar(brought) or 0) + await decisions.labelled(session, since)


async def questions_since(session: AsyncSession, moment: datetime) -> int:
    """How many messages customers have sent since then."""
    asked = (MessageRow.role == "user", MessageRow.created_at >= moment, ConversationRow.imported.is_(False))
    return await session.scalar(select(func.count()).select_from(MessageRow).join(ConversationRow).where(*asked)) or 0
