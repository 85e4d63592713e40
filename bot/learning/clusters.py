"""Questions that mean the same, found one batch after another: each joins the nearest group, or founds its own.

Leader clustering (Hartigan 1975, ch. 3): a group is found by its central question as it was when the run began, so
that a run reads each vector once and keeps one vector a group, however many questions there are. The nearest is found
exactly, by one matrix product a batch: a graph or cells would cost more to build at each run than they save.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from knowledge.types import Vectors

# In deviations of the encoder's background (`knowledge.rank.Background`), and what that comes to at most. Shared words
# beside it gained nothing at the same purity (docs/benchmarks.md).
ALIKE = 4.5
SIMILARITY_MAX = 0.975


def threshold(mean: float, deviation: float) -> float:
    """The similarity from which two questions are taken for one, under an encoder of this background."""
    return min(mean + ALIKE * deviation, SIMILARITY_MAX)


class Clusters:
    """The groups by number, in the order they were added: `assign` gives each vector its group."""

    def __init__(self, dimension: int, alike: float) -> None:
        import faiss

        self._alike = alike
        self._leaders: Any = faiss.IndexFlatIP(dimension)

    def __len__(self) -> int:
        return int(self._leaders.ntotal)

    def add(self, vectors: Vectors) -> None:
        """Groups that are known already; unit vectors, shape [count, dimension]."""
        if len(vectors):
            self._leaders.add(np.ascontiguousarray(vectors, dtype=np.float32))

    def assign(self, vectors: Vectors) -> list[int]:
        """The number of each vector's group; a number that did not exist before is a new group, founded by it.

        Blocking, for a thread: each vector is compared with all that founded a group before it.
        """
        if not len(vectors):
            return []
        known = len(self)
        joined = self._nearest(vectors)
        groups: list[int] = []
        founders, count = np.empty_like(vectors), 0
        for place, vector in enumerate(vectors):
            group, similarity = joined[place]
            if count:
                near = founders[:count] @ vector
                best = int(near.argmax())
                if near[best] > similarity:
                    group, similarity = known + best, float(near[best])
            if similarity < self._alike:
                group = known + count
                founders[count] = vector
                count += 1
            groups.append(group)
        self.add(founders[:count])
        return groups

    def _nearest(self, vectors: Vectors) -> list[tuple[int, float]]:
        if not len(self):
            return [(-1, -1.0)] * len(vectors)
        similar, ids = self._leaders.search(np.ascontiguousarray(vectors, dtype=np.float32), 1)
        return [(int(id_), float(one)) for (id_,), (one,) in zip(ids, similar, strict=True)]


def centre_of(centre: Vectors | None, count: int, vectors: Vectors) -> Vectors:
    """The unit mean of a group of `count` around `centre` and those that join it."""
    total = vectors.sum(axis=0) + (0 if centre is None else count * centre)
    return np.asarray(total / max(float(np.linalg.norm(total)), 1e-12), dtype=np.float32)


def most_central(centre: Vectors, candidates: Sequence[Vectors]) -> int:
    """Which of the candidates lies nearest to the centre; the first of several."""
    return int(np.argmax([float(one @ centre) for one in candidates]))


def packed(vector: Vectors) -> bytes:
    """A vector as the database keeps it: half precision, 2 bytes a dimension."""
    return np.asarray(vector, dtype=np.float16).tobytes()


def unpacked(raw: bytes) -> Vectors:
    return np.frombuffer(raw, dtype=np.float16).astype(np.float32)


def stacked(raw: Sequence[bytes]) -> Vectors:
    """Packed vectors of one length as a matrix."""
    return np.frombuffer(b"".join(raw), dtype=np.float16).reshape(len(raw), -1).astype(np.float32)


def matrix(vectors: Sequence[Vectors]) -> Vectors:
    return np.asarray(np.stack(vectors), dtype=np.float32)
