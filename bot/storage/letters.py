"""Messages that did not reach a customer (yet): whose they are, what they answer, and why they are still here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from bot.storage.conversations import Conversation, conversation_of_row
from bot.storage.tables import ConversationRow, InboxRow, MessageRow, OutboxRow
from bot.storage.values import iso

LOST = ("dead", "held")


@dataclass(frozen=True, slots=True)
class Letter:
    """One of the outbox, as a person sees it. `recipient` is its conversation, `message_id` the message of that
    conversation which it carries (a piece of), None for a notice or a first word."""

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
    message_id: str | None

    def to_json(self) -> dict[str, Any]:
        times = {"due_at": iso(self.due_at), "created_at": iso(self.created_at)}
        return {name: getattr(self, name) for name in self.__slots__} | times | {"text": words(self.payload)}


@dataclass(frozen=True, slots=True)
class About:
    """Whom a letter goes to, and what they had asked when it was written; None and "" where that is forgotten."""

    conversation: Conversation | None
    question: str


def words(value: Any) -> str:
    """What a customer would read first in a platform's message; "" where its words are gone."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return next((found for one in value if (found := words(one))), "")
    if not isinstance(value, dict):
        return ""
    known = ("markdown", "text", "content", "data", "head_content", "elements")
    return next((found for name in known if (found := words(value.get(name)))), "")


async def letters(
    session: AsyncSession, states: Sequence[str] = ("dead",), *, channel: str | None = None, limit: int = 100
) -> list[Letter]:
    """The newest messages of the outbox in these states."""
    query = _letters().where(OutboxRow.state.in_(states)).order_by(OutboxRow.seq.desc()).limit(limit)
    if channel:
        query = query.where(OutboxRow.channel == channel)
    return await _read(session, query)


async def of_conversation(session: AsyncSession, conversation_id: str) -> list[Letter]:
    """Whatever of a conversation did not reach its customer (yet), oldest first; also what was given up."""
    unsent = (OutboxRow.recipient == conversation_id, OutboxRow.state != "sent")
    return await _read(session, _letters().where(*unsent).order_by(OutboxRow.seq))


async def lost_of(session: AsyncSession, conversation_ids: Sequence[str]) -> dict[str, int]:
    """How many messages to each of these conversations nobody sends any more unless asked to."""
    lost = (OutboxRow.recipient.in_(conversation_ids), OutboxRow.state == "dead")
    rows = await session.execute(select(OutboxRow.recipient, func.count()).where(*lost).group_by(OutboxRow.recipient))
    return {str(id_): int(number) for id_, number in rows}


async def about(session: AsyncSession, found: Sequence[Letter]) -> list[About]:
    """The customer and the question of each. A question is the last thing that they had said when it was written."""
    known = select(ConversationRow).where(ConversationRow.id.in_({one.recipient for one in found}))
    conversations = {row.id: conversation_of_row(row) for row in await session.scalars(known)}
    return [About(conversations.get(one.recipient), await _question(session, one)) for one in found]


async def recipients(session: AsyncSession, ids: Sequence[str]) -> set[str]:
    """Whose conversations these letters are of."""
    return set(await session.scalars(select(OutboxRow.recipient).where(OutboxRow.id.in_(ids))))


async def _question(session: AsyncSession, letter: Letter) -> str:
    asked = (MessageRow.conversation_id == letter.recipient, MessageRow.role == "user")
    before = (*asked, MessageRow.created_at <= letter.created_at)
    newest = select(MessageRow.text).where(*before).order_by(MessageRow.seq.desc()).limit(1)
    return await session.scalar(newest) or ""


def _letters() -> Select[OutboxRow, str | None]:
    """What answers a message of the inbox carries the bot's reply to it, which is found by the platform's own id."""
    asked, answer = aliased(MessageRow), aliased(MessageRow)
    its_question = and_(asked.conversation_id == OutboxRow.recipient, asked.client_id == InboxRow.key)
    its_answer = and_(answer.conversation_id == OutboxRow.recipient, answer.reply_to == asked.id, answer.role == "bot")
    return (
        select(OutboxRow, func.coalesce(OutboxRow.message_id, answer.id))
        .outerjoin(InboxRow, InboxRow.seq == OutboxRow.inbox_seq)
        .outerjoin(asked, its_question)
        .outerjoin(answer, its_answer)
    )


async def _read(session: AsyncSession, query: Select[OutboxRow, str | None]) -> list[Letter]:
    return [
        Letter(
            row.id, row.channel, row.recipient, row.state, row.attempts, row.uncertain, row.error, row.payload,
            row.due_at, row.created_at, message_id,
        )
        for row, message_id in await session.execute(query)
    ]  # fmt: skip
