"""Which language and script a customer writes, and an answer in the script they read."""

import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from bot.dialogue.types import Utterance
from knowledge.text import simplify

READ_CHARACTERS_MAX = 400
_HAN = re.compile("[㐀-䶿一-鿿豈-\ufaff]")
_LATIN = re.compile(r"(?<![\w-])[a-z][a-z']*(?![\w-])")
# Two Latin words are English where one of these is among them; a name or a model has none.
_ENGLISH = (
    "a an and any are at be bye can cannot can't could did do does don't for from get give got has have hello help hey "
    "hi how i i'd i'm i've if in is isn't it it's long many may me much my need no not of on or order please refund "
    "return ship shipping sorry take tell than thank thanks that the there these they this to track want was we what "
    "when where which who why will with won't work would yes you your"
)
_ENGLISH_WORDS = frozenset(_ENGLISH.split())
# What is read by machines stays as it is: links and their targets, addresses, code.
_KEPT = re.compile(
    r"\]\([^)\s]*\)|`[^`]*`|[a-z][a-z0-9+.-]*://[!-~]+(?:(?<=[/=])[一-鿿]+[!-~]*)*|www\.[!-~]+", re.IGNORECASE
)
# OpenCC knows 三天后, and takes 天后 after a digit for the queen of heaven.
_DAYS_LATER = re.compile(r"(?<=[\d半整多])天后|(?<=\d )天后")
# The tags of those who read traditional characters, and OpenCC's rules for them. Without a region Taiwan's are taken.
_RULES = (("zh-hk", "s2hk"), ("zh-mo", "s2hk"), ("zh-tw", "s2tw"), ("zh-hant-hk", "s2hk"), ("zh-hant", "s2tw"))


def customer_language(text: str, history: Iterable[Utterance], known: str) -> str:
    """A BCP 47 tag: of what the customer writes now, else wrote last, else `known`; `zh-Hant` for traditional
    characters, with `known`'s region where it has one.
    """
    if known.lower().startswith("en") and not _written(text) and any(c.isalpha() for c in text):
        return known  # 「hello」 by itself, where the client says English
    said = [text, *(one.text for one in reversed(tuple(history)) if one.role == "user")]
    written = [found for one in said if (found := _written(one))]
    if not written:
        return known
    if written[0] == "en":
        return known if known.lower().startswith("en") else "en"
    script = next((one for one in written if one not in ("en", "zh")), "")
    if script == "zh-Hant" or (not script and _rules(known)):
        return known if _rules(known) else "zh-Hant"
    return "zh"


def speller(language: str) -> Callable[[str], str] | None:
    """What brings a text into the traditional characters of a tag's readers; None where nothing is to be done."""
    rules = _rules(language)
    return (lambda text: _traditional(text, rules)) if rules else None


@lru_cache(maxsize=4096)  # what was said before is looked at with each message
def _written(text: str) -> str:
    """`en`, `zh-Hant`, `zh-Hans`, `zh` for Chinese in characters of both, "" where it cannot be told."""
    plain = unicodedata.normalize("NFKC", text[:READ_CHARACTERS_MAX].encode("utf-8", "replace").decode())
    if not _HAN.search(plain):
        words = _LATIN.findall(plain.casefold())
        return "en" if len(words) >= 2 and not _ENGLISH_WORDS.isdisjoint(words) else ""
    traditional = _changed(plain, simplify(plain))
    simplified = _changed(plain, str(_converter("s2t").convert(plain)))
    return "zh" if traditional == simplified else "zh-Hant" if traditional > simplified else "zh-Hans"


def _changed(before: str, after: str) -> int:
    return sum(a != b for a, b in zip(before, after, strict=False))


def _rules(language: str) -> str:
    tag = language.lower()
    return next((rules for start, rules in _RULES if tag.startswith(start)), "")


def _traditional(text: str, rules: str) -> str:
    parts: list[str] = []
    place = 0
    for kept in _KEPT.finditer(text):
        parts += (_converted(text[place : kept.start()], rules), kept.group())
        place = kept.end()
    return "".join((*parts, _converted(text[place:], rules)))


def _converted(text: str, rules: str) -> str:
    return _DAYS_LATER.sub("天後", _converter(rules).convert(text))


@lru_cache(maxsize=4)
def _converter(rules: str) -> Any:
    from opencc import OpenCC

    return OpenCC(rules)
