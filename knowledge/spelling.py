"""Reading what was mistyped: homophones (发飘), pinyin (kuaidi) and slips in foreign words, by the company's own words.

A word is only read as another where the company's wordings have that other and not the one that was typed.
"""

import re
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby, pairwise, product
from pathlib import Path

from knowledge.sounds import blurred, divisions, readings

FILE = Path(__file__).parent / "data" / "words.txt"
READ_CHARACTERS_MAX = 80
WORD_LETTERS_MIN = 5
# What a pair of neighbouring characters is worth, and what it costs to read a character as another. A frequent one
# (地, 的, 在) is exchanged where a word of the language comes of it, another also where a pair of the company's does.
WORD, PAIR = 1.0, 0.45
# What a word that the company uses is worth more: 收获 goes for 收货 before 地址, where the pair across them is known.
OWN_WORD = 0.1
SAME_SOUND, SAME_SOUND_FREQUENT, LIKE_SOUND = 0.5, 0.8, 0.25
_PIECES = re.compile(r"(\s*)([A-Za-z0-9]+(?:[-_./+#'][A-Za-z0-9]+)*|.)", re.DOTALL)


class Vocabulary:
    """The words of a company's wordings, as search tokens: pairs of characters by their sound, and foreign words.

    `tokens` says which tokens there are, and where; its owner tells of each that comes and goes.
    """

    def __init__(self, tokens: Mapping[str, Sized]) -> None:
        self._tokens = tokens
        self._words: set[str] = set()
        # The blurred sounds of a pair, with a space between them; its value is all such pairs, one after the other.
        self._pairs: dict[str, str] = {}
        self._characters: dict[str, str] = {}

    def __contains__(self, token: str) -> bool:
        return token in self._tokens

    def worth(self, pair: str) -> float:
        """Of two neighbouring characters: whether they are a word, or at least stand in a wording like this."""
        if pair in _words():
            return WORD + OWN_WORD if pair in self._tokens else WORD
        return PAIR if pair in self._tokens else 0.0

    def learn(self, token: str) -> None:
        """A token that no wording had before."""
        if token.isascii():
            if token.isalpha() and len(token) >= WORD_LETTERS_MIN:
                self._words.add(token)
        elif len(token) == 2:
            for key in _keys(token):
                self._pairs[key] = self._pairs.get(key, "") + token
        else:
            for sound in readings(token):
                self._characters[sound] = self._characters.get(sound, "") + token

    def forget(self, token: str) -> None:
        """A token that no wording has any more."""
        self._words.discard(token)
        if len(token) == 1:
            for sound in readings(token):
                self._characters[sound] = self._characters[sound].replace(token, "")
        elif len(token) == 2 and not token.isascii():
            for key in _keys(token):
                rest = "".join(pair for pair in _split(self._pairs[key]) if pair != token)
                if rest:
                    self._pairs[key] = rest
                else:
                    del self._pairs[key]

    def pairs(self, first: str, second: str) -> list[str]:
        """The pairs of characters that sound like two syllables, `blurred` both."""
        return _split(self._pairs.get(f"{first} {second}", ""))

    def character(self, syllable: str) -> str | None:
        """The character in the most wordings that is read so."""
        known = self._characters.get(syllable, "")
        return max(known, key=lambda character: len(self._tokens[character]), default=None)

    def word_near(self, word: str) -> str | None:
        """The one foreign word that is a letter more, less or exchanged or a swap away; None of none or several."""
        found = [known for known in self._words if abs(len(known) - len(word)) <= 1 and _is_slip(word, known)]
        return found[0] if len(found) == 1 else None


@dataclass(slots=True)
class _Unit:
    """A character, a typed syllable, or what stays as it is (`sounds` empty). `space` stood before it."""

    written: str
    sounds: tuple[str, ...] = ()
    typed: bool = False
    space: str = ""
    options: dict[str, float] = field(default_factory=dict)

    def sounds_like(self, character: str) -> bool:
        """Whether one of the two is read like the other in its usual reading: not 拆 and 移, both rarely read chi."""
        known = readings(character)
        usual, its_usual = blurred(self.sounds[0]), blurred(known[0])
        return usual in _blurred(known) or its_usual in _blurred(self.sounds)

    def cost(self, character: str) -> float:
        """Of reading it as another character that sounds like it."""
        unlike = 0.0 if any(sound in self.sounds for sound in readings(character)) else LIKE_SOUND
        if self.typed:
            return unlike
        return unlike + (SAME_SOUND_FREQUENT if self.written in _frequent() else SAME_SOUND)


def read_as(text: str, vocabulary: Vocabulary) -> str | None:
    """A question in the company's own words where some of it was mistyped; None where nothing was, or nobody can tell.

    `text` is `plain`. Exchanged is what gains most known pairs of characters, by Viterbi's algorithm.
    """
    if len(text) > READ_CHARACTERS_MAX:
        return None
    pieces = [
        _Unit(_foreign(piece, vocabulary), readings(piece), space=space) for space, piece in _PIECES.findall(text)
    ]
    runs = [
        (letters, list(run)) for letters, run in groupby(pieces, lambda one: _may_be_pinyin(one.written, vocabulary))
    ]
    units: list[_Unit] = []
    for at, (letters, run) in enumerate(runs):
        after = runs[at + 1][1][:1] if at + 1 < len(runs) else []
        units += _syllables(run, units[-1:], after, vocabulary) if letters else run
    found = _joined(units, _best(units, vocabulary))
    return found if found != text else None


def _foreign(piece: str, vocabulary: Vocabulary) -> str:
    """A foreign word, as the company writes it where it is a slip of one of its words."""
    if len(piece) < WORD_LETTERS_MIN or not _may_be_pinyin(piece, vocabulary):
        return piece
    return vocabulary.word_near(piece.lower()) or piece


def _may_be_pinyin(piece: str, vocabulary: Vocabulary) -> bool:
    return piece.isascii() and piece.isalpha() and piece.lower() not in vocabulary


def _syllables(
    run: Sequence[_Unit], before: Sequence[_Unit], after: Sequence[_Unit], vocabulary: Vocabulary
) -> list[_Unit]:
    """Words of letters as syllables, all of them together or each alone, where words of the company come of it."""
    found: list[_Unit] = []
    most = 0.0
    for way in divisions("".join(unit.written for unit in run).lower()):
        units = [_Unit(syllable, (syllable,), typed=True) for syllable in way]
        around = [*before, *units, *after]
        gain = _gain(around, _best(around, vocabulary), vocabulary)
        if gain > most:
            found, most = units, gain
    if found:
        found[0].space = run[0].space
        return found
    if len(run) == 1:
        return list(run)
    for at, unit in enumerate(run):
        found += _syllables([unit], found[-1:] or before, run[at + 1 : at + 2] or after, vocabulary)
    return found


def _best(units: Sequence[_Unit], vocabulary: Vocabulary) -> list[str]:
    """What each unit is read as: itself, or a character of the company's that sounds like it."""
    for unit in units:
        unit.options = {unit.written: 0.0}
    for one, other in pairwise(units):
        if not one.typed and not other.typed and vocabulary.worth(one.written + other.written):
            continue
        for first, second in product(_blurred(one.sounds), _blurred(other.sounds)):
            for pair in vocabulary.pairs(first, second):
                if not (one.sounds_like(pair[0]) and other.sounds_like(pair[1])):
                    continue
                one.options.setdefault(pair[0], one.cost(pair[0]))
                other.options.setdefault(pair[1], other.cost(pair[1]))
    for unit in units:
        if unit.typed and (likeliest := vocabulary.character(unit.written)):
            unit.options = {likeliest: 0.0} | unit.options
    paths: dict[str, tuple[float, list[str]]] = {"": (0.0, [])}
    for unit in units:
        paths = {option: _longer(paths, option, cost, vocabulary) for option, cost in unit.options.items()}
    return max(paths.values(), key=lambda one: one[0])[1]


def _longer(
    paths: Mapping[str, tuple[float, list[str]]], option: str, cost: float, vocabulary: Vocabulary
) -> tuple[float, list[str]]:
    last, score = max(
        ((last, score + vocabulary.worth(last + option)) for last, (score, _) in paths.items()), key=lambda one: one[1]
    )
    return score - cost, [*paths[last][1], option]


def _gain(units: Sequence[_Unit], read: Sequence[str], vocabulary: Vocabulary) -> float:
    """What pairs are worth that came of typed syllables, less what was exchanged for them."""
    known = sum(
        vocabulary.worth(first + second)
        for (one, other), (first, second) in zip(pairwise(units), pairwise(read), strict=True)
        if one.typed or other.typed
    )
    return known - sum(unit.options[as_] for unit, as_ in zip(units, read, strict=True))


def _joined(units: Sequence[_Unit], read: Sequence[str]) -> str:
    """Without the spaces around what was typed as letters and read as characters."""
    parts, before = [], False
    for unit, as_ in zip(units, read, strict=True):
        here = unit.typed and as_ != unit.written
        parts.append(as_ if here or before else unit.space + as_)
        before = here
    return "".join(parts)


@lru_cache(maxsize=1)
def _lists() -> tuple[str, frozenset[str]]:
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return lines[0], frozenset(line[0] + second for line in lines[1:] for second in line[1:])


def _frequent() -> str:
    return _lists()[0]


def _words() -> frozenset[str]:
    return _lists()[1]


def _keys(pair: str) -> list[str]:
    first, second = (_blurred(readings(character)) for character in pair)
    return [f"{one} {other}" for one, other in product(first, second)]


@lru_cache(maxsize=8192)
def _blurred(sounds: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(blurred(sound) for sound in sounds))


def _split(pairs: str) -> list[str]:
    return [pairs[at : at + 2] for at in range(0, len(pairs), 2)]


def _is_slip(word: str, known: str) -> bool:
    """Whether two different words are one insertion, deletion, exchange or swap of neighbours apart."""
    start = next((at for at, (one, other) in enumerate(zip(word, known, strict=False)) if one != other), None)
    if start is None:
        return True
    rest, others = word[start:], known[start:]
    return (
        rest[1:] == others[1:]
        or rest == others[1:]
        or rest[1:] == others
        or (rest[1::-1] == others[:2] and rest[2:] == others[2:])
    )
