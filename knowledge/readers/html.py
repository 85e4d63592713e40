"""HTML pages → blocks: the page's own text without its navigation, what opens marked as such."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from knowledge.errors import ReadError
from knowledge.readers.archive import damaged
from knowledge.readers.blocks import Block, Prose, Role, join, markdown_table
from knowledge.readers.columns import Filled
from knowledge.readers.encoding import decode
from knowledge.readers.html_inline import inline, is_only_link, words
from knowledge.readers.html_marks import Marks, mark
from knowledge.readers.html_metadata import pairs_of, take_metadata
from knowledge.readers.html_noise import strip_active, strip_noise

DEPTH_MAX = 150
_META_CHARSET = re.compile(rb"<meta[^>]{0,300}?charset\s*=\s*[\"']?\s*([\w-]{2,20})", re.IGNORECASE)
_XML_CHARSET = re.compile(rb"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w-]{2,20})[\"']", re.IGNORECASE)
_ALIASES = {"gb2312": "gb18030", "gbk": "gb18030", "x-gbk": "gb18030", "big5-hkscs": "big5hkscs", "unicode": "utf-16"}
_PROLOG = re.compile(r"^\s*<\?xml[^>]*\?>")
# What lxml reads, as it stands or by its number, and then refuses to write when a text is moved.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]"
    "|&#0*(?:[0-8]|1[124-9]|2[0-9]|3[01]|6553[45])(?![0-9]);?"
    "|&#x0*(?:[0-8bcef]|1[0-9a-f]|fff[ef])(?![0-9a-f]);?",
    re.IGNORECASE,
)
_SITE = re.compile(r"\s*(?:[-|_–—·»>]|\s::\s)\s*")
_LEGAL = re.compile(r"^\W*(?:版权所有|版權所有|copyright|©|&copy;|.{0,20}ICP备)", re.IGNORECASE)
_BLOCKS = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "center",
        "dd",
        "details",
        "dialog",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hgroup",
        "hr",
        "html",
        "li",
        "main",
        "nav",
        "ol",
        "p",
        "pre",
        "section",
        "summary",
        "table",
        "tbody",
        "td",
        "tfoot",
        "th",
        "thead",
        "tr",
        "ul",
        "menu",
    ]
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}


def decode_html(data: bytes, name: str) -> str:
    """The text of a page: as its byte order mark or its own declaration says where that fits, else as any text."""
    if data[:3] == b"\xef\xbb\xbf" or data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return decode(data, name)
    declared = _META_CHARSET.search(data[:4096]) or _XML_CHARSET.search(data[:512])
    if declared:
        charset = declared.group(1).decode("ascii").lower()
        try:
            return data.decode(_ALIASES.get(charset, charset))
        except (UnicodeDecodeError, LookupError):
            pass
    return decode(data, name)


def read_html(text: str, name: str) -> Prose:
    """The blocks of a page. Raises ReadError where there is no page in it."""
    from lxml import etree, html

    source, stated = take_metadata(_CONTROLS.sub(" ", _PROLOG.sub("", text)))
    broken = tuple((f"JSON-LD 第 {n} 段", "broken_metadata") for n, one in enumerate(stated, start=1) if one is None)
    pairs = pairs_of(stated, _converted)
    if broken and not source.strip():
        return Prose((), "", pairs, broken)
    try:
        root = html.document_fromstring(source, parser=html.HTMLParser(no_network=True, huge_tree=False))
    except (etree.ParserError, etree.XMLSyntaxError, ValueError, RecursionError) as error:
        raise damaged(name, "HTML") from error
    _refuse_depth(root, name)
    found = root.find(".//title")
    title = _own_title(words(found)) if found is not None else ""
    body = root.find("body") if root.find("body") is not None else root
    strip_active(body)
    marks = mark(body)
    strip_noise(body, marks)
    blocks = tuple(_Walk(marks).blocks(body))
    headed = any(block.kind == "heading" and block.level == 1 for block in blocks)
    return Prose(blocks, "" if headed else title, pairs, broken)


def _refuse_depth(root: Any, name: str) -> None:
    """Raise ReadError for a page that no person wrote: much of what follows looks at all that is in an element."""
    from lxml import etree

    depth = 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        if depth > DEPTH_MAX:
            raise ReadError("malformed", f"文件「{name}」的网页层次太深。", f"The elements of {name} nest too deeply.")


def _converted(element: Any) -> str:
    """Markdown of an element and what is in it."""
    return join(list(_Walk(Marks()).blocks(element)))


def _own_title(title: str) -> str:
    """A page's title without the name of its site."""
    return next((part for part in _SITE.split(title) if part), "")


class _Walk:
    """Goes through a page once; text between block elements becomes paragraphs."""

    def __init__(self, marks: Marks) -> None:
        self.marks = marks
        self.number = 0

    def blocks(self, element: Any) -> Iterator[Block]:
        yield from self._inside(element, "", 0)

    def _inside(self, element: Any, role: Role, depth: int) -> Iterator[Block]:
        """Blocks of an element's content: runs of inline content, and block elements on their own."""
        pieces: list[Any] = [element.text or ""]
        for child in element:
            if isinstance(child.tag, str) and (child in self.marks.roles or self._is_block(child)):
                yield from self._paragraph(pieces, role)
                pieces = []
                yield from self._element(child, role, depth)
            elif isinstance(child.tag, str):
                pieces.append(child)
            pieces.append(child.tail or "")
        yield from self._paragraph(pieces, role)

    def _is_block(self, element: Any) -> bool:
        if element.tag in _BLOCKS:
            return True
        # <a>, <span> and <button> that hold blocks, or something that opens, are boxes.
        return any(
            isinstance(one.tag, str) and (one.tag in _BLOCKS or one in self.marks.roles)
            for one in element.iterdescendants()
        )

    def _element(self, element: Any, role: Role, depth: int) -> Iterator[Block]:
        tag = element.tag
        marked = self.marks.roles.get(element)
        if marked in ("toggle", "faq"):
            if text := words(element):
                yield self._made("paragraph", text, marked)
        elif marked == "answer":
            yield from self._inside(element, "answer", depth)
        elif tag in _HEADINGS:
            if (text := inline([element])) and words(element):
                yield self._made("heading", text.replace("\n", " "), role, level=_HEADINGS[tag])
        elif tag == "table":
            yield from self._table(element, role, depth)
        elif tag in ("ul", "ol", "menu"):
            yield from self._list(element, role, depth)
        elif tag == "pre":
            if text := "".join(element.itertext()).strip("\n"):
                yield self._made("code", f"```\n{text}\n```", role)
        elif tag == "dl":
            yield from self._definitions(element, role, depth)
        elif tag != "hr":
            yield from self._inside(element, role, depth)

    def _made(self, kind: Any, text: str, role: Role, **more: Any) -> Block:
        self.number += 1
        if kind == "heading" and role == "answer":
            kind, text = "paragraph", f"**{text}**"
            more.pop("level", None)
        return Block(kind, text, f"第 {self.number} 段", role=role, **more)

    def _paragraph(self, pieces: list[Any], role: Role) -> Iterator[Block]:
        if (text := inline(pieces)) and not _LEGAL.search(text[:200]):
            yield self._made("paragraph", text, role, is_link=is_only_link(pieces))

    def _list(self, element: Any, role: Role, depth: int) -> Iterator[Block]:
        start = element.get("start") or "1"
        number = int(start) if start.isdigit() and len(start) < 6 else 1
        for child in element:
            if not isinstance(child.tag, str):
                continue
            if child.tag != "li":
                yield from (
                    self._element(child, role, depth) if self._is_block(child) else self._paragraph([child], role)
                )
                continue
            lead = f"{number}. " if element.tag == "ol" else "- "
            number += 1
            for i, block in enumerate(self._inside(child, role, depth + 1)):
                if i == 0 and block.kind == "paragraph" and block.role in ("", "answer"):
                    text = "  " * depth + lead + block.text.replace("\n", "\n" + "  " * (depth + 1))
                    tight, sequence = number > 2 or depth > 0, f"{element.tag}{depth}"
                    yield replace(block, kind="item", text=text, level=depth, sequence=sequence, tight=tight)
                else:
                    yield block

    def _definitions(self, element: Any, role: Role, depth: int) -> Iterator[Block]:
        for child in element:
            if not isinstance(child.tag, str):
                continue
            if child.tag == "dt" and child not in self.marks.roles and words(child):
                yield self._made("paragraph", f"**{words(child)}**", role)
            else:
                yield from self._element(child, role, depth)

    def _table(self, element: Any, role: Role, depth: int) -> Iterator[Block]:
        rows = [row for row in element.iter("tr") if next(row.iterancestors("table"), None) is element]
        cells = [[cell for cell in row if cell.tag in ("td", "th")] for row in rows]
        nested = any(one is not element for one in element.iter("table"))
        wide = max(map(len, cells), default=0)
        if nested or wide <= 1 or any(one in self.marks.roles for one in element.iterdescendants()):
            # A table that lays out a page.
            for row in cells:
                for cell in row:
                    yield from self._inside(cell, role, depth)
            return
        texts = _grid(cells)
        if any(any(row) for row in texts):
            made = tuple(tuple(row) for row in texts if any(row))
            yield self._made("table", markdown_table(made), role, rows=made)


def _grid(rows: list[list[Any]]) -> list[list[str]]:
    """The cells' Markdown with those that span rows repeated, as `Filled`."""
    below: dict[tuple[int, int], str] = {}
    grid: list[list[str]] = []
    for number, cells in enumerate(rows):
        line: list[str] = []
        for cell in cells:
            while (number, len(line)) in below:
                line.append(Filled(below.pop((number, len(line)))))
            text = inline([cell])
            for more in range(1, min(_span(cell, "rowspan"), len(rows) - number)):
                below[number + more, len(line)] = text
            line.append(text)
            line.extend([""] * (min(_span(cell, "colspan"), 20) - 1))
        while (number, len(line)) in below:
            line.append(Filled(below.pop((number, len(line)))))
        grid.append(line)
    return grid


def _span(cell: Any, name: str) -> int:
    value = (cell.get(name) or "1").strip()
    return max(1, int(value)) if value.isdigit() and len(value) < 5 else 1
