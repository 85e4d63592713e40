"""Who answers a conversation: the bot, nobody yet, or a person; and every call for one, from the wish to its end."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, CursorResult, Select, and_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.dialogue import tracker
from bot.errors import ConflictError, NotFoundError
from bot.storage import letters
from bot.storage.conversations import Conversation, Message, conversation_of_row, message_of_row
from bot.storage.tables import ConversationRow, HandoffRow, MessageRow
from bot.storage.values import new_id, now

Box = Literal["waiting", "unasked", "mine", "others", "recent"]
How = Literal["back", "closed", "customer", "expired"]
BY_CUSTOMER, BY_SERVICE = "customer", "service"
# The person began it, without a customer's wish or a decision of the bot.
BY_STAFF = "staff"
# The bot found nothing and the customer asked for nobody: left for who has time, and the bot goes on.
UNASKED = ("no_answer", "not_among")
# Channels on which every call may be a conversation of its own, and nobody's words get back.
PROGRAMS = ("openai", "rest")
# What the bot has is counted no further: it may be millions.
COUNTED_MAX = 1000
_OPEN = HandoffRow.ended_at.is_(None)
GONE = NotFoundError("session_not_found", "会话不存在或已删除", "There is no such conversation")


@dataclass(frozen=True, slots=True)
class Handoff:
    """An open call for a person; `taken_by` is who has the conversation, None while it waits."""

    id: str
    conversation_id: str
    cause: str
    requested_at: datetime
    taken_by: str | None
    taken_at: datetime | None


@dataclass(frozen=True, slots=True)
class Case:
    """A conversation as the staff see it.

    `last` is what the customer or one of the staff said last, `unanswered` counts the customer's messages since the
    last one to them, the bot's included; `lost` counts what they were to get and nobody tries to send any more.
    """

    conversation: Conversation
    updated_at: datetime
    handoff: Handoff | None
    last: Message | None
    unanswered: int
    lost: int


async def current(session: AsyncSession, conversation_id: str) -> Handoff | None:
    """The open call of a conversation."""
    row = await session.scalar(select(HandoffRow).where(HandoffRow.conversation_id == conversation_id, _OPEN))
    return _handoff(row) if row else None


async def request(session: AsyncSession, conversation_id: str, cause: str, *, silent: bool = False) -> bool:
    """Call a person, unless one was called before; whether anything changed. `silent`: the bot says nothing more.

    A call for one of UNASKED leaves the conversation with the bot; a later one with a better cause takes its place.
    """
    found = await session.scalar(select(HandoffRow).where(HandoffRow.conversation_id == conversation_id, _OPEN))
    if cause in UNASKED:
        if found is None:
            await _open(session, conversation_id, cause)
        return found is None
    before, after = ("bot", "waiting"), "paused" if silent else "waiting"
    moved = await session.execute(
        update(ConversationRow)
        .where(ConversationRow.id == conversation_id, ConversationRow.state.in_(before if silent else before[:1]))
        .values(state=after)
    )
    if not _changed(moved):
        return False
    if found is None:
        await _open(session, conversation_id, cause)
    elif found.cause in UNASKED:
        found.cause, found.requested_at = cause[:32], now()
        await session.flush()
    return True


async def _open(session: AsyncSession, conversation_id: str, cause: str) -> None:
    session.add(HandoffRow(id=new_id(), conversation_id=conversation_id, cause=cause[:32], requested_at=now()))
    await session.flush()


async def take(session: AsyncSession, conversation_id: str, actor: str, from_actor: str | None) -> Handoff:
    """Give a conversation to a person, who wins only where it is as they saw it: with `from_actor`, or with nobody.

    Raises ConflictError naming who has it, NotFoundError.
    """
    row = await session.get(ConversationRow, conversation_id)
    if row is None:
        raise GONE
    found = await current(session, conversation_id)
    if found is None:
        if from_actor is not None:
            raise _not_with(None)
        found = Handoff(new_id(), conversation_id, BY_STAFF, now(), None, None)
        made = HandoffRow(id=found.id, conversation_id=conversation_id, cause=BY_STAFF, requested_at=found.requested_at)
        session.add(made)
        await session.flush()
    if found.taken_by != actor:
        if found.taken_by != from_actor:
            raise _not_with(found.taken_by)
        taken = {"taken_by": actor, "taken_at": now()}
        await session.execute(update(HandoffRow).where(HandoffRow.id == found.id).values(**taken))
    row.state = "human"
    await session.flush()
    return found


async def end(session: AsyncSession, conversation_id: str, by: str, how: How) -> Handoff:
    """Give a conversation back to the bot. One that a person has, only they can end; one that waits, anybody.

    Raises ConflictError, NotFoundError.
    """
    row = await session.get(ConversationRow, conversation_id)
    if row is None:
        raise GONE
    found = await current(session, conversation_id)
    if found is None:
        raise _not_with(None)
    if found.taken_by not in (None, by):
        raise _not_with(found.taken_by)
    await session.execute(
        update(HandoffRow).where(HandoffRow.id == found.id).values(ended_at=now(), ended_by=by, ended_how=how)
    )
    row.state = "bot"
    if tracker.paused(row.events):
        row.events = [*row.events, {"event": "resume", "timestamp": time.time()}]
    await session.flush()
    return found


async def held_by(session: AsyncSession, conversation_id: str, actor: str) -> Conversation:
    """The conversation, where this person has it. Raises ConflictError naming who has it, NotFoundError."""
    row = await session.get(ConversationRow, conversation_id)
    if row is None:
        raise GONE
    found = await current(session, conversation_id)
    if found is None or found.taken_by != actor:
        raise _not_with(found.taken_by if found else None)
    return conversation_of_row(row)


async def expire(session: AsyncSession, days: int, unasked_days: int) -> int:
    """End the waiting of conversations in which nobody said anything for that many days, fewer where nobody asked."""
    silent = or_(
        ConversationRow.updated_at < now() - timedelta(days=days),
        and_(HandoffRow.cause.in_(UNASKED), ConversationRow.updated_at < now() - timedelta(days=unasked_days)),
    )
    ids = select(HandoffRow.conversation_id).join(ConversationRow).where(_OPEN, HandoffRow.taken_by.is_(None), silent)
    found = list(await session.scalars(ids))
    for conversation_id in found:
        await end(session, conversation_id, BY_SERVICE, "expired")
    return len(found)


async def attended_since(session: AsyncSession, moment: datetime) -> bool:
    """Whether anybody of the staff has taken a conversation since then."""
    return await session.scalar(select(HandoffRow.id).where(HandoffRow.taken_at >= moment).limit(1)) is not None


async def counts(session: AsyncSession, actor: str) -> dict[str, int]:
    """How many conversations are in each box but `recent`."""
    unasked = HandoffRow.cause.in_(UNASKED)
    columns = (HandoffRow.taken_by, unasked, func.count())
    rows = await session.execute(select(*columns).where(_OPEN).group_by(HandoffRow.taken_by, unasked))
    found = {"waiting": 0, "unasked": 0, "mine": 0, "others": 0}
    for taken_by, alone, number in rows:
        untaken = "unasked" if alone else "waiting"
        found[untaken if taken_by is None else "mine" if taken_by == actor else "others"] += int(number)
    return found


async def cases(session: AsyncSession, box: Box, actor: str, *, offset: int, limit: int) -> tuple[list[Case], int]:
    """A page of a box, and how many are in it (no further than COUNTED_MAX). Who waits longest comes first, elsewhere
    what moved last.
    """
    query = _in_box(box, actor)
    ids = query.with_only_columns(ConversationRow.id).limit(COUNTED_MAX)
    total = await session.scalar(select(func.count()).select_from(ids.subquery())) or 0
    order: ColumnElement[Any] = ConversationRow.updated_at.desc()
    if box == "waiting":
        order = HandoffRow.requested_at.asc()
    rows = (await session.execute(query.order_by(order, ConversationRow.id).offset(offset).limit(limit))).all()
    return await _with_messages(session, [(row, handoff) for row, handoff in rows]), total


async def case(session: AsyncSession, conversation_id: str) -> Case:
    """One conversation. Raises NotFoundError."""
    query = _joined().where(ConversationRow.id == conversation_id)
    row = (await session.execute(query)).first()
    if row is None:
        raise GONE
    return (await _with_messages(session, [(row[0], row[1])]))[0]


def _joined() -> Select[ConversationRow, HandoffRow]:
    open_one = (HandoffRow.conversation_id == ConversationRow.id) & _OPEN
    ours = ConversationRow.imported.is_(False)
    return select(ConversationRow, HandoffRow).outerjoin(HandoffRow, open_one).where(ours)


def _in_box(box: Box, actor: str) -> Select[ConversationRow, HandoffRow]:
    if box == "recent":
        return _joined().where(HandoffRow.id.is_(None), ConversationRow.channel.not_in(PROGRAMS))
    whose = {
        "waiting": and_(HandoffRow.taken_by.is_(None), HandoffRow.cause.not_in(UNASKED)),
        "unasked": and_(HandoffRow.taken_by.is_(None), HandoffRow.cause.in_(UNASKED)),
        "mine": HandoffRow.taken_by == actor,
        "others": HandoffRow.taken_by != actor,
    }
    # From the few open calls, not from all conversations.
    calls = select(ConversationRow, HandoffRow).select_from(HandoffRow)
    return calls.join(ConversationRow, HandoffRow.conversation_id == ConversationRow.id).where(_OPEN, whose[box])


async def _with_messages(
    session: AsyncSession, rows: Sequence[tuple[ConversationRow, HandoffRow | None]]
) -> list[Case]:
    ids = [row.id for row, _ in rows]
    mine = MessageRow.conversation_id.in_(ids)
    newest = select(func.max(MessageRow.seq)).where(mine, MessageRow.role != "bot").group_by(MessageRow.conversation_id)
    last = {
        one.conversation_id: one for one in await session.scalars(select(MessageRow).where(MessageRow.seq.in_(newest)))
    }
    to_them = select(MessageRow.conversation_id, func.max(MessageRow.seq).label("seq")).where(
        mine, MessageRow.role != "user"
    )
    answered = to_them.group_by(MessageRow.conversation_id).subquery()
    open_ones = (
        select(MessageRow.conversation_id, func.count())
        .outerjoin(answered, answered.c.conversation_id == MessageRow.conversation_id)
        .where(mine, MessageRow.role == "user", MessageRow.seq > func.coalesce(answered.c.seq, 0))
        .group_by(MessageRow.conversation_id)
    )
    unanswered = {str(id_): int(number) for id_, number in await session.execute(open_ones)}
    lost = await letters.lost_of(session, ids)
    return [
        Case(
            conversation_of_row(row),
            row.updated_at,
            _handoff(handoff) if handoff else None,
            message_of_row(last[row.id]) if row.id in last else None,
            unanswered.get(row.id, 0),
            lost.get(row.id, 0),
        )
        for row, handoff in rows
    ]


def _handoff(row: HandoffRow) -> Handoff:
    return Handoff(row.id, row.conversation_id, row.cause, row.requested_at, row.taken_by, row.taken_at)


def _not_with(holder: str | None) -> ConflictError:
    if holder is None:
        return ConflictError(
            "not_taken", "这个会话没有由您接待，请先接入", "You have not taken this conversation over; do that first",
            {"agent": None},
        )  # fmt: skip
    name = holder.partition(":")[2] or holder
    return ConflictError(
        "taken", f"这个会话由 {name} 接待", f"{name} has this conversation", {"agent": holder}
    )  # fmt: skip


def _changed(result: Any) -> bool:
    return isinstance(result, CursorResult) and result.rowcount == 1
