"""Model numbers: a question about one is not answered with another's price. Pure functions."""

import re
import unicodedata
from collections.abc import Iterable

# Letters and digits in one word, hyphens within: AZ-2087, PPR9087, 13Pro. Digits alone may be an amount or a date.
_CODE = re.compile(r"(?<![A-Za-z0-9])(?=[A-Za-z0-9-]*\d)(?=[A-Za-z0-9-]*[A-Za-z])[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*")


def codes(text: str) -> frozenset[str]:
    """The model numbers in a text, without hyphens and in capitals, whatever their width."""
    return frozenset(one.replace("-", "").upper() for one in _CODE.findall(unicodedata.normalize("NFKC", text)))


def clash(query: str, wordings: Iterable[str]) -> bool:
    """Whether a query names model numbers, and the wordings of an entry name some, but none of them."""
    asked = codes(query)
    if not asked:
        return False
    named = frozenset[str]().union(*map(codes, wordings))
    return bool(named) and not asked & named
