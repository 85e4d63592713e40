"""Deciding while vectors are missing: on the words two questions share, and never an answer. Pure functions."""

from collections.abc import Sequence

from knowledge.types import Hit, SearchDecision

# The share of the query's words, by weight, that the top entry must have for asking back whether it is meant. Measured
# on the demo company and on `bench/dev` without their vectors: docs/benchmarks.md.
CLARIFY_LEXICAL = 0.4
# As long as more than this share of the texts has no vector, the top entry's lead over the others says nothing.
LACKING_MAX = 0.02
# The same once all had theirs: what lacks one is new then, and what was answered before it came still is.
LACKING_NEW_MAX = 0.5


def decide(hits: Sequence[Hit], calibrated: SearchDecision, *, has_vector: bool) -> SearchDecision:
    """The decision while texts are lacking their vectors, by whether the top entry has one.

    With it, what the calibration says, but an answer becomes a question back: the right entry may be one of those not
    encoded yet. Without it, clarify where the words clearly agree, else none. An entry asked word for word has the
    score 1 and is answered as ever.
    """
    if not hits or hits[0].score == 1.0:
        return calibrated
    if has_vector:
        return "clarify" if calibrated == "answer" else calibrated
    return "clarify" if hits[0].lexical >= CLARIFY_LEXICAL else "none"
