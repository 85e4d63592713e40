"""kill -9 at the worst moments: every message that was taken is answered once, on every channel."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.connectors.cases import (
    Case,
    Chatwoot,
    DingTalk,
    Feishu,
    Kf,
    TelegramPolling,
    Webhook,
    WeChat,
    WeChatSafe,
    WeCom,
    WeComBot,
)
from tests.connectors.process import Service
from tests.connectors.storms import storm
from tests.servers.desk import SLOW

pytestmark = pytest.mark.slow
CUSTOMERS = 5
# One of each sort of platform every time, the others in `make soak`: each takes half a minute.
STORMED = (Webhook, WeChat, Kf, Feishu, TelegramPolling)
# The bot of WeCom takes six minutes: so long it may still be asked for an answer.
STORMED_IN_SOAK = (WeChatSafe, WeCom, WeComBot, DingTalk, Chatwoot)


@pytest.fixture
async def service(case: Case, tmp_path: Path) -> AsyncIterator[Service]:
    made = Service(tmp_path / "data", case.table())
    yield made
    await made.kill()


async def ask(case: Case, http: aiohttp.ClientSession, service: Service, number: int) -> None:
    """As platforms do: until the message is acknowledged."""
    while True:
        with suppress(aiohttp.ClientError):
            await case.say(http, service.url, f"u{number}", f"{SLOW}{number}", f"500{number}")
            return
        await asyncio.sleep(0.3)


async def killed_when(moment: Any, case: Case, service: Service) -> list[tuple[str, str]]:
    """What the customers got who asked before the service was killed at a moment."""
    await service.start()
    async with aiohttp.ClientSession() as http:
        asking = [asyncio.create_task(ask(case, http, service, number)) for number in range(CUSTOMERS)]
        await moment()
        assert case.outside.got == []
        await service.kill()
        await service.start()
        await case.outside.until(CUSTOMERS, 300)
        await asyncio.gather(*asking)
        return sorted(await case.outside.quiet(1.0))


def wanted(case: Case) -> list[tuple[str, str]]:
    return sorted((case.recipient(f"u{n}"), f"答：{SLOW}{n}") for n in range(CUSTOMERS))


async def test_killed_between_receiving_and_answering_it_answers_once_after_the_restart(
    case: Case, service: Service
) -> None:
    async def all_kept() -> None:
        await service.until("inbox", CUSTOMERS)

    assert await killed_when(all_kept, case, service) == wanted(case)
    assert service.count("inbox WHERE state = 'done'") == CUSTOMERS


async def test_killed_while_the_customer_sees_it_write_it_finishes_the_same_card(case: Case, service: Service) -> None:
    if not case.shows_cards:
        pytest.skip("shows no cards")
    cards = case.outside.cards  # type: ignore[attr-defined]

    async def one_is_seen() -> None:
        async with asyncio.timeout(300):
            while not any(card.to for card in cards.values()):
                await case.outside._changed.wait()

    assert await killed_when(one_is_seen, case, service) == wanted(case)
    assert all(card.finished for card in cards.values() if card.to)
    assert len([card for card in cards.values() if card.to]) == CUSTOMERS


async def weather_a_storm(case: Case, service: Service) -> None:
    service.schedule = (0.2,) * 12  # a platform's own would take hours
    await service.start()
    seen = await storm(case, service, 200, 1, failing=0.2)
    assert (seen.answered, seen.strange) == (200, 0)
    assert seen.doubled <= (0 if case.knows_again else seen.uncertain)


async def test_a_storm_of_failures_and_a_kill_lose_nothing_and_double_only_what_is_counted(
    case: Case, service: Service
) -> None:
    if type(case) not in STORMED:
        pytest.skip("not one of its sort")
    await weather_a_storm(case, service)


@pytest.mark.soak
async def test_a_storm_on_the_other_platforms(case: Case, service: Service) -> None:
    if type(case) not in STORMED_IN_SOAK:
        pytest.skip("stormed in every run")
    await weather_a_storm(case, service)
