"""Small shops whose entries differ by a word: near misses and bare words are not answered, nor taken for duplicates."""

from collections import Counter

import pytest

from tests.benchmarks.shops import HELD_OUT, TUNED, score, shops


@pytest.fixture(scope="module", params=[TUNED, HELD_OUT], ids=["tuned", "held out"])
def counts(request, encoder) -> Counter[str]:
    return score(encoder, shops(request.param))


def share(counts: Counter[str], kind: str, outcome: str) -> float:
    return counts[f"{kind} {outcome}"] / sum(n for key, n in counts.items() if key.startswith(f"{kind} "))


def test_what_differs_by_a_word_is_seldom_answered(counts):
    assert share(counts, "near", "answer") <= 0.15
    assert share(counts, "asked", "wrong") <= 0.03
    assert share(counts, "asked", "none") <= 0.60


def test_a_word_that_several_entries_have_is_asked_back(counts):
    assert share(counts, "unclear", "answer") <= 0.10
    assert share(counts, "unclear", "clarify") >= 0.70


def test_the_same_question_is_called_so_and_a_neighbour_is_not(counts):
    flagged = counts["twin flagged"]
    wrong = counts["twin flagged wrongly"] + counts["other flagged wrongly"]
    assert flagged / (flagged + wrong) >= 0.80
    assert share(counts, "twin", "flagged") >= 0.70
