"""Texts made comparable: cleaning, normal forms and tokens."""

import re
import unicodedata
from functools import lru_cache
from itertools import pairwise
from typing import Any

# Letters and digits with the joints that product codes use (PPR-9087, iso9001/2015, v2.1), or a run of CJK characters.
_RUNS = re.compile(r"[^\W_㐀-鿿豈-﫿]+(?:[-_./+#][^\W_㐀-鿿豈-﫿]+)*|[㐀-鿿豈-﫿]+")
_JOINTS = re.compile(r"[-_./+#]")
_PARTS = re.compile(r"[^\W\d_]+|\d+")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x9f\ufeff\ufffe\uffff]")
_SPACES = re.compile(r"\s+")
_BROKEN = re.compile("[\ufffd\ud800-\udfff]")
_KEPT_MARKS = frozenset("#%&@+")
REMEMBERED_CHARACTERS_MAX = 200


class _Marks(dict[int, str]):
    """What stands for each character in `str.translate`: itself, or where it is a mark or a space always the same."""

    def __init__(self, mark: str) -> None:
        super().__init__()
        self._mark = mark

    def __missing__(self, code: int) -> str:
        character = chr(code)
        is_mark = character not in _KEPT_MARKS and unicodedata.category(character)[0] in "PZC"
        self[code] = self._mark if is_mark else character
        return self[code]


_DROPPED, _SPACED = _Marks(""), _Marks(" ")


def clean(text: str) -> str:
    """The text as it is kept: one kind of line break, no control characters, no space at either end."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n")
    return without_controls(text).strip()


def without_controls(text: str) -> str:
    """The text without the characters that neither XML nor a database column takes."""
    return _CONTROLS.sub("", text)


def clean_line(text: str) -> str:
    """A question, a tag or a category as it is kept: `clean`, on one line."""
    return _SPACES.sub(" ", clean(text)).strip()


def is_sound(text: str) -> bool:
    """Whether the text can be stored as UTF-8 and lost nothing when it was decoded."""
    return not _BROKEN.search(text)


def simplify(text: str) -> str:
    """NFKC (full-width letters, digits and marks become plain ones), traditional characters become simplified ones."""
    return _remembered(text) if len(text) <= REMEMBERED_CHARACTERS_MAX else _simplified(text)


def _simplified(text: str) -> str:
    text = unicodedata.normalize("NFKC", text)
    if text.isascii():
        return text
    return str(_converter().convert(text))


# A question is read this way in several places of an answer, and an entry in many answers.
_remembered = lru_cache(maxsize=16384)(_simplified)


def plain(text: str) -> str:
    """A question as the encoder reads it: `simplify`, without the punctuation before and after it.

    Whether somebody ends with ？, 。 or nothing says little about what is asked, and moves the vector: without it hit@1
    rises (docs/benchmarks.md). Inside, it parts what belongs apart and stays; so does a text of nothing else.
    """
    simple = simplify(text).strip()
    inside = [i for i, kept in enumerate(simple.translate(_SPACED)) if kept != " "]
    return simple[inside[0] : inside[-1] + 1] if inside else simple


@lru_cache(maxsize=65536)
def normalise(text: str) -> str:
    """What two wordings share when they are the same question: `simplify`, case, punctuation and spaces taken away.

    A dot between digits stays (1.5 is not 15), and so do # % & @ + (C, C++ and C# differ). A text of nothing but marks
    keeps them, so that it is not the same as every other.
    """
    folded = simplify(text).casefold()
    parts = folded.split(".")
    kept = [part.translate(_DROPPED) for part in parts]
    for i, (before, after) in enumerate(pairwise(parts), start=1):
        if before[-1:].isdigit() and after[:1].isdigit():
            kept[i] = f".{kept[i]}"
    return "".join(kept) or _SPACES.sub("", folded)


def fingerprint(question: str, answer: str) -> str:
    """Equal for entries that say the same: normalised question and normalised answer."""
    asked = normalise(question)
    return f"{len(asked)}:{asked}{normalise(answer)}"


def tokens(text: str) -> list[str]:
    """Search tokens, with repeats: characters and character pairs of Chinese, words elsewhere, and model codes.

    A code is given whole, without its joints, and in parts, so that `PPR-9087`, `ppr9087` and `9087` meet.
    """
    found: list[str] = []
    for run in _RUNS.findall(simplify(text).casefold()):
        if "㐀" <= run[0] <= "鿿" or "豈" <= run[0] <= "\ufaff":
            found.extend(run)
            found.extend(run[i : i + 2] for i in range(len(run) - 1))
        else:
            found.extend(_code_tokens(run))
    return found


def _code_tokens(run: str) -> list[str]:
    joined = _JOINTS.sub("", run)
    parts = _PARTS.findall(joined)
    return [joined, *parts] if len(parts) > 1 else [joined]


@lru_cache(maxsize=1)
def _converter() -> Any:
    from opencc import OpenCC

    return OpenCC("t2s")
