"""Transactions of many callers in one: each commit waits for the disk, and they share that wait."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection

Result = TypeVar("Result")
Work = Callable[[Connection], Any]

SECONDS_MAX = 0.008  # of works in one transaction, beside those that are first: about what its commit takes
TURN_TRANSACTIONS = 8


@dataclass(slots=True, eq=False)
class _Waiting:
    work: Work
    future: asyncio.Future[Any]
    result: Any = None
    failure: Exception | None = None

    def run(self, connection: Connection) -> None:
        self.result = self.work(connection)

    def settle(self) -> None:
        if self.future.done():
            return
        if self.failure is not None:
            self.future.set_exception(self.failure)
        else:
            self.future.set_result(self.result)


class Together:
    """Runs works in the order of the calls, but that those which are `first` go before the others.

    While it is our `turn`, `call` runs us in the database's thread, where `transact` runs a function as a transaction.
    There one follows the other without a trip to the event loop, which may be late: each takes what is first and then
    from the others as much as fits into a commit's time, so that who waits for an acknowledgement does not wait for
    everybody's answers.

    Where one of them fails nothing of that is kept, and each is run again alone: a work changes the database alone.
    """

    def __init__(
        self,
        turn: Callable[[], AbstractAsyncContextManager[None]],
        call: Callable[[Callable[[], None]], Awaitable[None]],
        transact: Callable[[Callable[[Connection], None]], None],
    ) -> None:
        self._turn, self._call, self._transact = turn, call, transact
        self._waiting: deque[_Waiting] = deque()
        self._first: deque[_Waiting] = deque()
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, work: Callable[[Connection], Result], *, first: bool = False) -> Result:
        """What the work returns, once it is committed; raises what the work or the commit does.

        A work whose caller is cancelled before it begins is left out; after that it is done to its end.
        """
        one = _Waiting(work, asyncio.get_running_loop().create_future())
        (self._first if first else self._waiting).append(one)
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="writing")
        result: Result = await one.future
        return result

    async def close(self) -> None:
        """Wait for what is under way."""
        while self._running is not None:
            await asyncio.wait({self._running})

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._first or self._waiting:
                async with self._turn():
                    await self._call(lambda: self._work_off(loop))
        finally:
            self._running = None

    # In the database's thread, while the event loop adds to what waits: a deque may be used so.

    def _work_off(self, loop: asyncio.AbstractEventLoop) -> None:
        for _ in range(TURN_TRANSACTIONS):
            if not (self._first or self._waiting):
                return
            taken = self._some()
            loop.call_soon_threadsafe(_settle, taken)

    def _some(self) -> list[_Waiting]:
        """The works of one transaction, run and committed, or run again one by one."""
        taken: list[_Waiting] = []

        def work(connection: Connection) -> None:
            self._fill(connection, taken)

        try:
            self._transact(work)
        except Exception as failure:  # noqa: BLE001 - handed to whoever waits
            if not taken:  # it did not even begin
                taken.append((self._first or self._waiting).popleft())
            for one in taken:
                self._alone(one, failure if len(taken) == 1 else None)
        return taken

    def _fill(self, connection: Connection, taken: list[_Waiting]) -> None:
        for _ in range(len(self._first)):
            _run(self._first.popleft(), connection, taken)
        until = time.monotonic() + SECONDS_MAX
        while self._waiting:
            _run(self._waiting.popleft(), connection, taken)
            if time.monotonic() > until:
                return

    def _alone(self, one: _Waiting, failure: Exception | None) -> None:
        if failure is None:
            try:
                self._transact(one.run)
            except Exception as own:  # noqa: BLE001 - handed to whoever waits
                failure = own
        one.failure = failure


def _run(one: _Waiting, connection: Connection, taken: list[_Waiting]) -> None:
    if not one.future.done():
        taken.append(one)
        one.run(connection)


def _settle(taken: Sequence[_Waiting]) -> None:
    for one in taken:
        one.settle()
