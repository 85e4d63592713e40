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
EARLIER_MAX = 20_000
EARLIER_NEAREST = 4


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


class Earlier:
    """Questions of the same file that came before, so that it is compared with itself as it goes."""

    def __init__(self) -> None:
        self._vectors: list[Vectors] = []
        self._asked: list[tuple[str, str]] = []

    def near(self, vectors: Vectors, asked: Sequence[tuple[str, str]]) -> list[dict[str, Near]]:
        """For each of the (id, question) the nearest before it; they are remembered then.

        Beyond EARLIER_MAX the first ones are forgotten, which bounds the time a row takes.
        """
        self._vectors.append(vectors)
        self._asked.extend(asked)
        every = np.concatenate(self._vectors)[-EARLIER_MAX:]
        known = self._asked[-EARLIER_MAX:]
        self._vectors, self._asked = [every], known
        similar = vectors @ every.T
        start = len(known) - len(asked)
        # A row sees what stands before it only.
        similar[:, start:][np.triu_indices(len(asked))] = -1.0
        count = min(EARLIER_NEAREST, len(known))
        nearest = np.argpartition(-similar, count - 1, axis=1)[:, :count]
        return [
            {known[at][0]: Near(float(row[at]), known[at][1]) for at in places.tolist() if row[at] > -1.0}
            for row, places in zip(similar, nearest, strict=True)
        ]
