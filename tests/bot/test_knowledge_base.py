"""The live knowledge base follows the database, also while much of it is being encoded."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from bot.calibrations import calibration_file
from bot.errors import UnavailableError
from bot.knowledge_base import KnowledgeBase
from bot.storage import knowledge, revisions
from bot.storage.revisions import Watcher
from knowledge.contents import TEXTS_PER_STEP
from knowledge.types import Entry
from tests.bot.small_shop import INVOICE, POT, RETURN, add

pytestmark = pytest.mark.usefixtures("use_shared_encoder")


async def test_nothing_is_served_before_it_is_open(database, make_settings):
    knowledge_base = KnowledgeBase(database, make_settings())
    assert not knowledge_base.ready
    with pytest.raises(UnavailableError):
        await knowledge_base.search("怎么退货")
    assert await knowledge_base.wait_for(1) is False


async def test_an_empty_knowledge_base_answers_none(make_knowledge_base):
    knowledge_base = await make_knowledge_base()
    assert knowledge_base.counts == (0, 0)
    found = await knowledge_base.search("怎么退货")
    assert (found.decision, found.hits) == ("none", ())


async def test_writes_are_searchable_when_waited_for(make_knowledge_base, database):
    knowledge_base = await make_knowledge_base()
    revision = await add(database, RETURN, INVOICE)
    assert await knowledge_base.wait_for(revision)
    found = await knowledge_base.search("怎么退货")
    assert (found.hits[0].id, found.decision) == ("return", "answer")
    assert knowledge_base.entry("return") == RETURN
    async with database.session() as session:
        await knowledge.update_entry(session, "return", {"enabled": False})
        revision = await knowledge.remove_entry(session, "invoice")
    assert await knowledge_base.wait_for(revision)
    assert (await knowledge_base.search("怎么退货")).hits == ()
    assert knowledge_base.entry("return") is None
    assert knowledge_base.counts == (0, 0)


async def test_an_import_of_another_process_is_served_within_a_second(make_knowledge_base, database, tmp_path):
    """`kefu import` in one process, the service in another: only the database connects them."""
    knowledge_base = await make_knowledge_base()
    watcher = Watcher(database)
    arrived = asyncio.Event()

    async def follow(value: int) -> None:
        await knowledge_base.refresh(value)
        arrived.set()

    watcher.register("knowledge", follow)
    await watcher.start()
    file = tmp_path / "faq.jsonl"
    command = ("-m", "bot.cli", "import", "--data", str(tmp_path / "data"), str(file))
    for thing in ("退货", "换货", "开发票"):  # again only where it took longer: a busy machine is slow, not wrong
        arrived.clear()
        row = {"question": f"怎么{thing}", "answer": "七天内可以。"}
        file.write_text(json.dumps(row, ensure_ascii=False), "utf-8")
        process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=subprocess.PIPE)
        assert "新增 1".encode() in await process.stdout.readline()
        finished = time.monotonic()
        await asyncio.wait_for(arrived.wait(), 60)
        seconds = time.monotonic() - finished
        assert (await knowledge_base.search(f"怎么{thing}")).decision == "answer"
        await process.wait()
        if seconds < 1:
            break
    assert seconds < 1
    await watcher.close()


@pytest.fixture
def gate(shared_encoder, monkeypatch):
    """The encoder, which encodes the rows of an import one step each time it is let through."""
    steps = threading.Semaphore(0)
    encode = type(shared_encoder).encode

    def wait_first(self, texts, kind="query", on_progress=None):
        if len(texts) > 1 and any("号商品" in text for text in texts):
            assert steps.acquire(timeout=60)
        return encode(self, texts, kind, on_progress)

    monkeypatch.setattr(type(shared_encoder), "encode", wait_first)
    return steps


async def test_a_change_waits_for_no_import_that_is_being_encoded(make_knowledge_base, database, gate):
    """The order of events: thousands of rows come in and not one is encoded before everything else was seen."""
    await add(database, RETURN, INVOICE)
    knowledge_base = await make_knowledge_base()
    rows = [Entry(f"n{n}", f"{n} 号商品怎么保养", f"擦 {n} 次。") for n in range(3000)]
    assert await knowledge_base.wait_for(await add(database, *rows))
    assert knowledge_base.encoding == (0, 3000)
    # The rows are found by their words and word for word, what was there before is answered as before.
    found = await knowledge_base.search("1717 号商品怎么保养？")
    assert (found.hits[0].id, found.decision) == ("n1717", "answer")
    assert knowledge_base.entry("n1717").answer == "擦 1717 次。"
    assert (await knowledge_base.search("2718 号商品平时怎么保养")).decision == "clarify"
    # An edit, a new entry and a deletion, each effective when it is waited for.
    async with database.session() as session:
        edited = await knowledge.update_entry(session, "return", {"question": "买错了能退吗", "similar_questions": ()})
    assert await knowledge_base.wait_for(edited.revision)
    found = await knowledge_base.search("买错了能退吗")
    assert (found.hits[0].id, found.decision) == ("return", "answer")
    assert (await knowledge_base.search("怎么退货")).hits[0].score < 1
    assert await knowledge_base.wait_for(await add(database, POT))
    assert (await knowledge_base.search("PPR-9087 炖锅能放洗碗机吗")).decision == "answer"
    async with database.session() as session:
        await knowledge.remove_entry(session, "n1717")
        gone = await knowledge.remove_entry(session, "invoice")
    assert await knowledge_base.wait_for(gone)
    found = await knowledge_base.search("1717 号商品怎么保养？")
    assert {"n1717", "invoice"}.isdisjoint(hit.id for hit in found.hits)
    assert knowledge_base.entry("invoice") is None
    assert knowledge_base.encoding[0] == 0, "not one of the rows has been encoded yet"
    # After the step under way come the newest: the edited entry is found by its meaning long before the rows are.
    gate.release(2)
    while (found := await knowledge_base.search("东西买错了可以退货吗")).hits[0].dense < 0.9:
        assert knowledge_base.encoding[0] <= 2 * TEXTS_PER_STEP
    assert found.hits[0].id == "return"
    gate.release(1000)
    while (await knowledge_base.search("2999 号商品平时怎么保养")).hits[0].dense < 0.9:
        assert knowledge_base.encoding


async def test_a_broken_encoder_is_tried_again_with_the_next_change(
    make_knowledge_base, database, shared_encoder, monkeypatch
):
    knowledge_base = await make_knowledge_base()
    with monkeypatch.context() as broken:
        broken.setattr(type(shared_encoder), "encode", lambda *_more: 1 / 0)
        assert await knowledge_base.wait_for(await add(database, INVOICE))
        assert knowledge_base.encoding is None
    assert (await knowledge_base.search("怎么开发票")).decision == "answer"
    assert (await knowledge_base.search("怎么要发票")).hits[0].dense < 0.9
    assert await knowledge_base.wait_for(await add(database, RETURN))
    assert (await knowledge_base.search("怎么要发票")).hits[0].dense > 0.9


async def test_thresholds_of_the_settings_win(make_knowledge_base, database):
    await add(database, RETURN)
    knowledge_base = await make_knowledge_base(answer_threshold=1.0, clarify_threshold=0.0)
    assert knowledge_base.thresholds == (1.0, 0.0)
    assert (await knowledge_base.search("东西想退掉")).decision == "clarify"


async def test_a_saved_calibration_is_followed(make_knowledge_base, database, make_settings):
    await add(database, RETURN)
    knowledge_base = await make_knowledge_base()
    changed = knowledge_base.served.index.calibration.with_thresholds(1.0, 0.9)
    calibration_file(make_settings()).write_text(changed.to_json())
    await knowledge_base.recalibrate()
    assert knowledge_base.thresholds == (1.0, 0.9)


async def test_refresh_tells_the_revision(make_knowledge_base, database):
    knowledge_base = await make_knowledge_base()
    revision = await add(database, RETURN)
    assert await knowledge_base.refresh() == revision == knowledge_base.revision
    async with database.reading() as session:
        assert (await revisions.read(session))["knowledge"] == revision


async def test_of_entries_that_ask_the_same_the_one_changed_last_answers(make_knowledge_base, database):
    old = Entry("a-old", "怎么开发票？", "写信给财务。", ("发票怎么拿",))
    new = Entry("b-new", "怎么开发票", "下单时选择开具发票。")
    await add(database, new, old, RETURN, POT)
    knowledge_base = await make_knowledge_base()

    async def found(query: str, **scope: Any) -> tuple[str, str, str | None]:
        result = await knowledge_base.search(query, **scope)
        assert {"a-old", "b-new"} <= {hit.id for hit in result.hits}, "the hit test sees both"
        assert not {"a-old", "b-new"} <= set(result.options), "and customers one button"
        (same,) = [hit for hit in result.hits if hit.same_as]
        assert {same.id, same.same_as} == {"a-old", "b-new"}
        return result.decision, result.hits[0].id, same.same_as

    # Written last; then the other one is changed, which a restart does not forget.
    assert await found("怎么开发票") == ("answer", "a-old", "a-old")
    async with database.session() as session:
        revision = (await knowledge.update_entry(session, "b-new", {"answer": "在订单里开。"})).revision
    await knowledge_base.wait_for(revision)
    for query in ("怎么开发票", "發票怎么拿", "请问一下怎么才能开发票"):
        decision, top, same = await found(query)
        assert (top, same) == ("b-new", "b-new")
        assert decision == "answer" or query not in ("怎么开发票", "發票怎么拿")
    await knowledge_base.close()
    again = await make_knowledge_base()
    assert (await again.search("怎么开发票")).hits[0].id == "b-new"
    # Where only one of them is answered there is nothing to fold.
    async with database.session() as session:
        revision = (await knowledge.update_entry(session, "b-new", {"channels": ("wechat",)})).revision
    await again.wait_for(revision)
    result = await again.search("怎么开发票", channel="web")
    assert (result.decision, result.hits[0].id) == ("answer", "a-old")
    assert not any(hit.same_as for hit in result.hits)
