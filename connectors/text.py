"""Text for channels that show less than a page does: choices as a list, long replies in pieces."""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from connectors.types import Button

Measure = Callable[[str], int]
Span = tuple[int, int]

URL = r"https?://[^\s<>\"'，。；！？、）】」》]+"
# Where a reader would pause, the best first; each matches what ends the piece before.
PAUSES = (r"\n[ \t]*\n+", r"\n", r"[。！？；…]+[”’」』）)]*|[.!?;][”\"')]*(?=\s)", r"[，、,：:]|\s+")
FILLED_AT_LEAST = 0.5
# What a model wrote is said to be so wherever it is read.
GENERATED = "（AI 生成）"


def numbered(buttons: Sequence[Button]) -> str:
    """Buttons as a numbered list, one a line, for channels that have none; the number can be typed as the choice."""
    return "\n".join(f"{number}. {button.title}" for number, button in enumerate(buttons, 1))


def in_bytes(text: str) -> int:
    """Length in UTF-8."""
    return len(text.encode("utf-8", "replace"))


def in_utf16(text: str) -> int:
    """Length in UTF-16 code units, as Telegram and JavaScript count."""
    return len(text.encode("utf-16-le", "replace")) // 2


def split(text: str, limit: int, measure: Measure = len, whole: Iterable[Span] = ()) -> list[str]:
    """`text` in pieces of at most `limit` each, as `measure` counts; nothing but white space at a cut is lost.

    A cut is where a reader would pause: between paragraphs, else lines, sentences, words. It is never inside a
    grapheme cluster (Unicode UAX 29), nor inside a link or one of the spans `whole` (code, list items) unless that
    alone is longer than the limit.
    """
    if measure(text) <= limit:
        return [text] if text.strip() else []
    import regex

    ends = [match.end() for match in regex.finditer(r"\X", text)]
    sizes = [measure(text[begin:end]) for begin, end in pairwise([0, *ends])]
    links = [match.span() for match in regex.finditer(URL, text)]
    spans = sorted({*whole, *links})
    pauses = [[match.end() for match in regex.finditer(pattern, text)] for pattern in PAUSES]
    pieces = []
    begin = first = 0
    while begin < len(text):
        reach, first_over = _reach(ends, sizes, first, limit)
        cut = len(text) if first_over == len(ends) else _cut(begin, reach, pauses, spans, links, ends)
        piece = text[begin:cut].strip("\n").rstrip()
        if piece.strip():
            pieces.append(piece)
        while first < len(ends) and ends[first] <= cut:
            first += 1
        begin = cut
    return pieces


def _reach(ends: list[int], sizes: list[int], first: int, limit: int) -> tuple[int, int]:
    """How far a piece from grapheme `first` on may go, and the grapheme that is too much. At least one always fits."""
    size, index = 0, first
    while index < len(ends) and (size + sizes[index] <= limit or index == first):
        size += sizes[index]
        index += 1
    return ends[index - 1], index


def _cut(begin: int, reach: int, pauses: list[list[int]], spans: list[Span], links: list[Span], ends: list[int]) -> int:
    """The best place to cut in (begin, reach]. Spans are given up before links, and links before nothing else."""
    from bisect import bisect_right

    at_least = begin + (reach - begin) * FILLED_AT_LEAST
    graphemes = set(ends[bisect_right(ends, begin) : bisect_right(ends, reach)])
    for kept in (spans, links):
        inside = [(max(a, begin), b) for a, b in kept if a < reach and b > begin]
        for least in (at_least, begin):
            for places in pauses:
                found = [
                    place
                    for place in places[bisect_right(places, least) : bisect_right(places, reach)]
                    if place in graphemes and not any(a < place < b for a, b in inside)
                ]
                if found:
                    return found[-1]
        # No pause: before what must stay whole and would be cut.
        over = [a for a, b in inside if a > begin and a <= reach < b]
        if over:
            return min(over)
    return reach
