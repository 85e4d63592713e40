"""What people decided about the questions to review, append-only, and what is learnt from it."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import CursorResult, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.storage.review_tables import ReviewDecisionRow, ReviewLabelRow
from bot.storage.values import now


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody decided. `undone_at` is set where it was taken back."""

    id: int
    item_id: str
    action: str
    entry_id: str | None
    question: str
    entry_revision: int | None
    actor: str
    created_at: datetime
    undone_by: str | None
    undone_at: datetime | None
    labels: int = 0


@dataclass(frozen=True, slots=True)
class Label:
    """A reviewed question as it is learnt; `entry_id` None is out of scope."""

    source: str
    text: str
    entry_id: str | None


def source_of(conversation_id: str) -> str:
    """How data sets know a conversation: by a hash from which its id cannot be had."""
    return hashlib.sha256(f"conversation\0{conversation_id}".encode("utf-8", "replace")).hexdigest()


async def standing(session: AsyncSession, item_id: str) -> Decision | None:
    """The decision of an item that holds."""
    wanted = select(ReviewDecisionRow).where(
        ReviewDecisionRow.item_id == item_id, ReviewDecisionRow.undone_at.is_(None)
    )
    row = await session.scalar(wanted.order_by(ReviewDecisionRow.id.desc()).limit(1))
    return _decision(row) if row else None


async def newest(session: AsyncSession, offset: int, limit: int) -> list[Decision]:
    """What was decided, newest first."""
    order = ReviewDecisionRow.id.desc()
    rows = list(await session.scalars(select(ReviewDecisionRow).order_by(order).offset(offset).limit(limit)))
    counted = select(ReviewLabelRow.decision_id, func.count()).where(
        ReviewLabelRow.decision_id.in_([row.id for row in rows])
    )
    labels = dict((await session.execute(counted.group_by(ReviewLabelRow.decision_id))).all())
    return [_decision(row, labels.get(row.id, 0)) for row in rows]


async def record(
    session: AsyncSession, item_id: str, action: str, question: str, actor: str, entry_id: str | None,
    entry_revision: int | None, labels: Iterable[Label],
) -> int:  # fmt: skip
    """Keep a decision and what is learnt from it; returns its number."""
    row = ReviewDecisionRow(
        item_id=item_id, action=action, entry_id=entry_id, question=question, entry_revision=entry_revision,
        actor=actor[:160], created_at=now(),
    )  # fmt: skip
    session.add(row)
    await session.flush()
    values = [
        {"decision_id": row.id, "source": one.source, "text": one.text, "entry_id": one.entry_id} for one in labels
    ]
    if values:
        await session.execute(insert(ReviewLabelRow), values)
    return row.id


async def undo(session: AsyncSession, decision_id: int, actor: str) -> None:
    await session.execute(
        update(ReviewDecisionRow)
        .where(ReviewDecisionRow.id == decision_id)
        .values(undone_at=now(), undone_by=actor[:160])
    )


async def labels(session: AsyncSession) -> list[Label]:
    """What the decisions that stand have labelled, in an order that is the same for the same decisions."""
    wanted = (
        select(ReviewLabelRow.source, ReviewLabelRow.text, ReviewLabelRow.entry_id)
        .join(ReviewDecisionRow)
        .where(ReviewDecisionRow.undone_at.is_(None))
        .order_by(ReviewLabelRow.source, ReviewLabelRow.text, ReviewLabelRow.entry_id)
    )
    return [Label(*row) for row in await session.execute(wanted)]


async def labelled(session: AsyncSession, since: datetime | None = None) -> int:
    """How many questions the decisions that stand (`since`: those made after it) have labelled."""
    wanted = select(func.count()).select_from(ReviewLabelRow).join(ReviewDecisionRow)
    if since:
        wanted = wanted.where(ReviewDecisionRow.created_at > since)
    return await session.scalar(wanted.where(ReviewDecisionRow.undone_at.is_(None))) or 0


async def knows(session: AsyncSession, source: str) -> bool:
    """Whether anything was learnt from a conversation, also one that is deleted by now."""
    return await session.scalar(select(ReviewLabelRow.id).where(ReviewLabelRow.source == source).limit(1)) is not None


async def forget(session: AsyncSession, sources: list[str]) -> int:
    """Remove what was learnt from conversations; a decision left without a label loses its words, too."""
    touched = set(await session.scalars(select(ReviewLabelRow.decision_id).where(ReviewLabelRow.source.in_(sources))))
    gone = await session.execute(delete(ReviewLabelRow).where(ReviewLabelRow.source.in_(sources)))
    left = select(ReviewLabelRow.decision_id)
    bare = (ReviewDecisionRow.id.in_(touched), ReviewDecisionRow.id.not_in(left))
    await session.execute(update(ReviewDecisionRow).where(*bare).values(question=""))
    return gone.rowcount if isinstance(gone, CursorResult) else 0


async def forget_wordings(
    session: AsyncSession, before: Mapping[str, Collection[str]], left: Mapping[str, Collection[str]]
) -> None:
    """Decisions named by a question that is gone lose its words, those of `ignore` and `negative`, too, which label
    nothing. `before` and `left` are the wordings of items before and after; an item that has none left keeps none,
    while a wording of the reviewer's own stays as long as it has some."""
    for row in await session.scalars(select(ReviewDecisionRow).where(ReviewDecisionRow.item_id.in_(before))):
        still = left.get(row.item_id, ())
        if not still or (row.question in before[row.item_id] and row.question not in still):
            row.question = ""
    await session.flush()


def _decision(row: ReviewDecisionRow, count: int = 0) -> Decision:
    return Decision(
        row.id, row.item_id, row.action, row.entry_id, row.question, row.entry_revision, row.actor, row.created_at,
        row.undone_by, row.undone_at, count,
    )  # fmt: skip
