"""Messages that pass through: kept before a platform is told so, answered, delivered. Each function is a whole
transaction for `Database.write`, or `Database.read` where it only looks: platforms and customers wait for them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, func, null, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import aliased

from bot.storage.tables import ChannelMemoryRow, InboxRow, OutboxRow
from bot.storage.values import new_id, now
from connectors.types import Delivery

INBOX: Any = InboxRow.__table__
OUTBOX: Any = OutboxRow.__table__
WAITING = ("queued", "sending")


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message to be kept. `recipient` is its conversation's id."""

    channel: str
    key: str
    recipient: str
    inbound: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Received:
    """One that was kept and waits for its answer. What it says is in the database (`waiting`): thousands may wait."""

    seq: int
    channel: str
    key: str
    recipient: str
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


# Made once: to build a statement takes longer than to run it.
_RECEIVE = insert(InboxRow).on_conflict_do_nothing(index_elements=["channel", "key"]).returning(InboxRow.seq)
_FIND = select(InboxRow.seq, InboxRow.state).where(
    InboxRow.channel == bindparam("of"), InboxRow.key == bindparam("known_by")
)
_WAITING = select(INBOX.c.inbound).where(INBOX.c.seq == bindparam("number"), INBOX.c.state == "received")
_ANSWERED = (
    update(INBOX)
    .where(INBOX.c.seq == bindparam("number"), INBOX.c.state == "received")
    .values(state="done", inbound=bindparam("kept"))
)
_SENT = (
    update(OUTBOX)
    .where(OUTBOX.c.id == bindparam("of"))
    .values(state="sent", payload={}, attempts=OUTBOX.c.attempts + 1, error=null(), settled_at=bindparam("at"))
)


def receive(connection: Connection, one: Arrival) -> int | None:
    """Keep a message; its number where it is new, None where it is known already."""
    seq: int | None = connection.scalar(_RECEIVE, {
        "channel": one.channel, "key": one.key, "recipient": one.recipient, "inbound": one.inbound,
        "state": "received", "attempts": 0, "received_at": now(),
    })  # fmt: skip
    return seq


def unanswered(connection: Connection) -> list[Received]:
    """What was kept and never answered, oldest first: after a start, work begins with it."""
    inbox = INBOX.c
    query = select(inbox.seq, inbox.channel, inbox.key, inbox.recipient, inbox.attempts, inbox.received_at)
    return [Received(*row) for row in connection.execute(query.where(inbox.state == "received").order_by(inbox.seq))]


def find(connection: Connection, channel: str, key: str) -> tuple[int, str] | None:
    """Number and state of a message, None for one that never came."""
    row = connection.execute(_FIND, {"of": channel, "known_by": key}).first()
    return (int(row.seq), str(row.state)) if row else None


def waiting(connection: Connection, seq: int) -> dict[str, Any] | None:
    """The message of that number, None where it is answered, or forgotten with its customer."""
    row = connection.execute(_WAITING, {"number": seq}).first()
    return dict(row.inbound) if row else None


def answered(connection: Connection, seq: int, kept: dict[str, Any], outgoing: Sequence[Outgoing]) -> list[Delivery]:
    """Store what answers a message, in the transaction in which it becomes done; nothing where it is done already.
    `kept` is what stays of the message itself."""
    changed = connection.execute(_ANSWERED, {"number": seq, "kept": kept})
    return send(connection, outgoing, seq) if changed.rowcount == 1 else []


def send(
    connection: Connection,
    outgoing: Sequence[Outgoing],
    inbox_seq: int | None = None,
    message_id: str | None = None,
) -> list[Delivery]:
    """Put messages into the outbox, in this order; `message_id` is what of the staff they carry."""
    moment = now()
    rows = [
        {
            "id": new_id(), "channel": one.channel, "recipient": one.recipient, "inbox_seq": inbox_seq,
            "message_id": message_id,
            "address": one.address, "payload": one.payload, "state": "queued", "attempts": 0, "uncertain": 0,
            "due_at": moment + timedelta(seconds=one.due_in), "created_at": moment,
        }
        for one in outgoing
    ]  # fmt: skip
    if rows:
        connection.execute(insert(OutboxRow), rows)
    return [Delivery(str(row["id"]), one.recipient, one.address, one.payload, answers=inbox_seq is not None)
            for row, one in zip(rows, outgoing, strict=True)]  # fmt: skip


def not_answered(connection: Connection, seq: int, error: dict[str, Any]) -> None:
    """Count an attempt that failed."""
    connection.execute(update(InboxRow).where(InboxRow.seq == seq).values(attempts=InboxRow.attempts + 1, error=error))


def claim(connection: Connection, channel: str, limit: int) -> list[Delivery]:
    """Messages of a channel that are due, at most one a recipient: the earliest of theirs that waits."""
    earlier = aliased(OutboxRow)
    blocked = (
        select(earlier.seq)
        .where(earlier.recipient == OutboxRow.recipient, earlier.state.in_(WAITING), earlier.seq < OutboxRow.seq)
        .exists()
    )
    due = and_(OutboxRow.channel == channel, OutboxRow.state == "queued", OutboxRow.due_at <= now(), ~blocked)
    return _take(connection, due, order=OutboxRow.due_at, limit=limit)


def next_due_in(connection: Connection, channel: str) -> float | None:
    """Seconds until the next message of a channel is due, None where none waits."""
    due: datetime | None = connection.scalar(
        select(func.min(OutboxRow.due_at)).where(OutboxRow.channel == channel, OutboxRow.state == "queued")
    )
    return None if due is None else max(0.0, (due - now()).total_seconds())


def sent(connection: Connection, id_: str) -> None:
    """It reached the platform; its words are no longer needed here."""
    connection.execute(_SENT, {"of": id_, "at": now()})


def not_sent(
    connection: Connection, id_: str, state: str, error: dict[str, Any], again_in: float, *, uncertain: bool
) -> None:
    """One attempt failed. `state` is what becomes of it: queued again, held, dead or dropped.

    What waits behind one that is held or dropped shares its fate: it would be refused too, or overtake it.
    """
    moment = now()
    settled = {"state": state, "error": error, "settled_at": None if state == "queued" else moment}
    if state == "dropped":
        settled["payload"] = {}
    row = connection.execute(
        select(OutboxRow.seq, OutboxRow.channel, OutboxRow.recipient).where(OutboxRow.id == id_)
    ).first()
    if row is None:
        return
    connection.execute(
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
        connection.execute(update(OutboxRow).where(*behind, OutboxRow.state == "queued").values(**settled))


def recover(connection: Connection) -> int:
    """At a start: what was being sent when the process ended goes again. It may have arrived: that is counted."""
    changed = connection.execute(
        update(OutboxRow)
        .where(OutboxRow.state == "sending")
        .values(state="queued", uncertain=OutboxRow.uncertain + 1, attempts=OutboxRow.attempts + 1)
    )
    return changed.rowcount


def homeless(connection: Connection, channels: Collection[str]) -> bool:
    """Whether anything waits for a channel that is none of these. A look that takes no lock."""
    return connection.scalar(select(OUTBOX.c.seq).where(*_of_others(channels)).limit(1)) is not None


def bury(connection: Connection, channels: Collection[str]) -> list[str]:
    """Give up what waits for a channel that is none of these, which nobody would send; to whom it was to go."""
    found = connection.execute(
        select(OUTBOX.c.seq, OUTBOX.c.channel, OUTBOX.c.recipient, OUTBOX.c.state).where(*_of_others(channels))
    ).all()
    for channel in {row.channel for row in found}:
        error = {
            "code": "channel_removed",
            "message": f"渠道 {channel} 已经删除：加回同名的渠道，就可以重发",
            "message_en": f"The channel {channel} was removed: add it again by the same name, then resend",
        }
        for state in {row.state for row in found}:
            rows = [row.seq for row in found if (row.channel, row.state) == (channel, state)]
            may_have_gone = OUTBOX.c.uncertain + int(state == "sending")
            connection.execute(
                update(OUTBOX)
                .where(OUTBOX.c.seq.in_(rows))
                .values(state="dead", error=error, settled_at=now(), uncertain=may_have_gone)
            )
    return [row.recipient for row in found]


def _of_others(channels: Collection[str]) -> tuple[ColumnElement[bool], ...]:
    return OUTBOX.c.state.in_((*WAITING, "held")), OUTBOX.c.channel.notin_(channels)


def take_answers(connection: Connection, inbox_seq: int) -> list[Delivery]:
    """What answers a message and is not sent yet, in order; it is the caller's to send now, nobody else will."""
    return _take(connection, OutboxRow.inbox_seq == inbox_seq, OutboxRow.state.in_(("queued", "held")))


def anything_held(connection: Connection, channel: str, recipient: str) -> bool:
    """A look that takes no lock."""
    mine = (OutboxRow.recipient == recipient, OutboxRow.state == "held", OutboxRow.channel == channel)
    return connection.scalar(select(OutboxRow.seq).where(*mine).limit(1)) is not None


def take_held(connection: Connection, channel: str, recipient: str) -> list[Delivery]:
    """What is held for a recipient, in order; it is the caller's to send now."""
    return _take(connection, OutboxRow.channel == channel, OutboxRow.recipient == recipient, OutboxRow.state == "held")


def _take(
    connection: Connection, *which: ColumnElement[bool], order: Any = OutboxRow.seq, limit: int | None = None
) -> list[Delivery]:
    query = select(
        OutboxRow.seq, OutboxRow.id, OutboxRow.recipient, OutboxRow.address, OutboxRow.payload, OutboxRow.attempts,
        OutboxRow.created_at, OutboxRow.inbox_seq,
    )  # fmt: skip
    rows = connection.execute(query.where(*which).order_by(order).limit(limit)).all()
    if rows:
        taken = [row.seq for row in rows]
        connection.execute(update(OutboxRow).where(OutboxRow.seq.in_(taken)).values(state="sending"))
    moment = now()
    return [_delivery(row, moment) for row in rows]


def _delivery(row: Any, moment: datetime) -> Delivery:
    age = (moment - row.created_at).total_seconds()
    address, payload, answers = dict(row.address), dict(row.payload), row.inbox_seq is not None
    return Delivery(row.id, row.recipient, address, payload, row.attempts, max(0.0, age), answers)


def give_back(connection: Connection, ids: Sequence[str]) -> None:
    """What was taken and not sent after all goes the usual way."""
    connection.execute(
        update(OutboxRow)
        .where(OutboxRow.id.in_(ids), OutboxRow.state == "sending")
        .values(state="queued", due_at=now())
    )


def recall(connection: Connection, channel: str, key: str) -> Any:
    """A value a channel remembered, None without one."""
    mine = (ChannelMemoryRow.channel == channel, ChannelMemoryRow.key == key)
    found = connection.execute(select(ChannelMemoryRow.value).where(*mine)).first()
    return found.value[0] if found else None


def remember(connection: Connection, channel: str, key: str, value: Any) -> None:
    """Keep a value (of JSON) under a key; None forgets it."""
    if value is None:
        mine = (ChannelMemoryRow.channel == channel, ChannelMemoryRow.key == key)
        connection.execute(delete(ChannelMemoryRow).where(*mine))
        return
    moment = now()
    statement = insert(ChannelMemoryRow).values(channel=channel, key=key, value=[value], updated_at=moment)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["channel", "key"], set_={"value": [value], "updated_at": moment}
        )
    )
