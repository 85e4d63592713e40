import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from knowledge.batching import BATCH_MAX, Gathering


def row(text: str) -> np.ndarray:
    return np.array([len(text), ord(text[0])], dtype=np.float32)


def test_who_waits_while_one_runs_goes_into_the_next_batch() -> None:
    batches: list[list[str]] = []
    first, go = threading.Event(), threading.Event()

    def run(texts: Sequence[str]) -> np.ndarray:
        batches.append(list(texts))
        if len(batches) == 1:
            first.set()
            assert go.wait(10)
        return np.array([row(text) for text in texts])

    gathering = Gathering(run)
    texts = [chr(97 + i % 26) * (i + 1) for i in range(2 * BATCH_MAX + 2)]
    with ThreadPoolExecutor(len(texts)) as pool:
        head = pool.submit(gathering, [texts[0]])
        assert first.wait(10)
        rest = [pool.submit(gathering, [text]) for text in texts[1:]]
        while len(gathering._waiting) < len(rest):
            threading.Event().wait(0.001)
        go.set()
        found = [head.result(10)[0], *(one.result(10)[0] for one in rest)]
    np.testing.assert_array_equal(found, [row(text) for text in texts])
    assert [len(batch) for batch in batches] == [1, BATCH_MAX, BATCH_MAX, 1]


def test_a_failure_reaches_everyone_of_its_batch_and_the_next_go_on() -> None:
    def run(texts: Sequence[str]) -> np.ndarray:
        if "bad" in texts:
            raise ValueError("bad")
        return np.array([row(text) for text in texts])

    gathering = Gathering(run)
    with pytest.raises(ValueError, match="bad"):
        gathering(["bad"])
    np.testing.assert_array_equal(gathering(["good"]), [row("good")])


def test_many_threads_for_a_while_get_their_own_rows() -> None:
    gathering = Gathering(lambda texts: np.array([row(text) for text in texts]))
    with ThreadPoolExecutor(8) as pool:
        texts = [f"{chr(97 + i % 26)}{'x' * (i % 50)}" for i in range(2000)]
        np.testing.assert_array_equal(
            [pair[0] for pair in pool.map(gathering, ([text] for text in texts))], [row(text) for text in texts]
        )


def test_several_texts_of_a_call_are_one_batch_and_shared_with_who_asks_for_one_of_them() -> None:
    batches: list[list[str]] = []
    begun, go = threading.Event(), threading.Event()

    def run(texts: Sequence[str]) -> np.ndarray:
        batches.append(list(texts))
        begun.set()
        assert go.wait(10)
        return np.array([row(text) for text in texts])

    gathering = Gathering(run)
    with ThreadPoolExecutor(2) as pool:
        many = pool.submit(gathering, ["a", "bb", "a"])
        assert begun.wait(10)
        one = pool.submit(gathering, ["bb"])
        go.set()
        np.testing.assert_array_equal(many.result(10), [row("a"), row("bb"), row("a")])
        np.testing.assert_array_equal(one.result(10), [row("bb")])
    assert batches == [["a", "bb"]]
