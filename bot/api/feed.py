"""What a connection is told of its conversation: what it missed, then everything new, in order."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from bot import keys
from bot.language import Language
from bot.middleware import error_body
from bot.storage import conversations
from bot.turns import TURNS, Run

WAITING_MAX = 256
MISSED_MAX = 1000
log = logging.getLogger("kefu.feed")


class Feed:
    """`async with` it, then iterate: (type, data) of the frames `message`, `ready`, `meta`, `delta`, `done`, `error`.

    Messages after `after` come first as `message`, then `ready`. A reply that is being written meanwhile is told from
    its `meta` on. It ends when the service stops. A slow reader holds up nobody but itself.
    """

    def __init__(self, app: web.Application, conversation_id: str, after: str | None, language: Language) -> None:
        self._turns = app[TURNS]
        self._database = app[keys.DATABASE]
        self._id = conversation_id
        self._after = after
        self._language = language
        self._out: asyncio.Queue[tuple[str, dict[str, Any]] | None] = asyncio.Queue(WAITING_MAX)
        self._tasks: set[asyncio.Task[None]] = set()
        self._followed: set[str] = set()
        self._told: set[str] = set()
        self._broken = asyncio.Event()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        news = await self._stack.enter_async_context(self._turns.subscribe(self._id))
        self._spawn(self._tell(news))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()

    async def __aiter__(self) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        broken = asyncio.ensure_future(self._broken.wait())
        try:
            while not self._broken.is_set():
                item = asyncio.ensure_future(self._out.get())
                await asyncio.wait({item, broken}, return_when=asyncio.FIRST_COMPLETED)
                if not item.done() or (told := item.result()) is None:
                    item.cancel()
                    return
                yield told
        finally:
            broken.cancel()

    def follow(self, run: Run) -> None:
        """Tell of a turn from its beginning, unless that is done already."""
        if run.message.id not in self._followed:
            self._followed.add(run.message.id)
            self._spawn(self._follow(run))

    async def _tell(self, news: "asyncio.Queue[Run | None]") -> None:
        # Subscribed first and read after: a turn begun in between is told twice rather than never, and `follow` once.
        running = self._turns.running(self._id)
        async with self._database.reading() as session:
            missed = await conversations.history(session, self._id, after=self._after, limit=MISSED_MAX)
        for message in missed:
            self._told.add(message.id)
            await self._out.put(("message", {"message": message.to_json()}))
        await self._out.put(("ready", {"session_id": self._id}))
        for run in running:
            self.follow(run)
        while (new := await news.get()) is not None:
            self.follow(new)
        await self._out.put(None)

    async def _follow(self, run: Run) -> None:
        if run.message.id not in self._told:
            self._told.add(run.message.id)
            await self._out.put(("message", {"message": run.message.to_json()}))
        reply_to = {"reply_to": run.message.client_id}
        async for frame in run.follow():
            if frame.kind == "done":
                if frame.data["id"] not in self._told:
                    self._told.add(frame.data["id"])
                    await self._out.put(("done", reply_to | {"message": frame.data}))
            elif frame.error is not None:
                await self._out.put(("error", reply_to | error_body(frame.error, self._language)))
            else:
                await self._out.put((frame.kind, reply_to | frame.data))

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            # Better an ended connection, which comes back and resumes, than one that keeps silent.
            log.error("a conversation's feed failed", exc_info=error)
            self._broken.set()
