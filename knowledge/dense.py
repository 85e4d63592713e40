"""Exact nearest neighbours of unit vectors, on FAISS."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from knowledge.types import Vectors


class DenseIndex:
    """`IndexIDMap2` over `IndexFlatIP`: inner products of unit vectors, numbered by the caller. Not thread-safe."""

    def __init__(self, dimension: int) -> None:
        import faiss

        self.dimension = dimension
        self._index: Any = faiss.IndexIDMap2(faiss.IndexFlatIP(dimension))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, slots: Sequence[int], vectors: Vectors) -> None:
        """Add vectors, shape [len(slots), dimension], under numbers that are not in use."""
        if len(slots):
            self._index.add_with_ids(np.ascontiguousarray(vectors, dtype=np.float32), np.asarray(slots, dtype=np.int64))

    def remove(self, slots: Sequence[int]) -> None:
        """Take vectors away for good."""
        if len(slots):
            self._index.remove_ids(np.asarray(slots, dtype=np.int64))

    def search(self, vector: Vectors, count: int) -> tuple[NDArray[np.int64], Vectors]:
        """(slots, similarities) of the at most `count` nearest to a vector of shape [dimension], nearest first."""
        count = min(count, len(self))
        if count == 0:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        similarities, slots = self._index.search(vector.reshape(1, -1), count)
        return slots[0], similarities[0]

    def vectors(self, slots: Sequence[int]) -> Vectors:
        """The vectors under these numbers, shape [len(slots), dimension]. Raises RuntimeError for an unknown one."""
        found = np.empty((len(slots), self.dimension), dtype=np.float32)
        for row, slot in enumerate(slots):
            found[row] = self._index.reconstruct(int(slot))
        return found
