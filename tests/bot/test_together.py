"""What waits to be written shares transactions, and what a platform waits for does not wait for all of it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bot.storage.together import SECONDS_MAX, TURN_TRANSACTIONS, Together


class Transactions:
    """Each is kept as the list of works it ran."""

    def __init__(self) -> None:
        self.made: list[list[str]] = []
        self.broken = False
        self.together = Together(self.turn, asyncio.to_thread, self.transact)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        await asyncio.sleep(0)
        yield

    def transact(self, work: Any) -> None:
        if self.broken:
            raise OSError("no room")
        ran: list[str] = []
        self.made.append(ran)
        work(ran)

    async def write(self, name: str, *, first: bool = False) -> str:
        def work(ran: Any) -> str:
            ran.append(name)
            return name

        return await self.together(work, first=first)


async def test_what_waits_is_one_transaction_and_what_is_first_goes_before() -> None:
    transactions = Transactions()
    answers = [asyncio.create_task(transactions.write(f"answer {n}")) for n in range(3)]
    received = [asyncio.create_task(transactions.write(f"received {n}", first=True)) for n in range(2)]
    assert await asyncio.gather(*answers, *received) == [
        "answer 0", "answer 1", "answer 2", "received 0", "received 1",
    ]  # fmt: skip
    assert transactions.made == [["received 0", "received 1", "answer 0", "answer 1", "answer 2"]]


async def test_what_is_first_waits_for_few_of_the_others() -> None:
    transactions = Transactions()
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(ran: Any) -> None:
        ran.append("answer")
        loop.call_soon_threadsafe(begun.set)
        time.sleep(2 * SECONDS_MAX)

    answers = [asyncio.create_task(transactions.together(slow)) for _ in range(20)]
    await begun.wait()
    await transactions.write("received", first=True)
    assert sum(answer.done() for answer in answers) < 5
    await asyncio.gather(*answers)
    assert ["received", "answer"] in transactions.made


async def test_a_stream_of_what_is_first_leaves_every_transaction_to_the_rest_too() -> None:
    transactions = Transactions()
    answer = asyncio.create_task(transactions.write("answer"))

    async def receive() -> None:
        while not answer.done():
            await asyncio.gather(*(transactions.write("received", first=True) for _ in range(3)))

    async with asyncio.timeout(10):
        await asyncio.gather(receive(), receive(), answer)
    assert any("answer" in made for made in transactions.made[:3])


async def test_sessions_get_their_turn_in_a_stream_of_works() -> None:
    turns = 0

    @asynccontextmanager
    async def turn() -> AsyncIterator[None]:
        nonlocal turns
        turns += 1
        yield

    transactions = Transactions()
    transactions.together = Together(turn, asyncio.to_thread, transactions.transact)

    async def write(number: int) -> None:
        for _ in range(number):
            await transactions.write("answer")

    await asyncio.gather(*(write(20) for _ in range(5)))
    assert turns >= len(transactions.made) / TURN_TRANSACTIONS


async def test_where_no_transaction_begins_everybody_is_told() -> None:
    transactions = Transactions()
    transactions.broken = True
    async with asyncio.timeout(10):
        told = await asyncio.gather(*(transactions.write("answer") for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in told] == [OSError] * 3
    transactions.broken = False
    assert await transactions.write("answer") == "answer"


async def test_a_work_that_fails_harms_no_other() -> None:
    transactions = Transactions()

    def fails(_ran: Any) -> None:
        raise ValueError("wrong")

    wrong = asyncio.create_task(transactions.together(fails))
    right = asyncio.create_task(transactions.write("answer"))
    assert await right == "answer"
    with pytest.raises(ValueError, match="wrong"):
        await wrong
