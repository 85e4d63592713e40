"""Many messages through a platform that fails at random, while the service is killed again and again."""

import asyncio
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

import aiohttp

from tests.connectors.cases import Case
from tests.connectors.process import Service

AT_ONCE = 20
AGAIN_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the messages. `doubled` are further copies that customers saw, `uncertain` the attempts of which
    the service says itself that they may have arrived: each can make one copy."""

    messages: int
    answered: int
    doubled: int
    strange: int
    uncertain: int
    seconds: float


async def storm(case: Case, service: Service, messages: int, kills: int, *, failing: float) -> Outcome:
    """Send messages as a platform does, until each is acknowledged; kill and restart the service `kills` times.

    Of the `failing` share of the service's calls, half are never done, and half are done without its being told.
    """
    outside = case.outside
    outside.failing, outside.lost = failing / 2, failing / 2
    wanted = {(case.recipient(f"u{n}"), f"答：问题 {n}") for n in range(messages)}
    began, room = time.monotonic(), asyncio.Semaphore(AT_ONCE)

    async def ask(http: aiohttp.ClientSession, number: int) -> None:
        async with room:
            while True:
                with suppress(aiohttp.ClientError, ConnectionError):
                    id_ = str(1_000_000 + number)
                    if await case.say(http, service.url, f"u{number}", f"问题 {number}", id_) == 200:
                        return
                await asyncio.sleep(AGAIN_SECONDS)

    async with aiohttp.ClientSession() as http:
        asking = asyncio.gather(*(ask(http, number) for number in range(messages)))
        for number in range(kills):
            await outside.until(messages * (number + 1) // (kills + 1), 3600)
            await service.kill()
            await service.start()
        await asking
        await service.until("inbox WHERE state = 'done'", messages, 3600)
        await service.until_none("outbox WHERE state IN ('queued', 'sending')", 3600)
    got = Counter(await outside.quiet(1.0))
    return Outcome(
        messages, len(wanted & set(got)), sum(got[one] - 1 for one in wanted & set(got)),
        sum(number for one, number in got.items() if one not in wanted),
        service.number("SELECT SUM(uncertain) FROM outbox"), time.monotonic() - began,
    )  # fmt: skip
