"""The review queue: questions put under what is to be decided, and decisions with what was learnt from them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import case, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.errors import ConflictError, NotFoundError
from bot.storage.conversations import silent_since
from bot.storage.decisions import standing
from bot.storage.review_tables import ReviewItemRow, ReviewQuestionRow
from bot.storage.tables import ConversationRow, MessageRow
from bot.storage.values import new_id, now

State = Literal["open", "done", "dismissed"]
OPEN, DONE, DISMISSED = "open", "done", "dismissed"
JOINABLE = (OPEN, DISMISSED)
CLAIM_SECONDS = 180
EXAMPLES_MAX = 20
PEOPLE_MESSAGES_MAX = 400
CHUNK = 500


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to decide. `week` and `week_before` count its questions of the last seven days and the seven before."""

    id: str
    question: str
    state: str
    revision: int
    count: int
    priority: float
    first_at: datetime
    last_at: datetime
    claimed_by: str | None
    claimed_until: datetime | None
    week: int = 0
    week_before: int = 0


@dataclass(frozen=True, slots=True)
class Question:
    """One customer's question of an item; `conversation_id` and `seq` say where it was asked."""

    id: str
    item_id: str
    text: str
    key: str
    answered: float
    signals: tuple[str, ...]
    asked_at: datetime
    conversation_id: str = ""
    seq: int = 0


def no_item(item_id: str) -> NotFoundError:
    return NotFoundError(
        "review_not_found",
        f"没有待审核的问题 {item_id}，可能已随对话删除",
        f"There is no question {item_id} to review; it may have gone with its conversation",
    )


async def page(session: AsyncSession, state: State, offset: int, limit: int, without: str = "") -> list[Item]:
    """Items by what they teach, the most first; `without` leaves out what somebody else than that actor holds."""
    free = or_(ReviewItemRow.claimed_until.is_(None), ReviewItemRow.claimed_until < now())
    wanted = select(ReviewItemRow).where(ReviewItemRow.state == state)
    if without:
        wanted = wanted.where(or_(free, ReviewItemRow.claimed_by == without))
    order = (ReviewItemRow.priority.desc(), ReviewItemRow.last_at.desc(), ReviewItemRow.id)
    rows = list(await session.scalars(wanted.order_by(*order).offset(offset).limit(limit)))
    weeks = await _weeks(session, [row.id for row in rows])
    return [_item(row, *weeks.get(row.id, (0, 0))) for row in rows]


async def item(session: AsyncSession, item_id: str) -> Item:
    """Raises NotFoundError."""
    row = await session.get(ReviewItemRow, item_id)
    if row is None:
        raise no_item(item_id)
    return _item(row, *(await _weeks(session, [item_id])).get(item_id, (0, 0)))


async def revisions(session: AsyncSession, ids: Collection[str]) -> dict[str, tuple[str, int]]:
    """State and revision of items, by id."""
    wanted = select(ReviewItemRow.id, ReviewItemRow.state, ReviewItemRow.revision).where(ReviewItemRow.id.in_(ids))
    return {id_: (state, revision) for id_, state, revision in await session.execute(wanted)}


async def totals(session: AsyncSession) -> dict[str, int]:
    """How many items there are of each state, and how many questions wait."""
    rows = await session.execute(
        select(ReviewItemRow.state, func.count(), func.sum(ReviewItemRow.count)).group_by(ReviewItemRow.state)
    )
    found = {state: (items, questions or 0) for state, items, questions in rows}
    shown = {state: found.get(state, (0, 0))[0] for state in (OPEN, DONE, DISMISSED)}
    return shown | {"questions": found.get(OPEN, (0, 0))[1]}


async def _weeks(session: AsyncSession, ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    moment = now()
    week, before = moment - timedelta(days=7), moment - timedelta(days=14)
    asked = ReviewQuestionRow.asked_at
    rows = await session.execute(
        select(
            ReviewQuestionRow.item_id,
            func.sum(case((asked >= week, 1), else_=0)),
            func.sum(case((asked >= week, 0), else_=1)),
        )
        .where(ReviewQuestionRow.item_id.in_(ids), asked >= before)
        .group_by(ReviewQuestionRow.item_id)
    )
    return {id_: (late, early) for id_, late, early in rows}


async def questions(session: AsyncSession, item_ids: Sequence[str], each: int = EXAMPLES_MAX) -> list[Question]:
    """The newest questions of the items, one a wording and at most `each` of an item; newest first."""
    newest = (
        select(
            ReviewQuestionRow,
            func.row_number()
            .over(
                partition_by=(ReviewQuestionRow.item_id, ReviewQuestionRow.key),
                order_by=ReviewQuestionRow.asked_at.desc(),
            )
            .label("place"),
        )
        .where(ReviewQuestionRow.item_id.in_(item_ids))
        .subquery()
    )
    ranked = (
        select(
            newest.c.message_id,
            func.row_number().over(partition_by=newest.c.item_id, order_by=newest.c.asked_at.desc()).label("rank"),
        )
        .where(newest.c.place == 1)
        .subquery()
    )
    rows = await session.execute(
        select(ReviewQuestionRow, MessageRow.conversation_id, MessageRow.seq)
        .join(ranked, ranked.c.message_id == ReviewQuestionRow.message_id)
        .join(MessageRow, MessageRow.id == ReviewQuestionRow.message_id)
        .where(ranked.c.rank <= each)
        .order_by(ReviewQuestionRow.item_id, ReviewQuestionRow.asked_at.desc())
    )
    return [_question(row, conversation, seq) for row, conversation, seq in rows]


async def questions_by_id(session: AsyncSession, item_id: str, ids: Collection[str]) -> list[Question]:
    """Those of an item's questions that are named."""
    rows = await session.execute(
        select(ReviewQuestionRow, MessageRow.conversation_id, MessageRow.seq)
        .join(MessageRow, MessageRow.id == ReviewQuestionRow.message_id)
        .where(ReviewQuestionRow.item_id == item_id, ReviewQuestionRow.message_id.in_(ids))
        .order_by(ReviewQuestionRow.asked_at)
    )
    return [_question(row, conversation, seq) for row, conversation, seq in rows]


async def replies_to(session: AsyncSession, message_ids: Sequence[str]) -> dict[str, str]:
    """What the bot said to each message."""
    rows = await session.execute(
        select(MessageRow.reply_to, MessageRow.text).where(
            MessageRow.reply_to.in_(message_ids), MessageRow.role == "bot"
        )
    )
    return {str(asked): text for asked, text in rows}


async def people_said(session: AsyncSession, asked: Sequence[Question]) -> dict[str, list[tuple[int, str]]]:
    """(seq, text) of what people said in the conversations after the first of the questions, by conversation."""
    found: dict[str, list[tuple[int, str]]] = {}
    if not asked:
        return found
    rows = await session.execute(
        select(MessageRow.conversation_id, MessageRow.seq, MessageRow.role, MessageRow.text)
        .where(
            MessageRow.conversation_id.in_({one.conversation_id for one in asked}),
            MessageRow.seq > min(one.seq for one in asked),
            MessageRow.role == "human",
        )
        .order_by(MessageRow.seq)
        .limit(PEOPLE_MESSAGES_MAX)
    )
    for conversation, seq, _, text in rows:
        found.setdefault(conversation, []).append((seq, text))
    return found


async def claim(session: AsyncSession, item_id: str, actor: str) -> Item:
    """Hold an open item for some minutes, so that a colleague is given another one.

    Raises NotFoundError; ConflictError where somebody else holds it, or has decided it.
    """
    row = await session.get(ReviewItemRow, item_id)
    if row is None:
        raise no_item(item_id)
    await _refuse_closed(session, row)
    _refuse_held(row, actor)
    row.claimed_by, row.claimed_until = actor, now() + timedelta(seconds=CLAIM_SECONDS)
    return _item(row)


async def close(session: AsyncSession, item_id: str, revision: int, state: State, actor: str) -> None:
    """Close an open item, if it is as the caller saw it.

    Raises NotFoundError; ConflictError where somebody else holds it, or was first.
    """
    row = await session.get(ReviewItemRow, item_id)
    if row is None:
        raise no_item(item_id)
    await _refuse_closed(session, row)
    _refuse_held(row, actor)
    _refuse_moved(row, revision)
    row.state, row.revision, row.claimed_by, row.claimed_until = state, revision + 1, None, None
    await session.flush()


async def reopen(session: AsyncSession, item_id: str, revision: int) -> None:
    """Open an item again, if it is as the caller saw it. Raises NotFoundError, ConflictError."""
    row = await session.get(ReviewItemRow, item_id)
    if row is None:
        raise no_item(item_id)
    _refuse_moved(row, revision)
    row.state, row.revision = OPEN, revision + 1
    await session.flush()


async def _refuse_closed(session: AsyncSession, row: ReviewItemRow) -> None:
    if row.state == OPEN:
        return
    last = await standing(session, row.id)
    who = last.actor.partition(":")[2] if last else ""
    raise ConflictError(
        "already_decided",
        f"「{row.question[:40]}」刚刚已由 {who or '同事'} 处理，您的选择没有保存",
        f"{who or 'A colleague'} has just decided “{row.question[:40]}”; your choice was not saved",
        {"state": row.state, "revision": row.revision, "by": who, "action": last.action if last else None},
    )


def _refuse_held(row: ReviewItemRow, actor: str) -> None:
    if row.claimed_by and row.claimed_by != actor and row.claimed_until and row.claimed_until > now():
        who = row.claimed_by.partition(":")[2]
        raise ConflictError(
            "claimed",
            f"{who} 正在处理「{row.question[:40]}」，请先处理下一条",
            f"{who} is looking at “{row.question[:40]}”; take the next one",
            {"by": who},
        )


def _refuse_moved(row: ReviewItemRow, revision: int) -> None:
    if row.revision != revision:
        raise ConflictError(
            "conflict",
            "这一条已被别人处理过，请刷新后再看",
            "Somebody else changed this meanwhile; look at it again first",
            {"revision": row.revision},
        )


async def split_off(session: AsyncSession, ids: Sequence[str]) -> None:
    """Questions that a decision was not to hold for get an item of their own; the next mining gives it its vector."""
    first = await session.get(ReviewQuestionRow, ids[0]) if ids else None
    if first is None:  # their conversations may be deleted since they were shown
        return
    row = ReviewItemRow(id=new_id(), question=first.text, first_at=first.asked_at, last_at=first.asked_at)
    session.add(row)
    await session.flush()
    await session.execute(update(ReviewQuestionRow).where(ReviewQuestionRow.message_id.in_(ids)).values(item_id=row.id))
    await recount(session, [row.id])


async def items_of_conversations(session: AsyncSession, ids: Collection[str]) -> list[str]:
    """The items that hold a question of these conversations."""
    wanted = select(ReviewQuestionRow.item_id).join(MessageRow, MessageRow.id == ReviewQuestionRow.message_id)
    return list(await session.scalars(wanted.where(MessageRow.conversation_id.in_(ids)).distinct()))


async def items_of_older(session: AsyncSession, days: int, moment: datetime) -> list[str]:
    """The open items that `conversations.delete_older` takes questions from."""
    wanted = select(ReviewItemRow.id).join(ReviewQuestionRow).where(ReviewItemRow.state == OPEN)
    wanted = wanted.join(MessageRow, MessageRow.id == ReviewQuestionRow.message_id)
    wanted = wanted.join(ConversationRow, ConversationRow.id == MessageRow.conversation_id)
    return list(await session.scalars(wanted.where(silent_since(moment - timedelta(days=days))).distinct()))


async def wordings(session: AsyncSession, item_ids: Collection[str]) -> dict[str, set[str]]:
    """How the questions of items are worded, by item; none for one without a question."""
    found: dict[str, set[str]] = {}
    wanted = select(ReviewQuestionRow.item_id, ReviewQuestionRow.text).where(ReviewQuestionRow.item_id.in_(item_ids))
    for item_id, text in await session.execute(wanted.distinct()):
        found.setdefault(item_id, set()).add(text)
    return found


async def rename(session: AsyncSession, ids: Collection[str]) -> None:
    """Items named by words that are no longer among their questions get the newest one's, or no name at all; the next
    mining gives them their vectors."""
    for row in await session.scalars(select(ReviewItemRow).where(ReviewItemRow.id.in_(ids))):
        mine = select(ReviewQuestionRow.text).where(ReviewQuestionRow.item_id == row.id)
        texts = list(await session.scalars(mine.order_by(ReviewQuestionRow.asked_at.desc())))
        if row.question not in texts:
            row.question, row.encoder, row.vector, row.centre = texts[0] if texts else "", "", b"", b""
    await session.flush()


async def recount(session: AsyncSession, ids: Collection[str]) -> None:
    """Bring counts, order and dates of items in step with their questions.

    An open item without a question left is removed: nothing was decided on it.
    """
    ordered = sorted(ids)
    for start in range(0, len(ordered), CHUNK):
        await _recount(session, ordered[start : start + CHUNK])


async def _recount(session: AsyncSession, ids: Sequence[str]) -> None:
    mine, wanted = ReviewQuestionRow.item_id == ReviewItemRow.id, ReviewItemRow.id.in_(ids)

    def of(value: Any) -> Any:
        return select(value).where(mine).scalar_subquery()

    await session.execute(
        delete(ReviewItemRow).where(
            wanted, ReviewItemRow.state == OPEN, ~select(ReviewQuestionRow).where(mine).exists()
        )
    )
    await session.execute(
        update(ReviewItemRow)
        .where(wanted)
        .values(
            count=of(func.count()),
            priority=func.coalesce(of(func.sum(1 - ReviewQuestionRow.answered)), 0.0),
            first_at=func.coalesce(of(func.min(ReviewQuestionRow.asked_at)), ReviewItemRow.first_at),
            last_at=func.coalesce(of(func.max(ReviewQuestionRow.asked_at)), ReviewItemRow.last_at),
        )
        .execution_options(synchronize_session=False)
    )


def _item(row: ReviewItemRow, week: int = 0, week_before: int = 0) -> Item:
    return Item(
        row.id, row.question, row.state, row.revision, row.count, row.priority, row.first_at, row.last_at,
        row.claimed_by, row.claimed_until, week, week_before,
    )  # fmt: skip


def _question(row: ReviewQuestionRow, conversation_id: str, seq: int) -> Question:
    return Question(
        row.message_id, row.item_id, row.text, row.key, row.answered, tuple(row.signals), row.asked_at,
        conversation_id, seq,
    )  # fmt: skip
