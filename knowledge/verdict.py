"""What is done with ranked hits: the calibrated probability, and answer, clarify or none. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from knowledge import by_words, rank
from knowledge.calibrate import Calibration
from knowledge.contrasts import clash
from knowledge.shelf import Found, Seen
from knowledge.text import normalise
from knowledge.types import Hit, SearchDecision, SearchResult

OPTIONS_MAX = 3
# So much surer must the company's own words make it for a question to be taken as mistyped.
SURER_MIN = 0.1
# One character, a 1 or a 退, may mean anything.
ANSWERED_CHARACTERS_MIN = 2


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
    features = rank.features(hits, background, seen.covered, seen.units)
    if not hits:
        return Verdict("none", 0.0, features, ())
    probability = calibration.probability(features)
    decision = rank.decide(probability, calibration.answer_threshold, calibration.clarify_threshold)
    has_vector = hits[0].id not in found.by_words
    if found.lacking > lacking_max or not has_vector:
        decision = by_words.decide(hits, decision, has_vector=has_vector)
    short = len(normalise(query)) < ANSWERED_CHARACTERS_MIN and hits[0].score < 1.0
    if decision == "answer" and (short or clash(query, seen.wordings, seen.answer)):
        decision = "clarify"
    options = rank.options(hits, background, OPTIONS_MAX) if decision == "clarify" else ()
    return Verdict(decision, probability, features, options)


def surer(written: SearchResult, read: SearchResult) -> SearchResult:
    """What a question found as it was written, or as it was read (`read_as`) where that is clearly better."""
    if read.probability < written.probability + SURER_MIN:
        return written
    return replace(read, query=written.query, read_as=read.query)
