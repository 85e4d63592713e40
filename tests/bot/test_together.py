"""What waits to be written shares transactions, and what a platform waits for does not wait for all of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bot.storage.together import Together


class Transactions:
    """Each is kept as the list of works it ran."""

    def __init__(self) -> None:
        self.made: list[list[str]] = []
        self.together = Together(self.turn, self.transact)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        await asyncio.sleep(0)
        yield

    async def transact(self, work: Any) -> Any:
        ran: list[str] = []
        self.made.append(ran)
        await asyncio.sleep(0)
        return work(ran)

    async def write(self, name: str, *, first: bool = False) -> str:
        def work(ran: Any) -> str:
            ran.append(name)
            return name

        return await self.together(work, first=first)


async def test_what_waits_is_one_transaction_and_what_is_first_does_not_wait_for_it() -> None:
    transactions = Transactions()
    answers = [asyncio.create_task(transactions.write(f"answer {n}")) for n in range(3)]
    received = [asyncio.create_task(transactions.write(f"received {n}", first=True)) for n in range(2)]
    assert await asyncio.gather(*answers, *received) == [
        "answer 0", "answer 1", "answer 2", "received 0", "received 1",
    ]  # fmt: skip
    assert transactions.made == [["received 0", "received 1"], ["answer 0", "answer 1", "answer 2"]]


async def test_a_stream_of_what_is_first_leaves_every_other_transaction_to_the_rest() -> None:
    transactions = Transactions()
    answer = asyncio.create_task(transactions.write("answer"))

    async def receive() -> None:
        while not answer.done():
            await asyncio.gather(*(transactions.write("received", first=True) for _ in range(3)))

    async with asyncio.timeout(10):
        await asyncio.gather(receive(), receive(), answer)
    assert ["answer"] in transactions.made[:3]


async def test_a_work_that_fails_harms_no_other() -> None:
    transactions = Transactions()

    def fails(_ran: Any) -> None:
        raise ValueError("wrong")

    wrong = asyncio.create_task(transactions.together(fails))
    right = asyncio.create_task(transactions.write("answer"))
    assert await right == "answer"
    with pytest.raises(ValueError, match="wrong"):
        await wrong
