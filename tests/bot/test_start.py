"""The whole service starting: from when on it answers, and what `/readyz` says."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

import bot.app
import bot.knowledge_base
from bot import keys
from bot.config import Settings
from bot.engines.local import LocalEngine
from knowledge.types import Entry
from tests.bot.small_shop import POT, RETURN, add

pytestmark = pytest.mark.usefixtures("use_shared_encoder")
MANY = tuple(Entry(f"n{n}", f"{n} 号商品怎么保养", f"擦 {n} 次。") for n in range(20))


@pytest.fixture
async def begin(make_settings: Callable[..., Settings]) -> AsyncIterator[Callable[..., Any]]:
    """Starts the real application, and returns its client as soon as it listens."""
    running: list[TestClient] = []

    async def listen(**values: Any) -> TestClient:
        app = bot.app.make_app(make_settings(**{"generator": "", "auto_calibrate": False, **values}))
        client = TestClient(TestServer(app))
        running.append(client)
        await client.start_server()
        return client

    yield listen
    for client in running:
        await client.close()


@pytest.fixture
def start(begin: Callable[..., Any]) -> Callable[..., Any]:
    """As `begin`, and returns as soon as messages are answered."""

    async def until_answering(**values: Any) -> TestClient:
        client = await begin(**values)
        app = client.app
        await asyncio.wait({app[keys.ANSWERING], app[keys.FAILURE]}, return_when=asyncio.FIRST_COMPLETED)
        return client

    return until_answering


async def ready(client: TestClient) -> tuple[int, Any]:
    async with client.get("/readyz") as response:
        return response.status, await response.json()


async def say(client: TestClient, text: str) -> dict[str, Any]:
    async with client.post("/api/sessions", json={}) as response:
        session = await response.json()
    headers = {"Authorization": f"Bearer {session['token']}"}
    path = f"/api/sessions/{session['session_id']}/messages"
    async with client.post(path, json={"text": text}, headers=headers) as response:
        assert response.status == 200, await response.text()
        return dict(await response.json())


class HeldEngine(LocalEngine):
    """The generator, which never comes to the end of its loading."""

    async def open(self) -> None:
        await asyncio.Event().wait()


async def test_a_message_to_a_starting_service_is_answered_once_the_encoder_is_loaded(begin, database, monkeypatch):
    await add(database, RETURN)
    loaded = threading.Event()
    load = bot.knowledge_base.load_encoder

    def load_late(*given):
        assert loaded.wait(240)
        return load(*given)

    monkeypatch.setattr(bot.knowledge_base, "load_encoder", load_late)
    client = await begin()
    assert (await ready(client))[1]["status"] == "starting"
    asked = asyncio.create_task(say(client, "怎么退货"))
    async with client.get("/readyz"):  # the message is on its way by now, and nothing answers it
        assert not asked.done()
    loaded.set()
    assert (await asked)["text"] == RETURN.answer


async def test_messages_wait_for_no_generator(start, database, monkeypatch, tmp_path):
    monkeypatch.setattr(bot.app, "make_engine", lambda *_: HeldEngine(tmp_path, "held"))
    await add(database, RETURN)
    client = await start(generator="held")
    assert await ready(client) == (503, {"status": "answering", "parts": {"knowledge": True, "generator": False}})
    assert (await say(client, "怎么退货"))["text"] == RETURN.answer
    async with client.get("/metrics") as response:
        assert "kefu_ready 0.0" in await response.text()


def truncate(folder: Path) -> None:
    (file,) = folder.glob("*.vectors")
    file.write_bytes(file.read_bytes()[:-700])


def flip(folder: Path) -> None:
    (file,) = folder.glob("*.vectors")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def remove(folder: Path) -> None:
    (file,) = folder.glob("*.vectors")
    file.unlink()


def scribble(folder: Path) -> None:
    (folder / "manifest.json").write_bytes(b"\x00\xff not a manifest")


@pytest.fixture
def let_go(shared_encoder, monkeypatch):
    """Until it is set, the company's entries are not encoded."""
    held = threading.Event()
    held.set()
    encode = type(shared_encoder).encode

    def wait_first(self, texts, kind="query", on_progress=None):
        if len(texts) == len(MANY) + 1:
            assert held.wait(240)
        return encode(self, texts, kind, on_progress)

    monkeypatch.setattr(type(shared_encoder), "encode", wait_first)
    yield held
    held.set()


@pytest.mark.parametrize("damage", [truncate, flip, remove, scribble])
async def test_a_damaged_index_answers_by_words_and_is_mended(start, database, damage, let_go):
    await add(database, POT, *MANY)
    first = await start()
    settings = first.app[keys.SETTINGS]
    await first.close()
    (folder,) = (settings.data / "index").iterdir()
    damage(folder)
    let_go.clear()
    client = await start()
    assert await ready(client) == (
        200,
        {"status": "ready", "parts": {"knowledge": True, "generator": True}, "encoding": {"done": 0, "total": 21}},
    )
    assert (await say(client, "7 号商品怎么保养"))["text"] == "擦 7 次。"
    near = await say(client, "PPR-9087 炖锅可以放洗碗机吗")
    assert (near["decision"], near["suggestions"][0]) == ("clarify", POT.question)
    let_go.set()
    assert await client.app[keys.KNOWLEDGE_BASE].wait_encoded(240)
    assert "encoding" not in (await ready(client))[1]
    assert (await say(client, "PPR-9087 炖锅可以放洗碗机吗"))["text"] == POT.answer
