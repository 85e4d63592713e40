"""Approximate nearest neighbours for very many unit vectors: an inverted file over a scalar quantiser, on FAISS.

Vectors are grouped around centroids found by spherical k-means, and a query looks into the lists of the nearest ones
(Sivic & Zisserman, Video Google, 2003). In a list, what is left of a vector after its centroid is kept in four bits a
dimension: enough to choose candidates, which the caller compares exactly. Measured: docs/benchmarks.md.
"""

import math
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from knowledge.segments import Ids
from knowledge.types import Vectors

# Lists: this many times the square root of the rows. A query looks into as many as hold about so many rows.
LISTS_PER_ROOT = 4
ROWS_PROBED = 4000
SAMPLE_PER_LIST = 32
ROUNDS = 6
BLOCK = 8192


class StoppedError(Exception):
    """The work was told to end."""


def build(ids: Ids, vectors_of: Callable[[Ids], Vectors], stop: Event) -> Any:
    """A FAISS index of these rows; takes minutes for a million. One core, in blocks of less than a second.

    Raises StoppedError soon after `stop` is set.
    """
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # of this thread alone: the other cores are the customers'
    try:
        lists = max(1, min(LISTS_PER_ROOT * math.isqrt(len(ids)), len(ids)))
        picked = np.random.default_rng(0).choice(ids, min(len(ids), lists * SAMPLE_PER_LIST), replace=False)
        picked.sort()
        sample = np.concatenate([vectors_of(part) for part in _blocks(picked)])
        centroids = _centroids(sample, lists, stop)
        quantizer = faiss.IndexFlatIP(centroids.shape[1])
        quantizer.add(centroids)
        made = faiss.IndexIVFScalarQuantizer(
            quantizer, centroids.shape[1], lists, faiss.ScalarQuantizer.QT_4bit, faiss.METRIC_INNER_PRODUCT
        )
        made.nprobe = math.ceil(ROWS_PROBED * lists / len(ids))
        made.train(sample)
        for part in _blocks(ids):
            if stop.is_set():
                raise StoppedError
            made.add_with_ids(vectors_of(part), part)
        return made
    finally:
        faiss.omp_set_num_threads(threads)


def rows_trained_on(index: Any) -> int:
    """About how many rows an index was built for."""
    return int((index.nlist / LISTS_PER_ROOT) ** 2)


def write(index: Any, path: Path) -> None:
    """Raises RuntimeError where the disk has no room."""
    import faiss

    faiss.write_index(index, str(path))


def read(path: Path, dimension: int) -> Any:
    """An index that `write` wrote. Raises ValueError where the file holds none of this kind and dimension."""
    import faiss

    try:
        found = faiss.read_index(str(path))
    except RuntimeError as error:
        raise ValueError(str(error).splitlines()[0]) from error
    if not isinstance(found, faiss.IndexIVFScalarQuantizer) or found.d != dimension:
        raise ValueError(f"an index of the kind {type(found).__name__} and dimension {found.d}")
    return found


def ids_of(index: Any) -> Ids:
    """The ids of all rows in an index, in no order."""
    import faiss

    found = [np.empty(0, dtype=np.int64)]
    for number in range(index.nlist):
        size = index.invlists.list_size(number)
        if size:
            found.append(faiss.rev_swig_ptr(index.invlists.get_ids(number), size).copy())
    return np.concatenate(found)


def _centroids(sample: Vectors, count: int, stop: Event) -> Vectors:
    """Lloyd's rounds on the sphere; a list that stays empty gets a vector of the sample for a centre."""
    import faiss

    random = np.random.default_rng(1)
    centroids = sample[random.choice(len(sample), count, replace=False)]
    for _ in range(ROUNDS):
        nearest = faiss.IndexFlatIP(sample.shape[1])
        nearest.add(centroids)
        sums, sizes = np.zeros_like(centroids), np.zeros(count, dtype=np.int64)
        for start in range(0, len(sample), BLOCK):
            if stop.is_set():
                raise StoppedError
            part = sample[start : start + BLOCK]
            lists = nearest.search(part, 1)[1][:, 0]
            order = np.argsort(lists, kind="stable")
            found, first = np.unique(lists[order], return_index=True)
            sums[found] += np.add.reduceat(part[order], first)
            sizes += np.bincount(lists, minlength=count)
        empty = np.flatnonzero(sizes == 0)
        sums[empty] = sample[random.choice(len(sample), len(empty))]
        centroids = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return np.ascontiguousarray(centroids, dtype=np.float32)


def _blocks(ids: Ids) -> list[Ids]:
    return [ids[start : start + BLOCK] for start in range(0, len(ids), BLOCK)]
