"""What a training will take, told before it learns anything: the largest of its batches is computed, and timed.

Nothing is learnt from it, and the random state is put back, so that the run is the same with a forecast and without.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from finetune import memory

if TYPE_CHECKING:
    from finetune.loop import Task
    from finetune.schedule import Plan

# What a run grows by after its largest batch, of either kind: oneDNN keeps what it set up for up to 1,024 shapes.
GROWTH_BYTES = 1_300_000_000


@dataclass(frozen=True, slots=True)
class Forecast:
    """`seconds` is what all `steps` take, with the measuring of the held-out part; a run that stops early takes less.
    `memory_bytes` is the most that the process will hold.
    """

    steps: int
    seconds: float
    memory_bytes: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def forecast(task: "Task", plan: "Plan", evaluation_seconds: float | None = None) -> Forecast:
    """Of a run that has not begun. `evaluation_seconds` is how long the held-out part takes, where that is known."""
    import torch

    random_state = torch.get_rng_state()
    ordering, (steps, _) = timed(lambda: [task.steps(epoch) for epoch in range(2)])
    batches = [batch for step in steps for batch in step]
    largest = max(batches, key=task.work)
    try:
        _rehearse(task, largest)  # what is set up once takes its time and memory here
        seconds, _ = timed(lambda: _rehearse(task, largest))
        if evaluation_seconds is None and plan.evaluate_steps:
            with torch.inference_mode():
                evaluation_seconds, _ = timed(task.evaluate)
    finally:
        torch.set_rng_state(random_state)
    work = sum(map(task.work, batches)) * plan.steps / len(steps)
    epochs = math.ceil(plan.steps / len(steps))
    evaluations = math.ceil(plan.steps / plan.evaluate_steps) if plan.evaluate_steps else 0
    whole = seconds * work / task.work(largest) + ordering / 2 * epochs + evaluations * (evaluation_seconds or 0.0)
    return Forecast(plan.steps, round(whole, 1), memory.peak() + GROWTH_BYTES)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """(seconds it took, what it returned)."""
    started = time.monotonic()
    found = work()
    return time.monotonic() - started, found


def _rehearse(task: "Task", batch: Any) -> None:
    task.loss(batch).backward()  # type: ignore[no-untyped-call]
    task.model.zero_grad(set_to_none=True)
