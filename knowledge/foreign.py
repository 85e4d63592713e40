"""A question in Latin letters put to a Chinese knowledge base: what its words can say, and what they cannot. Pure."""

import re
from collections.abc import Sequence
from dataclasses import replace

from knowledge.rank import Background, Match

# So many deviations a wording in the question's own language lies nearer for the language alone. Measured on
# `tests/benchmarks/english.txt`, whose demo company has 8 English wordings among 900.
OWN_LANGUAGE = 2.5
# What is taken for the coverage of an entry whose words cannot be compared with the question's: the most that left no
# question answered that has no answer, there and in three small companies, and one in fifty answered wrongly.
UNKNOWN_COVERAGE = 0.6
_HAN = re.compile("[㐀-䶿一-鿿]")
# Not the letters of a model, as in QL-2108; and one word alone may be a name that Chinese customers write so.
_WORD = re.compile(r"(?<![\w-])[^\W\d_]{2,}(?![\w-])")
WORDS_MIN = 2


def in_latin(text: str) -> bool:
    """Whether a text has words, none of them Chinese."""
    return not _HAN.search(text) and len(_WORD.findall(text)) >= WORDS_MIN


def is_foreign(query: str, matches: Sequence[Match]) -> bool:
    """Whether the query is `in_latin` while Chinese wordings are among those found."""
    return in_latin(query) and any(_HAN.search(match.phrasing) for match in matches)


def evened(matches: Sequence[Match], background: Background) -> list[Match]:
    """The matches of a foreign query without what the few wordings in its own language gain by that alone: nearness,
    and words such as "how do I", which are rare in a Chinese knowledge base and seem to say much.
    """
    less = OWN_LANGUAGE * background.deviation
    return [m if m.exact or _HAN.search(m.phrasing) else replace(m, dense=m.dense - less, lexical=0.0) for m in matches]
