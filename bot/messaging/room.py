"""How many messages are answered at once: many, but few while platforms wait for acknowledgements in a busy loop."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

MOST, LEAST = 32, 2  # many, because some wait for the generator; two still keep both cores busy
LOOK_SECONDS = 0.05
LATE_SECONDS = 0.015


async def lateness() -> float:
    """Seconds by which the event loop comes late, now."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await asyncio.sleep(LOOK_SECONDS)
    return loop.time() - begun - LOOK_SECONDS


class Room:
    """Room for `MOST` answers at once, and in the order of asking.

    Each round of the event loop runs a step of every answer under way, and an acknowledgement takes several rounds:
    with all of them in, a platform waits for it as long as for an answer. So while messages arrive and the loop is late
    the room shrinks by a third at each look, down to `LEAST`, and grows by one when it is not (as in RFC 5681).
    """

    def __init__(self, late: Callable[[], Awaitable[float]] = lateness) -> None:
        self._late = late
        self._size = float(MOST)
        self._taken = 0
        self._waiting: deque[Callable[[], None]] = deque()
        self._arrived = False
        self._looking: asyncio.Task[None] | None = None

    @property
    def size(self) -> int:
        return int(self._size)

    def arrived(self) -> None:
        """A platform was just made to wait."""
        self._arrived = True

    def enter(self, begin: Callable[[], None]) -> None:
        """Call `begin` once there is a place, which is then taken until `leave`; it must not raise. Who waits so costs
        no task: of thousands that wait, what is to be answered is in the database alone."""
        self._waiting.append(begin)
        self._let_in()

    def leave(self) -> None:
        """Give a place back."""
        self._taken -= 1
        self._let_in()

    async def entered(self) -> None:
        """Returns once there is a place, which is then taken until `leave`."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.enter(lambda: self.leave() if place.done() else place.set_result(None))
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.leave()  # it was let in at the moment in which it gave up
            raise

    async def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking

    def _let_in(self) -> None:
        while self._waiting and self._taken < self.size:
            self._taken += 1
            self._waiting.popleft()()
        if self._looking is None and self._taken:
            self._looking = asyncio.create_task(self._look(), name="room")

    async def _look(self) -> None:
        """While anybody is in; alone the room grows back to its size."""
        try:
            while self._taken or self._waiting or self.size < MOST:
                late, arrived, self._arrived = await self._late() > LATE_SECONDS, self._arrived, False
                self._size = max(LEAST, self._size * 2 / 3) if late and arrived else min(MOST, self._size + 1)
                self._let_in()
        finally:
            self._looking = None
