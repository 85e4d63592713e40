"""Which data a training has seen: versions by hash, the conversations in them, and the runs that used them."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.storage.review_tables import DataSetRow, DataSetSourceRow, TrainingRunRow
from bot.storage.values import now

CHUNK = 500
SOURCE_CHARACTERS_MAX = 256


@dataclass(frozen=True, slots=True)
class DataSet:
    """One version. `forgotten_at` is set where somebody whose words are in it was forgotten since."""

    version: int
    hash: str
    kind: str
    examples: int
    created_at: datetime
    forgotten_at: datetime | None


async def record(
    session: AsyncSession, run: str, data_hash: str, kind: str, examples: int, sources: Sequence[str]
) -> int:
    """Keep what a run is given; the same data is the same version, which is returned."""
    row = await session.scalar(select(DataSetRow).where(DataSetRow.hash == data_hash))
    if row is None:
        row = DataSetRow(hash=data_hash, kind=kind, examples=examples, created_at=now())
        session.add(row)
        await session.flush()
        values = [{"version": row.version, "source": source[:SOURCE_CHARACTERS_MAX]} for source in sources]
        if values:
            await session.execute(insert(DataSetSourceRow), values)
    await session.merge(TrainingRunRow(name=run, version=row.version, created_at=now()))
    return row.version


async def of_run(session: AsyncSession, run: str) -> DataSet | None:
    """What a run, or the adapter of its name, was trained on."""
    wanted = select(DataSetRow).join(TrainingRunRow, TrainingRunRow.version == DataSetRow.version)
    row = await session.scalar(wanted.where(TrainingRunRow.name == run))
    return DataSet(*(getattr(row, name) for name in DataSet.__slots__)) if row else None


async def runs_without(session: AsyncSession, sources: Collection[str]) -> set[str]:
    """The runs on record whose data hold no words of these conversations. A folder that is not on record may."""
    names = set(await session.scalars(select(TrainingRunRow.name)))
    for part in _parts(sources):
        listed = select(DataSetSourceRow.version).where(DataSetSourceRow.source.in_(part))
        names -= set(await session.scalars(select(TrainingRunRow.name).where(TrainingRunRow.version.in_(listed))))
    return names


async def forget(session: AsyncSession, sources: Collection[str]) -> list[str]:
    """Mark the data sets that hold words of these conversations; returns the names of the runs that saw them."""
    names: set[str] = set()
    for part in _parts(sources):
        listed = select(DataSetSourceRow.version).where(DataSetSourceRow.source.in_(part))
        versions = list(await session.scalars(listed.distinct()))
        names |= set(await session.scalars(select(TrainingRunRow.name).where(TrainingRunRow.version.in_(versions))))
        unmarked = (DataSetRow.version.in_(versions), DataSetRow.forgotten_at.is_(None))
        await session.execute(update(DataSetRow).where(*unmarked).values(forgotten_at=now()))
    return sorted(names)


async def marked_runs(session: AsyncSession) -> set[str]:
    """The runs, and so the adapters, that learnt from somebody who was forgotten since."""
    wanted = select(TrainingRunRow.name).join(DataSetRow, DataSetRow.version == TrainingRunRow.version)
    return set(await session.scalars(wanted.where(DataSetRow.forgotten_at.is_not(None))))


def _parts(sources: Collection[str]) -> Iterator[list[str]]:
    """Sources as `record` keeps them, as many at a time as a statement takes."""
    ordered = sorted(source[:SOURCE_CHARACTERS_MAX] for source in sources)
    for start in range(0, len(ordered), CHUNK):
        yield ordered[start : start + CHUNK]
