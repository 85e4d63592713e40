"""Model numbers and other numbers: what tells two questions in the same words apart. Pure functions."""

import re
import unicodedata

# Letters and digits in one word, hyphens within: AZ-2087, PPR9087, 13Pro. Digits alone may be an amount or a date.
CODE = re.compile(r"(?<![A-Za-z0-9])(?=[A-Za-z0-9-]*\d)(?=[A-Za-z0-9-]*[A-Za-z])[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*")

DIGITS_MAX = 6
_PARTS = re.compile(r"[A-Z]+|\d+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
# A letter alone beside Chinese, as in 套餐 A.
_LETTER = re.compile(r"(?<=[\u4e00-\u9fff])\s?([A-Z])(?![A-Z0-9-])")


def codes(text: str) -> frozenset[str]:
    """The model numbers in a text, without hyphens and in capitals, whatever their width. What has more digits than one
    of them is the number of an order or a parcel.
    """
    found = (one.replace("-", "").upper() for one in CODE.findall(unicodedata.normalize("NFKC", text)))
    return frozenset(one for one in found if sum(map(str.isdigit, one)) <= DIGITS_MAX)


def told_apart(one: str, other: str) -> bool:
    """Whether each of two questions names a number, or a part of a code, that the other does not: A-17 and A-18, 5 月
    and 6 月. One that names nothing more than the other (七天 and 7 天, iPhone15 and iPhone 15) is not.
    """
    if codes(one) and codes(other) and codes(one) != codes(other):
        return True
    mine, others = _marks(one), _marks(other)
    return bool(mine - others and others - mine)


def _marks(text: str) -> frozenset[str]:
    text = unicodedata.normalize("NFKC", text).upper()
    parts = {part for code in codes(text) for part in _PARTS.findall(code)}
    return frozenset(parts.union(_NUMBER.findall(text), _LETTER.findall(text)))
