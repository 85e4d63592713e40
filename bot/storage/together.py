"""Transactions of many callers in one: each commit waits for the disk, and they share that wait."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection

Result = TypeVar("Result")
Work = Callable[[Connection], Any]

WORKS_MAX = 200


@dataclass(slots=True, eq=False)
class _Waiting:
    work: Work
    future: asyncio.Future[Any]


class Together:
    """Runs works in the order of the calls: what waits when it is our `turn` is one transaction, run by `transact`.

    Works that are `first` have transactions of their own, every other one where both kinds wait: short, so that who
    waits for an acknowledgement does not wait for everybody's answers.

    Where one of them fails nothing of that is kept, and each is run again alone: a work changes the database alone.
    """

    def __init__(
        self, turn: Callable[[], AbstractAsyncContextManager[None]], transact: Callable[[Work], Awaitable[Any]]
    ) -> None:
        self._turn, self._transact = turn, transact
        self._waiting: list[_Waiting] = []
        self._first: list[_Waiting] = []
        self._was_first = False
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
        try:
            while self._first or self._waiting:
                async with self._turn():
                    await self._settle([one for one in self._take() if not one.future.done()])
        finally:
            self._running = None

    def _take(self) -> list[_Waiting]:
        """The works of the next transaction."""
        self._was_first = bool(self._first) and not (self._was_first and self._waiting)
        if self._was_first:
            taken, self._first = self._first[:WORKS_MAX], self._first[WORKS_MAX:]
        else:
            taken, self._waiting = self._waiting[:WORKS_MAX], self._waiting[WORKS_MAX:]
        return taken

    async def _settle(self, taken: Sequence[_Waiting]) -> None:
        try:
            results = await self._transact(lambda connection: [one.work(connection) for one in taken])
        except Exception as failure:  # noqa: BLE001 - handed to whoever waits
            if len(taken) > 1:
                for one in taken:
                    await self._settle([one])
            elif taken and not taken[0].future.done():
                taken[0].future.set_exception(failure)
            return
        for one, result in zip(taken, results, strict=True):
            if not one.future.done():
                one.future.set_result(result)
