"""Turns that last: a message is stored, answered one at a time in its conversation, and the reply stored.

The work belongs to the conversation, not to the connection that asked: whoever reads a turn may leave and come back.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from aiohttp import web

from bot.dialogue.pipeline import Pipeline, readable
from bot.dialogue.types import Answer, Delta, Done, Meta, Turn, Utterance
from bot.errors import KefuError, NotFoundError, UnavailableError
from bot.handoff.desk import Desk
from bot.storage import conversations, exchange
from bot.storage.conversations import HELD, Conversation, Message, Opening, source_json
from bot.storage.exchange import Incoming

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from bot.storage.database import Database

HISTORY_UTTERANCES = 10
# What a summary reads of a conversation before that.
EARLIER_UTTERANCES = 500
CLOSE_SECONDS = 5.0
STOPPED = UnavailableError("stopped", "服务正在停止，请稍后重试", "The service is stopping; please try again")
GONE = NotFoundError("session_not_found", "会话不存在或已删除", "There is no such conversation")
# Told of each answer once the customer has it, with the id of the customer's message.
OnAnswer = Callable[[str, Turn, Answer], None]
log = logging.getLogger("kefu.turns")


@dataclass(frozen=True, slots=True)
class Frame:
    """One event of a turn: `meta` {decision, sources}, `delta` {text}, `done` (the reply), `error` {code, …}."""

    kind: Literal["meta", "delta", "done", "error"]
    data: dict[str, Any]
    error: KefuError | None = None

    @property
    def last(self) -> bool:
        return self.kind in ("done", "error")


@dataclass(slots=True, eq=False)
class Run:
    """One message on its way to its reply. Any number may `follow` it, each from its beginning.

    `held` is true where no bot answers: a person has taken the conversation over.
    """

    message: Message
    frames: list[Frame] = field(default_factory=list)
    held: bool = False
    answer: Answer | None = None
    task: "asyncio.Task[None] | None" = None
    followers: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, frame: Frame) -> None:
        self.frames.append(frame)
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    @property
    def finished(self) -> bool:
        return self.held or bool(self.frames and self.frames[-1].last)

    async def follow(self) -> AsyncGenerator[Frame]:
        """Every frame from the first to the last, as they come."""
        seen = 0
        self.followers += 1
        try:
            while True:
                while seen < len(self.frames):
                    yield self.frames[seen]
                    seen += 1
                if self.finished:
                    return
                await self._changed.wait()
        finally:
            self.followers -= 1

    async def result(self) -> Frame | None:
        """The last frame; None where a person answers instead."""
        async for frame in self.follow():
            if frame.last:
                return frame
        return None

    def hold(self) -> None:
        """Leave the message to a person."""
        self.held = True
        self._tell()

    async def abandon(self) -> None:
        """Stop the work if nobody follows it any more; nothing of the reply is stored then."""
        if self.task is not None and not self.task.done() and not self.followers:
            self.task.cancel()
            with suppress(asyncio.CancelledError):
                await self.task


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a conversation. `history` None stands for the stored one; one that is not there is begun with
    `opening`.
    """

    conversation_id: str
    text: str
    client_id: str | None = None
    language: str | None = None
    model: str | None = None
    history: tuple[Utterance, ...] | None = None
    opening: Opening | None = None


_Known = tuple[Conversation, tuple[Utterance, ...]]


class Turns:
    """All turns of the service. The desk's news tell of every new one of a conversation.

    Messages are taken at once and answered when `opened` returns, once what answers them is loaded.
    """

    def __init__(
        self,
        database: "Database",
        pipeline: Pipeline,
        desk: Desk,
        opened: Callable[[], Awaitable[None]],
        *,
        question_characters_max: int,
        on_answer: OnAnswer | None = None,
    ) -> None:
        self._on_answer = on_answer
        self._database = database
        self._pipeline, self._opened = pipeline, opened
        self.desk = desk
        self._characters_max = question_characters_max
        self._running: dict[str, Run] = {}
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}
        self._closing = False

    async def submit(self, asked: Asked) -> Run:
        """Store a message and begin to answer it. The same `client_id` again gives the same turn, running or done.

        Raises KefuError where the conversation is gone or the service stops.
        """
        if self._closing:
            raise STOPPED
        self._pipeline.expect(asked.text)
        async with self._alone(f"submit {asked.conversation_id}"):
            # What is said before it is known now, where nothing is on its way to be said.
            settled = asked.history is None and not self.running(asked.conversation_id)
            incoming = Incoming(
                asked.conversation_id, self._storable(asked.text), asked.client_id, asked.language,
                HISTORY_UTTERANCES if settled else 0, asked.opening,
            )  # fmt: skip
            kept = await self._database.write(partial(exchange.keep, incoming=incoming))
            if kept is None:
                raise GONE
            conversation, message, reply = kept.conversation, kept.message, kept.reply
            known = (conversation, kept.history) if settled and kept.new else None
            if message.id in self._running:
                return self._running[message.id]
            run = Run(message, held=conversation.state in HELD)
            if reply is not None:
                run.add(Frame("meta", {"decision": reply.decision, "sources": list(reply.sources)}))
                run.add(Frame("delta", {"text": reply.text}))
                run.add(Frame("done", reply.to_json()))
                return run
            if not run.held:
                self._running[message.id] = run
                run.task = asyncio.create_task(self._work(run, asked, known), name=f"turn {message.id}")
        self.desk.news.tell(asked.conversation_id, run)
        if conversation.state != "bot":
            self.desk.moved(asked.conversation_id, None)
        return run

    @property
    def under_way(self) -> int:
        """How many messages are being answered."""
        return len(self._running)

    def running(self, conversation_id: str) -> list[Run]:
        """Turns of a conversation that are not done, oldest first."""
        return [run for run in self._running.values() if run.message.conversation_id == conversation_id]

    def hang_up(self) -> None:
        """Take nothing new, and let every open connection close."""
        self._closing = True
        self.desk.news.hang_up()

    async def close(self) -> None:
        """Take nothing new, let what runs finish for a moment, then stop it."""
        self._closing = True
        tasks = [run.task for run in self._running.values() if run.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _storable(self, text: str) -> str:
        plain = readable(text)
        return plain if len(plain) <= self._characters_max else plain[: self._characters_max] + "…"

    async def _work(self, run: Run, asked: Asked, known: _Known | None) -> None:
        try:
            async with self._alone(f"turn {asked.conversation_id}"):
                await self._answer(run, asked, known)
        except asyncio.CancelledError:
            run.add(Frame("error", {}, STOPPED))
            raise
        except KefuError as error:
            run.add(Frame("error", {}, error))
        except Exception as error:
            log.exception("turn %s failed", run.message.id)
            run.add(Frame("error", {}, _as_kefu_error(error)))
        finally:
            self._running.pop(run.message.id, None)

    async def _answer(self, run: Run, asked: Asked, known: _Known | None) -> None:
        conversation, turn = await self._turn(run.message, asked, known)
        if conversation.state in HELD:  # somebody has taken it over while the message waited for those before it
            run.hold()
            return
        await self._opened()
        pieces = self.desk.accompany(conversation, turn, self._pipeline.run(turn))
        try:
            async for event in pieces:
                if isinstance(event, Meta):
                    sources = [source_json(source) for source in event.sources]
                    run.add(Frame("meta", {"decision": event.decision, "sources": sources}))
                elif isinstance(event, Delta):
                    run.add(Frame("delta", {"text": event.text}))
                elif isinstance(event, Done):
                    run.answer = event.answer
                    reply, state = await self._keep_reply(run.message, conversation, event.answer)
                    run.add(Frame("done", reply.to_json()))
                    if self._on_answer:
                        self._on_answer(run.message.id, turn, event.answer)
                    if state or conversation.state != "bot" or event.answer.decision == "handoff":
                        self.desk.moved(conversation.id, state)
        finally:
            await pieces.aclose()

    async def _keep_reply(
        self, message: Message, conversation: Conversation, answer: Answer
    ) -> tuple[Message, str | None]:
        """The reply as kept, and the conversation's new state, if any."""

        def keep(connection: "Connection") -> Message:
            return exchange.reply(connection, conversation.id, message.id, answer)

        if not self.desk.concerns(answer):
            return await self._database.write(keep), None
        async with self._database.session() as session:
            reply = await session.run_sync(lambda plain: keep(plain.connection()))
            return reply, await self.desk.note(session, conversation, answer)

    async def _turn(self, message: Message, asked: Asked, known: _Known | None) -> tuple[Conversation, Turn]:
        """The conversation after all earlier turns, and the turn that it makes of the message. `known` is what it was
        when the message was stored, where no earlier turn was under way then.
        """
        if known is None:
            async with self._database.reading() as session:
                conversation = await conversations.find(session, asked.conversation_id)
                if conversation is None:
                    raise GONE
            if (history := asked.history) is None:
                history = await self._said(message, HISTORY_UTTERANCES)
        else:
            conversation, history = known

        async def earlier() -> tuple[Utterance, ...]:
            return (await self._said(message, EARLIER_UTTERANCES + HISTORY_UTTERANCES))[:-HISTORY_UTTERANCES]

        return conversation, Turn(
            conversation_id=conversation.id,
            text=asked.text,
            history=history,
            language=asked.language or conversation.language,
            channel=conversation.channel,
            model=asked.model,
            slots=conversation.slots,
            events=conversation.events,
            earlier=earlier if asked.history is None and len(history) == HISTORY_UTTERANCES else None,
        )

    async def _said(self, message: Message, limit: int) -> tuple[Utterance, ...]:
        """What was said before a message."""
        return await self._database.read(
            lambda connection: exchange.utterances(connection, message.conversation_id, message.seq, limit)
        )

    @asynccontextmanager
    async def _alone(self, name: str) -> AsyncIterator[None]:
        """One at a time by name, in the order of asking; the lock is forgotten when nobody needs it."""
        lock, users = self._locks.get(name, (asyncio.Lock(), 0))
        self._locks[name] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[name]
            if users == 1:
                del self._locks[name]
            else:
                self._locks[name] = lock, users - 1


def _as_kefu_error(error: Exception) -> KefuError:
    """A leaf's error as ours, in its own words; anything else without a word of its inside."""
    parts = [getattr(error, name, None) for name in ("code", "zh", "en")]
    if all(isinstance(part, str) for part in parts):
        return KefuError(*(str(part) for part in parts))
    return KefuError("internal", "服务内部出错，已记录", "Something went wrong inside; it has been logged")


TURNS: web.AppKey[Turns] = web.AppKey("turns", Turns)


async def hang_up(app: web.Application) -> None:
    """For `app.on_shutdown`: open chat connections would otherwise hold the process until its time is up."""
    if TURNS in app:
        app[TURNS].hang_up()
