"""Conversations as customers leave them behind, written through the service's own storage."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.dialogue.types import Answer, Decision, Source
from bot.storage import conversations, exchange
from bot.storage.conversations import Message
from bot.storage.database import Database
from bot.storage.exchange import Incoming
from bot.storage.tables import ConversationRow, MessageRow
from bot.storage.values import new_id, now


@dataclass(frozen=True)
class Say:
    """A customer's message and what came back: the bot's decision, a thumb, and what a person said then."""

    text: str
    decision: Decision | None = "handoff"
    reasons: tuple[str, ...] = ("handoff: no_answer",)
    probability: float = 0.1
    faq_id: str | None = None
    thumb: Any = None
    people: tuple[str, ...] = ()
    reply: str = "抱歉，我帮您转人工。"


@dataclass
class Talk:
    """One stored conversation: its id, its visitor's token, and the ids of the customer's messages."""

    id: str
    token: str
    asked: list[str] = field(default_factory=list)
    replies: list[str] = field(default_factory=list)


async def kept(session: AsyncSession, conversation_id: str, text: str) -> Message:
    """A customer's message, as it was when it came."""
    said = Incoming(conversation_id, text)
    found = await session.run_sync(lambda plain: exchange.keep(plain.connection(), said))
    assert found is not None
    return found.message


async def talk(database: Database, *said: Say | str, hours_ago: float = 2.0) -> Talk:
    """Writes a conversation that took place some hours ago."""
    async with database.session() as session:
        conversation, token = await conversations.open_visitor(session)
        made = Talk(conversation.id, token)
        moment = now() - timedelta(hours=hours_ago)
        for one in said:
            say = Say(one) if isinstance(one, str) else one
            message = await kept(session, conversation.id, say.text)
            made.asked.append(message.id)
            ids = [message.id]
            if say.decision:
                sources = (Source("题", "答", 0.9, faq_id=say.faq_id),) if say.faq_id else ()
                answer = Answer(
                    say.reply, say.decision, sources=sources, probability=say.probability, reasons=say.reasons
                )
                given = (conversation.id, message.id, answer)
                reply = await session.run_sync(lambda plain, given=given: exchange.reply(plain.connection(), *given))
                made.replies.append(reply.id)
                ids.append(reply.id)
                if say.thumb:
                    await conversations.set_feedback(session, conversation.id, reply.id, say.thumb, None)
            for text in say.people:
                row = MessageRow(
                    id=new_id(), conversation_id=conversation.id, role="human", text=text, created_at=now()
                )
                session.add(row)
                await session.flush()
                ids.append(row.id)
            moment += timedelta(seconds=20)
            await session.execute(update(MessageRow).where(MessageRow.id.in_(ids)).values(created_at=moment))
        await session.execute(
            update(ConversationRow).where(ConversationRow.id == conversation.id).values(updated_at=moment)
        )
    return made


async def talks(database: Database, texts: Sequence[str], **options: Any) -> list[Talk]:
    return [await talk(database, text, **options) for text in texts]
