"""The live knowledge base: follows the database, survives restarts, switches encoders without mixing them."""

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from bot.calibrations import calibration_file
from bot.config import Settings
from bot.errors import UnavailableError
from bot.knowledge_base import KnowledgeBase
from bot.storage import adapters, knowledge, revisions
from bot.storage.database import Database
from bot.storage.revisions import Watcher
from finetune.errors import FinetuneError
from finetune.models import model_checksum
from finetune.registry import Manifest, install
from knowledge.types import Entry

pytestmark = pytest.mark.usefixtures("use_shared_encoder")


async def add(database: Database, *entries: Entry) -> int:
    async with database.session() as session:
        for entry in entries:
            stored = await knowledge.add_entry(session, entry)
    return stored.revision


@pytest.fixture
async def make_knowledge_base(
    database: Database, make_settings: Callable[..., Settings]
) -> AsyncIterator[Callable[..., Any]]:
    made: list[KnowledgeBase] = []

    async def make(**values: Any) -> KnowledgeBase:
        knowledge_base = KnowledgeBase(database, make_settings(**values))
        await knowledge_base.open()
        made.append(knowledge_base)
        return knowledge_base

    yield make
    for knowledge_base in made:
        if knowledge_base.ready:
            await knowledge_base.close()


RETURN = Entry("return", "怎么退货", "七天内可以无理由退货。", ("我想退掉买的东西",))
POT = Entry("pot", "PPR-9087 炖锅能放洗碗机吗", "可以。")
INVOICE = Entry("invoice", "怎么开发票", "下单时选择开具发票。")


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
    file.write_text(json.dumps({"question": "怎么退货", "answer": "七天内可以退。"}, ensure_ascii=False), "utf-8")
    command = ("-m", "bot.cli", "import", "--data", str(tmp_path / "data"), str(file))
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=subprocess.PIPE)
    assert "新增 1".encode() in await process.stdout.readline()
    finished = time.monotonic()
    await asyncio.wait_for(arrived.wait(), 10)
    seconds = time.monotonic() - finished
    assert (await knowledge_base.search("怎么退货")).decision == "answer"
    assert seconds < 1
    await process.wait()
    await watcher.close()


async def test_a_restart_encodes_nothing_again(make_knowledge_base, database, shared_encoder, monkeypatch):
    await add(database, RETURN, INVOICE)
    knowledge_base = await make_knowledge_base()
    before = await knowledge_base.search("东西想退")
    await knowledge_base.close()
    encoded: list[str] = []
    encode = type(shared_encoder).encode
    monkeypatch.setattr(
        type(shared_encoder), "encode", lambda self, texts, *more: encoded.extend(texts) or encode(self, texts, *more)
    )
    again = await make_knowledge_base()
    assert encoded == []
    assert await again.search("东西想退") == before


async def test_what_changed_while_it_was_down_is_caught_up_with(make_knowledge_base, database):
    await add(database, RETURN)
    await (await make_knowledge_base()).close()
    async with database.session() as session:
        await knowledge.remove_entry(session, "return")
    await add(database, INVOICE)
    knowledge_base = await make_knowledge_base()
    assert [hit.id for hit in (await knowledge_base.search("怎么退货")).hits] == ["invoice"]


@pytest.mark.parametrize("damage", ["truncate", "overwrite", "remove"])
async def test_a_damaged_snapshot_is_rebuilt_from_the_database(make_knowledge_base, database, tmp_path, damage, caplog):
    await add(database, RETURN, INVOICE)
    await (await make_knowledge_base()).close()
    (file,) = (tmp_path / "data" / "index").glob("*/*.vectors")
    content = file.read_bytes()
    if damage == "truncate":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "overwrite":
        file.write_bytes(content[:-200] + b"\0" * 200)
    else:
        file.unlink()
    knowledge_base = await make_knowledge_base()
    assert (await knowledge_base.search("怎么开发票")).hits[0].id == "invoice"
    await knowledge_base.close()
    caplog.clear()
    again = await make_knowledge_base()
    assert "not used" not in caplog.text
    assert (await again.search("要开发票")).hits[0].dense > 0.9


@pytest.fixture
def held_encoder(shared_encoder, monkeypatch):
    """The encoder, which encodes entries only once it is let go."""
    let_go = threading.Event()
    encode = type(shared_encoder).encode

    def wait_first(self, texts, kind="query", on_progress=None):
        if len(texts) == 21:
            assert let_go.wait(60)
        return encode(self, texts, kind, on_progress)

    monkeypatch.setattr(type(shared_encoder), "encode", wait_first)
    return let_go


@pytest.mark.parametrize("why", ["damaged", "much"])
async def test_meanwhile_it_is_searched_by_words(database, make_settings, held_encoder, monkeypatch, tmp_path, why):
    await add(database, *(Entry(f"n{n}", f"{n} 号商品怎么保养", "擦。") for n in range(20)), POT)
    if why == "damaged":
        held_encoder.set()
        first = KnowledgeBase(database, make_settings())
        await first.open()
        await first.close()
        held_encoder.clear()
        (file,) = (tmp_path / "data" / "index").glob("*/*.vectors")
        file.write_bytes(file.read_bytes()[:-1])
    else:
        monkeypatch.setattr("bot.knowledge_base.TEXTS_WAITED_FOR", 10)
    knowledge_base = KnowledgeBase(database, make_settings())
    await knowledge_base.open(answer_early=True)
    assert knowledge_base.ready
    found = await knowledge_base.search("7 号商品怎么保养？")
    assert (found.hits[0].id, found.decision) == ("n7", "answer")
    near = await knowledge_base.search("PPR-9087 炖锅可以放洗碗机吗")
    assert (near.decision, near.options[0]) == ("clarify", "pot")
    assert (await knowledge_base.search("今天天气怎么样")).decision == "none"
    held_encoder.set()
    await knowledge_base._rest
    assert knowledge_base.encoding is None
    assert (await knowledge_base.search("7 号商品怎样保养")).hits[0].dense > 0.9
    await knowledge_base.close()


async def test_a_stop_while_the_rest_is_encoded_keeps_what_is_done(
    database, make_settings, monkeypatch, shared_encoder
):
    monkeypatch.setattr("bot.knowledge_base.TEXTS_WAITED_FOR", 10)
    monkeypatch.setattr("knowledge.index.TEXTS_PER_STEP", 4)
    await add(database, *(Entry(f"n{n}", f"{n} 号商品怎么保养", "擦。") for n in range(40)))
    knowledge_base = KnowledgeBase(database, make_settings())
    await knowledge_base.open(answer_early=True)
    loop, some = asyncio.get_running_loop(), asyncio.Event()
    encoded: list[str] = []
    encode = type(shared_encoder).encode

    def count(self, texts, *more):
        encoded.extend(texts)
        if len(encoded) >= 8:
            loop.call_soon_threadsafe(some.set)
        return encode(self, texts, *more)

    monkeypatch.setattr(type(shared_encoder), "encode", count)
    await some.wait()
    await knowledge_base.close()
    encoded.clear()
    again = KnowledgeBase(database, make_settings())
    await again.open()
    assert len(encoded) < 40
    assert (await again.search("39 号商品怎样保养")).hits[0].dense > 0.9
    await again.close()


async def test_thresholds_of_the_settings_win(make_knowledge_base, database):
    await add(database, RETURN)
    knowledge_base = await make_knowledge_base(answer_threshold=1.0, clarify_threshold=0.0)
    assert knowledge_base.thresholds == (1.0, 0.0)
    assert (await knowledge_base.search("东西想退掉")).decision == "clarify"


async def test_a_saved_calibration_is_followed(make_knowledge_base, database, make_settings):
    await add(database, RETURN)
    knowledge_base = await make_knowledge_base()
    changed = knowledge_base._now().index.calibration.with_thresholds(1.0, 0.9)
    calibration_file(make_settings()).write_text(changed.to_json())
    await knowledge_base.recalibrate()
    assert knowledge_base.thresholds == (1.0, 0.9)


@pytest.fixture(scope="session")
def adapter(shared_encoder: Any, encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real, untrained-to-anything LoRA folder whose weights change every vector."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    torch.manual_seed(7)
    model = get_peft_model(
        AutoModel.from_pretrained(encoder_folder, add_pooling_layer=False),
        LoraConfig(r=4, target_modules=["query", "value"], init_lora_weights=False),
    )
    home = tmp_path_factory.mktemp("adapters")
    model.save_pretrained(home / "made")
    manifest = Manifest(
        name="try-1", kind="encoder", base_model=encoder_folder.name, base_checksum=model_checksum(encoder_folder),
        data_hash="", examples=0, config={}, metrics={}, verdict={"outcome": "unknown", "zh": "", "en": ""},
        created_at="2026-01-01T00:00:00Z", seconds=0.0,
    )  # fmt: skip
    install(home / "made", home, manifest)
    return home / "try-1"


@pytest.fixture
async def installed(adapter: Path, tmp_path: Path) -> Path:
    import shutil

    target = tmp_path / "data" / "adapters" / adapter.name
    await asyncio.to_thread(shutil.copytree, adapter, target)
    return target


@pytest.mark.slow
async def test_switching_the_encoder_never_mixes_models(make_knowledge_base, database, installed):
    await add(database, RETURN, INVOICE, *(Entry(f"n{n}", f"第{n}个问题怎么办", "答") for n in range(60)))
    knowledge_base = await make_knowledge_base()
    base = (await knowledge_base.search("东西想退掉")).hits[0]
    switching = asyncio.create_task(knowledge_base.switch_encoder(installed))
    answers = []
    while not switching.done():
        answers.append((await knowledge_base.search("东西想退掉")).hits[0])
        if len(answers) == 3:  # a write in the middle of the switch is in the new index too
            await add(database, Entry("late", "你们周末营业吗", "营业。"))
    await switching
    assert knowledge_base.adapter == "try-1"
    after = (await knowledge_base.search("东西想退掉")).hits[0]
    assert abs(after.dense - base.dense) > 1e-4
    assert {round(hit.dense, 5) for hit in answers} <= {round(base.dense, 5), round(after.dense, 5)}
    if len(answers) >= 3:
        assert (await knowledge_base.search("你们周末营业吗")).hits[0].id == "late"
    await knowledge_base.switch_encoder(None)
    assert knowledge_base.adapter is None
    assert (await knowledge_base.search("东西想退掉")).hits[0].dense == pytest.approx(base.dense, abs=1e-6)


async def activate(database: Database, name: str | None) -> None:
    async with database.session() as session:
        await adapters.activate(session, "encoder", name, None)


@pytest.mark.slow
async def test_the_active_adapter_is_served_after_a_restart(make_knowledge_base, database, installed):
    await add(database, RETURN)
    await activate(database, "try-1")
    assert (await make_knowledge_base()).adapter == "try-1"


async def test_an_adapter_that_is_gone_leaves_the_base_model_serving(make_knowledge_base, database, caplog):
    await add(database, RETURN)
    await activate(database, "gone")
    with caplog.at_level(logging.ERROR):
        knowledge_base = await make_knowledge_base()
    assert knowledge_base.adapter is None
    assert "gone" in caplog.text
    assert (await knowledge_base.search("怎么退货")).decision == "answer"


@pytest.mark.slow
async def test_an_altered_adapter_is_not_loaded(make_knowledge_base, database, installed, caplog):
    weights = installed / "adapter_model.safetensors"
    altered = bytearray(weights.read_bytes())
    altered[-1] ^= 1  # still a file that loads
    weights.write_bytes(altered)
    await add(database, RETURN)
    await activate(database, "try-1")
    with caplog.at_level(logging.ERROR):
        knowledge_base = await make_knowledge_base()
    assert knowledge_base.adapter is None
    assert "try-1" in caplog.text
    with pytest.raises(FinetuneError) as caught:
        await knowledge_base.switch_encoder(installed)
    assert caught.value.code == "adapter_damaged"


async def test_a_failed_switch_leaves_the_old_pair(make_knowledge_base, database, tmp_path):
    await add(database, RETURN)
    knowledge_base = await make_knowledge_base()
    (tmp_path / "broken").mkdir()
    with pytest.raises(Exception, match="broken"):
        await knowledge_base.switch_encoder(tmp_path / "broken")
    assert knowledge_base.adapter is None
    assert (await knowledge_base.search("怎么退货")).decision == "answer"


FULL_DISK = """
import asyncio, resource, signal, sys
from pathlib import Path
from bot.config import Settings
from bot.knowledge_base import KnowledgeBase
from bot.storage import knowledge
from bot.storage.database import Database
from finetune.errors import FinetuneError
from finetune.models import model_checksum
from finetune.registry import Manifest, install
from knowledge.types import Entry
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then a write past the limit fails with an OSError, as on a full disk
async def main():
    settings = Settings(data=Path(sys.argv[1]))
    database = Database(settings.database)
    await database.open()
    knowledge_base = KnowledgeBase(database, settings)
    await knowledge_base.open()
    async with database.session() as session:
        for number in range(40):
            await knowledge.add_entry(session, Entry(f"n{number}", f"第{number}个问题", "答"))
    await knowledge_base.refresh()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
    await knowledge_base._save_later()
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    found = await knowledge_base.search("第7个问题")
    print(found.hits[0].id, flush=True)
    print(sorted(path.name for path in (settings.data / "index").rglob("*") if path.is_file()), flush=True)
    await knowledge_base.close()
    await database.close()
asyncio.run(main())
"""


@pytest.mark.slow
async def test_a_full_disk_while_the_index_is_written(database, tmp_path, make_settings):
    """The service goes on answering, the log says why, nothing half is left, and the next save succeeds."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        FULL_DISK,
        str(tmp_path / "data"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    out, error = await process.communicate()
    assert process.returncode == 0, error.decode()
    first, files = out.decode().splitlines()
    assert first == "n7"
    assert ".part" not in files
    assert "could not be written" in error.decode()
    (snapshot,) = (tmp_path / "data" / "index").glob("*/*.vectors")
    assert snapshot.stat().st_size > 40 * 384 * 2


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
