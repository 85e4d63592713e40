import threading
from collections.abc import Sequence

from bot.expected import AT_ONCE, Expected


def test_what_comes_while_a_batch_runs_is_the_next_one() -> None:
    batches: list[list[str]] = []
    begun, go, done = threading.Event(), threading.Event(), threading.Event()

    def encode(queries: Sequence[str]) -> None:
        batches.append(list(queries))
        begun.set()
        assert go.wait(10)
        if sum(map(len, batches)) == AT_ONCE + 3:
            done.set()

    expected = Expected(encode)
    expected.add("0")
    assert begun.wait(10)
    for n in range(1, AT_ONCE + 3):
        expected.add(str(n))
    go.set()
    assert done.wait(10)
    expected.close()
    assert [len(batch) for batch in batches] == [1, AT_ONCE, 2]
    assert [query for batch in batches for query in batch] == [str(n) for n in range(AT_ONCE + 3)]


def test_a_failure_does_not_end_it() -> None:
    done = threading.Event()

    def encode(queries: Sequence[str]) -> None:
        if "bad" in queries:
            raise ValueError("bad")
        done.set()

    expected = Expected(encode)
    expected.add("bad")
    while not done.wait(0.05):  # what comes in the same batch fails with it
        expected.add("good")
    expected.close()
