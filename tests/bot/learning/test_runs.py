"""Trainings in a process of their own: kill -9, stopping, the lock, and the API."""

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from sqlalchemy import text

from bot import keys, middleware
from bot.api import jobs as jobs_api
from bot.api import training as training_api
from bot.config import Settings
from bot.jobs.queue import JobQueue
from bot.learning import process, runs, training_job
from bot.learning.worker import is_busy
from bot.security.passwords import new_api_key, token_hash
from bot.storage import adapters, audit, people
from bot.storage.database import Database
from finetune import registry
from finetune.errors import FinetuneError
from finetune.models import model_checksum

from .conftest import FAQ

pytestmark = pytest.mark.slow
Add = Callable[[list[dict[str, Any]]], Awaitable[None]]
QUICK = {"epochs": 2, "batch_pairs": 4, "checkpoint_seconds": 0}


@pytest.fixture
def settings(make_settings: Callable[..., Settings], encoder_folder: Path) -> Settings:
    return make_settings(encoder=str(encoder_folder), engine_threads=1)


def kill_worker_after(step: int, folder: Path) -> Callable[[process.Event], None]:
    def on_event(event: process.Event) -> None:
        if event["event"] == "progress" and event["step"] == step:
            worker_of(folder).kill()

    return on_event


def worker_of(folder: Path) -> psutil.Process:
    (found,) = [one for one in psutil.process_iter(["cmdline"]) if (one.info["cmdline"] or [])[-1:] == [str(folder)]]
    return found


async def test_a_run_is_killed_resumed_compared_and_registered_but_not_active(
    database: Database, settings: Settings, add_faq: Add, dialogs: Path, encoder_folder: Path
) -> None:
    await add_faq(FAQ)
    whole = await runs.prepare(database, settings, "encoder", {**QUICK, "seed": 1}, dialogs)
    steps: list[int] = []

    def note(event: process.Event) -> None:
        if event["event"] == "progress":
            steps.append(event["step"])

    result = await process.carry_out(whole, note)
    assert steps == list(range(1, result["steps"] + 1))
    assert result["verdict"]["outcome"] in ("unknown", "worse")  # nothing was held out, so never better
    assert result["seconds"] > 0
    manifest = registry.verify(settings.data / "adapters" / result["adapter"], model_checksum(encoder_folder))
    assert manifest.to_json() == result["manifest"]
    assert manifest.examples == 9
    await runs.register(database, result["manifest"], "cli")
    async with database.reading() as session:
        assert [one.name for one in await adapters.installed(session)] == [result["adapter"]]
        assert await adapters.active(session) == {"encoder": None, "generator": None}
        assert (await audit.recent(session, 1))[0].action == "training.done"

    # The same data again is a new run; cut off, the one after it goes on where it was.
    cut = await runs.prepare(database, settings, "encoder", {**QUICK, "seed": 1}, dialogs)
    assert not cut.resumed
    assert cut.name != whole.name
    with pytest.raises(FinetuneError) as died:
        await process.carry_out(cut, kill_worker_after(3, cut.folder))
    assert died.value.code == "training_died"
    assert "内存" in died.value.zh  # what most likely ended it, and what to do
    assert "memory" in died.value.en
    assert [folder.name for folder in registry.list_folders(settings.data / "adapters")] == [whole.name]
    other = await runs.prepare(database, settings, "encoder", {**QUICK, "seed": 2}, dialogs)
    assert not other.resumed
    again = await runs.prepare(database, settings, "encoder", {**QUICK, "seed": 1}, dialogs)
    assert (again.resumed, again.name) == (True, cut.name)
    steps.clear()
    resumed = await process.carry_out(again, note)
    assert steps[0] >= 3
    first, second = (settings.data / "adapters" / name for name in (whole.name, cut.name))
    weights = "adapter_model.safetensors"
    assert (first / weights).read_bytes() == (second / weights).read_bytes()
    assert resumed["manifest"]["data_hash"] == manifest.data_hash


@pytest.mark.parametrize("code", [1, -signal.SIGTERM, -signal.SIGSEGV])
def test_of_a_worker_that_ended_otherwise_its_log_is_named(code: int, tmp_path: Path) -> None:
    said = process.died(code, tmp_path / "worker.log")
    for words in (said.zh, said.en):
        assert str(code) in words
        assert "worker.log" in words


async def test_killed_while_it_compares_the_run_goes_on_and_the_active_model_is_untouched(
    database: Database, settings: Settings, add_faq: Add, dialogs: Path
) -> None:
    await add_faq(FAQ)
    run = await runs.prepare(database, settings, "encoder", QUICK, dialogs)

    def on_event(event: process.Event) -> None:
        if event["event"] == "comparing":
            worker_of(run.folder).kill()

    with pytest.raises(FinetuneError, match="进度已保存") as died:
        await process.carry_out(run, on_event)
    assert died.value.code == "training_died"
    assert registry.list_folders(settings.data / "adapters") == []
    async with database.reading() as session:
        assert await adapters.installed(session) == []
        assert await adapters.active(session) == {"encoder": None, "generator": None}
    again = await runs.prepare(database, settings, "encoder", QUICK, dialogs)
    assert (again.resumed, again.name) == (True, run.name)
    steps: list[int] = []
    result = await process.carry_out(again, lambda event: steps.append(event["step"]) if "step" in event else None)
    assert steps == []  # what was trained is not trained again
    assert result["adapter"] == run.name
    assert (settings.data / "adapters" / run.name / "report.json").is_file()


async def test_stopping_ends_the_worker_and_leaves_the_run_resumable(
    database: Database, settings: Settings, add_faq: Add, dialogs: Path
) -> None:
    await add_faq(FAQ)
    run = await runs.prepare(database, settings, "encoder", {**QUICK, "epochs": 500}, dialogs)
    cancelled = asyncio.Event()
    with pytest.raises(FinetuneError) as stopped:
        await process.carry_out(run, lambda event: cancelled.set() if event["event"] == "progress" else None, cancelled)
    assert stopped.value.code == "training_stopped"
    assert not is_busy(runs.runs_dir(settings))
    assert runs.find(settings, run.name).resumed
    assert (run.folder / "checkpoints" / "last.pt").is_file()
    assert registry.list_folders(settings.data / "adapters") == []


async def test_two_at_once_are_refused_by_name(
    database: Database, settings: Settings, add_faq: Add, dialogs: Path
) -> None:
    await add_faq(FAQ)
    run = await runs.prepare(database, settings, "encoder", QUICK, dialogs)
    home = runs.runs_dir(settings)
    (home / ".owner").write_text(str(os.getpid()))
    with (home / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert is_busy(home)
        with pytest.raises(FinetuneError) as caught:
            await process.carry_out(run, lambda _: None)
    assert caught.value.code == "training_busy"
    assert not is_busy(home)


async def test_the_worker_ends_when_its_parent_is_killed(
    database: Database, settings: Settings, add_faq: Add, dialogs: Path
) -> None:
    await add_faq(FAQ)
    run = await runs.prepare(database, settings, "encoder", {**QUICK, "epochs": 1000}, dialogs)
    program = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom bot.learning import process, runs\n"
        f"run = runs.Prepared({run.name!r}, Path({str(run.folder)!r}), False, {{}})\n"
        "asyncio.run(process.carry_out(run, lambda event: print(event['event'], flush=True)))\n"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=subprocess.PIPE)
    assert parent.stdout
    while not (await parent.stdout.readline()).startswith(b"progress"):
        pass
    worker = worker_of(run.folder)
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    await asyncio.to_thread(psutil.wait_procs, [worker], 240)
    assert not is_busy(runs.runs_dir(settings))
    assert (run.folder / "checkpoints" / "last.pt").is_file()


@pytest.fixture
async def client(database: Database, settings: Settings) -> AsyncIterator[Callable[..., Awaitable[tuple[int, Any]]]]:
    app = web.Application()
    app[keys.SETTINGS], app[keys.DATABASE], app[keys.READY] = settings, database, {}
    middleware.install(app, settings)
    app.add_routes([*training_api.routes, *jobs_api.routes])
    app[keys.JOBS] = queue = JobQueue(database)
    training_job.register(queue, database, settings)
    tokens = {}
    for role in ("viewer", "admin"):
        tokens[role] = new_api_key()
        async with database.session() as session:
            await people.add_key(session, role, role, tokens[role][:12], token_hash(tokens[role]))
    await queue.start()
    async with TestClient(TestServer(app)) as opened:

        async def call(method: str, path: str, body: Any = None, role: str = "admin") -> tuple[int, Any]:
            headers = {"Authorization": f"Bearer {tokens[role]}"}
            async with opened.request(method, path, json=body, headers=headers) as response:
                return response.status, await response.json()

        yield call
        await queue.close()


async def until(call: Any, job_id: str, done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        _, job = await call("GET", f"/api/training-runs/{job_id}")
        if done(job):
            return job
        await asyncio.sleep(0.1)
    raise AssertionError(job)


async def ended(call: Any, job_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        _, job = await call("GET", f"/api/jobs/{job_id}")
        if job["finished_at"]:
            return dict(job)
        await asyncio.sleep(0.1)
    raise AssertionError(job)


async def test_the_api_trains_shows_the_curve_and_refuses_a_second(
    client: Any, database: Database, add_faq: Add
) -> None:
    await add_faq(FAQ)
    status, body = await client("POST", "/api/training-runs", {"kind": "encoder", "options": {"ranks": 1}})
    assert (status, body["error"]["code"]) == (400, "option_unknown")
    assert (await client("POST", "/api/training-runs", {"kind": "encoder"}, "viewer"))[0] == 403
    assert (await client("POST", "/api/training-runs", {"kind": "voice"}))[0] == 400

    status, body = await client("POST", "/api/training-runs", {"kind": "encoder", "options": {**QUICK, "epochs": 500}})
    assert status == 202
    job_id = body["job_id"]
    status, body = await client("POST", "/api/training-runs", {"kind": "encoder"})
    assert (status, body["error"]["code"]) == (409, "training_busy")
    running = await until(client, job_id, lambda job: len(job["curve"]) >= 2)
    assert running["run"]["kind"] == "encoder"
    assert running["extra"]["loss"] > 0
    assert running["total"] > running["done"] > 0
    await client("POST", f"/api/jobs/{job_id}/cancel")
    assert (await until(client, job_id, lambda job: job["finished_at"]))["state"] == "cancelled"

    _, body = await client("POST", "/api/training-runs", {"kind": "encoder", "options": {**QUICK, "epochs": 1}})
    done = await until(client, body["job_id"], lambda job: job["finished_at"])
    assert done["state"] == "done", done
    assert done["verdict"]["outcome"] in ("unknown", "worse")
    assert [point["step"] for point in done["curve"]] == list(range(1, done["total"] + 1))
    assert 0 < done["extra"]["compared"] <= done["extra"]["to_compare"]
    assert done["extra"]["memory_bytes"] > 0
    async with database.reading() as session:
        assert [one.name for one in await adapters.installed(session)] == [done["adapter"]]
    listed = (await client("GET", "/api/training-runs", role="viewer"))[1]["items"]
    assert [one["state"] for one in listed] == ["done", "cancelled"]
    assert json.dumps(done)


async def test_one_entry_is_too_little_and_says_so(client: Any, add_faq: Add) -> None:
    await add_faq(FAQ[3:4])
    _, body = await client("POST", "/api/training-runs", {"kind": "encoder"})
    failed = await until(client, body["job_id"], lambda job: job["finished_at"])
    assert (failed["state"], failed["error"]["code"]) == ("failed", "too_little_data")
    assert "至少 2 个条目" in failed["error"]["message"]


async def test_what_a_training_would_take_is_told_and_nothing_is_left(
    client: Any, database: Database, settings: Settings, add_faq: Add, encoder_folder: Path
) -> None:
    await add_faq(FAQ)
    left = runs.runs_dir(settings) / ".forecast-killed"
    left.mkdir(parents=True)
    os.utime(left, (0, 0))
    assert (await client("POST", "/api/training-forecasts", {"kind": "encoder"}, "viewer"))[0] == 403
    wrong = {"kind": "encoder", "options": {"ranks": 1}}
    assert (await client("POST", "/api/training-forecasts", wrong))[1]["error"]["code"] == "option_unknown"
    status, body = await client("POST", "/api/training-forecasts", {"kind": "encoder", "options": QUICK})
    assert status == 202
    refused = await client("POST", "/api/training-runs", {"kind": "encoder"})
    assert (refused[0], refused[1]["error"]["code"]) == (409, "training_busy")
    job = await ended(client, body["job_id"])
    found = job["result"]
    assert found["kind"] == "encoder"
    assert found["examples"] > 0
    assert found["steps"] > 0
    assert found["seconds"] > 0
    assert found["comparison_seconds"] > 0
    assert found["memory_bytes"] > (encoder_folder / "model.safetensors").stat().st_size
    assert 0 < found["memory_available_bytes"] <= psutil.virtual_memory().total
    assert not [one for one in runs.runs_dir(settings).iterdir() if one.is_dir()]
    async with database.reading() as session:
        assert not (await session.execute(text("SELECT * FROM data_sets"))).all()
    assert (await client("GET", "/api/training-runs"))[1]["items"] == []


async def test_a_training_that_cannot_be_says_so_when_it_is_asked_what_it_would_take(client: Any, add_faq: Add) -> None:
    await add_faq(FAQ[3:4])
    _, body = await client("POST", "/api/training-forecasts", {"kind": "encoder"})
    job = await ended(client, body["job_id"])
    assert (job["state"], job["error"]["code"]) == ("failed", "too_little_data")
