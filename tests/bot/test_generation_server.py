"""A generation server named in the settings: what reaches it, whole turns on it, and the doctor's word on it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import bot.app
import bot.generators
from bot import keys
from bot.config import Settings, load_settings
from bot.dialogue.types import Turn
from bot.engines.base import EngineError
from bot.engines.remote import Patience, RemoteEngine
from bot.generators import make_engine
from bot.importing import import_file
from bot.profile import LiveProfile
from bot.settings_sources import masked
from bot.storage.database import Database
from tests.servers.openai import KEY, OpenAI, chunk, moves, stalls, status, writes

pytestmark = pytest.mark.usefixtures("use_shared_encoder")

MANUAL = """# 露营用品使用手册

## 一、帐篷

帐篷 HW-6021 可抗 6 级风，超过 6 级请收起。帐内严禁生火。维修请拨 13912345678 找周师傅。

## 二、露营灯

露营灯 DG-4402 长期不用时，每 3 个月充电一次，建议保持一半电量。
"""
CAMPING = "帐篷能抗几级风"
WRITTEN = "帐篷 HW-6021 可抗 6 级风，超过 6 级请收起。"
QUICK = Patience(connect=1, first=0.5, between=0.3, tries=2, pause=0.01, failures_max=50)


@pytest.fixture
async def server() -> AsyncIterator[OpenAI]:
    made = OpenAI(says=WRITTEN)
    made.url = await made.start() + "/v1"  # type: ignore[attr-defined]
    yield made
    await made.stop()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that fails is given up on sooner."""
    monkeypatch.setattr(bot.generators, "RemoteEngine", lambda *a, **k: RemoteEngine(*a, **k, patience=QUICK))


@pytest.fixture
async def pipeline(
    server: OpenAI, make_settings: Callable[..., Settings], database: Database, tmp_path: Path, quick: None
) -> AsyncIterator[Any]:
    """The whole application on the server, asked through its pipeline."""
    (tmp_path / "手册.md").write_text(MANUAL, encoding="utf-8")
    await import_file(database, tmp_path / "手册.md", "手册.md", tmp_path / "uploads", actor="test")
    settings = make_settings(
        generator="qwen3-4b", generator_url=server.url, generator_key=KEY, handoff_text="请拨 13800138000",  # type: ignore[attr-defined]
        auto_calibrate=False,
    )  # fmt: skip
    app = bot.app.make_app(settings)
    runner = bot.app.web.AppRunner(app)
    await runner.setup()
    await asyncio.wait({app[keys.ANSWERING], app[keys.FAILURE]}, return_when=asyncio.FIRST_COMPLETED)
    yield app[keys.PIPELINE]
    await runner.cleanup()


async def test_a_turn_is_written_by_the_server_and_nothing_personal_reaches_it(server: OpenAI, pipeline: Any) -> None:
    answer = await pipeline.answer(Turn("visitor-7", f"我叫李小明，电话 13700001111，{CAMPING}"))
    assert (answer.decision, answer.generated) == ("generate", True)
    assert answer.text == WRITTEN
    assert (answer.prompt_tokens, answer.completion_tokens) == (99, len(WRITTEN))
    (sent,) = server.asked
    assert sent["model"] == "qwen3-4b"
    whole = json.dumps(sent, ensure_ascii=False)
    for secret in ("13700001111", "李小明", "13912345678", "visitor-7"):
        assert secret not in whole
    assert "可抗 6 级风" in whole
    assert "[电话]" in whole


async def test_what_was_masked_is_not_shown_as_a_fact(server: OpenAI, pipeline: Any) -> None:
    server.says = "维修请拨 [电话] 找周师傅。"
    answer = await pipeline.answer(Turn("c", "帐篷维修找哪位师傅"))
    assert "[电话]" in json.dumps(server.asked[0], ensure_ascii=False)
    assert answer.decision == "answer"
    assert "13912345678" in answer.text, "the source's own text has it"
    assert "[电话]" not in answer.text


@pytest.mark.parametrize(
    "trouble",
    [
        status(500),
        status(429, **{"Retry-After": "1"}),
        status(401),
        stalls(),
        stalls("帐篷 HW-60"),
        writes(b"<html>502 Bad Gateway</html>"),
        writes(b"data: \xff\xfe{{{\n\n"),
        writes(chunk("m", {"content": "帐篷"})),
        writes(b'data: {"error": {"message": "out of memory", "code": 500}}\n\n'),
        writes(chunk("m", {"content": "价格 999 元，请点 https://evil.example 。"}) + b"data: [DONE]\n\n"),
        moves("http://127.0.0.1:9/v1/chat/completions"),
    ],
)
async def test_a_failing_server_never_fails_a_turn(server: OpenAI, pipeline: Any, trouble: Any) -> None:
    server.troubles = [trouble] * QUICK.tries
    answer = await pipeline.answer(Turn("c", CAMPING))
    assert (answer.decision, answer.generated) == ("answer", False)
    assert "> 帐篷 HW-6021 可抗 6 级风" in answer.text
    assert any(reason.startswith("generation: ") and "done" not in reason for reason in answer.reasons)


async def test_a_stall_after_a_shown_sentence_goes_on_with_the_source(server: OpenAI, pipeline: Any) -> None:
    server.troubles = [stalls(WRITTEN, "帐内")]
    answer = await pipeline.answer(Turn("c", CAMPING))
    assert answer.decision == "generate"
    assert answer.text.startswith(WRITTEN)
    assert "> 帐篷 HW-6021 可抗 6 级风" in answer.text


async def test_a_server_that_recovers_writes_the_reply(server: OpenAI, pipeline: Any) -> None:
    server.troubles = [status(503)]
    assert (await pipeline.answer(Turn("c", CAMPING))).generated


@pytest.fixture
async def engine(server: OpenAI, tmp_path: Path) -> AsyncIterator[RemoteEngine]:
    made = RemoteEngine(
        server.url, "qwen3-4b", str, key=KEY, patience=QUICK,  # type: ignore[attr-defined]
        installed=lambda: {"generator-2": tmp_path / "generator-2"},
    )  # fmt: skip
    yield made
    await made.close()


async def said(engine: RemoteEngine, **options: Any) -> str:
    return "".join([piece.text async for piece in engine.generate([{"role": "user", "content": "?"}], **options)])


async def test_an_adapter_that_the_server_has_already_or_forgot_is_no_failure(
    server: OpenAI, engine: RemoteEngine, tmp_path: Path
) -> None:
    server.loaded = {"generator-1": "/old"}  # ours was restarted, the server was not
    await engine.use_adapter(tmp_path / "generator-1", "generator-1")
    assert await said(engine) == WRITTEN
    server.loaded = {}  # the server was restarted
    assert await said(engine) == WRITTEN
    assert server.loaded == {"generator-1": str(tmp_path / "generator-1")}
    assert server.asked[-1]["model"] == "generator-1"
    assert await said(engine, model="generator-2") == WRITTEN
    assert engine.adapters == ("generator-1", "generator-2")


async def test_the_server_is_told_to_load_and_to_let_go(server: OpenAI, engine: RemoteEngine) -> None:
    await engine.load("generator-2")
    assert (list(server.loaded), engine.loaded, engine.active_adapter) == (["generator-2"], ("generator-2",), None)
    await engine.unload("generator-2")
    assert (server.loaded, engine.loaded) == ({}, ())
    await engine.unload("generator-2")  # a server that has it no more is content
    with pytest.raises(EngineError) as unknown:
        await engine.load("generator-9")
    assert unknown.value.code == "model_not_found"


async def test_an_adapter_waits_for_a_server_that_is_not_there_yet(tmp_path: Path) -> None:
    server = OpenAI(says=WRITTEN)
    url = await server.start()
    await server.stop()
    engine = RemoteEngine(url + "/v1", "qwen3-4b", str, key=KEY, patience=QUICK)
    await engine.use_adapter(tmp_path / "generator-1", "generator-1")
    with pytest.raises(EngineError):
        await said(engine)
    await server.start(int(url.rsplit(":", 1)[1]))
    assert await said(engine) == WRITTEN
    assert server.asked[-1]["model"] == "generator-1"
    await engine.close()
    await server.stop()


async def test_a_damaged_adapter_is_never_sent(server: OpenAI, tmp_path: Path) -> None:
    def check(folder: Path) -> None:
        raise ValueError(f"{folder.name} was altered")

    engine = RemoteEngine(server.url, "qwen3-4b", str, key=KEY, patience=QUICK, check=check)  # type: ignore[attr-defined]
    with pytest.raises(EngineError, match="was altered"):
        await engine.use_adapter(tmp_path / "generator-1", "generator-1")
    assert server.loaded == {}
    assert engine.active_adapter is None
    await engine.close()


def test_the_settings_name_it_and_its_key_is_never_shown(
    monkeypatch: pytest.MonkeyPatch, make_settings: Callable[..., Settings]
) -> None:
    monkeypatch.setenv("KEFU_GENERATOR_URL", "https://llm.example.com/v1")
    monkeypatch.setenv("KEFU_GENERATOR_KEY", "sk-secret")
    settings = load_settings()
    assert "sk-secret" not in repr(settings) + json.dumps(masked(settings))
    engine = make_engine(settings, LiveProfile(make_settings()))
    assert isinstance(engine, RemoteEngine)
    monkeypatch.setenv("KEFU_GENERATOR", "")
    assert make_engine(load_settings(), LiveProfile(make_settings())) is None
    for wrong in ("llm.example.com/v1", "ftp://llm.example.com", "http://"):
        monkeypatch.setenv("KEFU_GENERATOR_URL", wrong)
        with pytest.raises(bot.errors.ConfigError, match="KEFU_GENERATOR_URL"):
            load_settings()


@pytest.fixture
def running() -> Iterator[OpenAI]:
    """The server in a loop of its own: the doctor runs one itself."""
    import threading

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = OpenAI()
    server.url = asyncio.run_coroutine_threadsafe(server.start(), loop).result() + "/v1"  # type: ignore[attr-defined]
    yield server
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_the_doctor_says_how_it_is(kefu: Any, running: OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    def word(url: str, model: str, key: str) -> list[tuple[str, str]]:
        for name, value in (("URL", url), ("KEY", key)):
            monkeypatch.setenv(f"KEFU_GENERATOR_{name}", value)
        monkeypatch.setenv("KEFU_GENERATOR", model)
        _, out, _ = kefu("doctor", "--json")
        found = json.loads(out)["findings"]
        return [(one["state"], one["text"]) for one in found if one["check"] == "generator"]

    url = running.url  # type: ignore[attr-defined]
    assert word(url, "qwen3-4b", KEY) == [("ok", f"{url} 提供 qwen3-4b")]
    ((state, text),) = word(url, "other", KEY)
    assert (state, "qwen3-4b" in text) == ("error", True)
    ((state, text),) = word(url, "qwen3-4b", "wrong-key")
    assert (state, "401" in text) == ("error", True)
    assert "wrong-key" not in text
    ((state, _),) = word("http://127.0.0.1:9/v1", "qwen3-4b", KEY)
    assert state == "error"
