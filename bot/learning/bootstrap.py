"""Is a difference more than chance? Two models answer the same questions; the questions are drawn again and again.

The paired bootstrap: Efron & Tibshirani 1993, "An Introduction to the Bootstrap", chapters 13 and 16; as a test of two
systems on one test set Koehn 2004, "Statistical Significance Tests for Machine Translation Evaluation",
https://aclanthology.org/W04-3250. The unit drawn is the question, with both models' answers to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RESAMPLES = 2000
SEED = 20260101
# Between these a difference lies by chance alone in nine of ten cases: 5 % on either side, Koehn's p.
LEVEL = 0.90
CELLS_MAX = 20_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """Two models' figures, the difference (after minus before) and the interval it lies in at `LEVEL`."""

    before: float
    after: float
    difference: float
    low: float
    high: float


def paired_mean(before: Sequence[float], after: Sequence[float]) -> Interval:
    """Of one value a question for each model, in the same order (n ≥ 1): the difference of their means."""
    import numpy as np

    old, new = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    change = new - old
    means = np.concatenate([weights @ change / len(change) for weights in _weights(len(change))])
    return _interval(float(old.mean()), float(new.mean()), means)


def paired_auroc(
    inside_before: Sequence[float],
    outside_before: Sequence[float],
    inside_after: Sequence[float],
    outside_after: Sequence[float],
) -> Interval:
    """Of the models' scores of the same in-scope and the same out-of-scope questions: the difference of the AUROCs.

    In-scope and out-of-scope questions are drawn apart, so that their numbers stay what they are.
    """
    import numpy as np

    before, after = _wins(inside_before, outside_before), _wins(inside_after, outside_after)
    change = after - before
    rows, columns = change.shape
    found = [
        np.einsum("bi,bi->b", own @ change, other) / (rows * columns)
        for own, other in zip(_weights(rows, columns), _weights(columns, rows, 1), strict=True)
    ]
    return _interval(float(before.mean()), float(after.mean()), np.concatenate(found))


def _wins(inside: Sequence[float], outside: Sequence[float]) -> "Floats":
    """[in scope, out of scope]: 1 where the first scores higher, 1/2 for a tie."""
    import numpy as np

    left, right = np.asarray(inside, dtype=np.float64)[:, None], np.asarray(outside, dtype=np.float64)[None, :]
    wins: Floats = (left > right) + 0.5 * (left == right)
    return wins


def _weights(n: int, beside: int = 0, stream: int = 0) -> "list[Floats]":
    """How often each of n questions is drawn, [resamples, n], in parts that fit into memory (with `beside` others)."""
    import numpy as np

    rng = np.random.default_rng((SEED, stream))
    part = max(1, min(RESAMPLES, CELLS_MAX // max(1, n, beside)))
    sizes = [min(part, RESAMPLES - start) for start in range(0, RESAMPLES, part)]
    return [rng.multinomial(n, np.full(n, 1 / n), size=size).astype(np.float64) for size in sizes]


def _interval(before: float, after: float, differences: "Floats") -> Interval:
    import numpy as np

    low, high = np.quantile(differences, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(before, after, after - before, float(low), float(high))
