"""DOCX → blocks. Walks WordprocessingML itself (ISO/IEC 29500-1, 17): numbers, which questions often carry, are
computed by Word from another part, and no library gives them. Nothing outside the file is ever fetched."""

from collections.abc import Iterator
from typing import Any

from knowledge.errors import ReadError
from knowledge.readers.archive import Archive
from knowledge.readers.blocks import Block, Prose, markdown_table
from knowledge.readers.columns import Filled
from knowledge.readers.links import is_safe
from knowledge.readers.word_numbers import Numbering
from knowledge.readers.word_styles import Styles

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_DRAWING = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_WP = "{http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing}"
_VML = "{urn:schemas-microsoft-com:vml}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"

_SKIPPED = frozenset((f"{W}del", f"{W}moveFrom", f"{W}instrText", f"{W}delText", f"{W}pPr", f"{W}rPr", _FALLBACK))
_TABLE_DEPTH_MAX = 5

Segment = tuple[str, bool]


def read_word(archive: Archive, name: str) -> Prose:
    """The blocks of a Word document's body. Raises ReadError where it is damaged."""
    document = archive.xml("word/document.xml")
    body = document.find(f"{W}body") if document is not None else None
    if body is None:
        raise ReadError(
            "malformed",
            f"文件「{name}」不是完好的 DOCX，请用 Word 另存后再导入。",
            f"{name} is no sound DOCX file; save it again in Word and import it.",
        )
    reader = _Reader(archive)
    try:
        return Prose(tuple(reader.blocks(body)))
    except RecursionError as error:
        raise ReadError(
            "malformed", f"文件「{name}」的内容层次太深。", f"The contents of {name} nest too deeply."
        ) from error


class _Reader:
    def __init__(self, archive: Archive) -> None:
        self.styles = Styles(archive.xml("word/styles.xml"))
        self.numbering = Numbering(archive.xml("word/numbering.xml"))
        relations = archive.xml("word/_rels/document.xml.rels")
        self.targets = {one.get("Id"): one.get("Target", "") for one in relations} if relations is not None else {}
        self.number = 0
        self.in_list = False

    def blocks(self, parent: Any, depth: int = 0) -> Iterator[Block]:
        for element in parent:
            if element.tag == f"{W}p":
                yield from self._paragraph(element)
            elif element.tag == f"{W}tbl":
                yield from self._table(element, depth)
            elif element.tag == f"{W}sdt":
                gallery = element.find(f"{W}sdtPr/{W}docPartObj/{W}docPartGallery")
                content = element.find(f"{W}sdtContent")
                if content is not None and (gallery is None or "Contents" not in gallery.get(f"{W}val", "")):
                    yield from self.blocks(content, depth)
            elif element.tag in (f"{W}ins", f"{W}moveTo", f"{W}customXml"):
                yield from self.blocks(element, depth)

    def _paragraph(self, element: Any) -> Iterator[Block]:
        properties = element.find(f"{W}pPr")
        style = _value(properties, "pStyle")
        if self.styles.is_contents(style):
            return
        segments = _merged(list(self._segments(element, bold=self.styles.is_bold(style))))
        text = "".join(text for text, _ in segments).strip()
        boxed = [
            box for box in element.iter(f"{W}txbxContent") if not any(a.tag == _FALLBACK for a in box.iterancestors())
        ]
        if text:
            self.number += 1
            yield self._made(properties, style, segments)
        else:
            self.in_list = False
        for box in boxed:
            yield from self.blocks(box)

    def _made(self, properties: Any, style: str, segments: list[Segment]) -> Block:
        place = f"第 {self.number} 段"
        level = self.styles.outline(style, _value(properties, "outlineLvl"))
        label = self.numbering.label(*self._list_of(properties, style))
        bold = all(bold for text, bold in segments if text.strip())
        if level is not None:
            self.in_list = False
            return Block("heading", " ".join(f"{label.text if label else ''}{_words(segments)}".split()), place, level)
        text = _markdown(segments)
        if label is None:
            self.in_list = False
            return Block("paragraph", text, place, bold=bold)
        lead = "- " if label.is_bullet else label.text + (" " if label.text.endswith((".", ")")) else "")
        tight, self.in_list = self.in_list, True
        return Block("item", "  " * label.level + lead + text, place, label.level, "", label.sequence, bold, tight)

    def _list_of(self, properties: Any, style: str) -> tuple[str, int]:
        """The number list and the level of a paragraph, of its own or by its style."""
        own = properties.find(f"{W}numPr") if properties is not None else None
        list_id, level = self.styles.list_of(style)
        if own is not None:
            list_id = _value(own, "numId") or list_id
            level = _value(own, "ilvl") or level
        return list_id, min(int(level), 8) if level.isdigit() else 0

    def _segments(self, element: Any, *, bold: bool) -> Iterator[Segment]:
        for child in element:
            if child.tag in _SKIPPED or child.tag == f"{W}txbxContent":
                continue
            if child.tag == f"{W}r":
                yield from self._run(child, bold=bold)
            elif child.tag == f"{W}hyperlink":
                yield from self._link(child, bold=bold)
            elif child.tag in (f"{W}drawing", f"{W}pict", f"{W}object"):
                yield from self._image(child)
            elif isinstance(child.tag, str):
                yield from self._segments(child, bold=bold)

    def _run(self, run: Any, *, bold: bool) -> Iterator[Segment]:
        properties = run.find(f"{W}rPr")
        if _is_on(properties, "vanish"):
            return
        if properties is not None and properties.find(f"{W}b") is not None:
            bold = _is_on(properties, "b")
        elif self.styles.is_bold(_value(properties, "rStyle")):
            bold = True
        for child in run:
            if child.tag == f"{W}t":
                yield child.text or "", bold
            elif child.tag in (f"{W}br", f"{W}cr"):
                yield ("" if child.get(f"{W}type") in ("page", "column") else "\n"), bold
            elif child.tag == f"{W}tab":
                yield " ", bold
            elif child.tag == f"{W}noBreakHyphen":
                yield "-", bold
            elif child.tag in (f"{W}drawing", f"{W}pict", f"{W}object"):
                yield from self._image(child)
            elif isinstance(child.tag, str) and child.tag not in _SKIPPED and len(child):
                yield from self._segments(child, bold=bold)

    def _link(self, element: Any, *, bold: bool) -> Iterator[Segment]:
        inner = "".join(text for text, _ in self._segments(element, bold=bold))
        address = self.targets.get(element.get(f"{R}id"), "")
        plain = not address or not is_safe(address) or any(mark in address for mark in "() <>\n") or not inner.strip()
        yield (inner if plain or inner.strip() == address else f"[{inner.strip()}]({address})"), bold

    def _image(self, element: Any) -> Iterator[Segment]:
        """A picture by its description and the name of its file within the document, or its address outside."""
        for found in element.iter(f"{_DRAWING}blip", f"{_VML}imagedata"):
            if any(ancestor.tag == _FALLBACK for ancestor in found.iterancestors()):
                continue
            target = self.targets.get(found.get(f"{R}embed") or found.get(f"{R}link") or found.get(f"{R}id"), "")
            described = next(element.iter(f"{_WP}docPr"), None)
            alt = "" if described is None else described.get("descr") or ""
            alt = " ".join(alt.replace("[", "").replace("]", "").split())[:100] or "图片"
            if target and is_safe(target) and not any(mark in target for mark in "() <>"):
                yield f"![{alt}]({target})", False

    def _table(self, table: Any, depth: int) -> Iterator[Block]:
        rows = [list(_cells(row)) for row in table if row.tag == f"{W}tr"]
        if depth >= _TABLE_DEPTH_MAX:
            return
        if max(map(len, rows), default=0) <= 1:
            for row in rows:
                for cell in row:
                    yield from self.blocks(cell, depth + 1)
            return
        self.number += 1
        place = f"第 {self.number} 段"
        texts: list[tuple[str, ...]] = []
        for row in rows:
            texts.append(self._row(row, texts[-1] if texts else (), depth))
        made = tuple(texts)
        self.in_list = False
        yield Block("table", markdown_table(made), place, rows=made)

    def _row(self, cells: list[Any], above: tuple[str, ...], depth: int) -> tuple[str, ...]:
        line: list[str] = []
        for cell in cells:
            properties = cell.find(f"{W}tcPr")
            merged = properties.find(f"{W}vMerge") if properties is not None else None
            if merged is not None and merged.get(f"{W}val") != "restart" and len(line) < len(above):
                line.append(Filled(above[len(line)]))
            else:
                line.append("\n".join(block.text for block in self.blocks(cell, depth + 1)))
            span = _value(properties, "gridSpan")
            line.extend([""] * (min(int(span), 50) - 1 if span.isdigit() else 0))
        return tuple(line)


def _cells(row: Any) -> Iterator[Any]:
    for child in row:
        if child.tag == f"{W}tc":
            yield child
        elif child.tag == f"{W}sdt" and (content := child.find(f"{W}sdtContent")) is not None:
            yield from content.findall(f"{W}tc")


def _value(properties: Any, name: str) -> str:
    found = properties.find(f"{W}{name}") if properties is not None else None
    return found.get(f"{W}val", "") if found is not None else ""


def _is_on(properties: Any, name: str) -> bool:
    found = properties.find(f"{W}{name}") if properties is not None else None
    return found is not None and found.get(f"{W}val", "1") not in ("0", "false", "off", "none")


def _merged(segments: list[Segment]) -> list[Segment]:
    """Neighbours of the same weight as one; blanks take the weight before them."""
    found: list[Segment] = []
    for text, bold in segments:
        if found and (found[-1][1] == bold or not text.strip()):
            found[-1] = (found[-1][0] + text, found[-1][1])
        elif text:
            found.append((text, bold))
    return found


def _words(segments: list[Segment]) -> str:
    return "".join(text for text, _ in segments)


def _markdown(segments: list[Segment]) -> str:
    from knowledge.readers.html_inline import wrapped

    text = "".join(wrapped(text, "**") if bold else text for text, bold in segments)
    return "\n".join(line.strip() for line in text.split("\n")).strip()
