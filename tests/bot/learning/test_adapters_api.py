"""Adapters over HTTP: what is no better needs an explicit word, the report, pins, and an import."""

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData, web
from aiohttp.test_utils import TestClient, TestServer

from bot import keys, middleware
from bot.api import adapters as adapters_api
from bot.config import Settings
from bot.jobs.queue import JobQueue
from bot.learning import report, training_job
from bot.learning.bootstrap import paired_mean
from bot.learning.report import Compared, Figure, verdict
from bot.security.passwords import new_api_key, token_hash
from bot.storage import adapters, audit, people
from bot.storage.database import Database
from finetune import registry
from finetune.models import model_checksum
from finetune.registry import Manifest
from finetune.signing import Signer

Call = Callable[..., Awaitable[tuple[int, Any]]]


@pytest.fixture
def settings(make_settings: Callable[..., Settings], encoder_folder: Path) -> Settings:
    return make_settings(encoder=str(encoder_folder))


@pytest.fixture
async def client(database: Database, settings: Settings) -> AsyncIterator[Call]:
    app = web.Application()
    app[keys.SETTINGS], app[keys.DATABASE], app[keys.READY] = settings, database, {}
    middleware.install(app, settings)
    app.add_routes(adapters_api.routes)
    app[keys.JOBS] = queue = JobQueue(database)  # takes jobs, and none is begun
    training_job.register(queue, database, settings)
    tokens = {}
    for role in ("editor", "admin"):
        tokens[role] = new_api_key()
        async with database.session() as session:
            await people.add_key(session, role, role, tokens[role][:12], token_hash(tokens[role]))
    async with TestClient(TestServer(app)) as opened:

        async def call(method: str, path: str, role: str = "admin", **options: Any) -> tuple[int, Any]:
            headers = {"Authorization": f"Bearer {tokens[role]}"}
            async with opened.request(method, path, headers=headers, **options) as response:
                return response.status, await response.json() if response.status != 204 else None

        yield call


@pytest.fixture
def install(database: Database, settings: Settings, encoder_folder: Path, tmp_path: Path) -> Any:
    async def add(name: str, outcome: str) -> Path:
        source = tmp_path / name
        source.mkdir()
        (source / "adapter_config.json").write_text("{}")
        (source / "adapter_model.safetensors").write_bytes(b"weights")
        one = Figure("own", "hit@1", 10, paired_mean([0.0] * 10, [1.0] * 9 + [0.0]))
        row = {"set": "own", "text": "退一下", "entry": "怎么退货", "before": {"entry": None, "decision": "none"},
               "after": {"entry": "怎么退货", "decision": "answer"}, "change": "better", "source": "c1"}  # fmt: skip
        said = verdict(outcome, "结论。", "Sentence.")
        report.write(source, Compared({}, {}, said, (one,), (row,), 3))
        manifest = Manifest(
            name=name, kind="encoder", base_model=encoder_folder.name, base_checksum=model_checksum(encoder_folder),
            data_hash="", examples=1, config={}, metrics={}, verdict=said, created_at="2026-01-01T00:00:00Z",
            seconds=1.0,
        )  # fmt: skip
        made = await asyncio.to_thread(
            registry.install, source, settings.data / "adapters", manifest, Signer(settings.data)
        )
        async with database.session() as session:
            await adapters.register(session, made.to_json())
        return settings.data / "adapters" / name

    return add


async def test_what_is_worse_is_activated_by_an_explicit_word_only(client: Call, install: Any) -> None:
    await install("encoder-1", "worse")
    for body in ({}, {"json": {}}, {"json": {"override": False}}):
        status, answer = await client("POST", "/api/adapters/encoder-1/activate", **body)
        assert (status, answer["error"]["code"]) == (409, "not_released")
        assert "结论。" in answer["error"]["message"]
    assert (await client("POST", "/api/adapters/encoder-1/activate", "editor", json={"override": True}))[0] == 403
    assert (await client("POST", "/api/adapters/encoder-1/activate", json={"force": True}))[0] == 400
    status, answer = await client("POST", "/api/adapters/encoder-1/activate", json={"override": True})
    assert status == 202
    assert answer["job_id"]


@pytest.mark.parametrize("outcome", ["better", "unknown", "not_better"])
async def test_a_plain_activation_goes_on_working(client: Call, install: Any, outcome: str) -> None:
    await install("encoder-1", outcome)
    assert (await client("POST", "/api/adapters/encoder-1/activate"))[0] == 202


async def test_an_altered_one_is_refused_whatever_is_overridden(client: Call, install: Any) -> None:
    folder = await install("encoder-1", "worse")
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"worse"', '"better"'))
    status, answer = await client("POST", "/api/adapters/encoder-1/activate", json={"override": True})
    assert status >= 400
    assert answer["error"]["code"] == "adapter_damaged"
    assert "签名之后被改动" in answer["error"]["message"]


async def test_the_report_names_questions_and_nobody(client: Call, install: Any) -> None:
    folder = await install("encoder-1", "better")
    status, found = await client("GET", "/api/adapters/encoder-1/report")
    assert status == 200
    assert found["verdict"]["zh"] == "结论。"
    assert found["figures"][0]["outcome"] == "better"
    assert found["counts"] == {"better": 1, "worse": 0, "same": 3}
    assert found["questions"][0]["text"] == "退一下"
    assert "source" not in found["questions"][0]
    assert (await client("GET", "/api/adapters/encoder-1/report", "editor"))[0] == 403
    (folder / "report.json").unlink()
    status, answer = await client("GET", "/api/adapters/encoder-1/report")
    assert (status, answer["error"]["code"]) == (404, "no_report")


async def test_one_is_pinned_and_no_longer(client: Call, install: Any, database: Database) -> None:
    await install("encoder-1", "better")
    for wanted in (True, False):
        assert (await client("PUT", "/api/adapters/encoder-1/pin", json={"pinned": wanted}))[0] == 204
        assert (await client("GET", "/api/adapters/encoder-1"))[1]["pinned"] is wanted
    assert (await client("PUT", "/api/adapters/nobody/pin", json={"pinned": True}))[0] == 404
    async with database.reading() as session:
        assert [one.action for one in await audit.recent(session, 2)] == ["adapters.pin"] * 2


async def test_an_upload_becomes_a_run_that_is_compared(client: Call, settings: Settings) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("adapter_config.json", "{}")
    form = FormData()
    form.add_field("file", packed.getvalue(), filename="别处.zip")
    status, answer = await client("POST", "/api/adapters", data=form)
    assert status == 202
    assert answer["job_id"]
    assert len(list((settings.data / "uploads").rglob("*.part"))) == 1
    assert (await client("POST", "/api/adapters", "editor", data=FormData({"file": "x"})))[0] == 403
