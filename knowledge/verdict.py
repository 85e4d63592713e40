"""What is done with ranked hits: the calibrated probability, and answer, clarify or none. Pure functions."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

from knowledge import by_words, rank
from knowledge.calibrate import Calibration
from knowledge.codes import codes
from knowledge.contrasts import clash, is_beside
from knowledge.coverage import ANSWER_CHARACTERS_MAX
from knowledge.differences import is_bare, says_the_same, share_named, swap
from knowledge.shelf import Found, Seen
from knowledge.text import normalise
from knowledge.types import Hit, SearchDecision, SearchResult

OPTIONS_MAX = 3
# So much surer must the company's own words make it for a question to be taken as mistyped.
SURER_MIN = 0.1
# The same words in another order, or with others that only ask, mean that entry, unless another comes as near: of `dev`
# it is nine in ten, and the tenth is mostly an entry that asks the same. An encoder sees 开发 in 开发票.
SAME_PROBABILITY, SAME_MARGIN_MIN = 0.85, 0.5
MARGIN = rank.FEATURES.index("margin")
# One character, a 1 or a 退, may mean anything.
ANSWERED_CHARACTERS_MIN = 2
# A word alone names a subject, and asks for one entry only where it is most of what that is about.
BARE_CHARACTERS_MAX, NAMED_MAX = 4, 0.5


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision, the probability that the top entry answers, what that was read off, and the entries to offer."""

    decision: SearchDecision
    probability: float
    features: tuple[float, ...]
    options: tuple[str, ...]


def judge(
    query: str,
    hits: Sequence[Hit],
    seen: Seen,
    found: Found,
    calibration: Calibration,
    background: rank.Background,
    lacking_max: float = by_words.LACKING_MAX,
) -> Verdict:
    """The verdict on hits, best first, each of another question. `seen` is what the first two of them speak of, `found`
    says which lack their vectors; above a share of `lacking_max` of them similarity alone decides nothing.
    """
    if not hits:
        return Verdict("none", 0.0, rank.features(hits, background), ())
    said = (*seen.wordings, seen.answer[:ANSWER_CHARACTERS_MAX])
    swapped = swap(query, hits[0].phrasing, said) if hits[0].score < 1.0 else 0.0
    features = rank.features(hits, background, seen.covered, seen.units, swapped)
    probability = calibration.probability(features)
    same = any(says_the_same(query, wording) for wording in seen.wordings)
    alone = features[MARGIN] >= SAME_MARGIN_MIN and not any(says_the_same(query, hit.phrasing) for hit in hits[1:2])
    if same and alone:
        probability = max(probability, SAME_PROBABILITY)
    clarify_threshold = calibration.clarify_threshold_among(seen.units)
    decision = rank.decide(probability, calibration.answer_threshold, clarify_threshold)
    named = _named_by_code(query, hits) or (_named_by_word(query, hits) if decision == "none" else ())
    if (same or named) and decision == "none":
        decision = "clarify"
    has_vector = hits[0].id not in found.by_words
    if found.lacking > lacking_max or not has_vector:
        decision = by_words.decide(hits, decision, has_vector=has_vector)
    short = len(normalise(query)) < ANSWERED_CHARACTERS_MIN and hits[0].score < 1.0
    several = _meant(query, hits, seen.wordings) if decision == "answer" else ()
    beside = hits[0].score < 1.0 and is_beside(query, seen.wordings, seen.answer)
    if decision == "answer" and (short or several or beside or _is_of_another_kind(query, hits, seen)):
        decision = "clarify"
    options = several or named or rank.options(hits, background, OPTIONS_MAX) if decision == "clarify" else ()
    return Verdict(decision, probability, features, options)


def _is_of_another_kind(query: str, hits: Sequence[Hit], seen: Seen) -> bool:
    """Whether the first entry is about another kind than is asked about, or lacks a code that another one has and that
    says more than what it has: 「TK03 报 E2」 asks for E2, which one entry speaks of, and not for any TK03.
    """
    asked, said = codes(query), codes("\n".join((*seen.wordings, seen.answer)))
    named = Counter(code for hit in hits for code in codes(hit.phrasing)) if asked - said else Counter[str]()
    least = min((named[code] for code in asked & said), default=len(hits))
    if any(0 < named[code] <= least for code in asked - said):
        return True
    return clash(query, seen.wordings, seen.answer)


def _named_by_code(query: str, hits: Sequence[Hit]) -> tuple[str, ...]:
    """The entries that name every model number asked about, at most OPTIONS_MAX. An encoder sees little in a code:
    among thousands of entries many seem as near to 「JS-00077」 as the one that has it.
    """
    asked = codes(query)
    named = (hit.id for hit in hits if asked and asked <= codes(hit.phrasing))
    return tuple(islice(named, OPTIONS_MAX))


def _named_by_word(query: str, hits: Sequence[Hit]) -> tuple[str, ...]:
    """The entries that have a word alone, 查订单, in what came nearest of them: asked is which is meant."""
    if not ANSWERED_CHARACTERS_MIN <= len(normalise(query)) <= BARE_CHARACTERS_MAX or not is_bare(query):
        return ()
    return tuple(islice((hit.id for hit in hits if share_named(query, hit.phrasing)), OPTIONS_MAX))


def _meant(query: str, hits: Sequence[Hit], wordings: Sequence[str]) -> tuple[str, ...]:
    """What a word alone may ask for: the entries that have it, where there are several, or where it is no more than a
    part of what the only one is about. Empty where it says enough.
    """
    if hits[0].score == 1.0 or len(normalise(query)) > BARE_CHARACTERS_MAX or not is_bare(query):
        return ()
    others = [hit.id for hit in hits[1:] if share_named(query, hit.phrasing)]
    most = max((share_named(query, wording) for wording in wordings), default=0.0)
    return (hits[0].id, *others)[:OPTIONS_MAX] if others or 0 < most <= NAMED_MAX else ()


def surer(written: SearchResult, read: SearchResult) -> SearchResult:
    """What a question found as it was written, or as it was read (`read_as`) where that is clearly better."""
    if read.probability < written.probability + SURER_MIN:
        return written
    return replace(read, query=written.query, read_as=read.query)
