"""Messages that came in and messages on their way out: kept before a platform is told so, gone when they are done."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, CursorResult, and_, case, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from bot.storage.tables import ChannelMemoryRow, InboxRow, OutboxRow
from bot.storage.values import iso, new_id, now
from connectors.cards import PER_MESSAGE
from connectors.types import Delivery

WAITING = ("queued", "sending")
UNDELIVERED = ("queued", "sending", "held", "dead")
KEPT_DAYS = 7  # longer than any platform delivers a message again (Feishu: 8 hours)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message to be kept. `recipient` is its conversation's id."""

    channel: str
    key: str
    recipient: str
    inbound: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Received:
    """One that was kept and waits for its answer."""

    seq: int
    channel: str
    key: str
    recipient: str
    inbound: dict[str, Any]
    attempts: int
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One to be delivered. `due_in` is in seconds."""

    channel: str
    recipient: str
    address: dict[str, Any]
    payload: dict[str, Any]
    due_in: float = 0.0


@dataclass(frozen=True, slots=True)
class Letter:
    """One of the outbox, as a person sees it."""

    id: str
    channel: str
    recipient: str
    state: str
    attempts: int
    uncertain: int
    error: dict[str, Any] | None
    payload: dict[str, Any]
    due_at: datetime
    created_at: datetime

    def to_json(self) -> dict[str, Any]:
        times = {"due_at": iso(self.due_at), "created_at": iso(self.created_at)}
        return {name: getattr(self, name) for name in self.__slots__} | times


async def receive(session: AsyncSession, arrivals: Sequence[Arrival]) -> list[int | None]:
    """Keep messages; the number of each that is new, None for one that is known already."""
    moment = now()
    values = [
        {
            "channel": one.channel, "key": one.key, "recipient": one.recipient, "inbound": one.inbound,
            "state": "received", "attempts": 0, "received_at": moment,
        }
        for one in arrivals
    ]  # fmt: skip
    statement = (
        insert(InboxRow)
        .values(values)
        .on_conflict_do_nothing(index_elements=["channel", "key"])
        .returning(InboxRow.channel, InboxRow.key, InboxRow.seq)
    )
    new = {(row.channel, row.key): int(row.seq) for row in await session.execute(statement)}
    return [new.pop((one.channel, one.key), None) for one in arrivals]


async def unanswered(session: AsyncSession) -> list[Received]:
    """What was kept and never answered, oldest first: after a start, work begins with it."""
    rows = await session.scalars(select(InboxRow).where(InboxRow.state == "received").order_by(InboxRow.seq))
    return [Received(r.seq, r.channel, r.key, r.recipient, dict(r.inbound), r.attempts, r.received_at) for r in rows]


async def find(session: AsyncSession, channel: str, key: str) -> tuple[int, str] | None:
    """Number and state of a message, None for one that never came."""
    row = (
        await session.execute(
            select(InboxRow.seq, InboxRow.state).where(InboxRow.channel == channel, InboxRow.key == key)
        )
    ).first()
    return (int(row.seq), str(row.state)) if row else None


async def answered(session: AsyncSession, done: Iterable[tuple[Received, Sequence[Outgoing]]]) -> list[list[Delivery]]:
    """Store what answers each message, in the transaction in which it becomes done."""
    made = []
    for received, outgoing in done:
        kept = {"conversation": received.inbound["conversation"], "reply_to": received.inbound["reply_to"]}
        changed = await session.execute(
            update(InboxRow)
            .where(InboxRow.seq == received.seq, InboxRow.state == "received")
            .values(state="done", inbound=kept)
        )
        new = isinstance(changed, CursorResult) and changed.rowcount == 1
        made.append(await send(session, outgoing, received.seq) if new else [])
    return made


async def send(session: AsyncSession, outgoing: Sequence[Outgoing], inbox_seq: int | None = None) -> list[Delivery]:
    """Put messages into the outbox, in this order."""
    moment = now()
    rows = [
        {
            "id": new_id(), "channel": one.channel, "recipient": one.recipient, "inbox_seq": inbox_seq,
            "address": one.address, "payload": one.payload, "state": "queued", "attempts": 0, "uncertain": 0,
            "due_at": moment + timedelta(seconds=one.due_in), "created_at": moment,
        }
        for one in outgoing
    ]  # fmt: skip
    if rows:
        await session.execute(insert(OutboxRow).values(rows))
    return [Delivery(str(row["id"]), one.recipient, one.address, one.payload, answers=inbox_seq is not None)
            for row, one in zip(rows, outgoing, strict=True)]  # fmt: skip


async def not_answered(session: AsyncSession, seq: int, error: dict[str, Any]) -> None:
    """Count an attempt that failed."""
    await session.execute(
        update(InboxRow).where(InboxRow.seq == seq).values(attempts=InboxRow.attempts + 1, error=error)
    )


async def claim(session: AsyncSession, channel: str, limit: int) -> list[Delivery]:
    """Messages of a channel that are due, at most one a recipient: the earliest of theirs that waits."""
    earlier = aliased(OutboxRow)
    blocked = (
        select(earlier.seq)
        .where(earlier.recipient == OutboxRow.recipient, earlier.state.in_(WAITING), earlier.seq < OutboxRow.seq)
        .exists()
    )
    due = and_(OutboxRow.channel == channel, OutboxRow.state == "queued", OutboxRow.due_at <= now())
    rows = (await session.scalars(select(OutboxRow).where(due, ~blocked).order_by(OutboxRow.due_at).limit(limit))).all()
    if rows:
        taken = [row.seq for row in rows]
        await session.execute(update(OutboxRow).where(OutboxRow.seq.in_(taken)).values(state="sending"))
    moment = now()
    return [_delivery(row, moment) for row in rows]


async def next_due_in(session: AsyncSession, channel: str) -> float | None:
    """Seconds until the next message of a channel is due, None where none waits."""
    due: datetime | None = await session.scalar(
        select(func.min(OutboxRow.due_at)).where(OutboxRow.channel == channel, OutboxRow.state == "queued")
    )
    return None if due is None else max(0.0, (due - now()).total_seconds())


async def sent(session: AsyncSession, ids: Sequence[str]) -> list[None]:
    """They reached the platform; their words are no longer needed here."""
    await session.execute(
        update(OutboxRow)
        .where(OutboxRow.id.in_(ids))
        .values(state="sent", payload={}, attempts=OutboxRow.attempts + 1, error=None, settled_at=now())
    )
    return [None] * len(ids)


async def not_sent(
    session: AsyncSession, id_: str, state: str, error: dict[str, Any], again_in: float, *, uncertain: bool
) -> None:
    """One attempt failed. `state` is what becomes of it: queued again, held, dead or dropped.

    What waits behind one that is held or dropped shares its fate: it would be refused too, or overtake it.
    """
    moment = now()
    settled = {"state": state, "error": error, "settled_at": None if state == "queued" else moment}
    if state == "dropped":
        settled["payload"] = {}
    row = await session.scalar(select(OutboxRow).where(OutboxRow.id == id_))
    if row is None:
        return
    await session.execute(
        update(OutboxRow)
        .where(OutboxRow.id == id_)
        .values(
            attempts=OutboxRow.attempts + 1,
            uncertain=OutboxRow.uncertain + int(uncertain),
            due_at=moment + timedelta(seconds=again_in),
            **settled,
        )
    )
    if state in ("held", "dropped"):
        behind = (OutboxRow.channel == row.channel, OutboxRow.recipient == row.recipient, OutboxRow.seq > row.seq)
        await session.execute(update(OutboxRow).where(*behind, OutboxRow.state == "queued").values(**settled))


async def recover(session: AsyncSession) -> int:
    """At a start: what was being sent when the process ended goes again. It may have arrived: that is counted."""
    changed = await session.execute(
        update(OutboxRow)
        .where(OutboxRow.state == "sending")
        .values(state="queued", uncertain=OutboxRow.uncertain + 1, attempts=OutboxRow.attempts + 1)
    )
    return changed.rowcount if isinstance(changed, CursorResult) else 0


async def take_answers(session: AsyncSession, inbox_seq: int) -> list[Delivery]:
    """What answers a message and is not sent yet, in order; it is the caller's to send now, nobody else will."""
    return await _take(session, OutboxRow.inbox_seq == inbox_seq, OutboxRow.state.in_(("queued", "held")))


async def anything_held(session: AsyncSession, channel: str, recipient: str) -> bool:
    """A look that takes no lock."""
    mine = (OutboxRow.recipient == recipient, OutboxRow.state == "held", OutboxRow.channel == channel)
    return await session.scalar(select(OutboxRow.seq).where(*mine).limit(1)) is not None


async def take_held(session: AsyncSession, channel: str, recipient: str) -> list[Delivery]:
    """What is held for a recipient, in order; it is the caller's to send now."""
    return await _take(
        session, OutboxRow.channel == channel, OutboxRow.recipient == recipient, OutboxRow.state == "held"
    )


async def _take(session: AsyncSession, *which: ColumnElement[bool]) -> list[Delivery]:
    rows = (await session.scalars(select(OutboxRow).where(*which).order_by(OutboxRow.seq))).all()
    if rows:
        taken = [row.seq for row in rows]
        await session.execute(update(OutboxRow).where(OutboxRow.seq.in_(taken)).values(state="sending"))
    return [_delivery(row, now()) for row in rows]


async def give_back(session: AsyncSession, ids: Sequence[str]) -> None:
    """What was taken and not sent after all goes the usual way."""
    await session.execute(
        update(OutboxRow)
        .where(OutboxRow.id.in_(ids), OutboxRow.state == "sending")
        .values(state="queued", due_at=now())
    )


async def letters(
    session: AsyncSession, states: Sequence[str] = ("dead",), *, channel: str | None = None, limit: int = 100
) -> list[Letter]:
    """The newest messages of the outbox in these states."""
    query = select(OutboxRow).where(OutboxRow.state.in_(states)).order_by(OutboxRow.seq.desc()).limit(limit)
    if channel:
        query = query.where(OutboxRow.channel == channel)
    return [Letter(*(getattr(row, name) for name in Letter.__slots__)) for row in await session.scalars(query)]


async def resend(session: AsyncSession, ids: Sequence[str]) -> list[str]:
    """Queue dead or held messages again; their ids. Their attempts begin anew."""
    found = list(
        await session.scalars(select(OutboxRow.id).where(OutboxRow.id.in_(ids), OutboxRow.state.in_(("dead", "held"))))
    )
    await session.execute(
        update(OutboxRow)
        .where(OutboxRow.id.in_(found))
        .values(state="queued", attempts=0, due_at=now(), settled_at=None)
    )
    return found


async def drop(session: AsyncSession, ids: Sequence[str]) -> list[str]:
    """Give dead or held messages up; their ids."""
    found = list(
        await session.scalars(select(OutboxRow.id).where(OutboxRow.id.in_(ids), OutboxRow.state.in_(("dead", "held"))))
    )
    await session.execute(
        update(OutboxRow).where(OutboxRow.id.in_(found)).values(state="dropped", payload={}, settled_at=now())
    )
    return found


async def counts(session: AsyncSession) -> dict[str, dict[str, int]]:
    """How many messages of each channel are in each state, `uncertain` beside them."""
    rows: Sequence[Any] = (
        await session.execute(
            select(
                OutboxRow.channel,
                OutboxRow.state,
                func.count(),
                func.sum(case((OutboxRow.uncertain > 0, 1), else_=0)),
            ).group_by(OutboxRow.channel, OutboxRow.state)
        )
    ).all()
    found: dict[str, dict[str, int]] = {}
    for channel, state, number, uncertain in rows:
        one = found.setdefault(channel, {"uncertain": 0})
        one[state] = number
        one["uncertain"] += int(uncertain or 0)
    return found


async def last_heard(session: AsyncSession, channel: str, recipient: str) -> tuple[dict[str, Any], datetime] | None:
    """Where the customer's newest message came from, and when; None for one who never wrote."""
    row = await session.scalar(
        select(InboxRow)
        .where(InboxRow.channel == channel, InboxRow.recipient == recipient)
        .order_by(InboxRow.seq.desc())
        .limit(1)
    )
    return (dict(row.inbound.get("reply_to") or {}), row.received_at) if row else None


async def sent_since(session: AsyncSession, channel: str, recipient: str, moment: datetime) -> int:
    """How many messages went to a recipient since then, or are on their way."""
    mine = (OutboxRow.channel == channel, OutboxRow.recipient == recipient, OutboxRow.created_at >= moment)
    found = await session.scalar(select(func.count()).select_from(OutboxRow).where(*mine, OutboxRow.state != "dropped"))
    return int(found or 0)


async def recall(session: AsyncSession, channel: str, key: str) -> Any:
    """A value a channel remembered, None without one."""
    row = await session.get(ChannelMemoryRow, (channel, key))
    return row.value[0] if row else None


async def remember(session: AsyncSession, channel: str, key: str, value: Any) -> None:
    """Keep a value (of JSON) under a key; None forgets it."""
    if value is None:
        mine = (ChannelMemoryRow.channel == channel, ChannelMemoryRow.key == key)
        await session.execute(delete(ChannelMemoryRow).where(*mine))
        return
    moment = now()
    statement = insert(ChannelMemoryRow).values(channel=channel, key=key, value=[value], updated_at=moment)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["channel", "key"], set_={"value": [value], "updated_at": moment}
        )
    )


async def forget_older(session: AsyncSession, conversation_days: int) -> None:
    """Forget what is done after a week, and what was never delivered when conversations go."""
    moment = now()
    done, old = moment - timedelta(days=KEPT_DAYS), moment - timedelta(days=max(conversation_days, KEPT_DAYS))
    await session.execute(delete(InboxRow).where(InboxRow.state == "done", InboxRow.received_at < done))
    await session.execute(
        delete(OutboxRow).where(OutboxRow.state.in_(("sent", "dropped")), OutboxRow.created_at < done)
    )
    await session.execute(delete(InboxRow).where(InboxRow.received_at < old))
    await session.execute(delete(OutboxRow).where(OutboxRow.created_at < old))
    of_messages = ChannelMemoryRow.key.startswith(PER_MESSAGE)
    await session.execute(delete(ChannelMemoryRow).where(of_messages, ChannelMemoryRow.updated_at < old))


async def forget_recipients(session: AsyncSession, conversation_ids: Sequence[str]) -> None:
    """Forget what was received from and is on its way to conversations that are deleted."""
    await session.execute(delete(InboxRow).where(InboxRow.recipient.in_(conversation_ids)))
    await session.execute(delete(OutboxRow).where(OutboxRow.recipient.in_(conversation_ids)))


def _delivery(row: OutboxRow, moment: datetime) -> Delivery:
    age = (moment - row.created_at).total_seconds()
    address, payload, answers = dict(row.address), dict(row.payload), row.inbox_seq is not None
    return Delivery(row.id, row.recipient, address, payload, row.attempts, max(0.0, age), answers)
