"""From the wordings found to ranked entries, their features and the decision. Pure functions."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from knowledge.types import Hit, HitKind, SearchDecision, Vectors

Flags = NDArray[np.bool_]
Ids = NDArray[np.int64]
Scores = NDArray[np.float64]

# Worth of full lexical agreement, in standard deviations of the similarity between unrelated questions: as a share of
# that spread it holds for any encoder. This and the power are better for four companies than a fixed share was.
LEXICAL_WEIGHT, LEXICAL_POWER = 1.8, 0.7
# How much the mean of an entry's nearest wordings counts beside the best one, and how many deviations one of them can
# be behind at most. Chosen on the training halves of two companies, each question searched for with itself left out.
NEAREST, NEAREST_SHARE, NEAREST_BEHIND = 8, 0.5, 4.0
NEGATIVE_PENALTY = 4.0
OPTION_DISTANCE = 2.5
FEATURES = (
    "similarity", "margin", "lexical", "lexical_margin", "lead", "near_lead", "exact", "coverage", "coverage_margin",
    "size", "similarity_size", "margin_size", "near_lead_size", "swap", "swap_size", "coverage_size",
)  # fmt: skip
MARGIN_MAX = 6.0
# In the middle between a shop's few dozen entries and an insurer's many thousands, on a logarithmic scale.
SIZE_MIDDLE = 1000
# Full lexical agreement counts as three deviations: with it the demo's documents part best from out-of-scope questions.
PASSAGE_LEXICAL_WEIGHT = 3.0
_BELOW_EXACT = 0.999999

# Orders the ids of entries by when these were changed.
Age = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Background:
    """Similarity between questions of different entries under one encoder: the zero and the unit of every feature."""

    mean: float
    deviation: float


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Wordings and how near they came, those of a unit side by side: of each of `ids` the next `counts` of them.

    `dense` and `lexical` are float32, `negative` (a question its unit does not answer) and `exact` (asked word for
    word) say yes or no; all in the order of `phrasings`.
    """

    ids: Sequence[str]
    counts: Sequence[int]
    phrasings: Sequence[str]
    dense: Vectors
    lexical: Vectors
    negative: Flags
    exact: Flags

    def without(self, held_out: str) -> "Matches":
        """These, of one unit only the wordings that were not asked word for word."""
        kept = ~(self.exact & np.repeat([id_ == held_out for id_ in self.ids], self.counts))
        if kept.all():
            return self
        ends = np.cumsum(self.counts)
        counts = [int(kept[end - count : end].sum()) for end, count in zip(ends, self.counts, strict=True)]
        phrasings = [phrasing for phrasing, keep in zip(self.phrasings, kept, strict=True) if keep]
        columns = (column[kept] for column in (self.dense, self.lexical, self.negative, self.exact))
        return Matches(self.ids, counts, phrasings, *columns)


def rank(found: Matches, background: Background, *, kind: HitKind = "faq", dense_only: bool = False) -> list[Hit]:
    """Entries by their wordings, best first: dense + weight × lexical^0.7, exact wordings before all with score 1.

    An entry's score is half that of its best wording, half the mean of its nearest ones: among many wordings one comes
    near by chance, which the others then do not. Of an entry with a single wording both are the same.

    An entry one of whose negative questions scores higher than every wording of its own falls behind by more than that
    difference; one whose negative question was asked word for word is left out. It is not similarity alone that is
    compared: of two short questions on one thing (退货 and 换货) the words say which was asked.
    """
    weight = 0.0 if dense_only else LEXICAL_WEIGHT * background.deviation
    scores = (found.dense.astype(np.float64) + weight * found.lexical**LEXICAL_POWER) / (1 + weight)
    scores = np.minimum(scores, _BELOW_EXACT)
    if not dense_only:
        scores[found.exact] = 1.0
    unit = np.repeat(np.arange(len(found.ids)), found.counts)
    nearest, behind = _nearest(np.flatnonzero(~found.negative), scores, unit, background.deviation / (1 + weight))
    negatives: dict[int, int] = {}
    for row in np.flatnonzero(found.negative).tolist():
        if scores[row] > scores[negatives.setdefault(unit[row], row)]:
            negatives[unit[row]] = row
    hits = []
    rows = zip(
        nearest,
        unit[nearest].tolist(),
        found.dense[nearest].tolist(),
        found.lexical[nearest].tolist(),
        scores[nearest].tolist(),
        behind,
        strict=True,
    )
    for row, number, dense, lexical, best, less in rows:
        worst = negatives.get(number)
        fall = 0.0
        if worst is not None and scores[worst] > best:
            if scores[worst] == 1.0:
                continue
            farther = max(float(scores[worst]) - best, float(found.dense[worst]) - dense)
            fall = farther + NEGATIVE_PENALTY * background.deviation
        score = best if best == 1.0 else best - less
        hits.append(
            Hit(found.ids[number], kind, found.phrasings[row], dense - fall, lexical, score - fall, penalty=fall)
        )
    return sorted(hits, key=lambda hit: (-hit.score, -hit.dense))


def _nearest(rows: Ids, scores: Scores, unit: Ids, deviation: float) -> tuple[list[int], list[float]]:
    """Of each unit, in their order, the row of its best wording, and how far it is behind that for the others."""
    if not len(rows):
        return [], []
    rows = rows[np.lexsort((-scores[rows], unit[rows]))]
    starts = np.flatnonzero(np.diff(unit[rows], prepend=-1))
    sizes = np.diff(starts, append=len(rows))
    of_best = np.repeat(starts, sizes)
    near = np.arange(len(rows)) - of_best < NEAREST
    behind = np.where(near, np.minimum(scores[rows[of_best]] - scores[rows], NEAREST_BEHIND * deviation), 0.0)
    less = NEAREST_SHARE * np.add.reduceat(behind, starts) / np.minimum(sizes, NEAREST)
    return rows[starts].tolist(), less.tolist()


def fold(hits: Sequence[Hit], questions: Mapping[str, str], age: Age) -> tuple[list[Hit], list[Hit]]:
    """(all hits, one hit for each question): of entries that ask the same the one changed last stands for all.

    `questions` are the normal forms of the entries' own questions by id; `age` orders ids, the oldest first. The one
    that stands for the others takes the best place among them, and in the second list the best scores; the others say
    by `same_as` which one that is. No hit is left out of the first list.
    """
    groups: dict[str, list[Hit]] = {}
    for hit in hits:
        groups.setdefault(questions.get(hit.id) or f"\n{hit.id}", []).append(hit)
    if len(groups) == len(hits):
        return list(hits), list(hits)
    every, single = [], []
    for group in groups.values():
        if len(group) == 1:
            single.append(group[0])
            every.append((group[0], group[0]))
            continue
        newest = max(group, key=lambda hit: age(hit.id))
        single.append(replace(group[0], id=newest.id))
        every.append((group[0], newest))
        every += [(hit, replace(hit, same_as=newest.id)) for hit in group if hit is not newest]
    place = {hit.id: number for number, hit in enumerate(hits)}
    every.sort(key=lambda one: (place[one[0].id], one[1].same_as is not None))
    return [hit for _, hit in every], single


def features(
    hits: Sequence[Hit],
    background: Background,
    covered: Sequence[float] = (0.0, 0.0),
    entries: int = SIZE_MIDDLE,
    swapped: float = 0.0,
) -> tuple[float, ...]:
    """What the calibration reads off a ranked list, in the order of FEATURES; all zero for an empty one.

    similarity: of the top entry above the background; margin: of its score over the next, below zero where
    a reranker put it first all the same; lexical: share of the query found in it; lexical_margin: over the next; lead,
    near_lead: its similarity over the mean of ranks 5..20 and 2..5. exact: one over the number of entries asked word
    for word. Similarities count in standard deviations of the background.

    `covered` holds the `coverage` of the first two entries, `entries` is how many there are to find. size: the
    logarithm of their number over 1,000; what ends in _size are products with it: among few entries a lead comes cheap,
    and a question that is the wording found with another word in it (`swapped`, as `differences.swap` counts it) asks
    something else, where among many it is mostly another word for the same.
    """
    if not hits:
        return (0.0,) * len(FEATURES)
    unit = background.deviation
    exact = sum(hit.score == 1.0 for hit in hits)
    dense = np.array([hit.dense for hit in hits[:20]])
    top = dense[0]
    second = hits[1] if len(hits) > 1 else None
    far, near = dense[4:], dense[1:5]
    similarity = float((top - background.mean) / unit)
    margin = min((hits[0].score - second.score) / unit, MARGIN_MAX) if second else MARGIN_MAX
    near_lead = float((top - (near.mean() if len(near) else background.mean)) / unit)
    size = math.log(max(entries, 1) / SIZE_MIDDLE)
    return (
        similarity,
        margin,
        hits[0].lexical,
        hits[0].lexical - second.lexical if second else hits[0].lexical,
        float((top - (far.mean() if len(far) else background.mean)) / unit),
        near_lead,
        1 / exact if exact else 0.0,
        covered[0],
        covered[0] - (covered[1] if second else 0.0),
        size,
        similarity * size,
        margin * size,
        near_lead * size,
        swapped,
        swapped * size,
        covered[0] * size,
    )


def relevance(passages: Sequence[Hit], background: Background) -> float:
    """How surely the best passage is on the query's subject: its similarity above the background, in deviations of it,
    plus the weighted share of the query found in it. 0 without passages or where it is no nearer than the background.
    """
    if not passages:
        return 0.0
    best = passages[0]
    similarity = (best.dense - background.mean) / background.deviation
    return max(0.0, similarity + PASSAGE_LEXICAL_WEIGHT * best.lexical)


def decide(probability: float, answer_threshold: float, clarify_threshold: float) -> SearchDecision:
    """answer, clarify or none, by the probability that the top entry answers."""
    if probability >= answer_threshold:
        return "answer"
    return "clarify" if probability >= clarify_threshold else "none"


def options(hits: Sequence[Hit], background: Background, most: int = 3) -> tuple[str, ...]:
    """The entries to offer when asking back: the top and what lies close enough below it, at most `most`."""
    if not hits:
        return ()
    floor = hits[0].score - OPTION_DISTANCE * background.deviation
    return tuple(hit.id for hit in hits[:most] if hit.score >= floor)
