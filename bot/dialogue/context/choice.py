"""Which entry a message in a conversation asks for, of those found for its words, with its subject, and spoken of.

A conditional logit over the candidates and "none of them" (McFadden 1974), fitted on labelled conversations by
`tests/benchmarks/fit_follow_ups.py`. Pure functions.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bot.dialogue.context.wording import FollowUp, coverage, shared
from knowledge.types import Entry, Hit, SearchResult

Spoken = Literal["answered", "earlier", "offered"]
# own: how far behind the best of the words alone, in units of `SearchResult.unit`. lexical: the share of the words it
# has. answered, offered: the reply before answered from it, or offered it. spoken_says, says: how much it has to say to
# the words (`coverage`), spoken of or not. category: that of what was spoken of last. shared: how many of the words'
# characters it has at all. asked, told: how far its own question is behind the one most like the words with their
# subject, and its answer behind the one most like the words alone.
FEATURES = (
    "own", "lexical", "answered", "offered", "spoken_says", "says", "category", "shared", "asked", "told",
)  # fmt: skip
WEIGHTS = (0.63, 1.3, 1.18, 0.59, 2.65, 0.7, 1.3, 2.24, 0.79, 1.14)
# Of "none of them": alone, and by how near the best one came to the words alone.
NONE, NONE_SIMILARITY = 1.34, -0.69
# Probabilities from which a candidate answers, "none of them" is believed, and a candidate is worth offering.
ANSWER_MIN, NONE_MIN, OFFER_MIN = 0.8, 0.5, 0.03
CANDIDATES_PER_SEARCH = 6
_SUBJECTS = ("answered", "earlier")
# What a search did not list lies this much below its last.
BELOW_LAST, FARTHEST = 0.3, 4.0

EntryOf = Callable[[str], Entry | None]


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry, and the probability that it is asked for; `hit` as a search found it."""

    entry: Entry
    hit: Hit
    probability: float


@dataclass(frozen=True, slots=True)
class Choice:
    """Candidates, the most probable first, and the probability that it is none of them."""

    candidates: tuple[Candidate, ...]
    none: float


@dataclass(frozen=True, slots=True)
class Likeness:
    """Of each candidate in order, -1..1: `asked` between its question and the words with their subject, `told` between
    its answer and the words alone.
    """

    asked: Sequence[float]
    told: Sequence[float]


def to_choose_from(
    own: SearchResult, together: SearchResult, spoken: Mapping[str, Spoken], entry_of: EntryOf
) -> list[Entry]:
    """The candidates: `own` was found for the words alone, `together` with their subject; `spoken` are the entries
    spoken of before, the last first.
    """
    found = (hit.id for hits in (own.hits, _fresh(together, spoken)) for hit in hits[:CANDIDATES_PER_SEARCH])
    return [entry for id_ in dict.fromkeys((*spoken, *found)) if (entry := entry_of(id_))]


def choose(
    lean: FollowUp,
    own: SearchResult,
    together: SearchResult,
    spoken: Mapping[str, Spoken],
    entries: Sequence[Entry],
    like: Likeness,
) -> Choice:
    """What the words of `lean` ask for, of the `entries` of `to_choose_from`."""
    rows = described(lean, own, spoken, entries, like)
    found = {hit.id: hit for hit in (*reversed(together.hits), *reversed(own.hits))}
    hits = {one.id: found.get(one.id) or Hit(one.id, "faq", one.question, 0.0, 0.0, 0.0) for one in entries}
    scores = [math.fsum(w * x for w, x in zip(WEIGHTS, row, strict=True)) for row in rows]
    none = NONE + NONE_SIMILARITY * similarity(own)
    top = max([*scores, none])
    powers = [math.exp(score - top) for score in scores]
    total = math.fsum(powers) + math.exp(none - top)
    made = [Candidate(entry, hits[entry.id], power / total) for entry, power in zip(entries, powers, strict=True)]
    return Choice(tuple(sorted(made, key=lambda one: -one.probability)), math.exp(none - top) / total)


def described(
    lean: FollowUp, own: SearchResult, spoken: Mapping[str, Spoken], entries: Sequence[Entry], like: Likeness
) -> list[tuple[float, ...]]:
    """Of each candidate the features in the order of FEATURES."""
    behind, lexical = _behind(own.hits, own.unit), {hit.id: hit.lexical for hit in own.hits}
    category = next((one.category for id_ in spoken for one in entries if one.id == id_), None)
    rows: list[tuple[float, ...]] = []
    for entry, asked, told in zip(entries, _below(like.asked, own.unit), _below(like.told, own.unit), strict=True):
        says, how = coverage(lean.words, entry, foreign=lean.foreign), spoken.get(entry.id)
        rows.append(
            (
                behind(entry.id),
                lexical.get(entry.id, 0.0),
                float(how == "answered"),
                float(how == "offered"),
                says if how else 0.0,
                0.0 if how else says,
                float(not how and category is not None and entry.category == category),
                shared(lean.words, entry, foreign=lean.foreign),
                asked,
                told,
            )
        )
    return rows


def _fresh(together: SearchResult, spoken: Mapping[str, Spoken]) -> list[Hit]:
    """What was found, without the entries that the subject is taken from: they are found for their own title."""
    return [hit for hit in together.hits if spoken.get(hit.id) not in _SUBJECTS]


def _below(likeness: Sequence[float], unit: float) -> list[float]:
    top = max(likeness, default=0.0)
    return [max((one - top) / unit, -FARTHEST) for one in likeness]


def similarity(own: SearchResult) -> float:
    """Of the best entry for the words alone, in standard deviations above the background."""
    return own.features[0] if own.features else 0.0


def _behind(hits: Sequence[Hit], unit: float) -> Callable[[str], float]:
    """By id, how far behind the best hit: 0 for that itself, at least -FARTHEST."""
    near = {hit.id: hit.dense for hit in hits}
    top, last = max(near.values(), default=0.0), min(near.values(), default=0.0)
    return lambda id_: max((near.get(id_, last - BELOW_LAST * unit) - top) / unit, -FARTHEST)
