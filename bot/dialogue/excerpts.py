"""Of passages what is asked about: the sentence nearest to the question and what stands beside it.

A small model copies what a text begins with, and a customer has to look for the one sentence that matters; both get
less to read. Extractive compression of retrieved texts: Xu, Shi & Choi, "RECOMP", ICLR 2024.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from bot.dialogue.types import Source
from knowledge.contrasts import is_beside
from knowledge.types import TextKind

# Passages that are behind the best by more than this, they and their nearest sentence together, say something else.
DISTANCE_MAX = 0.03
_END = re.compile(r"[。！？!?]+[」』”’）)\"']*|(?<!\d)\.(?=\s)|\n|\Z")
# Rows of a table, and steps, of which each needs the others.
_TOGETHER = re.compile(
    r"\s*(?:\||\d+[.、)）]|[(（]\d+[)）]|[①-⑳]|第[一二三四五六七八九十\d]+步|[一二三四五六七八九十]+[、.])"
)
_INTRODUCES = ("：", ":")
_LEANS = re.compile(
    r"\s*(?:-\s*)?(?:其中|其|该|此|这|那|它|他|她|但|不过|否则|然后|并且|并|同时|前述|超出|逾期|反之)"
    r"|[^。！？!?\n]*?(?:在此基础|在此期间|上述|以上|如前|前款)"
)
_PARAGRAPH = re.compile(r"\n[ \t]*\n")

# How alike a question and each of some texts are (`Knowledge.alike`).
Alike = Callable[[str, Sequence[str], TextKind], Awaitable[list[float]]]


async def excerpts(question: str, sources: Sequence[Source], alike: Alike) -> tuple[Source, ...]:
    """The sources with the quotes cut to what is asked about, those first that are the nearest by their score and their
    nearest sentence together; those that are far behind are left out. Asked how much or how long, the nearest is one
    that says that, where there is any.
    """
    cut = [parts(source.quote) for source in sources]
    texts = [source.quote[slice(*part)] for source, own in zip(sources, cut, strict=True) for part in own]
    near = iter(await alike(question, texts, "passage"))
    found: list[tuple[float, Source]] = []
    for source, own in zip(sources, cut, strict=True):
        scores = [next(near) for _ in own]
        if scores:
            telling = [at for at, part in enumerate(own) if not is_beside(question, [source.quote[slice(*part)]])]
            nearest = max(telling or range(len(own)), key=scores.__getitem__)
            excerpt = from_part(source.quote, own, nearest)
            found.append((source.score + scores[nearest], replace(source, quote=excerpt)))
    found.sort(key=lambda one: -one[0])
    return tuple(source for score, source in found if score >= found[0][0] - DISTANCE_MAX)


def from_part(text: str, own: Sequence[tuple[int, int]], at: int) -> str:
    """The part `at` of a text, what it leans on before it, and the next one of its paragraph, which may limit it."""
    first, last = at, at
    while first and _LEANS.match(text, own[first][0]):
        first -= 1
    if at + 1 < len(own) and not _PARAGRAPH.search(text, own[at][1], own[at + 1][0]):
        last += 1
    return text[own[first][0] : own[last][1]].strip()


def parts(text: str) -> list[tuple[int, int]]:
    """Where the sentences of a text begin and end; tables and numbered steps are one part with what introduces them."""
    found: list[tuple[int, int]] = []
    joined, start = False, 0
    for match in _END.finditer(text):
        begins_line, piece = not start or text[start - 1] == "\n", text[start : match.end()]
        if piece.strip():
            together = begins_line and _TOGETHER.match(piece) is not None
            goes_on = joined and not begins_line
            introduced = bool(found) and text[slice(*found[-1])].rstrip().endswith(_INTRODUCES)
            if goes_on or (together and (joined or introduced)):
                found[-1] = (found[-1][0], start + len(piece.rstrip()))
            else:
                found.append((start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())))
            joined = together or goes_on
        start = match.end()
    return found
