"""Small writes of many tasks in one transaction: each costs a wait for the disk, which they then share."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

ITEMS_MAX = 200


class Batch(Generic[Item, Result]):
    """`work(items)` returns one result an item, all in one transaction. While one runs, the next gathers."""

    def __init__(self, work: Callable[[list[Item]], Awaitable[list[Result]]]) -> None:
        self._work = work
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Result:
        """The result for this item, or what the work raised for it. A cancelled caller does not stop the work."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="batch")
        return await future

    async def close(self) -> None:
        """Wait for what is under way."""
        while self._running is not None:
            await asyncio.wait({self._running})

    async def _run(self) -> None:
        try:
            while self._waiting:
                taken, self._waiting = self._waiting[:ITEMS_MAX], self._waiting[ITEMS_MAX:]
                await self._do(taken)
        finally:
            self._running = None

    async def _do(self, taken: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._work([item for item, _ in taken])
        except Exception as failure:  # noqa: BLE001 - handed to whoever waits
            if len(taken) == 1:
                _fail(taken[0][1], failure)
                return
            for one in taken:  # one that cannot be written must not take the others with it
                await self._do([one])
            return
        for (_, future), result in zip(taken, results, strict=True):
            if not future.done():
                future.set_result(result)


def _fail(future: "asyncio.Future[Result]", failure: Exception) -> None:
    if not future.done():
        future.set_exception(failure)
