"""A candidate in the shadow: what it would have said beside what was, recorded and never shown."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from bot.config import Settings
from bot.dialogue.pipeline import Pipeline
from bot.dialogue.types import Turn
from bot.learning import releases
from bot.learning.shadow import WAITING_MAX, Shadow, report
from bot.profile import LiveProfile
from bot.storage import adapters, conversations, shadows
from bot.storage.database import Database
from bot.storage.release_tables import ShadowAnswerRow
from bot.storage.shadows import Compared
from finetune import registry
from knowledge.types import Entry
from tests.bot.learning.conversing import kept
from tests.bot.small_shop import INVOICE, RETURN, add

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("use_shared_encoder")]
SECONDS_MAX = 120


@pytest.fixture
async def shop(make_knowledge_base: Callable[..., Any], database: Database, installed: Path) -> Any:
    await add(database, RETURN, INVOICE, Entry("hours", "人工客服几点上班", "九点。"))
    return await make_knowledge_base()


class Desk:
    """Customers who are answered by the real pipeline, and a shadow that hears of it."""

    def __init__(self, database: Database, settings: Settings, knowledge_base: Any) -> None:
        self.database, self.under_way = database, 0
        self.pipeline = Pipeline(knowledge_base, LiveProfile(settings))
        self.shadow = Shadow(database, settings, knowledge_base, lambda: self.under_way)

    async def ask(self, text: str, **turn: Any) -> str:
        """One customer's question; returns its message's id."""
        async with self.database.session() as session:
            conversation, _ = await conversations.open_visitor(session)
            message = await kept(session, conversation.id, text)
        asked = Turn(conversation.id, text, **turn)
        self.shadow.offer(message.id, asked, await self.pipeline.answer(asked))
        return message.id

    async def start(self, adapter: str, share: float = 1.0, questions_max: int = 100) -> None:
        async with self.database.session() as session:
            active = (await adapters.active(session))["encoder"]
            await shadows.start(session, adapter, active, share, questions_max, "user:anna")
        await self.shadow.follow()
        await self.until(lambda told: told["state"] != "preparing")

    async def until(self, done: Callable[[Any], bool]) -> dict[str, Any]:
        async with asyncio.timeout(SECONDS_MAX):
            while True:
                if done(told := await report(self.database, self.shadow)):
                    return told
                await asyncio.sleep(0.05)

    async def differences(self) -> list[dict[str, Any]]:
        async with self.database.reading() as session:
            newest = await shadows.newest(session)
            return (await shadows.differences(session, newest.id, 0, 50))[0]


@pytest.fixture
async def desk(
    database: Database, make_settings: Callable[..., Settings], shop: Any
) -> AsyncIterator[Callable[[], Desk]]:
    made: list[Desk] = []

    def make() -> Desk:
        made.append(Desk(database, make_settings(), shop))
        return made[-1]

    yield make
    for one in made:
        await one.shadow.close()


async def test_the_same_model_says_the_same_and_nothing_of_the_words_is_kept(desk, database):
    service = desk()
    await service.start("encoder-same")
    for text in ("怎么退货", "发票什么时候开呢", "我要退货", "你们老板是谁"):
        await service.ask(text)
    told = await service.until(lambda told: told["asked"] == 4)
    assert (told["same"], told["errors"], told["state"]) == (4, 0, "answering")
    assert told["latency_ratio"] > 0
    assert told["candidate_ms"]["p95"] >= told["candidate_ms"]["p50"] > 0
    async with database.reading() as session:
        rows = list(await session.scalars(select(ShadowAnswerRow)))
    assert {row.question for row in rows} == {""}
    assert {row.active["entry"] for row in rows} >= {"return", "invoice"}
    assert await service.differences() == []


async def test_differences_are_listed_without_personal_data(desk, shop):
    service = desk()
    await service.start("encoder-two")
    before = (await shop.search("东西想退掉")).hits[0].dense
    await service.ask("东西想退掉，我的电话是13812345678")
    await service.ask("票据要去哪里拿")
    await service.until(lambda told: told["asked"] == 2)
    found = await service.differences()
    assert found, "an untrained adapter of this size finds other things"
    said = " ".join(one["question"] for one in found)
    assert "13812345678" not in said
    assert any(one["active"] != one["candidate"] for one in found)
    # What customers get is still found by the active pair.
    assert (await shop.search("东西想退掉")).hits[0].dense == pytest.approx(before, abs=1e-6)
    assert shop.adapter is None


async def test_only_what_the_search_decided_and_only_the_share_that_was_asked_for(desk):
    service = desk()
    await service.start("encoder-same", share=0.3)
    for text in ("你好", "转人工", ""):
        await service.ask(text)
    await asyncio.sleep(0.3)
    assert (await report(service.database, service.shadow))["asked"] == 0
    loop_events = ({"event": "active_loop", "name": "form"},)
    for number in range(WAITING_MAX * 2):
        await service.ask(f"怎么退货{number}")
        await service.ask("怎么退货", events=loop_events)
        await asyncio.sleep(0)
    told = await service.until(lambda told: told["asked"] + told["missed"] > 0)
    assert told["asked"] + told["missed"] < WAITING_MAX * 2


async def test_it_gives_way_to_customers(desk, monkeypatch):
    monkeypatch.setattr("bot.learning.shadow.PATIENCE_SECONDS", 0.2)
    service = desk()
    await service.start("encoder-same")
    service.under_way = 5
    for _ in range(WAITING_MAX + 4):
        await service.ask("怎么退货")
    told = await service.until(lambda told: told["missed"] >= 3)
    assert told["asked"] == 0
    service.under_way = 0
    await service.until(lambda told: told["asked"] + told["missed"] == WAITING_MAX + 4)


async def test_it_follows_what_is_written(desk, database, shop):
    service = desk()
    await service.start("encoder-same")
    await add(database, Entry("late", "你们周末营业吗", "营业。"))
    await shop.refresh()
    await service.ask("你们周末营业吗")
    told = await service.until(lambda told: told["asked"] == 1)
    assert told["same"] == 1


async def test_it_goes_on_after_a_restart_and_ends_when_it_has_shown_enough(desk):
    first = desk()
    await first.start("encoder-same", questions_max=3)
    await first.ask("怎么退货")
    await first.until(lambda told: told["asked"] == 1)
    await first.shadow.close()
    second = desk()
    await second.shadow.follow()
    await second.until(lambda told: told["state"] == "answering")
    for text in ("我要退货", "能开专票吗", "怎么退货", "怎么退货"):
        await second.ask(text)
    told = await second.until(lambda told: told["state"] == "enough")
    assert told["asked"] >= 3
    assert second.shadow._candidate is None, "its memory is given back"


async def test_another_activation_ends_it_and_its_own_is_a_release(desk, database, make_settings):
    service = desk()
    for name, outcome in (("encoder-one", "replaced"), ("encoder-two", "released")):
        await service.start("encoder-two")
        await releases.activate(database, make_settings(), name, "user:anna")
        await service.shadow.follow()
        told = await report(database, service.shadow)
        assert (told["state"], told["adapter"]) == (outcome, "encoder-two")
        assert service.shadow._candidate is None


async def test_a_release_after_the_shadow_encodes_nothing_anew(desk, shop, installed):
    service = desk()
    await service.start("encoder-one")
    await service.ask("怎么退货")
    await service.until(lambda told: told["asked"] == 1)
    await service.shadow.step_aside()
    encoded: list[tuple[int, int]] = []
    await shop.switch_encoder(installed / "encoder-one", lambda done, total, _note="": encoded.append((done, total)))
    assert shop.adapter == "encoder-one"
    assert encoded == []
    assert (await shop.search("怎么退货")).hits[0].id == "return"


async def test_a_candidate_that_cannot_be_loaded_says_so(desk, database, installed):
    shutil.rmtree(installed / "encoder-one")
    service = desk()
    await service.start("encoder-one")
    told = await report(database, service.shadow)
    assert told["state"] == "failed"
    assert "encoder-one" in told["error"]["zh"]
    await service.start("encoder-same")  # the next one may


async def test_an_adapter_that_is_removed_leaves_the_shadow(desk, database):
    service = desk()
    await service.start("encoder-one")
    async with database.session() as session:
        await adapters.remove(session, "encoder-one")
    await service.shadow.follow()
    assert (await report(database, service.shadow))["state"] == "removed"


async def test_what_is_recorded_goes_with_the_conversation(desk, database):
    service = desk()
    await service.start("encoder-same")
    gone, kept = await service.ask("怎么退货"), await service.ask("我要退货")
    await service.until(lambda told: told["asked"] == 2)
    async with database.session() as session:
        conversation = await conversations.conversation_of(session, gone)
        await conversations.delete_all(session, [conversation])
        rows = await session.scalars(select(ShadowAnswerRow.message_id))
        assert list(rows) == [kept]
        # A question whose conversation is gone before it is written down is left out.
        newest = await shadows.newest(session)
        await shadows.add(session, newest.id, [Compared(gone, "", same=True, active={}, candidate={})], 0)
        assert await shadows.asked(session, newest.id) == 1


def test_the_adapters_of_these_tests_are_whole(made_adapters):
    for folder in registry.list_folders(made_adapters):
        registry.verify(folder)
