"""A channel's own work, a stream or a poll, kept going: what ends or fails is begun again, soon and for ever."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable

from bot.errors import KefuError
from connectors.channel import Channel
from connectors.errors import ConnectorError, DeliveryError

FIRST_SECONDS, MOST_SECONDS = 1.0, 15.0  # for so long at most customers are unheard once the platform is back
JITTER = 0.25
SETTLED_SECONDS = 10.0
log = logging.getLogger("kefu.messaging")


def pause_seconds(failures: int, asked: float = 0.0, chance: float = 0.0) -> float:
    """How long to wait after so many failures in a row (1 or more): doubling to MOST_SECONDS, less up to a quarter, so
    that many who lost the same platform do not come back at once. `asked` is the platform's own word."""
    pause = min(FIRST_SECONDS * 2.0 ** min(failures - 1, 10), MOST_SECONDS)
    return max(pause * (1 - JITTER * chance), asked)


async def keep_running(
    channel: Channel,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
    chance: Callable[[], float] = random.random,
) -> None:
    """Runs a channel until this task is cancelled."""
    failures, said = 0, ""
    while True:
        begun, asked, told = clock(), 0.0, ""
        try:
            await channel.run()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            told = "its work was cut off"  # something inside was cancelled, not we: it would stay off for ever
        except (ConnectorError, KefuError) as error:
            told, asked = str(error), (error.retry_after or 0.0) if isinstance(error, DeliveryError) else 0.0
        except Exception:
            log.exception("%s failed", channel.id)
        failures = 1 if clock() - begun > SETTLED_SECONDS else failures + 1
        if told:
            # The same again, every few seconds for a night, is no news.
            log.log(logging.INFO if told == said and failures > 1 else logging.WARNING, "%s: %s", channel.id, told)
        said = told
        await sleep(pause_seconds(failures, asked, chance()))
