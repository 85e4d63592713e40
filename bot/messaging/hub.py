"""The messaging channels of one service: opened, given what they need, told to stop."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from bot.errors import InvalidError, NotFoundError
from bot.messaging.answering import Answering, Replies
from bot.messaging.checking import notes
from bot.messaging.running import keep_running
from bot.messaging.store import Store
from bot.middleware import language_of
from bot.storage import messaging, passing
from bot.storage.conversations import channel_conversation_id
from bot.storage.passing import Arrival, Outgoing, Received
from bot.storage.values import new_id, now
from connectors import registry
from connectors.channel import Channel
from connectors.delivery import Pump
from connectors.errors import ConnectorError
from connectors.freshness import STALE
from connectors.kinds import KINDS
from connectors.types import Conversation, Delivery, Inbound, Outbound

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from bot.messaging.sources import Configured

KEY_CHARACTERS_MAX = 128
WARN_SECONDS = 60.0
BURY_SECONDS = 2.0
log = logging.getLogger("kefu.messaging")


@dataclass(slots=True, eq=False)
class Open:
    """A channel at work."""

    channel: Channel
    pump: Pump
    tasks: list[asyncio.Task[None]]
    warned_at: float = -WARN_SECONDS

    def tell_of(self, error: ConnectorError) -> None:
        """Log a callback that was refused; loudly, but not all the time, where this machine's clock may be why."""
        if error.code == STALE and time.monotonic() - self.warned_at >= WARN_SECONDS:
            self.warned_at = time.monotonic()
            log.warning("%s: %s", self.channel.id, error)
        else:
            log.info("%s: a callback was refused (%s)", self.channel.id, error.code)


class Hub:
    """Every messaging channel, and the service as they see it (`connectors.channel.Service`)."""

    def __init__(self, store: Store, replies: Replies, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self._store = store
        self._open: dict[str, Open] = {}
        self._known: set[str] = set()  # also those that are switched off, or do not run
        self._burying: asyncio.Task[None] | None = None
        self._answering = Answering(store, self._channel, replies, self._wake)
        self.http: aiohttp.ClientSession

    async def open(self, configured: Sequence["Configured"]) -> None:
        """Start the channels, and go on with what was not finished when the process ended."""
        self.http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30), cookie_jar=aiohttp.DummyCookieJar())
        try:
            await self._open_all(configured)
        except BaseException:
            await self.close()
            raise

    async def _open_all(self, configured: Sequence["Configured"]) -> None:
        database = self._store.database
        again = await database.write(passing.recover)
        if again:
            log.info("%d messages may have been sent just before the last stop; they are sent again", again)
        self._known = {one.id for one in configured}
        self._burying = asyncio.create_task(self._bury_for_ever(), name="undelivered of removed channels")
        for one in configured:
            if one.enabled and KINDS[one.kind].made_by:
                self._begin(one)
        for received in await database.read(passing.unanswered):
            self._answering.begin(received)

    def _begin(self, one: "Configured") -> None:
        try:
            self.add(one)
        except ConnectorError as error:
            if one.source == "file":
                raise
            # Saved by a version that wanted less: the others work, and the console shows that this one does not.
            log.error("%s does not run: %s", one.id, error)  # noqa: TRY400 - it says what is wrong by itself

    def add(self, one: "Configured") -> None:
        """Start one channel. Raises ConnectorError where its table is not right."""
        channel = registry.make(one.table, self)
        pump = Pump(channel, self._store)
        tasks = [asyncio.create_task(pump.run(), name=f"sending {channel.id}")]
        if type(channel).run is not Channel.run:
            tasks.append(asyncio.create_task(keep_running(channel), name=f"running {channel.id}"))
        self._known.add(channel.id)
        self._open[channel.id] = Open(channel, pump, tasks)
        for note in notes(channel):
            log.warning("%s: %s", channel.id, note.zh)

    async def remove(self, id_: str) -> None:
        """Stop one channel; what is to be sent waits until it is back."""
        found = self._open.pop(id_, None)
        if found is not None:
            with suppress(Exception):
                await found.channel.hang_up()
            await _stop(found.tasks)

    async def forget(self, id_: str) -> None:
        """Stop one channel for good: what is not sent is given up, and said to be."""
        await self.remove(id_)
        self._known.discard(id_)
        await self._bury()

    async def _bury(self) -> None:
        known = sorted(self._known)
        if await self._store.database.read(lambda it: passing.homeless(it, known)):
            for recipient in await self._store.database.write(lambda it: passing.bury(it, known)):
                self._store.moved(recipient, "dead")

    async def _bury_for_ever(self) -> None:
        """What a person sends again, or was being answered, may be of a channel that is gone, too."""
        while True:
            with suppress(Exception):  # the next look says what is wrong, if anybody else does not
                await self._bury()
            await asyncio.sleep(BURY_SECONDS)

    async def hang_up(self) -> None:
        """End the connections that channels hold open."""
        await asyncio.gather(*(one.channel.hang_up() for one in self._open.values()), return_exceptions=True)

    async def close(self) -> None:
        """Stop all; nothing that was taken or not sent is lost."""
        if self._burying is not None:
            await _stop([self._burying])
        await self._answering.close()
        for id_ in list(self._open):
            await self.remove(id_)
        await self.http.close()

    def has(self, id_: str) -> bool:
        """Whether a channel is at work."""
        return id_ in self._open

    def channel(self, id_: str) -> Channel:
        """A channel at work. Raises NotFoundError."""
        if id_ not in self._open:
            raise NotFoundError("channel_not_found", f"没有渠道 {id_}", f"There is no channel {id_}")
        return self._open[id_].channel

    async def receive(self, request: web.Request, kind: str, name: str) -> web.StreamResponse:
        """A callback of a channel, by its own name or the one its protocol fixes."""
        found = self._open.get(f"{kind}/{name}") or next(
            # The one added last: what a person configures replaces what is built in.
            (one for one in reversed(self._open.values()) if (one.channel.kind, one.channel.also_at) == (kind, name)),
            None,
        )
        if found is None:
            raise web.HTTPNotFound
        try:
            return await found.channel.receive(request)
        except ConnectorError as error:
            found.tell_of(error)
            told = error.en if language_of(request) == "en" else error.zh
            return web.json_response({"error": {"code": error.code, "message": told}}, status=error.status)

    async def push(self, id_: str, user: str, text: str, group: str = "") -> list[Delivery]:
        """Write to a customer who did not just ask; what is put into the outbox.

        Raises:
            NotFoundError: no such channel, or a customer who never wrote on a platform where they must write first.
            InvalidError: the platform's window is closed.
        """
        recipient = recipient_of(self.channel(id_).conversation(user, group))
        async with self._store.database.session() as session:
            outgoing = await self.outgoing(session, id_, Outbound(text), user, group, recipient, unasked=True)
            made = await messaging.send(session, outgoing)
        self._wake(id_)
        return made

    async def outgoing(
        self,
        session: "AsyncSession",
        id_: str,
        reply: Outbound,
        user: str,
        group: str,
        recipient: str,
        *,
        unasked: bool = False,
    ) -> list[Outgoing]:
        """What a message to a customer becomes in the outbox; they get it where they wrote last, as an answer to that
        unless it is `unasked`. Raises as `push`."""
        channel = self.channel(id_)
        heard = await messaging.last_heard(session, id_, recipient)
        address = heard[0] if heard else channel.address_of(user, group)
        if address is None:
            raise NotFoundError(
                "recipient_unknown", f"{user} 还没有在 {id_} 上说过话", f"{user} has not written on {id_} yet"
            )
        window = channel.window
        if window is not None:
            opened = heard[1] if heard else None
            if opened is None or now() - opened > timedelta(seconds=window.seconds):
                raise InvalidError(
                    "window_closed",
                    f"客户超过 {window.seconds / 3600:g} 小时没有说话，平台不允许主动发送",
                    f"The customer has been silent for more than {window.seconds / 3600:g} hours: "
                    "the platform does not allow it",
                )
            gone = await messaging.sent_since(session, id_, recipient, opened)
            if window.messages is not None and gone >= window.messages:
                raise InvalidError(
                    "window_used_up",
                    f"客户上次说话之后已发送 {gone} 条，平台最多允许 {window.messages} 条",
                    f"{gone} messages went out since the customer wrote; the platform allows {window.messages}",
                )
        if unasked:
            address = channel.unasked(address)
        return [Outgoing(id_, recipient, address, one) for one in channel.render(address, reply)]

    # What channels are given, see `connectors.channel.Service`.

    async def accept(self, channel: Channel, messages: Sequence[Inbound]) -> list[bool]:
        arrivals = [_arrival(channel, one) for one in messages]
        if len(arrivals) == 1:  # as almost always: without a task for it
            numbers = [await self._store.receive(arrivals[0])]
        else:
            numbers = await asyncio.gather(*(self._store.receive(one) for one in arrivals))
        for arrival, seq in zip(arrivals, numbers, strict=True):
            if seq is not None:
                self._answering.begin(Received(seq, arrival.channel, arrival.key, arrival.recipient, 0, now()))
        return [seq is not None for seq in numbers]

    async def answers(self, channel: Channel, message_id: str, seconds: float) -> list[Delivery] | None:
        seq = await self._answering.seq_when_answered(channel.id, known_by(message_id), seconds)
        if seq is None:
            return None
        return await self._store.database.write(lambda it: passing.take_answers(it, seq))

    def partial(self, channel: Channel, message_id: str) -> str:
        work = self._answering.under_way(channel.id, known_by(message_id))
        return work.partial if work else ""

    async def held(self, channel: Channel, conversation: Conversation) -> list[Delivery]:
        whose, database = (channel.id, recipient_of(conversation)), self._store.database
        if not await database.read(lambda it: passing.anything_held(it, *whose)):
            return []
        return await database.write(lambda it: passing.take_held(it, *whose))

    async def delivered(self, deliveries: Sequence[Delivery]) -> None:
        await asyncio.gather(*(self._store.sent(one) for one in deliveries))

    async def given_back(self, deliveries: Sequence[Delivery]) -> None:
        await self._store.database.write(lambda it: passing.give_back(it, [one.id for one in deliveries]))

    async def recall(self, channel: Channel, key: str) -> Any:
        return await self._store.database.read(lambda it: passing.recall(it, channel.id, key))

    async def remember(self, channel: Channel, key: str, value: Any) -> None:
        await self._store.database.write(lambda it: passing.remember(it, channel.id, key, value))

    def _channel(self, id_: str) -> Channel | None:
        found = self._open.get(id_)
        return found.channel if found else None

    def _wake(self, id_: str) -> None:
        found = self._open.get(id_)
        if found is not None:
            found.pump.wake()

    def moved(self, recipients: Iterable[str]) -> None:
        """Somebody decided about what was to be sent to these conversations."""
        for recipient in recipients:
            self._store.moved(recipient, "decided")

    def wake(self, ids: Sequence[str] = ()) -> None:
        """Something of these channels (of all, without any) was put into the outbox by somebody else."""
        for id_ in ids or list(self._open):
            self._wake(id_)


def recipient_of(conversation: Conversation) -> str:
    """Whom messages of a conversation go to, in the outbox: the conversation's own id."""
    return channel_conversation_id(conversation.channel, conversation.account, conversation.user, conversation.group)


def known_by(message_id: str) -> str:
    """A platform's message id as the tables hold it."""
    if len(message_id) <= KEY_CHARACTERS_MAX:
        return message_id
    return "sha256-" + hashlib.sha256(message_id.encode()).hexdigest()


def _arrival(channel: Channel, inbound: Inbound) -> Arrival:
    key = known_by(inbound.message_id) if inbound.message_id else new_id()
    stored = inbound.to_json() | {"message_id": key}
    return Arrival(channel.id, key, recipient_of(inbound.conversation), stored)


async def _stop(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)


HUB: web.AppKey[Hub] = web.AppKey("hub", Hub)


async def receive(request: web.Request) -> web.StreamResponse:
    """Callbacks of every channel, also of one that was added while the service runs."""
    return await request.app[HUB].receive(request, request.match_info["kind"], request.match_info["name"])


def routes() -> list[web.RouteDef]:
    return [web.route("*", "/webhooks/{kind}/{name}", receive)]
