"""The paired bootstrap: against the textbook's formula, a plain resampling loop, and its own promise of 90 %."""

import math

import numpy as np
import pytest

from bot.learning.bootstrap import CELLS_MAX, LEVEL, RESAMPLES, paired_auroc, paired_mean
from knowledge.evaluate import auroc


def test_the_interval_of_a_mean_is_the_normal_one_where_there_is_much() -> None:
    rng = np.random.default_rng(1)
    before = rng.normal(0.5, 0.2, 4000)
    after = before + rng.normal(0.03, 0.3, 4000)
    found = paired_mean(before, after)
    width = 1.6449 * np.std(after - before) / math.sqrt(4000)
    assert found.difference == pytest.approx(np.mean(after) - np.mean(before), abs=1e-12)
    assert found.low == pytest.approx(found.difference - width, abs=0.1 * width)
    assert found.high == pytest.approx(found.difference + width, abs=0.1 * width)


def test_the_same_data_give_the_same_interval_and_nothing_changed_gives_none() -> None:
    values = [1.0, 0.0, 1.0, 1.0, 0.0] * 8
    assert paired_mean(values, values) == paired_mean(values, values)
    found = paired_mean(values, values)
    assert (found.difference, found.low, found.high) == (0, 0, 0)
    one = paired_mean([0.0], [1.0])
    assert (one.difference, one.low, one.high) == (1, 1, 1)


def test_it_covers_the_truth_about_as_often_as_it_says() -> None:
    """600 small companies of 60 questions whose true gain is 0.1: the interval misses it about one time in ten."""
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(600):
        change = rng.choice([1.0, -1.0, 0.0], size=60, p=[0.2, 0.1, 0.7])
        found = paired_mean(np.zeros(60), change)
        held += found.low <= 0.1 <= found.high
    assert held / 600 == pytest.approx(LEVEL, abs=0.03)


def test_the_auroc_of_every_resample_is_that_of_the_resampled_questions() -> None:
    rng = np.random.default_rng(3)
    sides = [rng.normal(mean, 1, n).round(1) for mean, n in ((1, 40), (0, 25), (1.5, 40), (0, 25))]
    found = paired_auroc(*sides)
    assert found.before == pytest.approx(auroc(list(sides[0]), list(sides[1])))
    assert found.after == pytest.approx(auroc(list(sides[2]), list(sides[3])))
    differences = []
    for _ in range(RESAMPLES):
        inside, outside = rng.integers(0, 40, 40), rng.integers(0, 25, 25)
        old, new = (
            auroc(list(sides[0][inside]), list(sides[1][outside])),
            auroc(list(sides[2][inside]), list(sides[3][outside])),
        )
        differences.append(new - old)
    low, high = np.quantile(differences, [0.05, 0.95])
    assert found.low == pytest.approx(low, abs=0.02)
    assert found.high == pytest.approx(high, abs=0.02)


def test_more_questions_than_are_drawn_at_once() -> None:
    count = 3 * CELLS_MAX // RESAMPLES
    found = paired_mean(np.zeros(count), np.tile([1.0, 0.0], count // 2))
    assert found.low == pytest.approx(0.5 - 1.6449 * 0.5 / math.sqrt(count), abs=0.001)
