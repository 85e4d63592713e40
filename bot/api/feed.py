"""What a connection is told of its conversation: what it missed, then everything new, in order."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from bot import keys
from bot.handoff.news import DeliveryChange, StateChange
from bot.language import Language
from bot.middleware import error_body
from bot.storage import conversations
from bot.storage.conversations import Message
from bot.turns import TURNS, Run

MISSED_MAX = 1000
log = logging.getLogger("kefu.feed")


class Feed:
    """`async with` it, then iterate: (type, data) of the frames below.

    `message`: one that was missed (those after `after`), the visitor's own, or one of a person. `ready`: nothing more
    was missed. `state`: who answers (bot, waiting or human) and whether somebody of the staff is there (`staffed`), as
    it is after `ready` where it is not the bot, or with `changed` as it became. `meta`, `delta`, `done`, `error`: a
    reply of the bot, also one that is being written meanwhile, from its `meta` on. `accepted`: a message is kept for
    a person, and no reply of the bot will come. `delivery`: on a messaging channel something became of what was sent.
    It ends when the service stops.

    `to_json` writes messages, where the reader is not the visitor.
    """

    def __init__(
        self,
        app: web.Application,
        conversation_id: str,
        after: str | None,
        language: Language,
        to_json: Callable[[Message], dict[str, Any]] = Message.to_json,
    ) -> None:
        self._turns = app[TURNS]
        self._database = app[keys.DATABASE]
        self._id = conversation_id
        self._after = after
        self._language = language
        self._to_json = to_json
        # Unbounded, for it holds references to frames that the turns keep anyway.
        self._out: asyncio.Queue[tuple[str, dict[str, Any]] | None] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._followed: set[Run] = set()
        self._told: set[str] = set()
        self._stack = AsyncExitStack()
        self._closed = False

    async def __aenter__(self) -> Self:
        news = await self._stack.enter_async_context(self._turns.desk.news.subscribe(self._id))
        self._spawn(self._tell(news))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()

    async def __aiter__(self) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        while (item := await self._out.get()) is not None:
            yield item

    def follow(self, run: Run) -> None:
        """Tell of a turn from its beginning, unless that is being done already."""
        if run not in self._followed:
            self._followed.add(run)
            self._spawn(self._follow(run))

    async def _tell(self, news: "asyncio.Queue[Run | Message | StateChange | DeliveryChange | None]") -> None:
        # Subscribed first and read after: a turn begun in between is told twice rather than never, and `follow` once.
        running = self._turns.running(self._id)
        async with self._database.reading() as session:
            missed = await conversations.history(session, self._id, after=self._after, limit=MISSED_MAX)
            conversation = await conversations.find(session, self._id)
        if self._closed:  # the database driver can swallow a cancellation
            return
        self._told.add(self._after or "")
        for message in missed:
            self._say(message)
        self._out.put_nowait(("ready", {"session_id": self._id}))
        if conversation is not None and conversation.state != "bot":
            self._out.put_nowait(("state", self._turns.desk.told(conversation.state) | {"changed": False}))
        for run in running:
            if not any(message.reply_to == run.message.id for message in missed):
                self.follow(run)
        while (new := await news.get()) is not None:
            if isinstance(new, Message):
                self._say(new)
            elif isinstance(new, StateChange):
                self._out.put_nowait(("state", self._turns.desk.told(new.state) | {"changed": True}))
            elif isinstance(new, DeliveryChange):
                self._out.put_nowait(("delivery", {}))
            else:
                self.follow(new)
        self._out.put_nowait(None)

    def _say(self, message: Message) -> None:
        if message.id not in self._told:
            self._told.add(message.id)
            self._out.put_nowait(("message", {"message": self._to_json(message)}))

    async def _follow(self, run: Run) -> None:
        self._say(run.message)
        reply_to = {"reply_to": run.message.client_id}
        async for frame in run.follow():
            if frame.kind == "done":
                self._told.add(frame.data["id"])
                self._out.put_nowait(("done", reply_to | {"message": frame.data}))
            elif frame.error is not None:
                self._out.put_nowait(("error", reply_to | error_body(frame.error, self._language)))
            else:
                self._out.put_nowait((frame.kind, reply_to | frame.data))
        if run.held:
            self._out.put_nowait(("accepted", reply_to | {"message_id": run.message.id}))

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            # Better an ended connection, which comes back and resumes, than one that keeps silent.
            log.error("a conversation's feed failed", exc_info=error)
            self._out.put_nowait(None)
