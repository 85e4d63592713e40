"""Near-duplicates: a new question that asks what an entry already answers. Pure functions over vectors."""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile

import numpy as np

from knowledge.codes import told_apart
from knowledge.contrasts import clash
from knowledge.differences import content, difference
from knowledge.rank import Background
from knowledge.text import normalise
from knowledge.types import Entry, Vectors

# A logistic model of whether a near wording asks the same: of its height above the background and how far it stands
# apart from the next unit (deviations of the background, the latter 0..APART_MAX), of a word in another's place (0..1),
# and of the shares of what the question says and the wording does not, and the other way round. Fitted on
# rows of twelve small shops and the demo, measured on four others: see docs/benchmarks.md.
WEIGHTS, INTERCEPT = (1.07, 0.37, -5.21, 0.95, -1.04), -4.73
TWIN_MIN = 0.6
APART_MAX = 3.0
# Nearer than this it is a wording of the same, however wide the spread of an encoder; and so high at least it must lie.
ALIKE, ALIKE_SIMILARITY_MIN = 5.0, 0.985
NEAR = 2.2
# So many of the nearest are looked at, beside those that ask something else by a code, a number or a slot.
LOOKED_AT = 3
# A template is at least this share of its questions, and so many of them differ in its slot: fewer may be rephrasings.
FRAME_SHARE = 0.5
SLOT_WORDS_MIN = 8
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
    """How near a unit came to a question: the similarity of its nearest wording, that, and its own question."""

    similarity: float
    question: str
    wording: str


def judge(
    question: str,
    near: Mapping[str, Near],
    background: Background,
    is_neighbour: Callable[[str], bool] = lambda _: False,
) -> Twin | None:
    """The twin among the units near a question, by id; None where they are only neighbours.

    `is_neighbour` tells by a unit's question that it asks something else, however near it is.
    """
    ordered = sorted(near.items(), key=lambda one: -one[1].similarity)
    second = ordered[1][1].similarity if len(ordered) > 1 else background.mean
    others = ((id_, one) for id_, one in ordered if not is_neighbour(one.question))
    for id_, one in islice(others, LOOKED_AT):
        apart = (one.similarity - second) / background.deviation
        if probability(question, one, background, apart) >= TWIN_MIN:
            return Twin(id_, one.question, round(min(one.similarity, 1.0), 4))
    return None


def probability(question: str, near: Near, background: Background, apart: float) -> float:
    """That a wording `apart` deviations from the next asks the same as a question."""
    height = (near.similarity - background.mean) / background.deviation
    if near.similarity >= ALIKE_SIMILARITY_MIN:
        height = max(height, ALIKE)
    found, said, its = difference(question, near.wording), content(question), content(near.wording)
    more, less = (Counter(said) - Counter(its)).total(), (Counter(its) - Counter(said)).total()
    row = (
        height,
        min(max(apart, 0.0), APART_MAX),
        max(2 * found.shared - 1, 0.0) if found.swapped else 0.0,
        more / max(len(said), 1),
        less / max(len(its), 1),
    )
    return 1 / (1 + math.exp(-INTERCEPT - math.fsum(w * x for w, x in zip(WEIGHTS, row, strict=True))))


class Slots:
    """Which of the places where two questions differ is a slot of a template: it varies over many of the questions."""

    def __init__(self, questions: Iterable[str]) -> None:
        texts = set(map(normalise, questions))
        self._forward, self._backward = sorted(texts), sorted(text[::-1] for text in texts)
        self._known: dict[tuple[str, str], bool] = {}

    def differ_in_one(self, one: str, other: str) -> bool:
        """Whether two questions are of one template that so many questions have, with another word in its slot."""
        one, other = normalise(one), normalise(other)
        start = _shared(one, other)
        rest = min(len(one), len(other)) - start
        end = _shared(one[::-1][:rest], other[::-1][:rest])
        # Less a character on either side: 上海 and 上饶 are not 上 with a slot behind it.
        frame = one[: max(start - 1, 0)], one[len(one) - max(end - 1, 0) :]
        if one == other or sum(map(len, frame)) < FRAME_SHARE * max(len(one), len(other)):
            return False
        if frame not in self._known:
            self._known[frame] = self._has_many(*frame)
        return self._known[frame]

    def _has_many(self, prefix: str, suffix: str) -> bool:
        texts = self._forward
        if len(suffix) > len(prefix):
            texts, prefix, suffix = self._backward, suffix[::-1], prefix[::-1]
        shortest, found = len(prefix) + len(suffix), 0
        for text in texts[bisect_left(texts, prefix) :]:
            if found >= SLOT_WORDS_MIN or not text.startswith(prefix):
                break
            found += len(text) >= shortest and text.endswith(suffix)
        return found >= SLOT_WORDS_MIN


def _shared(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


class Search:
    """Collects what is near the questions of a file, block by block: one matrix product each.

    A question is compared with nothing of its own file but what stands before it. The entries of the file are compared
    as the file has them, whether they are indexed by now or not: so a preview finds what the import does.
    """

    def __init__(self, asked: Sequence[Entry], vectors: Vectors, background: Background) -> None:
        """`asked` in the file's order; `vectors` are those of its questions, shape [len(asked), dimension]."""
        self._asked, self._vectors, self._background = asked, vectors, background
        self._near: list[dict[str, Near]] = [{} for _ in asked]
        # What is further away makes no difference to the judgement.
        self._floor = background.mean + NEAR * background.deviation

    def compare(self, units: Sequence[tuple[str, str, str]], vectors: Vectors) -> None:
        """With wordings of units that are none of the file's, given as (id, question, wording) each."""
        for start in range(0, len(self._asked), ROWS):
            self._take(start, self._vectors[start : start + ROWS] @ vectors.T, units)

    def compare_with_itself(self, wordings: Sequence[tuple[int, str]], vectors: Vectors) -> None:
        """With the wordings of the file, given by the row of their entry, in order, and their vectors."""
        at = np.array([row for row, _ in wordings])
        for first in range(0, len(wordings), ROWS):
            block, its = vectors[first : first + ROWS], at[first : first + ROWS]
            units = [
                (self._asked[row].id, self._asked[row].question, text) for row, text in wordings[first : first + ROWS]
            ]
            for start in range(int(its[0]) // ROWS * ROWS, len(self._asked), ROWS):
                similar = self._vectors[start : start + ROWS] @ block.T
                later = its[None, :] >= np.arange(start, start + len(similar))[:, None]
                self._take(start, np.where(later, np.float32(-1), similar), units)

    def judge(self) -> list[Twin | None]:
        """The twin of each question. What differs in a code, a number or the slot of a template is none."""
        slots = Slots(
            [
                *(entry.question for entry in self._asked),
                *(one.question for near in self._near for one in near.values()),
            ]
        )

        def neighbours(question: str) -> Callable[[str], bool]:
            return lambda other: (
                told_apart(question, other) or slots.differ_in_one(question, other) or clash(question, [other])
            )

        return [
            judge(entry.question, near, self._background, neighbours(entry.question))
            for entry, near in zip(self._asked, self._near, strict=True)
        ]

    def _take(self, start: int, similar: Vectors, units: Sequence[tuple[str, str, str]]) -> None:
        count = min(NEAREST, len(units))
        nearest = np.argpartition(-similar, count - 1, axis=1)[:, :count]
        values = np.take_along_axis(similar, nearest, axis=1)
        for row, place in zip(*np.nonzero(values >= self._floor), strict=True):
            id_, question, wording = units[nearest[row, place]]
            value, near = float(values[row, place]), self._near[start + row]
            if id_ not in near or near[id_].similarity < value:
                near[id_] = Near(value, question, wording)
