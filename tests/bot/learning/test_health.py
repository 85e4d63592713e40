"""When a model that was just switched to is taken back: figures alone."""

import pytest

from bot.learning.health import OBSERVED_MIN, REMEMBERED, Figures, Series, fault, figures

FAST = Figures(200, 0, 0.030)


def first_fault(seen, before=FAST, kind="encoder"):
    """What is found, and after how many observations."""
    series = Series()
    for number, one in enumerate(seen, 1):
        series.add(one)
        if cause := fault(kind, before, series):
            return cause, number
    return None, len(seen)


def test_a_sound_model_is_left_alone():
    assert first_fault([0.03 + 0.0001 * (n % 50) for n in range(400)]) == (None, 400)


def test_three_errors_at_once_are_enough():
    assert first_fault([None] * 5) == ("errors", 3)
    assert first_fault([0.03, None, 0.03, None, 0.03, 0.03, None]) == ("errors", 7)


def test_a_rare_error_is_no_reason():
    assert first_fault([None if n % 40 == 39 else 0.03 for n in range(REMEMBERED)])[0] is None


def test_what_failed_before_is_not_the_new_models_fault():
    before = Figures(100, 30, 0.03)
    assert first_fault([None if n % 3 == 0 else 0.03 for n in range(60)], before)[0] is None
    assert first_fault([None] * 20, before)[0] == "errors"


@pytest.mark.parametrize("before", [FAST, Figures()], ids=["measured before", "nothing known before"])
def test_slow_in_two_windows_is_too_slow(before):
    assert first_fault([1.2] * 100, before) == ("latency", 2 * OBSERVED_MIN)


def test_one_busy_moment_is_no_reason():
    busy = [1.5] * OBSERVED_MIN
    calm = [0.03] * OBSERVED_MIN
    assert first_fault(calm + busy + calm + busy + calm) == (None, 5 * OBSERVED_MIN)


def test_what_was_slow_before_may_be_as_slow():
    slow = Figures(200, 0, 2.0)
    assert first_fault([3.5] * 100, slow)[0] is None
    assert first_fault([4.5] * 100, slow)[0] == "latency"


def test_twice_as_slow_and_still_fast_is_no_reason():
    assert first_fault([0.2] * 100)[0] is None


def test_a_percentile_needs_observations():
    assert figures([0.1] * (OBSERVED_MIN - 1)).p95_seconds is None
    seen = figures([0.1] * 18 + [None, 9.0, 9.0])
    assert (seen.observed, seen.errors, seen.p95_seconds) == (21, 1, 9.0)
