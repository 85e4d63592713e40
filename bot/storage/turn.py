"""Whose turn it is to write: one task at a time."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turn:
    """In the order of asking, but that an urgent task goes before the others: every second time, so that they go on.

    Urgent is what somebody outside waits for with a time limit, such as a platform for its acknowledgement.
    """

    def __init__(self) -> None:
        self._taken = False
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()
        self._last_was_urgent = False

    @asynccontextmanager
    async def mine(self, *, urgent: bool) -> AsyncIterator[None]:
        await self._take(urgent)
        try:
            yield
        finally:
            self._pass_on()

    async def _take(self, urgent: bool) -> None:
        if not self._taken:
            self._taken, self._last_was_urgent = True, urgent
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._urgent if urgent else self._others).append(waiting)
        try:
            await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled():
                self._pass_on()  # it was given the turn in the moment in which it gave up
            raise

    def _pass_on(self) -> None:
        while self._urgent or self._others:
            urgent = bool(self._urgent) and not (self._last_was_urgent and self._others)
            following = (self._urgent if urgent else self._others).popleft()
            if not following.done():
                self._last_was_urgent = urgent
                following.set_result(None)
                return
        self._taken = False
