"""The channels' side of the database: small writes of many messages share their waits for the disk."""

from collections.abc import Sequence

from bot.metrics import Metrics
from bot.storage import messaging
from bot.storage.batches import Batch
from bot.storage.database import Database
from bot.storage.messaging import Arrival, Outgoing, Received
from connectors.errors import ConnectorError, DeliveryError, Outcome
from connectors.types import Delivery

STATES: dict[Outcome, str] = {"retry": "queued", "dead": "dead", "held": "held", "dropped": "dropped"}


class Store:
    """Keeps what came in and what goes out. It is also the outbox of `connectors.delivery`."""

    def __init__(self, database: Database, metrics: Metrics) -> None:
        self.database = database
        self._metrics = metrics
        self.receive: Batch[Arrival, int | None] = Batch(self._receive)
        self.answered: Batch[tuple[Received, Sequence[Outgoing]], list[Delivery]] = Batch(self._answered)
        self._sent: Batch[str, None] = Batch(self._mark_sent)

    async def close(self) -> None:
        for batch in (self.receive, self.answered, self._sent):
            await batch.close()

    async def _receive(self, arrivals: list[Arrival]) -> list[int | None]:
        async with self.database.session(urgent=True) as session:  # platforms wait a second to five, and come again
            new = await messaging.receive(session, arrivals)
        for one, seq in zip(arrivals, new, strict=True):
            kind = "new" if seq is not None else "known"
            self._metrics.channel_messages.labels(one.channel, kind).inc()
        return new

    async def _answered(self, done: list[tuple[Received, Sequence[Outgoing]]]) -> list[list[Delivery]]:
        async with self.database.session() as session:
            return await messaging.answered(session, done)

    async def _mark_sent(self, ids: list[str]) -> list[None]:
        async with self.database.session() as session:
            return await messaging.sent(session, ids)

    async def claim(self, channel: str, limit: int) -> Sequence[Delivery]:
        async with self.database.reading() as session:  # a look that takes no lock
            due = await messaging.next_due_in(session, channel)
        if due is None or due > 0:
            return ()
        async with self.database.session() as session:
            return await messaging.claim(session, channel, limit)

    async def sent(self, delivery: Delivery) -> None:
        await self._sent(delivery.id)
        self._metrics.channel_deliveries.labels("sent").inc()

    async def failed(self, delivery: Delivery, error: ConnectorError, outcome: Outcome, again_in: float) -> None:
        uncertain = isinstance(error, DeliveryError) and error.uncertain
        shown = {"code": error.code, "message": error.zh, "message_en": error.en}
        async with self.database.session() as session:
            await messaging.not_sent(session, delivery.id, STATES[outcome], shown, again_in, uncertain=uncertain)
        self._metrics.channel_deliveries.labels(outcome).inc()
        if uncertain:
            self._metrics.channel_deliveries.labels("uncertain").inc()

    async def next_due_in(self, channel: str) -> float | None:
        async with self.database.reading() as session:
            return await messaging.next_due_in(session, channel)
