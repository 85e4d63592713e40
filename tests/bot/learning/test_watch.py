"""What is watched after a switch: errors go back at once, slowness only where the model before is faster just then."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from bot.config import Settings
from bot.knowledge_base import KnowledgeBase
from bot.learning import health, releases
from bot.learning.side_by_side import Paces, SideBySide
from bot.learning.watch import Compare, Watch
from bot.storage import adapters, audit
from bot.storage.database import Database
from tests.bot.small_shop import INVOICE, RETURN, add

pytestmark = pytest.mark.usefixtures("use_shared_encoder")
NAME = "encoder-one"
TOO_SLOW = 4 * health.SECONDS_MIN["encoder"]
Begin = Callable[[Compare | None], Awaitable[Watch]]


async def never(*_asked: object) -> Paces:
    raise LookupError("the model before is gone")


def paces(now: float, before: float) -> Compare:
    async def told(*_asked: object) -> Paces:
        return Paces(now, before)

    return told


@pytest.fixture
async def begin(database: Database, make_settings: Callable[..., Settings], installed: Path) -> AsyncIterator[Begin]:
    """A service that has just switched to an adapter, watched; without a comparison given, the real one."""
    await add(database, RETURN, INVOICE)
    settings = make_settings()
    knowledge_base = KnowledgeBase(database, settings)
    await knowledge_base.open()

    async def switch(compare: Compare | None) -> Watch:
        watch = Watch(database, knowledge_base, compare or SideBySide(settings, knowledge_base))
        await watch.resume()
        await releases.activate(database, settings, NAME, "test")
        await knowledge_base.switch_encoder(settings.data / "adapters" / NAME)
        await watch.switched("encoder", NAME)
        return watch

    yield switch
    await knowledge_base.close()


async def observe(watch: Watch, *seen: float | None) -> None:
    """Observations, one after another, and all that comes of each."""
    for one in seen:
        watch.searched(NAME, one)
        await asyncio.gather(*watch._tasks)


async def active(database: Database) -> str | None:
    async with database.reading() as session:
        return (await adapters.active(session))["encoder"]


async def test_a_model_that_errs_goes_back(begin, database):
    await observe(await begin(never), None, None, None)
    assert await active(database) is None


async def test_a_model_slower_than_the_one_before_goes_back_on_record(begin, database):
    watch = await begin(paces(0.5, 0.1))
    await observe(watch, *[TOO_SLOW] * (2 * health.OBSERVED_MIN))
    assert await active(database) is None
    async with database.reading() as session:
        (record,) = [one for one in await audit.recent(session) if one.action == "adapters.rollback"]
    assert (record.actor, record.detail["cause"]) == ("system", "latency")
    assert record.detail["side_by_side"] == {"now": 0.5, "before": 0.1}
    (told,) = (await watch.report())["rolled_back"]
    assert (told["adapter"], told["cause"], told["returned_to"]) == (NAME, "latency", None)


@pytest.mark.parametrize("compare", [paces(0.5, 0.4), never], ids=["both are slow", "nothing to compare with"])
async def test_a_busy_machine_is_no_reason_and_errors_still_are(begin, database, compare):
    watch = await begin(compare)
    await observe(watch, *[TOO_SLOW] * (4 * health.OBSERVED_MIN))
    assert await active(database) == NAME
    (told,) = (await watch.report())["watching"]
    assert told["adapter"] == NAME
    await observe(watch, *[None] * 40)
    assert await active(database) is None


@pytest.mark.slow
async def test_two_real_encoders_are_asked_in_turn(begin, make_settings):
    watch = await begin(None)
    told = await SideBySide(make_settings(), watch._knowledge_base)("encoder", NAME, None)
    assert told.now > 0
    assert told.before > 0
    with pytest.raises(LookupError, match="no generator"):
        await SideBySide(make_settings(), watch._knowledge_base)("generator", NAME, None)
