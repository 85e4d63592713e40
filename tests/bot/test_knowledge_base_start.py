"""Starts of the live knowledge base: from its snapshot, a damaged one or none, and broken off in the middle."""

import asyncio
import os
import subprocess
import sys
import threading

import pytest

from bot.knowledge_base import KnowledgeBase
from bot.storage import knowledge
from knowledge.types import Entry
from tests.bot.small_shop import INVOICE, POT, RETURN, add

pytestmark = pytest.mark.usefixtures("use_shared_encoder")


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
            assert let_go.wait(240)
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
        monkeypatch.setattr("bot.served.TEXTS_WAITED_FOR", 10)
    knowledge_base = KnowledgeBase(database, make_settings())
    await knowledge_base.open(answer_early=True)
    assert knowledge_base.ready
    found = await knowledge_base.search("7 号商品怎么保养？")
    assert (found.hits[0].id, found.decision) == ("n7", "answer")
    near = await knowledge_base.search("PPR-9087 炖锅可以放洗碗机吗")
    assert (near.decision, near.options[0]) == ("clarify", "pot")
    assert (await knowledge_base.search("今天天气怎么样")).decision == "none"
    held_encoder.set()
    assert await knowledge_base.wait_encoded(60)
    assert knowledge_base.encoding is None
    assert (await knowledge_base.search("7 号商品怎样保养")).hits[0].dense > 0.9
    await knowledge_base.close()


async def test_a_stop_while_the_rest_is_encoded_keeps_what_is_done(
    database, make_settings, monkeypatch, shared_encoder
):
    monkeypatch.setattr("bot.served.TEXTS_WAITED_FOR", 10)
    monkeypatch.setattr("knowledge.contents.TEXTS_PER_STEP", 4)
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
