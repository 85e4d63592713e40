"""Messages of channels beside those that pass through: writing first, sending again, counting, forgetting."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import case, delete, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.storage import passing
from bot.storage.letters import LOST
from bot.storage.passing import Outgoing
from bot.storage.tables import ChannelMemoryRow, InboxRow, OutboxRow
from bot.storage.values import now
from connectors.cards import PER_MESSAGE
from connectors.types import Delivery

__all__ = ["KEPT_DAYS", "UNDELIVERED", "Outgoing", "counts", "drop", "forget_older", "forget_recipients",
           "last_heard", "resend", "send", "sent_since"]  # fmt: skip
UNDELIVERED = ("queued", "sending", "held", "dead")
KEPT_DAYS = 7  # longer than any platform delivers a message again (Feishu: 8 hours)


async def send(session: AsyncSession, outgoing: Sequence[Outgoing], message_id: str | None = None) -> list[Delivery]:
    """Put messages into the outbox in the caller's transaction, in this order, as `passing.send`."""
    return await session.run_sync(lambda plain: passing.send(plain.connection(), outgoing, None, message_id))


async def resend(session: AsyncSession, ids: Sequence[str]) -> list[str]:
    """Queue dead or held messages again; their ids. Their attempts begin anew."""
    found = list(await session.scalars(select(OutboxRow.id).where(OutboxRow.id.in_(ids), OutboxRow.state.in_(LOST))))
    await session.execute(
        update(OutboxRow)
        .where(OutboxRow.id.in_(found))
        .values(state="queued", attempts=0, due_at=now(), settled_at=None)
    )
    return found


async def drop(session: AsyncSession, ids: Sequence[str]) -> list[str]:
    """Give dead or held messages up; their ids."""
    found = list(await session.scalars(select(OutboxRow.id).where(OutboxRow.id.in_(ids), OutboxRow.state.in_(LOST))))
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
    await session.execute(delete(ChannelMemoryRow).where(of_messages, ChannelMemoryRow.updated_at < done))


async def forget_recipients(session: AsyncSession, conversation_ids: Sequence[str]) -> None:
    """Forget what was received from and is on its way to conversations that are deleted."""
    theirs = exists().where(
        InboxRow.recipient.in_(conversation_ids),
        InboxRow.channel == ChannelMemoryRow.channel,
        ChannelMemoryRow.key == PER_MESSAGE + InboxRow.key,
    )
    await session.execute(delete(ChannelMemoryRow).where(theirs))
    await session.execute(delete(InboxRow).where(InboxRow.recipient.in_(conversation_ids)))
    await session.execute(delete(OutboxRow).where(OutboxRow.recipient.in_(conversation_ids)))
