"""A search while other processes have the processor: `python -m tests.benchmarks.busy`

A thousand entries under random vectors, so that nothing but the search is measured: first with the cores free, then
with a process a core that only counts. A fair share of the cores would make a search take twice as long.
"""

import hashlib
import multiprocessing
import os
import time
from collections.abc import Sequence

import numpy as np

from knowledge.index import Index
from knowledge.types import Entry, ProgressCallback, TextKind, Vectors

ENTRIES, SEARCHES = 1000, 300


class Random:
    """Each text has a random unit vector of its own."""

    id, dimension = "random", 384

    def encode(
        self, texts: Sequence[str], kind: TextKind = "query", on_progress: ProgressCallback | None = None
    ) -> Vectors:
        seeds = (int.from_bytes(hashlib.sha256(f"{kind}{text}".encode()).digest()[:8]) for text in texts)
        found = np.stack([np.random.default_rng(seed).standard_normal(self.dimension) for seed in seeds])
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def count() -> None:
    while True:
        pass


def measure(index: Index) -> tuple[float, float]:
    """Milliseconds of a search by the clock, and of processor time."""
    clock, used = time.perf_counter(), time.process_time()
    for number in range(SEARCHES):
        index.search(f"第 {number} 个怎么弄")
    return (time.perf_counter() - clock) * 1000 / SEARCHES, (time.process_time() - used) * 1000 / SEARCHES


def main() -> None:
    index = Index.open(None, Random())
    index.synchronise(Entry(str(number), f"第 {number} 个怎么办") for number in range(ENTRIES))
    measure(index)
    free = measure(index)
    others = [multiprocessing.get_context("spawn").Process(target=count) for _ in range(os.cpu_count() or 1)]
    for other in others:
        other.start()
    try:
        time.sleep(1)
        busy = measure(index)
    finally:
        for other in others:
            other.kill()
    print("| | by the clock | processor |\n| --- | --- | --- |")
    for name, (clock, used) in (("cores free", free), ("cores busy", busy)):
        print(f"| {name} | {clock:.2f} ms | {used:.2f} ms |")
    print(f"| busy ÷ free (2 is fair) | {busy[0] / free[0]:.1f} | {busy[1] / free[1]:.1f} |")


if __name__ == "__main__":
    main()
