"""A section's text in pieces of a few hundred characters."""

import re
from collections.abc import Iterator

PASSAGE_CHARACTERS = 400
PASSAGE_CHARACTERS_MAX = 500
_SENTENCE_END = re.compile(r"(?<=[。！？；!?;\n])|(?<=\.\s)")


def split(text: str) -> Iterator[str]:
    """A section in pieces of about 400 and at most 500 characters, cut between paragraphs, else between sentences."""
    piece = ""
    for part in _parts(text):
        if piece and len(piece) + len(part) > PASSAGE_CHARACTERS:
            yield piece.strip()
            piece = ""
        piece += part
    if piece.strip():
        yield piece.strip()


def _parts(text: str) -> Iterator[str]:
    for paragraph in re.split(r"(?<=\n)\n+", text + "\n"):
        if len(paragraph) <= PASSAGE_CHARACTERS_MAX:
            yield paragraph + "\n"
            continue
        for sentence in _SENTENCE_END.split(paragraph):
            for start in range(0, len(sentence), PASSAGE_CHARACTERS_MAX):
                yield sentence[start : start + PASSAGE_CHARACTERS_MAX]
        yield "\n"
