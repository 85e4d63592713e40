"""Where mining puts the questions it found: the groups there are, and the rows of new ones."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.storage.review import JOINABLE, OPEN
from bot.storage.review_tables import ReviewItemRow, ReviewQuestionRow

CHUNK = 500


@dataclass(frozen=True, slots=True)
class Group:
    """An item that questions may join, as clustering knows it: vectors in half precision, of the `encoder` named."""

    id: str
    question: str
    vector: bytes
    centre: bytes
    encoder: str
    count: int


@dataclass(frozen=True, slots=True)
class Found:
    """A question to put under an item."""

    message_id: str
    item_id: str
    text: str
    key: str
    answered: float
    signals: tuple[str, ...]
    asked_at: datetime


async def groups(session: AsyncSession) -> AsyncIterator[list[Group]]:
    """Every item that questions may join, some at a time."""
    last = ""
    columns = (
        ReviewItemRow.id, ReviewItemRow.question, ReviewItemRow.vector, ReviewItemRow.centre, ReviewItemRow.encoder,
        ReviewItemRow.count,
    )  # fmt: skip
    while True:
        wanted = select(*columns).where(ReviewItemRow.state.in_(JOINABLE), ReviewItemRow.id > last)
        found = [Group(*row) for row in await session.execute(wanted.order_by(ReviewItemRow.id).limit(CHUNK))]
        if not found:
            return
        last = found[-1].id
        yield found


async def joinable(session: AsyncSession, ids: Collection[str]) -> dict[str, Group]:
    """Those of the items that questions may still join."""
    wanted = select(ReviewItemRow).where(ReviewItemRow.id.in_(ids), ReviewItemRow.state.in_(JOINABLE))
    return {
        row.id: Group(row.id, row.question, row.vector, row.centre, row.encoder, row.count)
        for row in await session.scalars(wanted)
    }


async def items_of_keys(session: AsyncSession, keys: Collection[str]) -> dict[str, str]:
    """The item that has a question of the same wording already, by the wording's key."""
    wanted = (
        select(ReviewQuestionRow.key, ReviewQuestionRow.item_id)
        .join(ReviewItemRow)
        .where(ReviewQuestionRow.key.in_(keys), ReviewItemRow.state.in_(JOINABLE))
    )
    return dict((await session.execute(wanted)).all())


async def items_of_messages(session: AsyncSession, ids: Collection[str]) -> dict[str, str]:
    """The item each of the messages is under already."""
    wanted = select(ReviewQuestionRow.message_id, ReviewQuestionRow.item_id).where(
        ReviewQuestionRow.message_id.in_(ids)
    )
    return dict((await session.execute(wanted)).all())


async def save_items(session: AsyncSession, rows: Sequence[Mapping[str, Any]], fresh: Collection[str]) -> None:
    """Write items by their id, inserting the `fresh` ones."""
    new = [dict(row) for row in rows if row["id"] in fresh]
    if new:
        await session.execute(insert(ReviewItemRow), new)
    changed = [dict(row) for row in rows if row["id"] not in fresh]
    if changed:
        await session.execute(update(ReviewItemRow), changed)


async def add_questions(session: AsyncSession, found: Iterable[Found]) -> None:
    rows = [
        {
            "message_id": one.message_id, "item_id": one.item_id, "text": one.text, "key": one.key,
            "answered": one.answered, "signals": list(one.signals), "asked_at": one.asked_at,
        }
        for one in found
    ]  # fmt: skip
    if rows:
        await session.execute(insert(ReviewQuestionRow), rows)


async def judge_again(session: AsyncSession, answered: Mapping[str, tuple[float, tuple[str, ...]]]) -> None:
    """What is believed now of questions that were found before."""
    rows = [
        {"message_id": id_, "answered": value, "signals": list(signals)} for id_, (value, signals) in answered.items()
    ]
    if rows:
        await session.execute(update(ReviewQuestionRow), rows)


async def withdraw(session: AsyncSession, ids: Collection[str]) -> None:
    """Take questions that were answered after all out of the open items."""
    opened = select(ReviewItemRow.id).where(ReviewItemRow.state == OPEN)
    await session.execute(
        delete(ReviewQuestionRow)
        .where(ReviewQuestionRow.message_id.in_(ids), ReviewQuestionRow.item_id.in_(opened))
        .execution_options(synchronize_session=False)
    )
