"""Out of the outbox: each message to its platform, in order, at its pace, again where that may help.

Delivery is at least once. A message is claimed, sent, and then settled; whoever is cut off in between sends it again
with the same id, by which the platforms that can know it again.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from connectors.errors import ConnectorError, DeliveryError, Outcome
from connectors.pacing import Gate
from connectors.types import Delivery

if TYPE_CHECKING:
    from connectors.channel import Channel

# Seconds after each failure: a hiccup is over in seconds, an outage in hours; then a person has to look.
SCHEDULE = (1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0)
JITTER = 0.25
AT_ONCE = 32
LOOK_SECONDS_MAX = 1.0  # another process (`kefu channels resend`) wakes nobody
log = logging.getLogger("kefu.connectors.delivery")


class Outbox(Protocol):
    """Where messages wait."""

    async def claim(self, channel: str, limit: int) -> Sequence[Delivery]:
        """Up to `limit` that are due, none of a recipient who has an earlier one waiting. They are ours now."""
        ...

    async def sent(self, delivery: Delivery) -> None: ...

    async def failed(self, delivery: Delivery, error: ConnectorError, outcome: Outcome, again_in: float) -> None:
        """Not delivered. `again_in` is in seconds and counts where the outcome is "retry"."""
        ...

    async def next_due_in(self, channel: str) -> float | None:
        """Seconds until the next one is due, None where nothing waits."""
        ...


class Pump:
    """Sends what one channel's outbox holds until it is cancelled."""

    def __init__(
        self,
        channel: "Channel",
        outbox: Outbox,
        *,
        chance: Callable[[], float] = random.random,
        gate: Gate | None = None,
    ) -> None:
        self._channel = channel
        self._outbox = outbox
        self._chance = chance
        self._gate = gate or Gate(channel.pace)
        self._moved = asyncio.Event()
        self._under_way: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Something new waits."""
        self._moved.set()

    async def run(self) -> None:
        """Until cancelled; then what is under way ends first, so that it is not sent a second time."""
        try:
            while True:
                self._moved.clear()
                if await self._round():
                    continue
                seconds = await self._pause()
                # Not wait_for: in Python 3.11 that swallows a cancellation which meets the event.
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._moved.wait()
        finally:
            if self._under_way:
                await asyncio.wait(self._under_way, timeout=5.0)
            for task in self._under_way:
                task.cancel()

    async def _round(self) -> bool:
        """Begin what can be begun; whether there was anything."""
        free = AT_ONCE - len(self._under_way)
        if free <= 0:
            await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
            return True
        try:
            due = await self._outbox.claim(self._channel.id, free)
        except Exception:
            log.exception("the outbox of %s cannot be read", self._channel.id)
            await asyncio.sleep(1.0)
            return False
        for delivery in due:
            task = asyncio.create_task(self._deliver(delivery), name=f"delivery {delivery.id}")
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return bool(due)

    async def _pause(self) -> float:
        try:
            due = await self._outbox.next_due_in(self._channel.id)
        except Exception:  # noqa: BLE001 - the next round says what is wrong
            return 1.0
        if due is None or (due <= 0 and self._under_way):
            # What is due and could not be claimed waits for one before it, whose end wakes us.
            return LOOK_SECONDS_MAX
        return min(max(due, 0.05), LOOK_SECONDS_MAX)

    async def _deliver(self, delivery: Delivery) -> None:
        await self._gate.admit(delivery.recipient)
        try:
            await self._channel.send(delivery)
        except asyncio.CancelledError:
            raise
        except Exception as failure:  # noqa: BLE001 - a fault of ours must not stop what else is to be sent
            await self._settle_failure(delivery, failure)
        else:
            await self._outbox.sent(delivery)
        self.wake()

    async def _settle_failure(self, delivery: Delivery, failure: Exception) -> None:
        error = failure if isinstance(failure, DeliveryError) else _fault(failure)
        outcome, again_in = error.outcome, self.again_in(delivery, error)
        if outcome == "retry" and again_in is None:
            outcome = "dead"
        if error.retry_after and error.whole_channel:
            self._gate.close(error.retry_after)
        log.log(
            logging.WARNING if outcome == "dead" else logging.INFO,
            "%s: %s not delivered at attempt %d (%s): %s",
            self._channel.id, delivery.id, delivery.attempts + 1, error.code, outcome,
        )  # fmt: skip
        await self._outbox.failed(delivery, error, outcome, again_in or 0.0)

    def again_in(self, delivery: Delivery, error: DeliveryError) -> float | None:
        """Seconds until the next attempt, None where there is none left. The platform's own word comes first."""
        schedule = self._channel.schedule
        if delivery.attempts >= len(schedule):
            return None
        spread = 1 + JITTER * (2 * self._chance() - 1)
        # Above the platform's word, never below: all the others wait for the same moment.
        return max(schedule[delivery.attempts] * spread, (error.retry_after or 0.0) * (1 + JITTER * self._chance()))


def _fault(failure: Exception) -> DeliveryError:
    log.error("a message could not be sent for a reason of ours: %s", type(failure).__name__, exc_info=failure)
    return DeliveryError("internal", "服务内部出错，已记录", "Something went wrong inside; it has been logged")
