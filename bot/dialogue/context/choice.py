"""Which entry a message in a conversation asks for, of those found for its words, with its subject, and spoken of.

A conditional logit over the candidates and "none of them" (McFadden 1974), fitted on labelled conversations by
`tests/benchmarks/fit_follow_ups.py`. Pure functions.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from bot.dialogue.context.wording import FollowUp, coverage
from knowledge.types import Entry, Hit, SearchResult

Spoken = Literal["answered", "earlier", "first", "offered"]
# own, together: how far behind the best of the words alone, and of the words with their subject, in units of
# `SearchResult.unit`. lexical: the share of the words it has. answered, earlier: the reply before, or one before that,
# answered from it; first, offered: the reply before offered it, first or further below. form: it was spoken of, and the
# words are of the form 那…呢 (which speak of it more often than not). spoken_says, says: how much it has to say to the
# words (`coverage`), spoken of or not. category: that of what was spoken of last.
FEATURES = (
    "own", "lexical", "together", "answered", "earlier", "first", "offered", "form", "spoken_says", "says", "category",
)  # fmt: skip
WEIGHTS = (1.24, 1.03, 1.08, 1.96, 0.03, 1.19, 1.11, 0.62, 4.11, 1.48, 1.07)
# Of "none of them": alone, and by how near the best one came to the words alone.
NONE, NONE_SIMILARITY = 1.63, -0.69
# Probabilities from which a candidate answers, "none of them" is believed, and a candidate is worth offering.
ANSWER_MIN, NONE_MIN, OFFER_MIN = 0.75, 0.5, 0.03
CANDIDATES_PER_SEARCH = 6
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


def choose(
    lean: FollowUp, own: SearchResult, together: SearchResult, spoken: Mapping[str, Spoken], entry_of: EntryOf
) -> Choice:
    """What the words of `lean` ask for: `own` was found for them alone, `together` with their subject; `spoken` are the
    entries spoken of before, the last first.
    """
    entries, hits, rows = described(lean, own, together, spoken, entry_of)
    scores = [math.fsum(w * x for w, x in zip(WEIGHTS, row, strict=True)) for row in rows]
    none = NONE + NONE_SIMILARITY * similarity(own)
    top = max([*scores, none])
    powers = [math.exp(score - top) for score in scores]
    total = math.fsum(powers) + math.exp(none - top)
    made = [Candidate(entry, hits[entry.id], power / total) for entry, power in zip(entries, powers, strict=True)]
    return Choice(tuple(sorted(made, key=lambda one: -one.probability)), math.exp(none - top) / total)


def described(
    lean: FollowUp, own: SearchResult, together: SearchResult, spoken: Mapping[str, Spoken], entry_of: EntryOf
) -> tuple[list[Entry], dict[str, Hit], list[tuple[float, ...]]]:
    """The candidates, their hits by id, and of each the features in the order of FEATURES."""
    # The entries that the subject is taken from would be found for their own title.
    subjects = [id_ for id_, how in spoken.items() if how in ("answered", "earlier")]
    fresh = [hit for hit in together.hits if hit.id not in subjects]
    found = {hit.id: hit for hit in (*reversed(together.hits), *reversed(own.hits))}
    ids = [*spoken, *(hit.id for hits in (own.hits, fresh) for hit in hits[:CANDIDATES_PER_SEARCH])]
    entries = [entry for id_ in dict.fromkeys(ids) if (entry := entry_of(id_))]
    hits = {one.id: found.get(one.id) or Hit(one.id, "faq", one.question, 0.0, 0.0, 0.0) for one in entries}
    behind, behind_together = _behind(own.hits, own.unit), _behind(fresh, together.unit)
    lexical = {hit.id: hit.lexical for hit in own.hits}
    category = next((entry.category for id_ in spoken if (entry := entry_of(id_))), None)
    rows = []
    for entry in entries:
        says, how = coverage(lean.words, entry, foreign=lean.foreign), spoken.get(entry.id)
        rows.append(
            (
                behind(entry.id),
                lexical.get(entry.id, 0.0),
                0.0 if entry.id in subjects else behind_together(entry.id),
                *(float(how == one) for one in get_args(Spoken)),
                float(how is not None and lean.form),
                says if how else 0.0,
                0.0 if how else says,
                float(not how and category is not None and entry.category == category),
            )
        )
    return entries, hits, rows


def similarity(own: SearchResult) -> float:
    """Of the best entry for the words alone, in standard deviations above the background."""
    return own.features[0] if own.features else 0.0


def _behind(hits: Sequence[Hit], unit: float) -> Callable[[str], float]:
    """By id, how far behind the best hit: 0 for that itself, at least -FARTHEST."""
    near = {hit.id: hit.dense for hit in hits}
    top, last = max(near.values(), default=0.0), min(near.values(), default=0.0)
    return lambda id_: max((near.get(id_, last - BELOW_LAST * unit) - top) / unit, -FARTHEST)
