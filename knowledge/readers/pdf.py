"""PDF → blocks: the lines as pdfium finds them, put together to paragraphs, without page headers and footers."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from knowledge.readers.archive import damaged, encrypted
from knowledge.readers.blocks import Block, Kind, Prose, markdown_table
from knowledge.readers.questions import answer_mark, count, question_mark
from knowledge.text import clean

PAGES_MAX = 3000
# Share of a page at its top and bottom in which headers and footers stand.
MARGIN_SHARE = 0.1
HEADING_RATIO = 1.12
# What begins this far from the left edge is in a second column.
COLUMN_POINTS = 200
HEADING_CHARACTERS_MAX = 150
_PASSWORD_ERROR = 4  # FPDF_ERR_PASSWORD
_BOLD_WEIGHT = 600
_PAGE_NUMBER = re.compile(
    r"[-—–\s·]*(?:第\s*)?\d{1,4}\s*(?:页|頁)?\s*(?:[/／,，|of共]+\s*(?:共\s*)?\d{1,4}\s*(?:页|頁)?)?[-—–\s·]*|page\s*\d+(?:\s*(?:of|/)\s*\d+)?",
    re.IGNORECASE,
)
_CONTENTS_LINE = re.compile(r".*(?:\.\s?){5,}\s*\d+|.*…{2,}\s*\d+")
_MARK_ONLY = re.compile(r"[(（]?[\dQA一二三四五六七八九十]{1,4}[.、)）:：]?|\W")
_BULLET = re.compile(r"[•●○■□◆▪▶※★·➤]")
_ENDS = re.compile(r"[。！？!?；;：:.][”\"』」)）]*$")
_CJK = re.compile(r"[\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]")
_UNREADABLE = re.compile(r"[\ufffd\ue000-\uf8ff\x00-\x08]")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a page; lengths in points, y from the bottom. `font` is the size that the file names, comparable within
    the file only; `cells` are the parts that wide gaps set apart."""

    text: str
    page: int
    left: float
    right: float
    bottom: float
    size: float
    font: float
    bold: bool
    cells: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Page:
    number: int
    height: float
    lines: tuple[Line, ...]
    has_images: bool


def read_pdf(data: bytes, name: str) -> Prose:
    """The blocks of a PDF, and the pages that hold no text to read. Raises ReadError (`encrypted`, `malformed`)."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) == _PASSWORD_ERROR or "password" in str(error).lower():
            raise encrypted(name) from error
        raise damaged(name, "PDF") from error
    problems: list[tuple[str, str]] = []
    pages: list[_Page] = []
    try:
        for number in range(1, min(len(document), PAGES_MAX) + 1):
            try:
                page = _page(document[number - 1], number)
            except pypdfium2.PdfiumError:
                problems.append((f"第 {number} 页", "malformed"))
                continue
            if problem := _problem(page):
                problems.append((f"第 {number} 页", problem))
            else:
                pages.append(page)
        if len(document) > PAGES_MAX:
            problems.append((f"第 {PAGES_MAX + 1} 页", "too_many"))
    finally:
        document.close()
    lines = [line for page in _without_margins(pages) for line in page.lines]
    return Prose(tuple(_blocks(lines)), problems=tuple(problems))


def _page(page: Any, number: int) -> _Page:
    from pypdfium2 import raw

    text_page = page.get_textpage()
    try:
        text = text_page.get_text_range()
        at, lines = 0, []
        for part in re.split(r"(\r\n|\r|\n)", text):
            if part.strip() and (line := _line(text_page, raw, part, at, number)):
                lines.append(line)
            at += len(part)
        _, height = page.get_size()
        images = any(True for _ in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=3))
        return _Page(number, height, tuple(_same_line(lines)), images)
    finally:
        text_page.close()
        page.close()


def _line(text_page: Any, raw: Any, text: str, at: int, number: int) -> Line | None:
    """A line with its box, from its first and last characters that show."""
    first = at + len(text) - len(text.lstrip())
    last = at + len(text.rstrip()) - 1
    total = text_page.count_chars()
    if last >= total:
        return None
    start = text_page.get_charbox(first, loose=True)
    end = text_page.get_charbox(last, loose=True)
    middle = (first + last) // 2
    bold = all(raw.FPDFText_GetFontWeight(text_page.raw, i) >= _BOLD_WEIGHT for i in (first, middle, last))
    words = clean(text.replace("\x02", "-").replace("\ufffe", "-")).strip()
    size = max(start[3] - start[1], end[3] - end[1], 1.0)
    named = raw.FPDFText_GetFontSize(text_page.raw, middle)
    font = named if named > 2 else size
    cells = _cells(text_page, text, at, size)
    return Line(words, number, start[0], end[2], min(start[1], end[1]), size, font, bold, cells) if words else None


def _cells(text_page: Any, text: str, at: int, size: float) -> tuple[str, ...]:
    """The parts of a line that gaps wider than a character set apart; none where it is one."""
    cells: list[str] = []
    begun = 0
    for found in re.finditer(r"(?<=\S)\s+(?=\S)", text):
        left = text_page.get_charbox(at + found.start() - 1)[2]
        if text_page.get_charbox(at + found.end())[0] - left > size:
            cells.append(text[begun : found.start()].strip())
            begun = found.end()
    cells.append(text[begun:].strip())
    return tuple(cells) if len(cells) > 1 and not _MARK_ONLY.fullmatch(cells[0]) else ()


def _same_line(lines: Sequence[Line]) -> list[Line]:
    """Parts of one line, which pdfium gives apart where a gap is wide, as one."""
    found: list[Line] = []
    for line in lines:
        before = found[-1] if found else None
        if before and abs(before.bottom - line.bottom) < 0.3 * line.size and line.left >= before.right - 1:
            cells = (*(before.cells or (before.text,)), *(line.cells or (line.text,)))
            cells = () if _MARK_ONLY.fullmatch(cells[0]) else cells
            found[-1] = replace(before, text=f"{before.text} {line.text}", right=line.right, cells=cells)
        else:
            found.append(line)
    return found


def _problem(page: _Page) -> str:
    text = "".join(line.text for line in page.lines)
    if len(text) < 10 and page.has_images and not any(_CJK.search(c) or c.isalpha() for c in text):
        return "scanned_page"
    return "unreadable_text" if len(_UNREADABLE.findall(text)) > 0.3 * len(text) > 0 else ""


def _without_margins(pages: Sequence[_Page]) -> Iterator[_Page]:
    """Pages without what stands at the top or bottom of several (digits aside), and without page numbers."""
    repeated: Counter[str] = Counter()
    for page in pages:
        repeated.update({_key(line) for line in page.lines if _is_marginal(line, page)})
    enough = max(2, len(pages) // 3)
    for page in pages:
        kept = (
            line
            for line in page.lines
            if not (_is_marginal(line, page) and (repeated[_key(line)] >= enough or _PAGE_NUMBER.fullmatch(line.text)))
            and not _CONTENTS_LINE.fullmatch(line.text)
        )
        yield replace(page, lines=tuple(kept))


def _is_marginal(line: Line, page: _Page) -> bool:
    """Whether a line stands at the top or bottom, apart from the text of the page."""
    near = any(one is not line and abs(one.bottom - line.bottom) < 1.7 * line.size for one in page.lines[:500])
    if near and not _PAGE_NUMBER.fullmatch(line.text):
        return False
    return line.bottom < MARGIN_SHARE * page.height or line.bottom + line.size > (1 - MARGIN_SHARE) * page.height


def _key(line: Line) -> str:
    """Equal for lines of the same words, digits aside, at the same height."""
    return f"{round(line.bottom / 4)} {re.sub(r'[0-9]+', '0', line.text)}"


def _blocks(lines: Sequence[Line]) -> Iterator[Block]:
    """Lines put together to paragraphs; what is set larger than the body is a heading."""
    sizes: Counter[float] = Counter()
    for line in lines:
        sizes[round(line.font, 1)] += len(line.text)
    body = sizes.most_common(1)[0][0] if sizes else 0.0
    larger = sorted({size for size in sizes if size > body * HEADING_RATIO}, reverse=True)
    levels: dict[float, int] = {}
    for size in larger:
        near = next((known for known in levels if known - size < 0.05 * known), None)
        levels[size] = levels[near] if near else min(len(set(levels.values())) + 1, 5)
    for group in _paragraphs(lines, _right_edges(lines)):
        first = group[0]
        if len(group) > 1 and first.cells and all(line.cells for line in group):
            rows = tuple(line.cells for line in group)
            yield Block("table", markdown_table(rows), f"第 {first.page} 页", rows=rows)
            continue
        text = _joined(group)
        level = levels.get(round(first.font, 1), 0)
        bold = all(line.bold for line in group)
        if level and len(text) <= HEADING_CHARACTERS_MAX and question_mark(text) is None and answer_mark(text) is None:
            yield Block("heading", text, f"第 {first.page} 页", level)
        else:
            kind: Kind = "item" if _BULLET.match(text) else "paragraph"
            yield Block(
                kind, _BULLET.sub("- ", text, count=1) if kind == "item" else text, f"第 {first.page} 页", bold=bold
            )


def _right_edges(lines: Sequence[Line]) -> dict[tuple[int, int], float]:
    """How far the lines of a page reach that begin in the same part of it: columns have edges of their own."""
    edges: dict[tuple[int, int], float] = {}
    for line in lines:
        edges[_column(line)] = max(edges.get(_column(line), 0.0), line.right)
    return edges


def _column(line: Line) -> tuple[int, int]:
    return line.page, int(line.left // COLUMN_POINTS)


def _paragraphs(lines: Sequence[Line], rights: dict[tuple[int, int], float]) -> Iterator[list[Line]]:
    group: list[Line] = []
    for line in lines:
        if group and not _goes_on(group, line, rights[_column(group[-1])]):
            yield group
            group = []
        group.append(line)
    if group:
        yield group


def _goes_on(group: Sequence[Line], line: Line, edge: float) -> bool:
    """Whether a line continues the paragraph: the one before is full, and this one begins nothing of its own."""
    before, first = group[-1], group[0]
    if before.cells or line.cells:
        return len(before.cells) == len(line.cells) and before.page == line.page
    if abs(before.font - line.font) > 0.08 * before.font or before.bold != line.bold:
        return False
    if _begins(line.text) or not _is_full(before, line, edge):
        return False
    if before.page != line.page:
        return not _ENDS.search(before.text)
    apart = before.bottom - line.bottom
    if apart > 1.9 * before.size or apart < -0.5 * before.size:
        return False
    asked = before.text.rstrip(')）」”"').endswith(("?", "？")) and (_begins(first.text) or before.bold)
    indented = line.left > before.left + 0.8 * line.size
    return not asked and (not indented or (len(group) == 1 and _begins(first.text)))


def _begins(text: str) -> bool:
    """Whether a line opens something: a number, a mark of question or answer, a bullet."""
    marked = question_mark(text) is not None or answer_mark(text) is not None
    return marked or count(text) is not None or bool(_BULLET.match(text))


def _is_full(before: Line, line: Line, edge: float) -> bool:
    """Whether the next line's first word would not have fitted behind the line."""
    letter = (line.right - line.left) / max(1, len(line.text))
    word = re.match(r"[!-~]+", line.text)
    # Chinese breaks anywhere but before closing marks: two characters of room.
    room = letter * len(word.group()) if word else 2.5 * before.size * 0.8
    return before.right + room >= edge - 0.6 * before.size


def _joined(group: Sequence[Line]) -> str:
    text = group[0].text
    for line in group[1:]:
        if text.endswith("-") and text[-2:-1].isalpha() and line.text[:1].islower():
            text = text[:-1] + line.text
        elif _CJK.match(text[-1]) or _CJK.match(line.text[0]):
            text += line.text
        else:
            text += " " + line.text
    return text
