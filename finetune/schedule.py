"""How a training goes on: its plan, the learning rate of each step, batches of similar length, speed."""

import math
import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Plan:
    """How a run goes. Steps are optimiser steps; `evaluate_steps` 0 means there is nothing held out."""

    steps: int
    learning_rate: float
    evaluate_steps: int = 0
    patience: int = 3
    higher_is_better: bool = True
    warmup_share: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    checkpoint_seconds: float = 30.0
    seed: int = 20260101


def learning_rate_at(step: int, plan: Plan) -> float:
    """The rate of step `step` (from 0): linear warm-up, then half a cosine down to a tenth of the peak.

    Source: Loshchilov & Hutter, "SGDR", https://arxiv.org/abs/1608.03983 (without restarts).
    """
    warmup = max(1, round(plan.steps * plan.warmup_share))
    if step < warmup:
        return plan.learning_rate * (step + 1) / warmup
    through = (step - warmup) / max(1, plan.steps - warmup)
    return plan.learning_rate * (0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, through))))


def bucketed(lengths: Sequence[int], batch_size: int, rng: random.Random, window: int = 8) -> list[list[int]]:
    """Positions in random batches of similar length: shuffled, then sorted by length within `window` batches."""
    order = list(range(len(lengths)))
    rng.shuffle(order)
    batches = []
    for start in range(0, len(order), batch_size * window):
        part = sorted(order[start : start + batch_size * window], key=lambda position: lengths[position])
        batches += [part[i : i + batch_size] for i in range(0, len(part), batch_size)]
    rng.shuffle(batches)
    return batches


@dataclass(slots=True)
class Speed:
    """How fast the last steps went."""

    window: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=30))

    def add(self, units: int) -> None:
        self.window.append((time.monotonic(), units))

    def per_second(self, position: int) -> float:
        """Units (position 1) or steps (position 0) a second."""
        if len(self.window) < 2:
            return 0.0
        elapsed = self.window[-1][0] - self.window[0][0]
        done = sum(units for _, units in list(self.window)[1:]) if position else len(self.window) - 1
        return done / elapsed if elapsed > 0 else 0.0
