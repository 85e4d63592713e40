"""Markdown and plain text → passages of a few hundred characters that know the headings above them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from knowledge.text import clean
from knowledge.types import Passage

PASSAGE_CHARACTERS = 400
PASSAGE_CHARACTERS_MAX = 500
_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(.+?)[ \t]*#*[ \t]*$")
_CHAPTER = re.compile(r"^(第[一二三四五六七八九十百零\d]+[章节条篇部]|[一二三四五六七八九十]+、)\s*\S{0,30}$")
_FENCE = re.compile(r"^ {0,3}(```+|~~~+)")
_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)
_TITLE = re.compile(r"^title:\s*[\"']?(.+?)[\"']?\s*$", re.MULTILINE)
_SENTENCE_END = re.compile(r"(?<=[。！？；!?;\n])|(?<=\.\s)")


@dataclass(frozen=True, slots=True)
class Section:
    """The text under one heading, and the headings that lead to it."""

    path: tuple[str, ...]
    text: str


def passages(text: str, name: str) -> Iterator[Passage]:
    """The passages of a document in order; `title` is the path of headings, or `name` where there are none."""
    position = 0
    for section in sections(clean(text)):
        for piece in split(section.text):
            yield Passage("", "", " / ".join(section.path) or name, piece, position)
            position += 1


def sections(text: str) -> Iterator[Section]:
    """A text cut at its headings: Markdown's, or the chapters of a Chinese document. Fenced code holds no headings."""
    path: list[tuple[int, str]] = []
    if front := _FRONT_MATTER.match(text):
        text = text[front.end() :]
        if named := _TITLE.search(front.group(1)):
            path = [(0, named.group(1))]
    lines: list[str] = []
    fence = ""
    for line in text.split("\n"):
        mark = _FENCE.match(line)
        if mark and (not fence or line.strip() == fence or line.strip().startswith(fence)):
            fence = "" if fence else mark.group(1)
        heading = None if fence or mark else _heading(line)
        if heading is None:
            lines.append(line)
            continue
        if body := "\n".join(lines).strip():
            yield Section(tuple(title for _, title in path), body)
        lines = []
        level, title = heading
        path = [*((other, name) for other, name in path if other < level), (level, title)]
    if body := "\n".join(lines).strip():
        yield Section(tuple(title for _, title in path), body)


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


def _heading(line: str) -> tuple[int, str] | None:
    if found := _HEADING.match(line):
        return len(found.group(1)), found.group(2).strip()
    if _CHAPTER.match(line.strip()) and not line.rstrip().endswith(("。", "；", "，", ";", ",")):
        return (1 if line.strip().startswith("第") else 2), line.strip()
    return None
