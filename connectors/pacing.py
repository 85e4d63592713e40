"""How fast a platform may be sent to: overall, and to one person."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

RECIPIENTS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` messages in any `seconds`."""

    count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Pace:
    """The platform's limits on sending. `everyone` is of the whole account, `each` of one recipient."""

    everyone: Rate = Rate(50, 1.0)
    each: Rate = Rate(5, 1.0)


@dataclass(frozen=True, slots=True)
class Window:
    """Until when a customer who wrote may be written to: `seconds` after their last message, `messages` in all."""

    seconds: float
    messages: int | None = None


class _Bucket:
    """Room for `count` at once, filled again at count/seconds; says when the next one may go."""

    __slots__ = ("_at", "_burst", "_step")

    def __init__(self, rate: Rate) -> None:
        self._step = rate.seconds / rate.count
        self._burst = rate.seconds - self._step
        self._at = 0.0  # when the bucket would be full again, by the generic cell rate algorithm (ITU-T I.371)

    def book(self, now: float) -> float:
        """Seconds until the one asking may go; its place is taken."""
        at = max(self._at, now)
        self._at = at + self._step
        return max(0.0, at - self._burst - now)


class Gate:
    """Lets messages out at a channel's pace. `close` holds everything back for a while."""

    def __init__(
        self,
        pace: Pace,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._pace = pace
        self._clock = clock
        self._sleep = sleep
        self._everyone = _Bucket(pace.everyone)
        self._each: OrderedDict[str, _Bucket] = OrderedDict()
        self._closed_until = 0.0

    def close(self, seconds: float) -> None:
        """The platform asked for patience."""
        self._closed_until = max(self._closed_until, self._clock() + seconds)

    async def admit(self, recipient: str) -> None:
        """Returns when a message to that recipient may go."""
        bucket = self._each.pop(recipient, None) or _Bucket(self._pace.each)
        self._each[recipient] = bucket
        if len(self._each) > RECIPIENTS_MAX:
            self._each.popitem(last=False)
        await self._wait(bucket.book(self._clock()))
        # Booked only now: a place among all must not be taken by one who still waits for their own.
        now = self._clock()
        await self._wait(max(self._everyone.book(now), self._closed_until - now))

    async def _wait(self, seconds: float) -> None:
        if seconds > 0:
            await self._sleep(seconds)
