"""Wordings found, written down one by one for the tests of ranking."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from knowledge import rank as ranking
from knowledge.rank import Background, Matches
from knowledge.types import Hit


@dataclass(frozen=True, slots=True)
class Match:
    id: str
    phrasing: str
    dense: float
    lexical: float
    negative: bool = False
    exact: bool = False


def gathered(matches: Sequence[Match]) -> Matches:
    ids = list(dict.fromkeys(match.id for match in matches))
    ordered = [match for id_ in ids for match in matches if match.id == id_]
    return Matches(
        ids,
        [sum(match.id == id_ for match in matches) for id_ in ids],
        [match.phrasing for match in ordered],
        np.array([match.dense for match in ordered], dtype=np.float32),
        np.array([match.lexical for match in ordered], dtype=np.float32),
        np.array([match.negative for match in ordered], dtype=np.bool_),
        np.array([match.exact for match in ordered], dtype=np.bool_),
    )


def rank(matches: Sequence[Match], background: Background, *, dense_only: bool = False) -> list[Hit]:
    return ranking.rank(gathered(matches), background, dense_only=dense_only)
