"""How long looking for near-duplicates takes beside the bare matrix product. `make bench` prints the figures."""

import time
from collections.abc import Sequence

import numpy as np
import pytest

from knowledge.index import Index
from knowledge.types import Entry, ProgressCallback, TextKind, Vectors

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]
COUNT = 10_000


class Random:
    """Vectors of no meaning, at no cost: what is left is the time of the comparison."""

    id, dimension = "random", 384

    def encode(
        self, texts: Sequence[str], kind: TextKind = "query", on_progress: ProgressCallback | None = None
    ) -> Vectors:
        made = np.random.default_rng(0).standard_normal((len(texts), 384)).astype(np.float32)
        return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), dtype=np.float32)


def test_ten_thousand_rows_against_ten_thousand_entries(capsys: pytest.CaptureFixture[str]) -> None:
    index = Index.open(None, Random())
    index.synchronise([Entry(f"e{n}", f"问题 {n}", "x") for n in range(COUNT)])
    started = time.process_time()
    found = index.twins([Entry(f"n{n}", f"新问题 {n}") for n in range(COUNT)])
    seconds = time.process_time() - started
    vectors = Random().encode(["x"] * COUNT)
    started = time.process_time()
    _ = vectors @ vectors.T
    bare = time.process_time() - started
    with capsys.disabled():
        print(f"{COUNT} rows against {COUNT} entries: {seconds:.1f} s of CPU, {seconds / bare:.1f} × the bare product")
    assert len(found) == COUNT
