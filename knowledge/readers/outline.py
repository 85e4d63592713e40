"""Blocks made ready for the search: one line a block where lines matter, titles that are written as plain text."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from knowledge.readers.blocks import Block, is_bold_line, plain
from knowledge.readers.questions import (
    ASKS,
    SYMPTOM,
    answer_mark,
    asks,
    count,
    is_bare_question_mark,
    is_faq_title,
    is_statement,
    question_mark,
)

TITLE_CHARACTERS_MAX = 30
WHOLE_LINES_MIN = 3
WHOLE_LINES_SHARE = 0.7
_CHAPTER = re.compile(r"第[一二三四五六七八九十百零\d]+[章节節篇部]\s*\S")
_ANSWER_WITHIN = re.compile(r"(?<=[?？])[)）」”\"'*]*\s*(?=(?:A|答|答案|回答|解答|回复)\s*[:：])")
_TEXT_WITHIN = re.compile(r"(?<=[?？])[ \t\u3000]+(?=[^?？]{2,}$)")
_BOLD_WITHIN = re.compile(r"(?:\d{1,3}[.、)）] *|[-*+] +)?\*\*[^*\n]{2,150}[?？]\*\*[:： ]*(?=[^\s*])")
_WHOLE = re.compile(r"\s*([^?？\n]{2,60}[?？])([^?？\n]{2,})$")
_DATE = re.compile(
    r"(?:日期|更新(?:时间|日期)?|发布(?:时间|日期)?|最后更新)?[:： ]*"
    r"\d{4}\s*[-年./]\s*\d{1,2}\s*[-月./]\s*\d{1,2}\s*日?"
)


def prepare(blocks: Iterable[Block]) -> list[Block]:
    """Blocks with every line that may begin a question or an answer on its own, and with written titles as headings."""
    return _with_titles(_with_whole_lines(_with_marks([line for block in blocks for line in _lines(block)])))


def is_signature(block: Block) -> bool:
    """Whether a block is the date under a document."""
    return block.kind == "paragraph" and bool(_DATE.fullmatch(plain(block.text)))


def _lines(block: Block) -> Iterator[Block]:
    if block.kind not in ("paragraph", "item") or block.role == "faq":
        yield block
        return
    tight = block.tight
    for line in block.text.split("\n"):
        for part in _parted(line):
            if part.strip():
                bold = block.bold or is_bold_line(part)
                yield replace(block, text=part.rstrip(), tight=tight, bold=bold)
                tight = True


def _parted(line: str) -> list[str]:
    """「问：…？ 答：…」 and 「1. …？ …」 on one line in two."""
    if bold := _BOLD_WITHIN.match(line):
        return [line[: bold.end()].strip(), line[bold.end() :]]
    if question_mark(line) is None and count(line) is None:
        return [line]
    found = _ANSWER_WITHIN.search(line) or _TEXT_WITHIN.search(line)
    return [line[: found.end()].strip(), line[found.end() :]] if found else [line]


def _with_marks(blocks: list[Block]) -> list[Block]:
    """「问题：」 on a line of its own put before the line that it announces."""
    found: list[Block] = []
    mark = ""
    for block in blocks:
        if block.kind == "paragraph" and is_bare_question_mark(block.text):
            mark = plain(block.text)
        else:
            found.append(replace(block, text=f"{mark}{block.text}") if mark and block.kind == "paragraph" else block)
            mark = ""
    return found


def _with_whole_lines(blocks: list[Block]) -> list[Block]:
    """「怎么付款？微信都可以。」 in two, where nearly every line of the document is of that form."""
    lines = [block for block in blocks if block.kind == "paragraph" and not block.role]
    whole = [block for block in lines if _is_whole(block.text)]
    if len(whole) < WHOLE_LINES_MIN or len(whole) < WHOLE_LINES_SHARE * len(lines):
        return blocks
    found: list[Block] = []
    for block in blocks:
        parts = _WHOLE.match(block.text) if block.kind == "paragraph" and not block.role else None
        if parts and _is_whole(block.text):
            found += [replace(block, text=parts.group(1)), replace(block, text=parts.group(2).strip(), tight=True)]
        else:
            found.append(block)
    return found


def _is_whole(text: str) -> bool:
    parts = _WHOLE.match(text)
    return bool(parts) and asks(text[: parts.end(1)] if parts else "") >= ASKS


def _with_titles(blocks: list[Block]) -> list[Block]:
    """Short lines that are titles by what they say: 「常见问题」, 第一章, 一、 where it stands over numbers."""
    chaptered = not any(block.kind == "heading" for block in blocks) and _chapters_lead(blocks)
    found: list[Block] = []
    for block in blocks:
        level = 0
        if block.kind == "paragraph" and not block.role and not block.is_link and not is_statement(block.text):
            level = _title_level(block, first=not found, chaptered=chaptered)
        found.append(replace(block, kind="heading", level=level, text=plain(block.text)) if level else block)
    return found


def _title_level(block: Block, *, first: bool, chaptered: bool) -> int:
    line = plain(block.text)
    if (first or block.bold) and is_faq_title(line):
        return 1
    if not chaptered or answer_mark(line) is not None:
        return 0
    if _CHAPTER.match(line) and len(line) <= 40:
        return 1
    counted = count(line)
    return (
        2 if counted and counted.style == "一" and len(line) <= TITLE_CHARACTERS_MAX + 30 * (asks(line) >= ASKS) else 0
    )


def _chapters_lead(blocks: list[Block]) -> bool:
    """Whether 一、 is met before any question counted 1、 — then it parts the document, and is no step of an answer."""
    for block in blocks:
        counted = count(block.text) if block.kind in ("paragraph", "item") else None
        if counted and counted.style == "一":
            return True
        if _CHAPTER.match(plain(block.text)):
            return True
        if block.kind == "paragraph" and asks(block.text) > SYMPTOM and (counted or question_mark(block.text)):
            return False
    return False
