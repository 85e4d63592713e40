"""Background work in the database: claimed, watched over and finished, each in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.storage.tables import JobRow
from bot.storage.values import iso, new_id, now

FINISHED = ("done", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work and how far it is. `state` is queued, running, done, failed or cancelled."""

    id: str
    kind: str
    state: str
    params: dict[str, Any]
    done: int
    total: int
    note: str
    extra: dict[str, Any]
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    owner: str | None
    created_by: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    heartbeat_at: datetime | None
    cancel_requested: bool

    @property
    def finished(self) -> bool:
        return self.state in FINISHED

    def to_json(self) -> dict[str, Any]:
        """As the API shows it; parameters stay inside (they hold paths of this machine)."""
        shown = ("id", "kind", "state", "done", "total", "note", "extra", "result", "error")
        times = ("created_at", "started_at", "finished_at")
        told = {name: getattr(self, name) for name in shown} | {name: iso(getattr(self, name)) for name in times}
        return told if self.finished else told | {"result": None}


def _job(row: JobRow) -> Job:
    return Job(*(getattr(row, name) for name in Job.__slots__))


async def add(session: AsyncSession, kind: str, params: dict[str, Any], created_by: str | None) -> Job:
    row = JobRow(
        id=new_id(), kind=kind, state="queued", params=params, done=0, total=0, note="", extra={}, created_at=now(),
        created_by=created_by, cancel_requested=False,
    )  # fmt: skip
    session.add(row)
    await session.flush()
    return _job(row)


async def get(session: AsyncSession, job_id: str) -> Job | None:
    row = await session.get(JobRow, job_id)
    return _job(row) if row else None


async def newest(session: AsyncSession, kinds: Sequence[str] = (), limit: int = 50) -> list[Job]:
    """The newest jobs first, of these kinds or of all."""
    query = select(JobRow).order_by(JobRow.created_at.desc(), JobRow.id).limit(limit)
    if kinds:
        query = query.where(JobRow.kind.in_(kinds))
    return [_job(row) for row in await session.scalars(query)]


async def first_queued(session: AsyncSession, kinds: Sequence[str]) -> str | None:
    """The id of the oldest queued job of these kinds: a look that takes no lock."""
    oldest = select(JobRow.id).where(JobRow.state == "queued", JobRow.kind.in_(kinds)).order_by(JobRow.created_at)
    return (await session.scalars(oldest.limit(1))).first()


async def claim(session: AsyncSession, kinds: Sequence[str], owner: str) -> Job | None:
    """Take the oldest queued job of these kinds; nobody else gets it."""
    row = await session.scalar(
        select(JobRow)
        .where(JobRow.state == "queued", JobRow.kind.in_(kinds))
        .order_by(JobRow.created_at, JobRow.id)
        .limit(1)
    )
    if row is None:
        return None
    row.state, row.owner, row.heartbeat_at = "running", owner, now()
    row.started_at = row.started_at or row.heartbeat_at
    return _job(row)


async def beat(
    session: AsyncSession, job_id: str, owner: str, done: int, total: int, note: str, extra: dict[str, Any]
) -> bool:
    """Write progress and the sign of life; returns whether somebody asked to cancel."""
    row = await session.scalar(select(JobRow).where(JobRow.id == job_id, JobRow.owner == owner))
    if row is None:
        return True  # taken from us: stop
    row.done, row.total, row.note, row.extra, row.heartbeat_at = done, total, note, extra, now()
    return row.cancel_requested


async def finish(
    session: AsyncSession,
    job_id: str,
    state: str,
    result: dict[str, Any] | None = None,
    error: dict[str, Any] | None = None,
) -> None:
    await session.execute(
        update(JobRow)
        .where(JobRow.id == job_id, JobRow.state.not_in(FINISHED))
        .values(state=state, result=result, error=error, finished_at=now(), owner=None)
    )


async def keep_result(session: AsyncSession, job_id: str, result: dict[str, Any]) -> None:
    """What a running job has written for good, in the transaction that writes it: a later run of it begins there."""
    await session.execute(update(JobRow).where(JobRow.id == job_id).values(result=result))


async def kept_result(session: AsyncSession, job_id: str) -> dict[str, Any] | None:
    """What `keep_result` kept; None where nothing was written yet."""
    row = await session.get(JobRow, job_id)
    return dict(row.result) if row is not None and row.result else None


async def requeue(session: AsyncSession, job_id: str) -> None:
    """Back into the queue: the next process goes on with it."""
    await session.execute(
        update(JobRow)
        .where(JobRow.id == job_id, JobRow.state == "running")
        .values(state="queued", owner=None, heartbeat_at=None)
    )


async def request_cancel(session: AsyncSession, job_id: str) -> Job | None:
    """A queued job is cancelled at once; a running one is asked to stop."""
    row = await session.get(JobRow, job_id)
    if row is None:
        return None
    if row.state == "queued":
        row.state, row.finished_at = "cancelled", now()
    elif row.state == "running":
        row.cancel_requested = True
    return _job(row)


async def running(session: AsyncSession, silent_seconds: float = 0) -> list[Job]:
    """Jobs being run by anybody, or only those without a sign of life for so long."""
    limit = now() - timedelta(seconds=silent_seconds)
    rows = await session.scalars(select(JobRow).where(JobRow.state == "running", JobRow.heartbeat_at <= limit))
    return [_job(row) for row in rows]
