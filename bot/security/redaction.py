"""Personal data out of a text before it is logged, learnt from or sent to somebody else's engine.

What is certain is masked: numbers whose form and checksum say what they are, and what is called by its name
(「收件人：…」). What a label calls an order, a parcel, a price or a code stays, and so does what `keep` holds.

Sources: GB 11643-1999 (resident identity number), ISO/IEC 7812-1 annex B (Luhn), E.164 with the numbering plans of
mainland China, Hong Kong, Macau and Taiwan, GA 36-2018 (number plates).
"""

import logging
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from bot.security import personal

Kind = Literal["phone", "id_card", "bank_card", "email", "address", "name", "plate", "passport", "account"]
Mask = Callable[[str], str]

PLACEHOLDERS: dict[Kind, str] = {
    "phone": "[电话]",
    "id_card": "[证件号]",
    "bank_card": "[银行卡号]",
    "email": "[邮箱]",
    "address": "[地址]",
    "name": "[姓名]",
    "plate": "[车牌号]",
    "passport": "[护照号]",
    "account": "[账号]",
}


@dataclass(frozen=True, slots=True)
class Item:
    """One piece of personal data: what it is and where it stood in the text, as [start, end)."""

    kind: Kind
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Redacted:
    """The text with a placeholder for each item; `items` in the order of the original text."""

    text: str
    items: tuple[Item, ...]


def mask(text: str, keep: str = "") -> Redacted:
    """The text without personal data. What also stands in `keep`, such as the company's own contacts, is left."""
    known = _narrow(keep)
    items: list[Item] = []
    for kind, start, end, value in _found(_narrow(text)):
        if known and value in known:
            continue
        if all(end <= one.start or one.end <= start for one in items):
            items.append(Item(kind, start, end))
    items.sort(key=lambda one: one.start)
    parts: list[str] = []
    place = 0
    for one in items:
        parts += (text[place : one.start], PLACEHOLDERS[one.kind])
        place = one.end
    return Redacted("".join((*parts, text[place:])), tuple(items))


class MaskingFormatter(logging.Formatter):
    """Log lines, tracebacks too, without personal data. A record's `request_id` stays as it is, and so must be random:
    by it a line is found. One that is `impersonal`, for nothing in it is anybody's to choose, is not looked through.
    """

    def format(self, record: logging.LogRecord) -> str:
        text, id_ = super().format(record), getattr(record, "request_id", "")
        if getattr(record, "impersonal", False):
            return text
        return id_.join(map(masked, text.split(id_))) if id_ else masked(text)


def masked(text: str) -> str:
    """The text alone, for what takes a plain callable (`Mask`)."""
    return mask(text).text


def _found(plain: str) -> Iterator[tuple[Kind, int, int, str]]:
    """In the order of certainty: an earlier one keeps its place against a later one."""
    finders: tuple[tuple[Kind, Callable[[str], Iterator[tuple[int, int]]]], ...] = (
        ("email", personal.emails),
        ("account", personal.accounts),
        ("id_card", personal.id_cards),
        ("bank_card", personal.bank_cards),
        ("phone", personal.phones),
        ("passport", personal.passports),
        ("plate", personal.plates),
        ("address", personal.addresses),
        ("name", personal.names),
    )
    for kind, find in finders:
        for start, end in find(plain):
            yield kind, start, end, plain[start:end]


def _narrow(text: str) -> str:
    """Full-width digits, letters and marks as plain ones, one for one, so that places stay those of the text."""
    if text.isascii():
        return text
    return "".join(unicodedata.normalize("NFKC", c) if "！" <= c <= "～" or c == "\u3000" else c for c in text)
