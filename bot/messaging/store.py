"""The channels' side of the database."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Literal

from bot.metrics import Metrics
from bot.storage import passing
from bot.storage.database import Database
from bot.storage.passing import Arrival, Outgoing
from connectors.errors import ConnectorError, DeliveryError, Outcome
from connectors.types import Delivery, Inbound

How = Literal["sent", "decided"] | Outcome
Moved = Callable[[str, How], None]
STATES: dict[Outcome, str] = {"retry": "queued", "dead": "dead", "held": "held", "dropped": "dropped"}


class Store:
    """Keeps what came in and what goes out. It is also the outbox of `connectors.delivery`.

    `moved(recipient, how)` hears of every attempt to send something to a conversation: sent, or the outcome; and of
    what a person decided about it.
    """

    def __init__(self, database: Database, metrics: Metrics, moved: Moved = lambda _recipient, _how: None) -> None:
        self.database = database
        self.moved = moved
        self._metrics = metrics

    async def receive(self, arrival: Arrival) -> int | None:
        """The number of a message that is new, once it is kept; None for one that is known already."""
        seq = await self.database.write(lambda it: passing.receive(it, arrival), first=True)
        self._metrics.channel_messages.labels(arrival.channel, "new" if seq is not None else "known").inc()
        return seq

    async def waiting(self, seq: int) -> Inbound | None:
        """A message that is still to be answered: its customer may have been forgotten while it waited, and an answer
        would open their conversation anew."""
        found = await self.database.read(lambda it: passing.waiting(it, seq))
        return Inbound.from_json(found) if found else None

    async def answered(self, seq: int, inbound: Inbound, outgoing: Sequence[Outgoing]) -> list[Delivery]:
        """What answers a message, ready to be sent."""
        kept = {"conversation": asdict(inbound.conversation), "reply_to": inbound.reply_to}
        return await self.database.write(lambda it: passing.answered(it, seq, kept, outgoing))

    async def claim(self, channel: str, limit: int) -> Sequence[Delivery]:
        due = await self.next_due_in(channel)  # a look that takes no lock
        if due is None or due > 0:
            return ()
        return await self.database.write(lambda it: passing.claim(it, channel, limit))

    async def sent(self, delivery: Delivery) -> None:
        await self.database.write(lambda it: passing.sent(it, delivery.id))
        self._metrics.channel_deliveries.labels("sent").inc()
        self.moved(delivery.recipient, "sent")

    async def failed(self, delivery: Delivery, error: ConnectorError, outcome: Outcome, again_in: float) -> None:
        uncertain = isinstance(error, DeliveryError) and error.uncertain
        shown, state = {"code": error.code, "message": error.zh, "message_en": error.en}, STATES[outcome]
        await self.database.write(
            lambda it: passing.not_sent(it, delivery.id, state, shown, again_in, uncertain=uncertain)
        )
        self._metrics.channel_deliveries.labels(outcome).inc()
        if uncertain:
            self._metrics.channel_deliveries.labels("uncertain").inc()
        self.moved(delivery.recipient, outcome)

    async def next_due_in(self, channel: str) -> float | None:
        return await self.database.read(lambda it: passing.next_due_in(it, channel))
