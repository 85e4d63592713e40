"""Answers encoded ahead of being compared: none is encoded twice, none outlives its entry."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from knowledge import answers
from knowledge.answers import Answers, beginning
from knowledge.encoders import TransformerEncoder
from knowledge.index import Index
from knowledge.types import Entry
from tests.knowledge.test_index import Counting


def ahead(index: Index) -> None:
    for _ in range(100):
        if not index.encode_ahead():
            return
    raise AssertionError("it never ends")


def compared(index: Index, entries: list[Entry]) -> list[float]:
    return index.alike("多少钱", [beginning(one) for one in entries], "passage")


def test_what_is_encoded_ahead_is_compared_without_encoding_it(
    encoder: TransformerEncoder, shop: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("knowledge.contents.ANSWERS_PER_STEP", 2)
    counting = Counting(encoder)
    index = Index.open(None, counting)
    index.synchronise(shop)
    expected = compared(index, shop)
    ahead(index)
    counting.count = 0
    assert compared(index, shop) == pytest.approx(expected, abs=0.005)
    assert counting.count == 1, "the words themselves"
    assert index.alike("多少钱", [one.question for one in shop], "query")[0] > 0
    assert counting.count == 2


def test_it_is_kept_over_a_restart_and_follows_what_is_written(
    encoder: TransformerEncoder, shop: list[Entry], tmp_path: Path
) -> None:
    index = Index.open(tmp_path, encoder)
    index.synchronise(shop)
    ahead(index)
    index.save()
    index.close()
    counting = Counting(encoder)
    again = Index.open(tmp_path, counting)
    again.synchronise(shop)
    assert (again.encode_ahead(), counting.count) == (0, 0)
    other = replace(shop[0], answer="满三百元包邮，别的都不包。")
    again.change([other], [shop[1].id])
    ahead(again)
    assert counting.count == 1
    (known,) = compared(again, [other])
    assert known == pytest.approx(compared(Index.open(None, encoder), [other])[0], abs=0.005)


def test_of_a_very_large_knowledge_base_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "ENTRIES_MAX", 3)
    found = Answers()
    found.hear(Entry(f"e{n}", "问", f"第 {n} 个回答") for n in range(5))
    assert found.waiting == 3
    found.forget(["e0"])
    assert list(found.hear([Entry("e9", "问", "答"), Entry("e8", "问", "答")])) == ["e9"]
    found.hear([Entry("e1", "问", "答", enabled=False)])
    assert list(found.some(9)) == ["e2", "e9"]
    found.give(found.some(9), np.array([7, -1]))
    assert (found.rows.tolist(), found.waiting) == ([7], 1)
    found.hear([Entry("e2", "问", "另一个回答")])
    assert found.rows.tolist() == [], "what it said before is not wanted any more"
