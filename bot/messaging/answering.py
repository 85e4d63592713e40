"""Works off what came in: each conversation's messages in their order, many conversations at once, none forgotten."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
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
    """One message being answered. `partial` are the words so far."""

    received: Received
    partial: str = ""
    done: asyncio.Event = field(default_factory=asyncio.Event)


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
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}
        self._room = Room()

    def begin(self, received: Received) -> None:
        """Answer a message in the background; those of one conversation in the order of the calls."""
        self._room.arrived()
        work = self._under_way[received.channel, received.key] = Work(received)
        task = asyncio.create_task(self._work(work), name=f"answer {received.channel} {received.seq}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def under_way(self, channel: str, key: str) -> Work | None:
        return self._under_way.get((channel, key))

    async def seq_when_answered(self, channel: str, key: str, seconds: float) -> int | None:
        """The number of a message in the inbox, once it is answered; None where that takes longer or is unknown."""
        work = self._under_way.get((channel, key))
        if work is not None:
            try:
                async with asyncio.timeout(seconds):  # wait_for of Python 3.11 can swallow a cancellation
                    await work.done.wait()
            except TimeoutError:
                return None
        if (channel, key) in self._finished:
            return self._finished[channel, key]
        found = await self._store.database.read(lambda it: passing.find(it, channel, key))
        return found[0] if found and found[1] != "received" else None

    async def close(self) -> None:
        """Stop; what was not answered waits in the database for the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._room.close()

    async def _work(self, work: Work) -> None:
        received = work.received
        try:
            async with self._alone(received.recipient):
                await self._until_answered(work)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("message %d of %s waits for the next start", received.seq, received.channel)
        finally:
            self._under_way.pop((received.channel, received.key), None)
            work.done.set()

    async def _until_answered(self, work: Work) -> None:
        received = work.received
        channel = self._channel(received.channel)
        if channel is None:
            return  # no longer configured: it waits until the channel is back, or is forgotten with the conversations
        inbound = Inbound.from_json(received.inbound)
        attempt = received.attempts
        while True:
            work.partial = ""
            try:
                async with self._room.place():
                    if not await self._waits(received):
                        return
                    async with _meanwhile(channel, inbound, work):
                        replies = await self._replies(inbound, lambda text: _append(work, text))
                outgoing = self._outgoing(channel, received, inbound, replies)
                break
            except TooManyRequestsError as error:
                await asyncio.sleep(error.retry_after_seconds)
            except UnavailableError:
                await asyncio.sleep(NOT_READY_SECONDS)
            except Exception as error:
                log.exception("message %d of %s: attempt %d failed", received.seq, channel.id, attempt + 1)
                told = _told(error)
                await self._store.database.write(lambda it: passing.not_answered(it, received.seq, told))  # noqa: B023
                if attempt >= len(RETRY_SECONDS):
                    outgoing = self._outgoing(channel, received, inbound, [apology()])
                    break
                await asyncio.sleep(RETRY_SECONDS[attempt])
                attempt += 1
        await self._store.answered(received, outgoing)
        self._remember(received)
        if outgoing:
            self._wake(channel.id)

    async def _waits(self, received: Received) -> bool:
        """Whether a message is still to be answered: its customer may have been forgotten while it waited, and an
        answer would open their conversation anew."""
        known = await self._store.database.read(lambda it: passing.find(it, received.channel, received.key))
        return known == (received.seq, "received")

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

    @asynccontextmanager
    async def _alone(self, recipient: str) -> AsyncIterator[None]:
        """One at a time for each conversation, in the order of asking."""
        lock, users = self._locks.get(recipient, (asyncio.Lock(), 0))
        self._locks[recipient] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[recipient]
            if users == 1:
                del self._locks[recipient]
            else:
                self._locks[recipient] = lock, users - 1


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
