"""The one form of a prose document that every reader of prose gives and that `extract` reads."""

import re
from dataclasses import dataclass
from functools import lru_cache
from textwrap import dedent
from typing import Literal

# No line is a question or a title that is longer; patterns look no further.
LOOKED_AT_CHARACTERS = 1000
Kind = Literal["heading", "paragraph", "item", "table", "code"]
# What the format itself says of a block: "faq" a question marked as one (schema.org), "toggle" the title of something
# that opens (accordion, <details>, <dt>), "answer" what belongs to the question or title before it.
Role = Literal["", "faq", "toggle", "answer"]
Rows = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Block:
    """A heading, paragraph, list item, table or piece of code. `text` is Markdown, `place` is what a person looks for.

    `level` is the depth of a heading (1 is the top) or of a list item (0 is the top). `sequence` names the automatic
    list an item is counted in. `tight` says that no blank line parts it from the block before.
    """

    kind: Kind
    text: str
    place: str = ""
    level: int = 0
    role: Role = ""
    sequence: str = ""
    bold: bool = False
    tight: bool = False
    is_link: bool = False
    rows: Rows = ()


@dataclass(frozen=True, slots=True)
class Prose:
    """A document as blocks in reading order; `pairs` are those its metadata states; `problems` are (place, reason)."""

    blocks: tuple[Block, ...]
    title: str = ""
    pairs: tuple[tuple[str, str], ...] = ()
    problems: tuple[tuple[str, str], ...] = ()


_IMAGE = re.compile(r"!\[([^\]\n]{0,500})\]\([^)\n]{0,2000}\)")
_LINK = re.compile(r"\[([^\]\n]{0,500})\]\([^)\n]{0,2000}\)")
_EMPHASIS = re.compile(r"(\*{1,3}|_{2,3}|`+|~~)(?=\S)(.{1,500}?)(?<=\S)\1")
_BOLD_LINE = re.compile(r"(?:[-*+] +)?(?:\d{1,3}[.、)）] *)?(\*\*|__)(?=\S).{1,500}?\1[:：?？]?\s*")


@lru_cache(maxsize=8192)
def plain(text: str) -> str:
    """Markdown → the words a reader sees, on one line, without pictures; of a long text its beginning."""
    text = _LINK.sub(r"\1", _IMAGE.sub("", text[:LOOKED_AT_CHARACTERS]))
    for _ in range(2):
        text = _EMPHASIS.sub(r"\2", text)
    return " ".join(text.split())


def is_bold_line(text: str) -> bool:
    """Whether a whole line of Markdown is set in bold, but for its number."""
    if len(text) > LOOKED_AT_CHARACTERS:
        return False
    return bool(_BOLD_LINE.fullmatch(text.strip())) and text.count("**") + text.count("__") == 2


def markdown_table(rows: Rows) -> str:
    """Rows as a Markdown table; the first is its header."""
    width = max((len(row) for row in rows), default=0)
    if not width:
        return ""
    lines = ["| " + " | ".join(_cell(row[i]) if i < len(row) else "" for i in range(width)) + " |" for row in rows]
    lines.insert(1, "|" + " --- |" * width)
    return "\n".join(lines)


def join(blocks: list[Block]) -> str:
    """The Markdown of blocks one after the other."""
    parts: list[str] = []
    for block in blocks:
        if not block.text.strip():
            continue
        text = f"{'#' * max(1, min(block.level, 6))} {block.text}" if block.kind == "heading" else block.text
        if parts:
            parts.append("\n" if block.tight else "\n\n")
        parts.append(text)
    return dedent("".join(parts)).strip()


def _cell(text: str) -> str:
    return text.strip().replace("|", "\\|").replace("\n", "<br>")
