"""Near-duplicates: a new question that asks what an entry already answers. Pure functions over vectors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from knowledge.rank import Background
from knowledge.types import Vectors

# In deviations of the background. Neighbours come close too, but in numbers: a question that is really the same stands
# out from the second nearest entry, or is so near that it stands for nothing else. Measured on the demo company with
# its 115 rephrased questions and, as neighbours, its 127 entries against each other: see docs/benchmarks.md.
ALIKE = 5.0
NEAR = 3.5
APART = 1.3
# What ALIKE comes to at most: some encoders have so wide a spread that nothing lies five deviations above it.
ALIKE_SIMILARITY_MAX = 0.985
ROWS = 1024
# Of each block: enough that the many wordings of one entry leave room for the next.
NEAREST = 16


@dataclass(frozen=True, slots=True)
class Twin:
    """The entry that asks the same: its id, its question, and the similarity of the wordings that came closest."""

    id: str
    question: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Near:
    """How near a unit came to a question: the similarity of its nearest wording, and its own question."""

    similarity: float
    question: str


def judge(near: Mapping[str, Near], background: Background) -> Twin | None:
    """The twin among the units near a question, by id; None where they are only neighbours."""
    if not near:
        return None
    ordered = sorted(near.items(), key=lambda one: -one[1].similarity)
    (id_, best), second = ordered[0], ordered[1][1].similarity if len(ordered) > 1 else background.mean
    height = (best.similarity - background.mean) / background.deviation
    apart = (best.similarity - second) / background.deviation
    alike = min(background.mean + ALIKE * background.deviation, ALIKE_SIMILARITY_MAX)
    if best.similarity < alike and not (height >= NEAR and apart >= APART):
        return None
    return Twin(id_, best.question, round(min(best.similarity, 1.0), 4))


class Search:
    """Collects what is near the questions of a file, block by block: one matrix product each.

    A question is compared with nothing of its own file but what stands before it, whether that is indexed or not.
    """

    def __init__(self, asked: Sequence[tuple[str, str]], vectors: Vectors, background: Background) -> None:
        """`asked` are (id, question) in the order of the file; `vectors` have the shape [len(asked), dimension]."""
        self._asked, self._vectors, self._background = asked, vectors, background
        self._row_of = {id_: row for row, (id_, _) in enumerate(asked)}
        self._near: list[dict[str, Near]] = [{} for _ in asked]
        # What is further away makes no difference to the judgement.
        self._floor = background.mean + (NEAR - APART) * background.deviation

    def compare(self, units: Sequence[tuple[str, str]], vectors: Vectors) -> None:
        """With wordings of units, given as (id, question) each."""
        for start in range(0, len(self._asked), ROWS):
            self._take(start, self._vectors[start : start + ROWS] @ vectors.T, units)

    def compare_with_itself(self) -> None:
        """With the questions of the same file."""
        for start in range(0, len(self._asked), ROWS):
            block = self._vectors[start : start + ROWS]
            units = self._asked[start : start + ROWS]
            for later in range(start, len(self._asked), ROWS):
                similar = self._vectors[later : later + ROWS] @ block.T
                if later == start:
                    similar[np.triu_indices(len(block))] = -1.0
                self._take(later, similar, units)

    def judge(self) -> list[Twin | None]:
        """The twin of each question."""
        return [judge(near, self._background) for near in self._near]

    def _take(self, start: int, similar: Vectors, units: Sequence[tuple[str, str]]) -> None:
        count = min(NEAREST, len(units))
        nearest = np.argpartition(-similar, count - 1, axis=1)[:, :count]
        values = np.take_along_axis(similar, nearest, axis=1)
        for row, place in zip(*np.nonzero(values >= self._floor), strict=True):
            id_, question = units[nearest[row, place]]
            value, near = float(values[row, place]), self._near[start + row]
            if self._row_of.get(id_, -1) >= start + row:
                continue
            if id_ not in near or near[id_].similarity < value:
                near[id_] = Near(value, question)
