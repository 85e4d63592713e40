"""Lists of words the company watches for, found all at once (Aho-Corasick) however they are disguised.

Text and words are compared as letters and digits alone: full width, case, traditional and invisible characters and
marks make no difference. What parts sentences does: 「毒，品质」 holds no 「毒品」, unless its characters stand apart.
A Latin word counts only as a word of its own: `sb` is not in `usb`, nor in `is big`.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import ahocorasick

from knowledge.text import simplify

# What lies between a kept character and the one before it.
_JOINED, _SPACED, _PARTED = 0, 1, 2
_PARTING = frozenset("，。！？；：、,!?;:\n\r…")


@dataclass(frozen=True, slots=True)
class Found:
    """A listed word that a text holds, and the name of the list or topic it stands for."""

    word: str
    name: str


class WordList:
    """Words, each with the name of what it stands for. Immutable; a search takes time by the text's length alone."""

    def __init__(self, words: Mapping[str, str] | None = None) -> None:
        self._automaton: Any = ahocorasick.Automaton()
        for word, name in (words or {}).items():
            key, gaps = _reduced(word)
            if key:
                self._automaton.add_word(key, (gaps, Found(word, name)))
        self._empty = not len(self._automaton)
        if not self._empty:
            self._automaton.make_automaton()

    @classmethod
    def of(cls, name: str, words: Iterable[str]) -> "WordList":
        """One list under one name."""
        return cls(dict.fromkeys(words, name))

    def find(self, text: str) -> Found | None:
        """The first listed word in `text`, None where there is none."""
        if self._empty:
            return None
        plain, gaps = _reduced(text)
        for end, (own_gaps, found) in self._automaton.iter(plain):
            if _stands(plain, gaps, own_gaps, end + 1):
                return found  # type: ignore[no-any-return]
        return None


def _reduced(text: str) -> tuple[str, list[int]]:
    """The letters and digits of `text`, and what lies before each of them and after the last."""
    kept: list[str] = []
    gaps: list[int] = []
    gap = _PARTED
    for character in simplify(text).casefold():
        kind = unicodedata.category(character)
        if kind[0] in "LN":
            kept.append(character)
            gaps.append(gap)
            gap = _JOINED
        elif kind != "Cf" and kind[0] != "M":  # joiners, direction marks and accents part nothing
            gap = max(gap, _PARTED if character in _PARTING else _SPACED)
    return "".join(kept), [*gaps, _PARTED]


def _stands(plain: str, gaps: list[int], own_gaps: list[int], end: int) -> bool:
    """Whether the match that ends before `end` is the word itself, not letters of its neighbours."""
    start = end - len(own_gaps) + 1
    inner = gaps[start + 1 : end]
    apart = gaps[start] and gaps[end] and all(inner)
    if plain[start:end].isascii():
        whole = (gaps[start] or not plain[start - 1].isascii()) and (gaps[end] or not plain[end].isascii())
        in_one = all(own or not gap for gap, own in zip(inner, own_gaps[1:], strict=False))
        return bool(apart or (whole and in_one))
    return bool(apart) or _PARTED not in inner
