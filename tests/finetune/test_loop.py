"""The training loop on a model of a few numbers: exact resume, early stopping, checkpoints that survive."""

import errno
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from finetune import atomic
from finetune.errors import FinetuneError
from finetune.forecast import Forecast
from finetune.loop import Progress, TrainingStopped, train
from finetune.schedule import Plan, learning_rate_at

STEPS = 24


class Line:
    """Fits y = 2x + 1; `heldout` values are given, so that early stopping can be driven."""

    unit = "points"

    def __init__(self, heldout: Sequence[float] = ()) -> None:
        torch.manual_seed(3)
        self.model = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        self.heldout = list(heldout)
        self.epochs: list[int] = []

    def steps(self, epoch: int) -> list[list[list[float]]]:
        generator = torch.Generator().manual_seed(epoch)
        self.epochs.append(epoch)
        return [[torch.rand(4, generator=generator).tolist(), [0.5]] for _ in range(5)]

    def size(self, batch: list[float]) -> int:
        return len(batch)

    units = work = size

    def loss(self, batch: list[float]) -> torch.Tensor:
        x = torch.tensor(batch)[:, None] + 0.01 * torch.randn(len(batch), 1)
        return ((self.model(x) - 2 * x - 1) ** 2).mean()

    def evaluate(self) -> float:
        return self.heldout.pop(0) if self.heldout else 0.0

    def state(self) -> dict[str, Any]:
        return {"epochs": self.epochs}

    def load_state(self, state: dict[str, Any]) -> None:
        self.epochs = state["epochs"]


def weights(task: Line) -> list[float]:
    return torch.cat([p.detach().flatten() for p in task.model.parameters()]).tolist()


def run(
    folder: Path, task: Line | None = None, stop_at: int = 10**9, **plan: Any
) -> tuple[list[float], list[Progress]]:
    task = task or Line()
    seen: list[Progress] = []
    defaults: dict[str, Any] = {"steps": STEPS, "learning_rate": 0.05, "checkpoint_seconds": 0.0}
    train(task, Plan(**{**defaults, **plan}), folder, "data", seen.append, lambda: len(seen) >= stop_at)
    return weights(task), seen


def killed_at(folder: str, step: int) -> None:
    def die(report: Progress) -> None:
        if report.step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    train(
        Line(), Plan(steps=STEPS, learning_rate=0.05, checkpoint_seconds=0.0), Path(folder), "data", die, lambda: False
    )


@pytest.mark.parametrize("step", [1, 11, STEPS - 1])
def test_after_kill_9_a_run_goes_on_to_the_same_weights(tmp_path: Path, step: int) -> None:
    whole, _ = run(tmp_path / "whole")
    process = multiprocessing.get_context("spawn").Process(target=killed_at, args=(str(tmp_path / "cut"), step))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    resumed, seen = run(tmp_path / "cut")
    assert [report.step for report in seen] == list(range(step + 1, STEPS + 1))
    assert resumed == whole
    lines = [json.loads(line)["step"] for line in (tmp_path / "cut" / "progress.jsonl").read_text().splitlines()]
    assert lines == list(range(1, STEPS + 1))


def test_stopping_writes_a_checkpoint_and_says_the_step(tmp_path: Path) -> None:
    whole, _ = run(tmp_path / "whole")
    with pytest.raises(TrainingStopped) as stopped:
        run(tmp_path / "cut", stop_at=7, checkpoint_seconds=1e9)
    assert stopped.value.step == 7
    assert "7" in stopped.value.zh
    assert run(tmp_path / "cut")[0] == whole


def test_a_line_cut_by_a_power_failure_does_not_stop_the_resume(tmp_path: Path) -> None:
    with pytest.raises(TrainingStopped):
        run(tmp_path, stop_at=3)
    with (tmp_path / "progress.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    assert run(tmp_path)[1][0].step == 4


def test_it_stops_early_and_keeps_the_best_weights(tmp_path: Path) -> None:
    curve = [0.1, 0.3, 0.9, 0.5, 0.6]  # the first one is before training
    best, _ = run(tmp_path / "best", Line(), steps=20, evaluate_steps=0, stop_at=10**9, warmup_share=0.1)
    task = Line(curve)
    seen: list[Progress] = []
    plan = Plan(steps=20, learning_rate=0.05, evaluate_steps=2, patience=2, checkpoint_seconds=0.0)
    outcome = train(task, plan, tmp_path / "early", "data", seen.append, lambda: False)
    assert (outcome.best, outcome.best_step, outcome.before, outcome.early) == (0.9, 4, 0.1, True)
    assert seen[-1].step == 8
    assert weights(task) != best
    again = Line(curve)
    with pytest.raises(TrainingStopped):
        train(again, plan, tmp_path / "four", "data", (four := []).append, lambda: len(four) == 4)
    assert weights(again) == weights(task)


def test_lower_can_be_better(tmp_path: Path) -> None:
    plan = Plan(steps=6, learning_rate=0.05, evaluate_steps=2, higher_is_better=False)
    outcome = train(Line([3.0, 2.0, 1.0, 1.5]), plan, tmp_path, "data", lambda _: None, lambda: False)
    assert (outcome.best, outcome.best_step) == (1.0, 4)


def test_progress_tells_speed_time_left_and_the_heldout_metric(tmp_path: Path) -> None:
    class Slow(Line):
        def loss(self, batch: list[float]) -> torch.Tensor:
            time.sleep(0.1)
            return super().loss(batch)

    _, seen = run(tmp_path, Slow([0.1, 0.2, 0.3]), steps=8, evaluate_steps=4)
    assert [report.heldout for report in seen] == [None, None, None, 0.2, None, None, None, 0.3]
    assert seen[3].rate > 0
    assert seen[3].eta_seconds > 0
    assert seen[-1].eta_seconds == 0
    assert {report.total for report in seen} == {8}


def test_a_full_disk_is_one_sentence_and_the_earlier_checkpoint_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = run(tmp_path / "whole")
    folder = tmp_path / "full"
    with pytest.raises(TrainingStopped):
        run(folder, stop_at=6)
    kept = (folder / "checkpoints" / "last.pt").read_bytes()
    with monkeypatch.context() as patched:

        def full(descriptor: int) -> None:
            if "last.pt" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patched.setattr(atomic.os, "fsync", full)
        with pytest.raises(FinetuneError, match=r"last\.pt.*No space left") as caught:
            run(folder)
    assert caught.value.code == "write_failed"
    assert (folder / "checkpoints" / "last.pt").read_bytes() == kept
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["last.pt"]
    assert run(folder)[0] == whole


def test_a_checkpoint_of_other_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingStopped):
        run(tmp_path, stop_at=2)
    with pytest.raises(FinetuneError) as caught:
        train(Line(), Plan(steps=STEPS, learning_rate=0.05), tmp_path, "other", lambda _: None, lambda: False)
    assert caught.value.code == "checkpoint_foreign"


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(FinetuneError) as caught:
        run(tmp_path, learning_rate=float("inf"))
    assert caught.value.code == "training_diverged"


def test_the_rate_warms_up_and_falls_to_a_tenth() -> None:
    plan = Plan(steps=100, learning_rate=1.0)
    rates = [learning_rate_at(step, plan) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == 1.0
    assert rates[99] == pytest.approx(0.1, abs=0.01)
    assert rates[10:] == sorted(rates[10:], reverse=True)


class Clock:
    """Stands for the processor's time: a task says how long each thing takes."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow(Line):
    """A token takes a second, a measurement 50, an epoch's order 6, and what is set up first 1,000."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock, self.ready = clock, False

    def steps(self, epoch: int) -> list[list[list[float]]]:
        self.clock.now += 6
        return super().steps(epoch)

    def loss(self, batch: list[float]) -> torch.Tensor:
        self.clock.now += len(batch) if self.ready else 1000
        self.ready = True
        return super().loss(batch)

    def evaluate(self) -> float:
        self.clock.now += 50
        return 0.0


def test_a_forecast_is_what_the_run_then_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("finetune.forecast.time.monotonic", clock)
    plan = Plan(steps=STEPS, learning_rate=0.05, evaluate_steps=5, patience=99)
    told: list[Forecast] = []
    began: list[float] = []

    def on_forecast(found: Forecast) -> None:
        told.append(found)
        began.append(clock.now)

    train(Slow(clock), plan, tmp_path, "data", lambda _: None, lambda: False, on_forecast)
    (found,) = told
    # 24 steps of 4 + 1 tokens, five measurements (after 5, 10, 15, 20 and the last step), five epochs put in order.
    assert clock.now - began[0] == 24 * 5 + 5 * 50 + 5 * 6
    assert found.seconds == pytest.approx(clock.now - began[0], rel=0.02)
    assert (found.steps, found.memory_bytes > 0) == (STEPS, True)


def test_a_forecast_changes_nothing_that_is_learnt(tmp_path: Path) -> None:
    told: list[Forecast] = []
    plain, _ = run(tmp_path / "plain")
    task = Line()
    plan = Plan(steps=STEPS, learning_rate=0.05, checkpoint_seconds=0.0)
    train(task, plan, tmp_path / "told", "data", lambda _: None, lambda: False, told.append)
    assert weights(task) == plain
    assert len(told) == 1
