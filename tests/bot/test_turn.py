"""Whose turn it is to write."""

import asyncio

from bot.storage.turn import Turn


async def test_the_urgent_go_first_and_the_others_go_on() -> None:
    turn, order = Turn(), []

    async def write(name: str, urgent: bool) -> None:
        async with turn.mine(urgent=urgent):
            order.append(name)
            await asyncio.sleep(0)

    async with turn.mine(urgent=False):
        tasks = [asyncio.create_task(write(f"o{n}", urgent=False)) for n in range(3)]
        tasks += [asyncio.create_task(write(f"u{n}", urgent=True)) for n in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == ["u0", "o0", "u1", "o2", "u2"]
    async with turn.mine(urgent=False):
        order.append("free")


async def test_one_that_gives_up_in_the_moment_of_its_turn_passes_it_on() -> None:
    turn = Turn()

    async def write() -> None:
        async with turn.mine(urgent=False):
            await asyncio.sleep(0)

    async with turn.mine(urgent=False):
        gives_up, follows = asyncio.create_task(write()), asyncio.create_task(write())
        await asyncio.sleep(0)
    gives_up.cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(gives_up, follows, return_exceptions=True)
        await write()
