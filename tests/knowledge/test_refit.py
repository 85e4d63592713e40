"""Refitting on a company's own labels: taken where it is surely better and keeps the promises, left otherwise."""

from dataclasses import replace

import numpy as np
import pytest

from knowledge.calibrate import PRIOR_RESULTS, shipped
from knowledge.rank import FEATURES
from knowledge.refit import DIRECT_WRONG_MAX, Case, refit

# Coverage of the query, a knowledge base of a middling size, and no word in the place of another.
REST = (0.5, 0.1, *(0.0,) * 7)


def cases(count: int, *, lift: float, seed: int = 3, outside: float = 0.2) -> list[Case]:
    """Questions whose top entry is right as often as the shipped calibration says with its log-odds `lift`ed."""
    random = np.random.default_rng(seed)
    truth = replace(shipped(), intercept=shipped().intercept + lift)
    found = []
    for i in range(count):
        inside = random.random() >= outside
        row = (random.normal(5 if inside else 2, 1.2), abs(random.normal(1.2, 0.8)), random.uniform(0.2, 0.9), 0.2,
               random.normal(4, 1), random.normal(1, 0.5), 0.0, *REST)  # fmt: skip
        assert len(row) == len(FEATURES)
        right = inside and random.random() < truth.probability(row)
        found.append(Case(tuple(map(float, row)), right, bool(inside), f"c{i // 2}"))
    return found


def test_shyness_is_cured_and_the_promise_kept() -> None:
    found = refit(cases(600, lift=2.5), shipped(), shipped())
    assert found.better
    assert found.after.log_loss < found.before.log_loss
    assert found.after.brier < found.before.brier
    assert found.after.direct_correct > found.before.direct_correct + 0.05
    assert found.after.direct_wrong <= DIRECT_WRONG_MAX
    assert found.calibration.answer_threshold == shipped().answer_threshold


def test_nothing_is_swapped_where_the_one_in_use_is_right() -> None:
    assert sum(refit(cases(300, lift=0.0, seed=seed, outside=0), shipped(), shipped()).better for seed in range(8)) <= 1


def test_few_labels_move_little() -> None:
    few, many = (refit(cases(count, lift=2.5), shipped(), shipped()).calibration for count in (40, 2000))
    row = (5.0, 1.2, 0.5, 0.2, 4.0, 1.0, 0.0, *REST)
    start = shipped().probability(row)
    assert start < few.probability(row) < many.probability(row)
    assert PRIOR_RESULTS / 5 > 40


def test_more_wrong_answers_than_promised_are_never_swapped_in() -> None:
    # Where nothing tells right from wrong but four in five are right, answering all is the likeliest fit.
    random = np.random.default_rng(5)
    row = (4.0, 0.5, 0.4, 0.1, 3.0, 0.8, 0.0, *REST)
    flat = [Case(row, right=random.random() < 0.8, inside=True, group=str(i)) for i in range(2000)]
    found = refit(flat, shipped(), shipped())
    assert found.after.brier < found.before.brier
    assert found.after.direct_wrong > DIRECT_WRONG_MAX
    assert not found.better


def test_a_conversation_is_not_in_the_fit_that_is_tested_on_it() -> None:
    # One conversation that is all there is: the rest of the folds is empty, so the prior itself is what is tested.
    alone = [replace(case, group="one") for case in cases(400, lift=2.5)]
    found = refit(alone, shipped(), shipped())
    assert found.after == found.before
    assert not found.better
    with pytest.raises(ValueError, match="no cases"):
        refit([], shipped(), shipped())
