"""Works off what came in: each conversation's messages in their order, many conversations at once, none forgotten."""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from bot.errors import KefuError, TooManyRequestsError, UnavailableError
from bot.messaging.replies import apology
from bot.messaging.room import Room
from bot.messaging.store import Store
from bot.storage import passing
from bot.storage.passing import Outgoing, Received
from bot.storage.values import now
from connectors.channel import Channel
from connectors.errors import ConnectorError, DeliveryError
from connectors.types import Inbound, Outbound

RETRY_SECONDS = (1.0, 2.0, 5.0, 15.0, 60.0)
NOT_READY_SECONDS = 0.5
TYPING_AFTER_SECONDS = 1.5
TYPING_EVERY_SECONDS = 5.0
SHOW_EVERY_SECONDS = 0.7  # what is answered at once is never shown twice
FINISHED_MAX = 20_000
log = logging.getLogger("kefu.messaging")

Replies = Callable[[Inbound, Callable[[str], None]], Awaitable[list[Outbound]]]


@dataclass(slots=True, eq=False)
class Work:
    """One message to be answered. `partial` are the words so far, `attempts` those that failed."""

    received: Received
    partial: str = ""
    attempts: int = 0
    finished: bool = False
    _over: asyncio.Event | None = None

    async def over(self) -> None:
        """Returns once it is answered, or given up."""
        if not self.finished:
            self._over = self._over or asyncio.Event()
            await self._over.wait()

    def finish(self) -> None:
        self.finished = True
        if self._over is not None:
            self._over.set()


class Answering:
    """Answers what `begin` is given; `replies` makes the answers, `wake(channel)` says that some wait to be sent."""

    def __init__(
        self,
        store: Store,
        channel: Callable[[str], Channel | None],
        replies: Replies,
        wake: Callable[[str], None],
    ) -> None:
        self._store = store
        self._channel = channel
        self._replies = replies
        self._wake = wake
        self._under_way: dict[tuple[str, str], Work] = {}
        self._finished: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._lines: dict[str, deque[Work]] = {}  # of each conversation; its first is answered, or waits for a place
        self._room = Room()
        self._closed = False

    def begin(self, received: Received) -> None:
        """Answer a message in the background; those of one conversation in the order of the calls."""
        self._room.arrived()
        work = self._under_way[received.channel, received.key] = Work(received, attempts=received.attempts)
        line = self._lines.setdefault(received.recipient, deque())
        line.append(work)
        if len(line) == 1:
            self._room.enter(partial(self._start, work))

    def under_way(self, channel: str, key: str) -> Work | None:
        return self._under_way.get((channel, key))

    async def seq_when_answered(self, channel: str, key: str, seconds: float) -> int | None:
        """The number of a message in the inbox, once it is answered; None where that takes longer or is unknown."""
        work = self._under_way.get((channel, key))
        if work is not None:
            try:
                async with asyncio.timeout(seconds):  # wait_for of Python 3.11 can swallow a cancellation
                    await work.over()
            except TimeoutError:
                return None
        if (channel, key) in self._finished:
            return self._finished[channel, key]
        found = await self._store.database.read(lambda it: passing.find(it, channel, key))
        return found[0] if found and found[1] != "received" else None

    async def close(self) -> None:
        """Stop; what was not answered waits in the database for the next start."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._room.close()

    def _start(self, work: Work) -> None:
        if self._closed:
            return
        task = asyncio.create_task(self._work(work), name=f"answer {work.received.channel} {work.received.seq}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, work: Work) -> None:
        received = work.received
        try:
            while (pause := await self._attempt(work)) is not None:
                await asyncio.sleep(pause)
                await self._room.entered()
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("message %d of %s waits for the next start", received.seq, received.channel)
        finally:
            self._under_way.pop((received.channel, received.key), None)
            work.finish()
            self._next(received.recipient)

    def _next(self, recipient: str) -> None:
        line = self._lines[recipient]
        line.popleft()
        if line:
            self._room.enter(partial(self._start, line[0]))
        else:
            del self._lines[recipient]

    async def _attempt(self, work: Work) -> float | None:
        """Answers in the place that the room gave; the seconds until another attempt, None where there is to be none:
        also where the channel is no longer configured. The message then waits until the channel is back, or is
        forgotten with the conversations."""
        received, channel = work.received, self._channel(work.received.channel)
        inbound = None
        work.partial = ""
        try:
            try:
                inbound = await self._store.waiting(received.seq) if channel else None
                if channel is None or inbound is None:
                    return None
                async with _meanwhile(channel, inbound, work):
                    replies = await self._replies(inbound, lambda text: _append(work, text))
            finally:
                self._room.leave()
            outgoing = self._outgoing(channel, received, inbound, replies)
        except TooManyRequestsError as error:
            return error.retry_after_seconds
        except UnavailableError:
            return NOT_READY_SECONDS
        except Exception as error:
            log.exception("message %d of %s: attempt %d failed", received.seq, received.channel, work.attempts + 1)
            told = _told(error)
            await self._store.database.write(lambda it: passing.not_answered(it, received.seq, told))
            work.attempts += 1
            if work.attempts <= len(RETRY_SECONDS) or channel is None or inbound is None:
                return RETRY_SECONDS[min(work.attempts, len(RETRY_SECONDS)) - 1]
            outgoing = self._outgoing(channel, received, inbound, [apology()])
        await self._store.answered(received.seq, inbound, outgoing)
        self._remember(received)
        if outgoing:
            self._wake(channel.id)
        return None

    def _outgoing(
        self, channel: Channel, received: Received, inbound: Inbound, replies: list[Outbound]
    ) -> list[Outgoing]:
        # Counted from the message on: so long the platform may still ask for its answer itself.
        hold = channel.hold_seconds - (now() - received.received_at).total_seconds() if channel.hold_seconds else 0.0
        return [
            Outgoing(channel.id, received.recipient, inbound.reply_to, payload, max(0.0, hold))
            for reply in replies
            for payload in channel.render(inbound.reply_to, reply)
        ]

    def _remember(self, received: Received) -> None:
        self._finished[received.channel, received.key] = received.seq
        if len(self._finished) > FINISHED_MAX:
            self._finished.popitem(last=False)


def _append(work: Work, text: str) -> None:
    work.partial += text


def _told(error: Exception) -> dict[str, Any]:
    if isinstance(error, KefuError):
        return {"code": error.code, "message": error.zh, "message_en": error.en}
    return {"code": "internal", "message": type(error).__name__, "message_en": type(error).__name__}


@asynccontextmanager
async def _meanwhile(channel: Channel, inbound: Inbound, work: Work) -> AsyncIterator[None]:
    """While an answer takes long, the customer sees that somebody writes, and what, as far as the channel can."""
    over = asyncio.Event()
    typing = asyncio.create_task(_typing(channel, inbound), name="typing")
    showing = asyncio.create_task(_showing(channel, inbound, work, over), name="showing")
    try:
        yield
        over.set()
        await showing  # not cut off: a call under way would be heard of after the answer
    finally:
        for task in (typing, showing):
            task.cancel()
        await asyncio.gather(typing, showing, return_exceptions=True)


async def _typing(channel: Channel, inbound: Inbound) -> None:
    if type(channel).typing is Channel.typing:
        return
    await asyncio.sleep(TYPING_AFTER_SECONDS)
    while True:
        with suppress(Exception):
            await channel.typing(inbound.reply_to)
        await asyncio.sleep(TYPING_EVERY_SECONDS)


async def _showing(channel: Channel, inbound: Inbound, work: Work, over: asyncio.Event) -> None:
    if type(channel).show is Channel.show:
        return
    seen = ""
    while not await _is_over(over, SHOW_EVERY_SECONDS):
        if not work.partial or work.partial == seen:
            continue
        seen = work.partial
        try:
            await channel.show(inbound.reply_to, seen)
        except ConnectorError as error:
            log.info("%s: an answer cannot be shown while it is written (%s)", channel.id, error.code)
            if not isinstance(error, DeliveryError) or error.outcome != "retry":
                return
        except Exception:
            log.exception("%s: an answer cannot be shown while it is written", channel.id)
            return


async def _is_over(over: asyncio.Event, seconds: float) -> bool:
    """Whether it is, after so long at most."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await over.wait()
    return over.is_set()
