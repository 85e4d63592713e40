"""How much of what is asked an entry speaks of at all, in a wording or in its answer. Pure functions."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from knowledge.text import simplify

ANSWER_CHARACTERS_MAX = 2000


def coverage(asked: Mapping[str, float], wordings: Iterable[Sequence[str]], answer: str) -> float:
    """Share of the query's tokens, 0..1, that stand in one of the wordings (tokens each) or in the answer.

    `asked` gives each token of the query and its weight. Other than in `lexical` all wordings count together, and
    neither their length nor how often a token stands in them: one rare word that nothing of the entry holds
    (「公狗」 where it speaks of 「公猫」) says more against it than the frame of the question says for it.
    """
    whole = sum(asked.values())
    if not whole:
        return 0.0
    said = set[str]().union(*wordings)
    explained = _readable(answer[:ANSWER_CHARACTERS_MAX])
    return sum(weight for token, weight in asked.items() if token in said or token in explained) / whole


@lru_cache(maxsize=2048)
def _readable(text: str) -> str:
    return simplify(text).casefold()
