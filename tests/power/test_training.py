"""The power goes during `kefu train encoder`: the same command goes on, and ends with the weights it would have had."""

import asyncio
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from bot import demo
from bot.config import Settings
from bot.learning import runs
from bot.storage.database import opened
from finetune import registry
from finetune.models import model_checksum

OPTIONS = {"epochs": 1, "batch_pairs": 8, "rank": 2, "alpha": 4, "max_tokens": 32, "checkpoint_seconds": 0}
ENTRIES, PHRASINGS = 10, 7
STEPS_SECONDS = 0.3


@pytest.fixture(scope="module")
def company(machine: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a small knowledge base of real questions, and nothing trained yet."""
    folder = tmp_path_factory.mktemp("company")
    rows = [json.loads(line) for line in demo.faq_path().read_text(encoding="utf-8").splitlines()]
    chosen = [row for row in rows if "answer" in row and len(row["similar_questions"]) >= PHRASINGS][:ENTRIES]
    for row in chosen:
        row["similar_questions"] = row["similar_questions"][:PHRASINGS]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in chosen)
    (folder / "faq.jsonl").write_text(text, encoding="utf-8")
    (folder / "options.json").write_text(json.dumps(OPTIONS))
    machine.start(folder / "data", "import", str(folder / "faq.jsonl")).finish()
    return folder


def train(machine: Any, company: Path, data: Path, seed: int) -> Any:
    """`kefu train encoder`, whose worker is a process of its own with its own hash seed."""
    options = str(company / "options.json")
    return machine.start(data, "train", "encoder", "--config", options, env={"PYTHONHASHSEED": str(seed)})


async def prepare(data: Path) -> Path:
    settings = Settings(data=data, generator="", engine_threads=1)
    async with opened(settings.database) as database:
        return (await runs.prepare(database, settings, "encoder", OPTIONS)).folder


def weights(data: Path) -> str:
    (folder,) = registry.list_folders(data / "adapters")
    return hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()


async def uninterrupted(machine: Any, company: Path, copy_of: Callable[..., Any], target: Path) -> tuple[str, float]:
    """The weights of a run that nothing cut off, and its seconds."""
    data = copy_of(company / "data", target)
    running = machine.start(data, str(await prepare(data)), run="worker")
    running.finish()
    return weights(data), time.monotonic() - running.started


def wait_for(running: Any, pattern: str) -> None:
    while not re.search(pattern, running.output):
        assert not running.wait(0.02), f"ended before {pattern}:\n{running.output}"


def check_whole(data: Path, encoder_folder: Path) -> registry.Manifest:
    """Exactly one adapter, whole and of this base model, and nothing beside it."""
    (folder,) = (data / "adapters").iterdir()
    return registry.verify(folder, model_checksum(encoder_folder))


@pytest.mark.slow
@pytest.mark.timeout(900)  # some seconds of work, but not on a machine that is busy with other things
async def test_the_same_command_goes_on_to_the_same_weights(
    machine: Any, company: Path, tmp_path: Path, copy_of: Callable[..., Any], encoder_folder: Path
) -> None:
    """One run, cut off four times: command and worker together, then the worker in a step, comparing, and when done."""
    expected, _ = await uninterrupted(machine, company, copy_of, tmp_path / "whole")
    data, pick = copy_of(company / "data", tmp_path / "data"), random.Random(5)
    running = train(machine, company, data, 100)
    wait_for(running, r"step 2/")
    await asyncio.sleep(pick.uniform(0, STEPS_SECONDS))
    workers = psutil.Process(running.pid).children()
    running.cut()
    for worker in workers:
        with suppress(psutil.NoSuchProcess):
            os.kill(worker.pid, signal.SIGKILL)
            worker.wait(30)
    (run,) = [path for path in (data / "runs").iterdir() if not path.name.startswith(".")]
    assert not (data / "adapters").exists()
    for mark in ('"step": [4-9]', '"phase": "comparing"'):
        running = machine.start(data, str(run), run="worker")
        wait_for(running, mark)
        await asyncio.sleep(pick.uniform(0, STEPS_SECONDS))
        assert running.cut(), running.output
        assert not registry.list_folders(data / "adapters")
    # The adapter is in the registry, and the run does not know yet: at the last moment, as the result is written.
    running = machine.start(data, str(run), run="worker", cut=(str(run / ".result.json"), 1))
    assert running.wait()
    assert running.cut(), running.output
    assert not (run / "result.json").exists()
    assert check_whole(data, encoder_folder).name == run.name
    output = train(machine, company, data, 200).finish()
    assert f"继续上次中断的训练 {run.name}" in output
    assert check_whole(data, encoder_folder).name == run.name
    assert weights(data) == expected
    listed = json.loads(machine.start(data, "adapters", "list", "--json").finish())
    assert [(one["name"], one["state"]) for one in listed] == [(run.name, "ready")]
    steps = [json.loads(line)["step"] for line in (run / "progress.jsonl").read_text().splitlines()]
    assert steps == list(range(1, len(steps) + 1))
    assert not list((run / "checkpoints").iterdir())


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_cut_off_at_any_moment_it_ends_with_the_same_weights(
    machine: Any, company: Path, tmp_path: Path, copy_of: Callable[..., Any], encoder_folder: Path,
    moments: Callable[..., list[float]],
) -> None:  # fmt: skip
    """Thirty cuts by the clock; whenever a run came to its end in spite of them, the next one begins."""
    expected, seconds = await uninterrupted(machine, company, copy_of, tmp_path / "whole")
    data = copy_of(company / "data", tmp_path / "data")
    run, ended = await prepare(data), 0
    for moment in moments(3, 30, seconds):
        if not machine.start(data, str(run), run="worker").cut_after(moment):
            check_whole(data, encoder_folder)
            assert weights(data) == expected
            ended += 1
            run = await prepare(copy_of(company / "data", data))
    machine.start(data, str(run), run="worker").finish()
    check_whole(data, encoder_folder)
    assert weights(data) == expected
    print(f"training: 30 cuts within {seconds:.1f} s, {ended} runs came to their end before theirs")


@pytest.mark.slow
@pytest.mark.parametrize("points", [4, pytest.param(1000, marks=pytest.mark.soak)])
def test_an_adapter_is_installed_as_a_whole_or_not_at_all(
    machine: Any, installed_adapters: Path, tmp_path: Path, points: int
) -> None:
    """Cut before changes of files in the registry, through a process that installs and nothing else."""
    code = (Path(__file__).with_name("machine.py")).read_text().split("def become")[0] + INSTALLER
    source, home = installed_adapters / "encoder-one", tmp_path / "adapters"

    def install(cut_at: int) -> "subprocess.CompletedProcess[str]":
        arguments = [sys.executable, "-c", code, str(source), str(home), str(cut_at)]
        return subprocess.run(arguments, capture_output=True, text=True, check=False)

    home.mkdir()
    changes = int(install(0).stdout)
    assert changes >= 6
    for number in range(1, changes + 1)[:: max(1, changes // points)]:
        for folder in home.iterdir():
            registry.remove(home, folder.name)
        done = install(number)
        assert done.returncode == -signal.SIGKILL, done.stderr
        for folder in registry.list_folders(home):
            registry.verify(folder)
        assert install(0).returncode == 0
        (folder,) = home.iterdir()
        assert registry.verify(folder).files == registry.read(source).files


INSTALLER = """
from dataclasses import replace
from finetune import registry
from finetune.signing import Signer
source, home, cut_at = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
listed = home.parent / "operations"
listed.write_text("")
count_changes(str(home), cut_at, listed)
registry.install(source, home, replace(registry.read(source), name="copy"), Signer(home.parent))
print(len(listed.read_text().splitlines()))
"""
