"""How many messages are answered at once: many, but few while platforms wait for acknowledgements in a busy loop."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

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
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._arrived = False
        self._looking: asyncio.Task[None] | None = None

    @property
    def size(self) -> int:
        return int(self._size)

    def arrived(self) -> None:
        """A platform was just made to wait."""
        self._arrived = True

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """One place, once there is one."""
        if self._taken < self.size and not self._waiting:
            self._taken += 1
        else:
            await self._wait()
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(), name="room")
        try:
            yield
        finally:
            self._taken -= 1
            self._let_in()

    async def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking

    async def _wait(self) -> None:
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._taken -= 1  # it was let in at the moment in which it gave up
                self._let_in()
            raise

    def _let_in(self) -> None:
        while self._waiting and self._taken < self.size:
            place = self._waiting.popleft()
            if not place.done():
                self._taken += 1
                place.set_result(None)

    async def _look(self) -> None:
        """While anybody is in; alone the room grows back to its size."""
        try:
            while self._taken or self._waiting or self.size < MOST:
                late, arrived, self._arrived = await self._late() > LATE_SECONDS, self._arrived, False
                self._size = max(LEAST, self._size * 2 / 3) if late and arrived else min(MOST, self._size + 1)
                self._let_in()
        finally:
            self._looking = None
