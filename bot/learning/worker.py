"""`python -m bot.learning.worker [--owner=PID] [--forecast] RUN_DIR`: one training, from its data to the installed
adapter; or only what it will take.

A process of its own, so that the service answers while it learns. Tells what happens as JSON lines on standard output;
ends in good order, with its checkpoint written, when standard input closes or a signal asks. Exit 0 when done, 1 on an
error, 3 when stopped.
"""

import argparse
import fcntl
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import Any

from bot.learning.runs import RESULT, Context
from finetune import memory
from finetune.atomic import write_json
from finetune.errors import FinetuneError
from finetune.forecast import Forecast
from finetune.loop import Outcome, Progress, TrainingStopped
from finetune.runs import RunConfig, run_data_hash

NICE = 10
OOM_SCORE_ADJ = "800"
LOCK_SECONDS, LOOK_SECONDS = 30.0, 2.0


def tell(event: str, **values: Any) -> None:
    """One line for whoever started this."""
    with suppress(BrokenPipeError):
        print(json.dumps({"event": event, **values}, ensure_ascii=False), flush=True)


class Stop:
    """Set when standard input closes (the parent is done or dead) or a signal asks to end."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        threading.Thread(target=self._watch_input, daemon=True).start()

    def __call__(self) -> bool:
        return self._asked.is_set()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._asked.set()

    def _watch_input(self) -> None:
        with suppress(OSError, ValueError):
            while os.read(0, 4096):
                pass
        self._asked.set()


@contextmanager
def alone(runs_dir: Path, owner: int) -> Iterator[None]:
    """Holds the lock of this data folder's trainings; `owner` is the process that started this one, dead or alive.

    Raises:
        FinetuneError: another training has it. One whose parent died is on its way out and waited for; `is_busy` takes
            it for a moment.
    """
    with (runs_dir / ".lock").open("w") as file:
        deadline = time.monotonic() + (LOCK_SECONDS if _orphaned(runs_dir) else LOOK_SECONDS)
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise busy() from None
                time.sleep(0.5)
        (runs_dir / ".owner").write_text(f"{owner}")
        yield


def _orphaned(runs_dir: Path) -> bool:
    """Whether the process that started the training in the lock is gone."""
    try:
        os.kill(int((runs_dir / ".owner").read_text()), 0)
    except (OSError, ValueError):
        return True
    return False


def busy() -> FinetuneError:
    return FinetuneError(
        "training_busy",
        "已有一个训练正在进行；请等它结束，或先停止它。",
        "A training is already running; wait for it to end, or stop it first.",
    )


def is_busy(runs_dir: Path) -> bool:
    """Whether a training holds the lock."""
    with suppress(OSError), (runs_dir / ".lock").open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bot.learning.worker")
    # Told by whoever starts this: asked of the system, it would be the number of somebody else once that one is dead.
    parser.add_argument("--owner", type=int, default=os.getppid())
    parser.add_argument("--forecast", action="store_true")
    parser.add_argument("run_dir", type=Path)
    given = parser.parse_args(arguments)
    run_dir: Path = given.run_dir
    stop = Stop()
    _give_way()
    try:
        with alone(run_dir.parent, given.owner):
            result = forecast(run_dir) if given.forecast else work(run_dir, stop)
    except TrainingStopped as stopped:
        tell("error", code=stopped.code, zh=stopped.zh, en=stopped.en)
        return 3
    except Exception as error:
        if not hasattr(error, "zh"):
            tell(
                "error",
                code="training_failed",
                zh=f"训练出错（{type(error).__name__}），详情见 {run_dir / 'worker.log'}。",
                en=f"The training failed ({type(error).__name__}); see {run_dir / 'worker.log'}.",
            )
            raise
        known: Any = error
        tell("error", code=known.code, zh=known.zh, en=known.en)
        return 1
    tell("result", result=result)
    return 0


def _give_way() -> None:
    """The service's chats go first: for the processors, and where memory is short it is this process that ends."""
    os.nice(NICE)
    with suppress(OSError):  # https://man7.org/linux/man-pages/man5/proc_pid_oom_score_adj.5.html
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE_ADJ, encoding="ascii")


def forecast(run_dir: Path) -> dict[str, Any]:
    """What the training would take: {"steps", "seconds", "memory_bytes", "comparison_seconds"}. Nothing is learnt or
    written.
    """
    from bot.learning.gate import expected_seconds
    from finetune import encoder, generator

    config, context = RunConfig.read(run_dir), Context.read(run_dir)
    _use_threads(context)
    found = encoder.forecast(run_dir) if config.kind == "encoder" else generator.forecast(run_dir)
    memory.give_back()
    return found.to_json() | {"comparison_seconds": round(expected_seconds(run_dir, config, context), 1)}


def _use_threads(context: Context) -> None:
    if context.threads:
        import torch

        torch.set_num_threads(context.threads)


def work(run_dir: Path, stop: Stop) -> dict[str, Any]:
    """Trains (or takes what was trained elsewhere), compares, installs; returns {"adapter", "before", "after",
    "verdict", "seconds", "manifest", …}.
    """
    if (run_dir / RESULT).exists():
        done: dict[str, Any] = json.loads((run_dir / RESULT).read_text(encoding="utf-8"))
        return done
    config, context = RunConfig.read(run_dir), Context.read(run_dir)
    _use_threads(context)
    tell("phase", phase="loading", kind=config.kind)
    # The weights of an adapter from elsewhere lie in the run's folder already.
    outcome = Outcome(0, 0, None, None, early=False, seconds=0.0) if context.imported else train(run_dir, config, stop)
    memory.give_back()
    tell("phase", phase="comparing", kind=config.kind)
    started = time.monotonic()
    from bot.learning.gate import compare

    def on_progress(done: int, total: int, _note: str = "") -> None:
        if stop():
            raise TrainingStopped(outcome.steps)
        tell("comparing", done=done, total=total)

    compared = compare(run_dir, config, context, on_progress)
    seconds = round(outcome.seconds + time.monotonic() - started, 1)
    manifest = install(run_dir, config, context, compared, seconds)
    result = {
        "adapter": manifest["name"],
        "kind": config.kind,
        "before": compared.before or None,
        "after": compared.after or None,
        "verdict": compared.verdict,
        "seconds": seconds,
        "steps": outcome.steps,
        "best_step": outcome.best_step,
        "stopped_early": outcome.early,
        "summary": context.summary,
        "notes": compared.notes,
        "manifest": manifest,
    }
    write_json(run_dir / RESULT, result)
    _tidy(run_dir)
    return result


def train(run_dir: Path, config: RunConfig, stop: Stop) -> Outcome:
    """The training itself, or what is left of it."""

    def on_progress(report: Progress) -> None:
        tell("progress", **report.to_json())

    def on_forecast(found: Forecast) -> None:
        tell("forecast", **found.to_json())

    from finetune import encoder, generator

    if config.kind == "encoder":
        return encoder.train(run_dir, on_progress, stop, on_forecast)
    return generator.train(run_dir, on_progress, stop, on_forecast)


def install(run_dir: Path, config: RunConfig, context: Context, compared: Any, seconds: float) -> dict[str, Any]:
    """Puts the adapter into the registry; the run's name is its name, so that a repeated call finds it done."""
    from finetune import registry
    from finetune.signing import Signer

    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    claimed = context.imported
    manifest = registry.Manifest(
        name=run_dir.name,
        kind=config.kind,
        base_model=config.base_name,
        base_checksum=config.base_checksum,
        data_hash=str(claimed.get("data_hash") or "") if claimed else run_data_hash(run_dir),
        examples=_count(claimed.get("examples")) if claimed else int(context.summary.get("train", 0)),
        config=config.options,
        metrics={"before": compared.before or None, "after": compared.after or None},
        verdict=compared.verdict,
        created_at=str(claimed.get("created_at") or now),
        seconds=seconds,
        parent=context.parent,
        code_version=_version(),
        imported_at=now if claimed else None,
    )
    signer = Signer(context.adapters_dir.parent)
    return registry.install(run_dir / compared.folder, context.adapters_dir, manifest, signer).to_json()


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _version() -> str:
    try:
        return version("kefu")
    except PackageNotFoundError:
        return "0+source"


def _tidy(run_dir: Path) -> None:
    """The checkpoint holds the optimiser's state: many times the adapter, and of no use once it is done."""
    for file in (run_dir / "checkpoints").glob("*"):
        file.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
