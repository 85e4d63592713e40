"""How Chinese characters are read: toneless pinyin, what is easily confused in it, and pinyin that somebody typed."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

FILE = Path(__file__).parent / "data" / "sounds.txt"
SYLLABLE_LETTERS_MAX = 6
DIVISIONS_MAX = 3
_VOWELS = frozenset("aeiouv")
_INITIALS = (("zh", "z"), ("ch", "c"), ("sh", "s"), ("n", "l"))
_FINALS = ("ang", "eng", "ing")


def readings(character: str) -> tuple[str, ...]:
    """The syllables that a simplified character may be read as, without tones, the usual one first; none where it is no
    common character.
    """
    return _table().get(character, ())


@lru_cache(maxsize=1024)
def blurred(syllable: str) -> str:
    """Equal for syllables that many speakers and keyboards do not tell apart: zh and z, n and l, ang and an…"""
    for written, short in _INITIALS:
        if syllable.startswith(written):
            syllable = short + syllable.removeprefix(written)
            break
    return syllable[:-1] if syllable.endswith(_FINALS) else syllable


def divisions(letters: str) -> list[tuple[str, ...]]:
    """The ways to read a run of small letters as syllables, those of the fewest first: xian is 先 and 西安."""
    return sorted(_divided(letters), key=len)[:DIVISIONS_MAX]


def _divided(letters: str) -> Sequence[tuple[str, ...]]:
    # By what begins at each letter, from the end; a run of fifty letters would have very many ways, so few are kept.
    ways: list[list[tuple[str, ...]]] = [[] for _ in letters] + [[()]]
    for start in reversed(range(len(letters))):
        found = [(letters[start:end], *rest) for end in _ends(letters, start) for rest in ways[end]]
        ways[start] = sorted(found, key=len)[: 2 * DIVISIONS_MAX]
    return ways[0]


def _ends(letters: str, start: int) -> Iterator[int]:
    known = _syllables()
    for end in range(start + 1, min(start + SYLLABLE_LETTERS_MAX, len(letters)) + 1):
        if letters[start:end] in known:
            yield end


@lru_cache(maxsize=1)
def _table() -> dict[str, tuple[str, ...]]:
    usual: dict[str, tuple[str, ...]] = {}
    other: dict[str, tuple[str, ...]] = {}
    for line in FILE.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            syllable, *lists = line.split()
            for characters, found in zip(lists, (usual, other), strict=False):
                for character in characters.strip("-"):
                    found[character] = (*found.get(character, ()), syllable)
    return {character: syllables + other.get(character, ()) for character, syllables in usual.items()}


@lru_cache(maxsize=1)
def _syllables() -> frozenset[str]:
    every = {syllable for known in _table().values() for syllable in known}
    return frozenset(syllable for syllable in every if _VOWELS & set(syllable))
