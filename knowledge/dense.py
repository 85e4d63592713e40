"""Nearest neighbours of unit vectors, on FAISS: all compared while they are few, an inverted file beyond that."""

from contextlib import AbstractContextManager
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from knowledge import ann
from knowledge.segments import Ids
from knowledge.store import Store
from knowledge.types import Vectors

Flags = NDArray[np.bool_]
# Up to here all vectors are compared: 2 ms on one core of the machine of docs/benchmarks.md.
EXACT_MAX = 20_000
ADDED_AT_ONCE = 1024


class DenseIndex:
    """The rows of a store that are in use for something, numbered by their row ids. Not thread-safe, but see `rebuild`.

    What the FAISS index below holds and what is in use are kept apart: a bitmap says what a search may find, so that a
    removal counts at once and the index itself is only ever added to, until it is built anew.
    """

    def __init__(self, store: Store) -> None:
        self._store, self._exact_max = store, EXACT_MAX
        self._dimension = store.dimension
        self._members = np.zeros(1024, dtype=np.uint8)  # a bit a row id
        self._held = np.zeros(8 * 1024, dtype=np.bool_)  # by row id, whether the index has it, in use or not
        self._count = 0
        self._index: Any = _exact(self._dimension)
        self._selector = _selector(self._members)
        self._saved_rows = 0

    def __len__(self) -> int:
        return self._count

    @property
    def is_exact(self) -> bool:
        """Whether every vector is compared."""
        return not hasattr(self._index, "nprobe")

    def add(self, ids: Ids) -> None:
        """Take rows of the store into use that are not."""
        if not len(ids):
            return
        self._reach(int(ids.max()))
        new = ids[~self._held[ids]]
        if len(new):
            self._index.add_with_ids(self._store.view.vectors(new), new)
            self._held[new] = True
        np.bitwise_or.at(self._members, ids >> 3, (1 << (ids & 7)).astype(np.uint8))
        self._count += len(ids)

    def remove(self, ids: Ids) -> None:
        """Take rows out of use."""
        if len(ids):
            np.bitwise_and.at(self._members, ids >> 3, ~(1 << (ids & 7)).astype(np.uint8))
            self._count -= len(ids)

    def search(self, vector: Vectors, count: int) -> Ids:
        """The ids of the at most `count` nearest rows in use to a vector of shape [dimension], nearest first."""
        count = min(count, len(self))
        if count == 0:
            return np.empty(0, dtype=np.int64)
        params = None
        if not self.is_exact:
            params = _faiss().SearchParametersIVF(sel=self._selector, nprobe=self._index.nprobe)
        elif self._index.ntotal > self._count:
            params = _faiss().SearchParameters(sel=self._selector)
        # One query is compared by one thread anyway; a team of them would only wait for each other, and where other
        # processes have the cores, spin for milliseconds. The number is the calling thread's own.
        _faiss().omp_set_num_threads(1)
        _, found = self._index.search(vector.reshape(1, -1), count, params=params)
        ids: Ids = found[0][found[0] >= 0]
        return ids

    @property
    def is_outgrown(self) -> bool:
        """Whether it should be rebuilt: of the wrong kind for its size, or what it holds has doubled or died."""
        if self._index.ntotal > 2 * self._count + ADDED_AT_ONCE:
            return True
        if self.is_exact:
            return self._count > self._exact_max
        return self._count < self._exact_max / 2 or self._count > 2 * ann.rows_trained_on(self._index)

    def rebuild(self, lock: AbstractContextManager[Any], stop: Event) -> None:
        """Build what suits the size now, beside what is searched meanwhile, and put it in its place; blocking.

        `lock` guards every other call of this object and is held for moments only. Raises `ann.StoppedError` soon after
        `stop` is set; everything is as before then.
        """
        with lock:
            ids, view = self._ids(), self._store.view
        if len(ids) > self._exact_max:
            made = ann.build(ids, view.vectors, stop)
        else:
            made = _exact(self._dimension)
            made.add_with_ids(view.vectors(ids), ids)
        held = _reached(np.zeros(0, dtype=np.bool_), int(ids.max(initial=0)))
        held[ids] = True
        while True:
            with lock:
                now, view = self._ids(), self._store.view
                held = _reached(held, int(now.max(initial=0)))
                new = now[~held[now]]
                held[new] = True
                if len(new) <= ADDED_AT_ONCE:
                    made.add_with_ids(view.vectors(new), new)
                    self._index, self._held, self._saved_rows = made, _reached(held, len(self._held) - 1), 0
                    return
            made.add_with_ids(view.vectors(new), new)

    @property
    def is_worth_saving(self) -> bool:
        """Whether starting from the saved index would mean adding much again."""
        return not self.is_exact and self._index.ntotal > 1.1 * self._saved_rows

    def write(self, path: Path) -> None:
        """Save the index; not what is in use. Raises RuntimeError where the disk has no room."""
        index = self._index
        ann.write(index, path)
        if index is self._index:
            self._saved_rows = index.ntotal

    def read(self, path: Path) -> None:
        """Take a saved index, of which nothing is in use yet. Raises ValueError where the file cannot be used."""
        self._index = ann.read(path, self._dimension)
        ids = ann.ids_of(self._index)
        self._reach(int(ids.max(initial=0)))
        self._held[ids] = True
        self._saved_rows = self._index.ntotal

    def _ids(self) -> Ids:
        return np.flatnonzero(np.unpackbits(self._members, bitorder="little")).astype(np.int64)

    def _reach(self, last: int) -> None:
        self._held = _reached(self._held, last)
        if last >= 8 * len(self._members):
            bits = np.zeros(max(last // 8 + 1, 2 * len(self._members)), dtype=np.uint8)
            bits[: len(self._members)] = self._members
            self._members, self._selector = bits, _selector(bits)


def _exact(dimension: int) -> Any:
    """Every stored value is compared as it is; half the memory traffic of float32."""
    faiss = _faiss()
    return faiss.IndexIDMap(
        faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    )


def _selector(bits: NDArray[np.uint8]) -> Any:
    """Of the ids whose bit is set, now and whenever it is looked at."""
    return _faiss().IDSelectorBitmap(bits)


def _faiss() -> Any:
    """Without types: its own do not know the keyword arguments and arrays it takes."""
    import faiss

    return faiss


def _reached(flags: Flags, last: int) -> Flags:
    if last < len(flags):
        return flags
    grown = np.zeros(max(last + 1, 2 * len(flags)), dtype=np.bool_)
    grown[: len(flags)] = flags
    return grown
