"""A question in another language than the knowledge base: what its words can say, and what they cannot. Pure."""

import re
from dataclasses import replace

import numpy as np

from knowledge.rank import Background, Matches

# So many deviations a wording in the question's own language lies nearer for the language alone. Measured on
# `tests/benchmarks/english.txt`, whose demo company has 8 English wordings among 900.
OWN_LANGUAGE = 2.5
# What is taken for the coverage of an entry whose words cannot be compared with the question's: about the most that
# left no question answered that has no answer, there and in three small companies, and none answered wrongly.
UNKNOWN_COVERAGE = 0.7
_HAN = re.compile("[㐀-䶿一-鿿]")
# Not the letters of a model, as in QL-2108; and one word alone may be a name that Chinese customers write so.
_WORD = re.compile(r"(?<![\w-])[^\W\d_]{2,}(?![\w-])")
WORDS_MIN = 2


def in_latin(text: str) -> bool:
    """Whether a text has words, none of them Chinese."""
    return not _HAN.search(text) and len(_WORD.findall(text)) >= WORDS_MIN


def is_foreign(query: str, found: Matches) -> bool:
    """Whether the query is `in_latin` while some wordings found are Chinese, or Chinese while none of them is."""
    chinese = any(map(_HAN.search, found.phrasings))
    return in_latin(query) if chinese else bool(_HAN.search(query))


def evened(query: str, found: Matches, background: Background) -> Matches:
    """The matches of a foreign query without what the few wordings in its own language gain by that alone: nearness,
    and words such as "how do I", which are rare in a Chinese knowledge base and seem to say much. A Chinese question
    has no such wordings.
    """
    if not in_latin(query):
        return found
    chinese = np.array([bool(_HAN.search(phrasing)) for phrasing in found.phrasings], dtype=np.bool_)
    same = found.exact | chinese
    less = np.float32(OWN_LANGUAGE * background.deviation)
    return replace(
        found,
        dense=np.where(same, found.dense, found.dense - less),
        lexical=np.where(same, found.lexical, np.float32(0.0)),
    )
