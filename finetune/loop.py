"""The one training loop: schedule, accumulation, early stopping, progress, and checkpoints that survive a power cut.

A run that is killed at any step and resumed sees the same batches in the same order with the same random state, so on
the CPU (same thread count) it ends with the same weights as one that was never interrupted.
"""

import io
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from finetune.atomic import write_bytes, write_failed, write_lines
from finetune.data import read_jsonl
from finetune.errors import FinetuneError
from finetune.forecast import Forecast, forecast, timed
from finetune.schedule import Plan, Speed, learning_rate_at

if TYPE_CHECKING:
    import torch

CHECKPOINT = "last.pt"


@dataclass(frozen=True, slots=True)
class Progress:
    """One step's report. `rate` is `unit`s a second over the last steps; `heldout` only where it was just measured."""

    step: int
    total: int
    loss: float
    rate: float
    unit: str
    eta_seconds: float
    learning_rate: float
    heldout: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. `best` is the held-out metric of the weights the model now has, None without held-out part."""

    steps: int
    best_step: int
    best: float | None
    before: float | None
    early: bool
    seconds: float


class TrainingStopped(FinetuneError):  # noqa: N818 - what happened, asked for; no error
    """The run was asked to stop; its checkpoint is written and it can be resumed."""

    def __init__(self, step: int) -> None:
        self.step = step
        super().__init__(
            "training_stopped",
            f"训练已停在第 {step} 步，进度已保存，可以继续。",
            f"Training stopped after step {step}; it is saved and can be resumed.",
        )


class Task(Protocol):
    """What is trained. A batch is whatever `loss` takes; a step is a list of batches whose gradients are added up.

    The model is in evaluation mode throughout: there is no dropout to switch.
    """

    unit: str

    @property
    def model(self) -> "torch.nn.Module": ...

    def steps(self, epoch: int) -> Sequence[Sequence[Any]]:
        """The epoch's steps, the same for the same seed, epoch and `state`."""
        ...

    def size(self, batch: Any) -> int:
        """The batch's share in its step's mean (labelled tokens, pairs)."""
        ...

    def units(self, batch: Any) -> int:
        """What the speed counts."""
        ...

    def work(self, batch: Any) -> int:
        """What the batch's time and memory grow with: the tokens that are computed."""
        ...

    def loss(self, batch: Any) -> "torch.Tensor": ...

    def evaluate(self) -> float:
        """The held-out metric of the model as it is."""
        ...

    def state(self) -> dict[str, Any]:
        """What `steps` depends on besides seed and epoch; plain values."""
        ...

    def load_state(self, state: dict[str, Any]) -> None: ...


@dataclass(slots=True)
class _Position:
    step: int = 0
    epoch: int = 0
    index: int = 0
    best: float | None = None
    best_step: int = 0
    before: float | None = None
    bad: int = 0
    done: bool = False
    early: bool = False
    seconds: float = 0.0


def train(
    task: Task,
    plan: Plan,
    run_dir: Path,
    fingerprint: str,
    on_progress: Callable[[Progress], None],
    should_stop: Callable[[], bool],
    on_forecast: Callable[[Forecast], None] | None = None,
) -> Outcome:
    """Runs, or resumes, the plan; at the end the model has its best weights. `on_forecast` hears what a run that begins
    will take, before its first step.

    Keeps `checkpoints/last.pt` and `progress.jsonl` in `run_dir`. `fingerprint` names data and configuration: a
    checkpoint of another one is refused.

    Raises:
        TrainingStopped: `should_stop` said so; the checkpoint is written.
        FinetuneError: the disk is full (earlier checkpoint kept), the loss is not a number, or a foreign checkpoint.
    """
    return _Run(task, plan, run_dir, fingerprint, on_progress, should_stop).go(on_forecast)


class _Run:
    def __init__(
        self,
        task: Task,
        plan: Plan,
        run_dir: Path,
        fingerprint: str,
        on_progress: Callable[[Progress], None],
        should_stop: Callable[[], bool],
    ) -> None:
        import torch

        self.task, self.plan, self.fingerprint = task, plan, fingerprint
        self.on_progress, self.should_stop = on_progress, should_stop
        self.folder = run_dir / "checkpoints"
        self.progress_file = run_dir / "progress.jsonl"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.weights = {name: p for name, p in task.model.named_parameters() if p.requires_grad}
        self.optimizer = torch.optim.AdamW(
            self.weights.values(), lr=plan.learning_rate, weight_decay=plan.weight_decay, betas=(0.9, 0.98)
        )
        self.at = _Position()
        self.best_weights: dict[str, Any] = {}
        self.speed = Speed()
        self.saved_at = self.started_at = time.monotonic()

    def go(self, on_forecast: Callable[[Forecast], None] | None = None) -> Outcome:
        import torch

        torch.manual_seed(self.plan.seed)
        if (self.folder / CHECKPOINT).exists():
            self._restore()
        else:
            self._begin(on_forecast)
        while not self.at.done:
            steps = self.task.steps(self.at.epoch)
            while self.at.index < len(steps) and not self.at.done:
                if self.should_stop():
                    self._save()
                    raise TrainingStopped(self.at.step)
                self._step(steps[self.at.index])
            if not self.at.done:
                self.at.epoch, self.at.index = self.at.epoch + 1, 0
        if self.best_weights:
            self._put(self.best_weights)
        at = self.at
        return Outcome(at.step, at.best_step or at.step, at.best, at.before, at.early, at.seconds)

    def _begin(self, on_forecast: Callable[[Forecast], None] | None) -> None:
        seconds = None
        if self.plan.evaluate_steps:
            seconds, self.at.before = timed(self._measure)
        if on_forecast:
            on_forecast(forecast(self.task, self.plan, seconds))

    def _step(self, batches: Sequence[Any]) -> None:
        loss = self._update(batches)
        at, plan = self.at, self.plan
        at.step, at.index = at.step + 1, at.index + 1
        self.speed.add(sum(self.task.units(batch) for batch in batches))
        last = at.step >= plan.steps
        heldout = None
        if plan.evaluate_steps and (last or at.step % plan.evaluate_steps == 0):
            heldout = self._measure()
            self._judge(heldout)
        at.done = at.done or last
        steps_per_second = self.speed.per_second(0)
        report = Progress(
            step=at.step,
            total=plan.steps,
            loss=round(loss, 4),
            rate=round(self.speed.per_second(1), 1),
            unit=self.task.unit,
            eta_seconds=round((plan.steps - at.step) / steps_per_second, 1) if steps_per_second else 0.0,
            learning_rate=learning_rate_at(at.step - 1, plan),
            heldout=None if heldout is None else round(heldout, 4),
        )
        self._note(report)
        if at.done or time.monotonic() - self.saved_at >= plan.checkpoint_seconds:
            self._save()
        self.on_progress(report)

    def _update(self, batches: Sequence[Any]) -> float:
        """One optimiser step; returns the mean loss over its batches."""
        import torch

        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(self.at.step, self.plan)
        whole = sum(self.task.size(batch) for batch in batches)
        total = 0.0
        for batch in batches:
            loss = self.task.loss(batch) * (self.task.size(batch) / whole)
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        if not math.isfinite(total):
            raise FinetuneError(
                "training_diverged",
                f"第 {self.at.step + 1} 步的损失不是有限的数（{total}），训练已停止。请调低学习率后重试。",
                f"The loss of step {self.at.step + 1} is {total}; training stopped. Try a lower learning rate.",
            )
        torch.nn.utils.clip_grad_norm_(self.weights.values(), self.plan.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return total

    def _measure(self) -> float:
        import torch

        with torch.inference_mode():
            return self.task.evaluate()

    def _judge(self, heldout: float) -> None:
        """Keeps the weights where they are the best so far; ends the run after `patience` measurements without gain."""
        at = self.at
        better = at.best is None or (heldout > at.best if self.plan.higher_is_better else heldout < at.best)
        if better:
            at.best, at.best_step, at.bad = heldout, at.step, 0
            self.best_weights = {name: p.detach().clone() for name, p in self.weights.items()}
        else:
            at.bad += 1
            at.early = at.done = at.bad >= self.plan.patience

    def _note(self, report: Progress) -> None:
        try:
            with self.progress_file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(report.to_json()) + "\n")
        except OSError as error:
            raise write_failed(self.progress_file, error) from error

    def _put(self, weights: dict[str, Any]) -> None:
        import torch

        with torch.no_grad():
            for name, parameter in self.weights.items():
                parameter.copy_(weights[name])

    def _save(self) -> None:
        import torch

        now = time.monotonic()
        self.at.seconds += now - self.started_at
        self.started_at = self.saved_at = now
        buffer = io.BytesIO()
        torch.save(
            {
                "fingerprint": self.fingerprint,
                "position": asdict(self.at),
                "weights": {name: p.detach() for name, p in self.weights.items()},
                "best_weights": self.best_weights,
                "optimizer": self.optimizer.state_dict(),
                "rng": torch.get_rng_state(),
                "task": self.task.state(),
            },
            buffer,
        )
        write_bytes(self.folder / CHECKPOINT, buffer.getvalue())

    def _restore(self) -> None:
        import torch

        saved = torch.load(self.folder / CHECKPOINT, weights_only=True)
        if saved["fingerprint"] != self.fingerprint:
            raise FinetuneError(
                "checkpoint_foreign",
                "检查点来自另一份数据或另一组参数，不能继续；请重新开始训练。",
                "The checkpoint is of other data or another configuration and cannot be resumed; start a new run.",
            )
        self.at = _Position(**saved["position"])
        self._put(saved["weights"])
        self.best_weights = saved["best_weights"]
        self.optimizer.load_state_dict(saved["optimizer"])
        torch.set_rng_state(saved["rng"])
        self.task.load_state(saved["task"])
        if self.progress_file.exists():
            write_lines(self.progress_file, [r for r in _whole_lines(self.progress_file) if r["step"] <= self.at.step])


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    try:
        return read_jsonl(path)
    except ValueError:  # the power went in the middle of the last line
        whole = path.read_bytes().rpartition(b"\n")[0] + b"\n"
        write_bytes(path, whole)
        return read_jsonl(path)
