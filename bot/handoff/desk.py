"""The handoff: a decision calls a person, one of the staff takes the conversation, replies, and gives it back.

Every step is one transaction and is told to whoever looks; nothing of it lives in memory but who is at the desk.
"""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from aiohttp import web

from bot.dialogue import tracker
from bot.dialogue.failures import cause
from bot.dialogue.types import Answer, Delta, Done, Event, Meta, Turn
from bot.dialogue.voice import Company
from bot.errors import ConflictError, KefuError
from bot.handoff.news import QUEUE, DeliveryChange, News, StateChange
from bot.handoff.presence import Presence
from bot.handoff.waiting import called_off
from bot.storage import audit, conversations, handoffs, messaging
from bot.storage.conversations import Conversation, Message
from bot.storage.database import Database
from bot.storage.handoffs import Handoff, How
from bot.storage.values import now
from connectors.types import Outbound

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from bot.messaging.hub import Hub

ATTENDED_DAYS = 30
WAITING_DAYS = 7
UNASKED_DAYS = 1
CALLED_OFF = "wait: called off"
PAUSED = "paused"
WEB = "web"
log = logging.getLogger("kefu.handoff")


class Desk:
    """Where the bot and the staff meet. `hub` sends replies to messaging channels, once these are open."""

    def __init__(self, database: Database, company: Company) -> None:
        self.news = News()
        self.presence = Presence()
        self.hub: Hub | None = None
        self._database = database
        self._company = company

    # For the turns.

    async def accompany(
        self, conversation: Conversation, turn: Turn, events: AsyncGenerator[Event]
    ) -> AsyncGenerator[Event]:
        """A turn's events, with what a customer is told of the waiting; `events` are the bot's own."""
        if conversation.state == "waiting" and called_off(turn.text, busy=bool(tracker.active_loop(turn.events))):
            text = self._company.now().voice(turn.language).say("called_off")
            answer = Answer(text, "chitchat", reasons=(CALLED_OFF,))
            for event in (Meta(answer.decision), Delta(text), Done(answer)):
                yield event
            return
        handed = False
        async with aclosing(events) as pieces:
            async for event in pieces:
                handed = handed or (isinstance(event, Meta) and event.decision == "handoff")
                if not handed or not isinstance(event, Done):
                    yield event
                elif more := await self._promise(conversation, turn, event.answer):
                    text = f"{event.answer.text}\n\n{more}"
                    yield Delta(f"\n\n{more}")
                    yield Done(replace(event.answer, text=text))
                else:
                    yield event

    @staticmethod
    def concerns(answer: Answer) -> bool:
        """Whether `note` has anything to keep of an answer."""
        return CALLED_OFF in answer.reasons or answer.paused or answer.decision == "handoff"

    async def note(self, session: "AsyncSession", conversation: Conversation, answer: Answer) -> str | None:
        """Keep what an answer means for who answers next, in the transaction that stores it; the new state, if any."""
        if CALLED_OFF in answer.reasons:
            open_one = await handoffs.current(session, conversation.id)
            if open_one is None or open_one.taken_by is not None:
                return None
            await handoffs.end(session, conversation.id, handoffs.BY_CUSTOMER, "customer")
            return "bot"
        if answer.paused:
            return PAUSED if await handoffs.request(session, conversation.id, PAUSED, silent=True) else None
        if answer.decision != "handoff" or not self.reaches(conversation):
            return None
        why = cause(answer.reasons) or "person"
        called = await handoffs.request(session, conversation.id, why)
        return "waiting" if called and why not in handoffs.UNASKED else None

    def moved(self, conversation_id: str, state: str | None) -> None:
        """Tell of a new state, and of a message in one that the staff look at."""
        if state is not None:
            self.news.tell(conversation_id, StateChange(state))
        self.news.tell(QUEUE, conversation_id)

    def delivery_moved(self, conversation_id: str, how: str) -> None:
        """Tell who looks at a conversation that something of it was delivered, or was not; the list where it is lost,
        or no longer."""
        self.news.tell(conversation_id, DeliveryChange())
        if how in ("dead", "decided"):
            self.news.tell(QUEUE, conversation_id)

    def told(self, state: str) -> dict[str, Any]:
        """A conversation's state as the customer is told it: bot, waiting or human, and whether somebody is there."""
        return {"state": "waiting" if state == PAUSED else state, "staffed": self.presence.anybody()}

    async def _promise(self, conversation: Conversation, turn: Turn, answer: Answer) -> str:
        """What a customer is told beside how to reach a person: what is true now, nothing where nobody comes."""
        if not self.reaches(conversation):
            return ""
        profile = self._company.now()
        say = profile.voice(turn.language).say
        there = profile.rules.hours.open_now() and self.presence.anybody()
        if conversation.state == "bot" and cause(answer.reasons) in handoffs.UNASKED:
            return say("offer_person") if there else ""
        if there:
            return say("still_waiting" if conversation.state == "waiting" else "waiting")
        async with self._database.reading() as session:
            attended = await handoffs.attended_since(session, now() - timedelta(days=ATTENDED_DAYS))
        return say("message_left") if attended else ""

    # For the staff.

    def reaches(self, conversation: Conversation) -> bool:
        """Whether a reply of the staff gets to the customer: on the page, or by a channel without a desk of its own."""
        return _is_page(conversation) or self._channel(conversation) is not None

    async def take(self, conversation_id: str, actor: str, from_actor: str | None = None) -> Handoff:
        """Take a conversation over, from the queue, from the bot, or from a colleague who has it.

        Raises ConflictError where somebody else was faster or nobody could answer there, NotFoundError.
        """
        async with self._database.session() as session:
            conversation = await conversations.find(session, conversation_id)
            if conversation is not None and not self.reaches(conversation) and conversation.state != PAUSED:
                raise _unreachable()
            found = await handoffs.take(session, conversation_id, actor, from_actor)
            if found.taken_by == actor:
                return found
            waited = round((now() - found.requested_at).total_seconds())
            detail = {"handoff": found.id, "cause": found.cause, "waited_seconds": waited, "from": from_actor}
            await audit.record(session, actor, "desk.take", conversation_id, detail)
            channel = await self._announce(session, conversation) if conversation and from_actor is None else None
        self.moved(conversation_id, "human")
        if channel and self.hub:
            self.hub.wake([channel])
        return found

    async def _announce(self, session: "AsyncSession", conversation: Conversation) -> str | None:
        """Tell a customer on a channel that a person is there (the page shows it by itself); the channel, if told.

        Not where the platform counts what may be sent: those few messages are the colleague's own.
        """
        channel = self._channel(conversation)
        if channel is None or self.hub is None or self.hub.channel(channel).window is not None:
            return None
        voice = self._company.now().voice("en" if conversation.language == "en" else "zh")
        where = (conversation.user, conversation.group, conversation.id)
        with suppress(KefuError):  # nobody knows any more where they wrote from
            await messaging.send(
                session, await self.hub.outgoing(session, channel, Outbound(voice.say("joined")), *where)
            )
            return channel
        return None

    async def reply(self, conversation_id: str, actor: str, text: str, client_id: str) -> Message:
        """Say something to the customer; the same `client_id` again is the same message, sent once.

        Raises ConflictError where this person has not taken the conversation over, or nothing gets to the customer;
        InvalidError where the platform's window is closed.
        """
        async with self._database.session() as session:
            conversation = await handoffs.held_by(session, conversation_id, actor)
            message, new = await conversations.append_human(session, conversation_id, text, client_id, actor)
            channel = self._channel(conversation)
            if new and not _is_page(conversation):
                if channel is None or self.hub is None:
                    raise _unreachable()
                outgoing = await self.hub.outgoing(
                    session, channel, Outbound(text), conversation.user, conversation.group, conversation_id
                )
                await messaging.send(session, outgoing, message.id)
        if new:
            self.news.tell(conversation_id, message)
            self.news.tell(QUEUE, conversation_id)
            if channel and self.hub:
                self.hub.wake([channel])
        return message

    async def end(self, conversation_id: str, actor: str, how: How) -> None:
        """Give a conversation back to the bot, or close it. Raises ConflictError, NotFoundError."""
        async with self._database.session() as session:
            found = await handoffs.end(session, conversation_id, actor, how)
            await audit.record(session, actor, f"desk.{how}", conversation_id, {"handoff": found.id})
        self.moved(conversation_id, "bot")

    async def expire(self) -> None:
        """Let go of what has waited for days without a word."""
        async with self._database.session() as session:
            gone = await handoffs.expire(session, WAITING_DAYS, UNASKED_DAYS)
        if gone:
            log.info("%d conversations waited for a person in silence, for too long: they left the queue", gone)
            self.news.tell(QUEUE, "")

    def _channel(self, conversation: Conversation) -> str | None:
        """The messaging channel of a conversation, where it is at work and has no desk of its own."""
        id_ = f"{conversation.account.partition(':')[0]}/{conversation.channel}"
        if self.hub is None or not self.hub.has(id_) or self.hub.channel(id_).has_desk:
            return None
        return id_


def _is_page(conversation: Conversation) -> bool:
    """Whether the customer talks on the chat page or in the widget."""
    return conversation.channel == WEB and not conversation.account


def _unreachable() -> ConflictError:
    return ConflictError(
        "unreachable",
        "这个会话所在的渠道收不到人工的回复（接口调用，或渠道已停用，或平台有自己的坐席）",
        "Replies of the staff do not get to the customer there: a program's call, a channel that is off, or a platform "
        "with a desk of its own",
    )


DESK: web.AppKey[Desk] = web.AppKey("desk", Desk)
