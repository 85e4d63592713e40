"""Markdown, MDX and plain text → blocks."""

import html
import re
from collections.abc import Iterator
from dataclasses import replace

from knowledge.readers.blocks import Block, Kind, Prose, Role
from knowledge.readers.links import safe
from knowledge.text import clean

_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(.+?)[ \t]*#*[ \t]*$")
_FENCE = re.compile(r"^\s*(```+|~~~+)")
_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)
_TITLE = re.compile(r"^title:\s*[\"']?(.+?)[\"']?\s*$", re.MULTILINE)
_RULE = re.compile(r"^\s*([-*_=]\s?){3,}$")
_UNDERLINE = re.compile(r"^ {0,3}(={3,}|-{3,})\s*$")
_ITEM = re.compile(r"^(\s*)(?:[-*+]|\d{1,3}[.)])\s+\S")
_TABLE_RULE = re.compile(r"^\s*\|?\s*:?-{2,}:?\s*(\|\s*:?-{2,}:?\s*)*\|?\s*$")
# !!! note "标题", ??? question "问题" (Material for MkDocs), :::tip 标题 (VitePress, Docusaurus), > [!TIP] stays.
_ADMONITION = re.compile(r"^(?P<mark>!!!|\?\?\?\+?)\s+[\w-]+(?:\s+[\w-]+)*\s*(?:\"(?P<title>[^\"]*)\")?\s*$")
_CONTAINER = re.compile(r"^\s*:{3,}\s*(?:(?P<kind>[\w-]+)\s*(?P<title>.*))?$")
_SUMMARY = re.compile(r"<summary[^<>]{0,300}>(.{0,500}?)</summary>", re.IGNORECASE)
_TOGGLE_TAG = re.compile(
    r"<(?:Accordion|Expandable|Collapse|Details|details)\b[^<>]{0,300}?\btitle=[\"'{]+([^\"'}]{1,500})[\"'}]"
)
_TOGGLE_END = re.compile(r"</(?:Accordion|Expandable|Collapse|details)>", re.IGNORECASE)
_MDX_LINE = re.compile(r"^(?:import\s.+\sfrom\s|import\s+[\"']|export\s+(?:const|default|function)\b)")
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)|\{/\*.*?(?:\*/\}|\Z)", re.DOTALL)
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_IMAGE_TAG = re.compile(r"<img\b([^<>]{0,2000})>", re.IGNORECASE)
_LINK_TAG = re.compile(
    r"<a\b[^<>]{0,500}?\bhref=[\"']([^\"'<>]{1,2000})[\"'][^<>]{0,500}>(.{0,500}?)</a>", re.IGNORECASE
)
_ATTRIBUTE = re.compile(r"\b(src|alt)=[\"']([^\"']*)[\"']", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z][\w.:-]*(?:\s[^<>]{0,2000})?/?>")
_ATTRIBUTE_LIST = re.compile(r"(?<=\))\{[^{}\n]*\}| {0,3}\{#[\w-]{1,100}\} {0,3}$")
_SCRIPT = re.compile(r"<(script|style)\b.*?(</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)


def read_markup(text: str) -> Prose:
    """The blocks of a text, a line each; `place` counts the lines of the file."""
    text = clean_lines(text)
    title, first = "", 1
    if front := _FRONT_MATTER.match(text):
        title = found.group(1) if (found := _TITLE.search(front.group(1))) else ""
        first += front.group().count("\n")
        text = text[front.end() :]
    return Prose(tuple(_Lines(_blank(text).split("\n"), first).blocks()), title)


def clean_lines(text: str) -> str:
    """The text with plain line breaks and no control characters; lines keep their numbers."""
    lead = len(text) - len(text.lstrip("\r\n"))
    return "\n" * text[:lead].replace("\r\n", "\n").replace("\r", "\n").count("\n") + clean(text)


def _blank(text: str) -> str:
    """Comments and scripts taken out of what is no code, their line breaks left."""
    if "<" not in text and "{/*" not in text:
        return text
    parts = re.split(r"(^\s*(?:```|~~~).*?(?:^\s*(?:```|~~~)\s*$|\Z))", text, flags=re.MULTILINE | re.DOTALL)
    for i in range(0, len(parts), 2):
        for pattern in (_SCRIPT, _COMMENT):
            parts[i] = pattern.sub(lambda found: "\n" * found.group().count("\n"), parts[i])
    return "".join(parts)


class _Lines:
    """Walks the lines once. Within something that opens, blocks belong to its title."""

    def __init__(self, lines: list[str], first: int) -> None:
        self.lines, self.first, self.at = lines, first, 0
        self.tight = self.toggle = False
        self.indent = 0  # of the text within an admonition

    def blocks(self) -> Iterator[Block]:
        while self.at < len(self.lines):
            line = self._line()
            if not line.strip():
                self.tight = False
                self.at += 1
                continue
            yield from self._block(line)

    def _line(self) -> str:
        line = self.lines[self.at].replace("\t", "    ")
        if self.indent:
            if not line.strip() or line.startswith(" " * self.indent):
                return line[self.indent :]
            self.indent, self.toggle = 0, False
        return line

    def _block(self, line: str) -> Iterator[Block]:
        if _FENCE.match(line):
            yield self._code()
        elif heading := _HEADING.match(line):
            self.toggle = False
            yield self._made("heading", _inline(heading.group(2)), level=len(heading.group(1)))
        elif "|" in line and self.at + 1 < len(self.lines) and _TABLE_RULE.match(self.lines[self.at + 1]):
            yield self._table()
        elif self._is_underlined(line):
            level = 1 if "=" in self.lines[self.at + 1] else 2
            yield self._made("heading", _inline(line), level=level, lines=2)
        elif _RULE.match(line) or _MDX_LINE.match(line):
            self.at += 1
            self.tight = False
        elif opened := (_ADMONITION.match(line) or _CONTAINER.match(line)):
            yield from self._opened(opened)
        else:
            yield from self._text(line)

    def _made(
        self, kind: Kind, text: str, *, level: int = 0, lines: int = 1, role: Role | None = None, tight: bool = False
    ) -> Block:
        place = f"第 {self.first + self.at} 行"
        self.at += lines
        self.tight = kind != "heading"
        if role is None:
            role = "answer" if self.toggle and kind != "heading" else ""
        return Block(kind, text, place, level, role, tight=tight, is_link=_is_link(text))

    def _text(self, line: str) -> Iterator[Block]:
        if found := (_SUMMARY.search(line) or _TOGGLE_TAG.search(line)):
            self.toggle = True
            yield self._made("paragraph", _inline(found.group(1)), role="toggle")
            self.tight = False
            return
        ended = bool(_TOGGLE_END.search(line))
        text = _inline(line)
        item = _ITEM.match(line)
        if text.strip():
            level = len(item.group(1)) // 2 if item else 0
            made = self._made("item" if item else "paragraph", text, level=level, tight=self.tight)
            bulleted = item and not text.strip()[0].isdigit()
            yield replace(made, sequence=f"bullets/{level}") if bulleted else made
        else:
            self.at += 1
            self.tight = False
        if ended:
            self.toggle = False

    def _opened(self, found: re.Match[str]) -> Iterator[Block]:
        title = (found.group("title") or "").strip()
        groups = found.groupdict()
        if "mark" in groups:
            self.indent = 4
        if title and groups.get("mark", "").startswith("???"):
            self.toggle = True
            yield self._made("paragraph", title, role="toggle")
        elif title:
            yield self._made("paragraph", f"**{title}**")
        else:
            self.at += 1
        self.tight = False

    def _is_underlined(self, line: str) -> bool:
        following = self.lines[self.at + 1] if self.at + 1 < len(self.lines) else ""
        return not self.tight and len(line) <= 80 and bool(_UNDERLINE.match(following)) and not _RULE.match(line)

    def _code(self) -> Block:
        indent, tight, start = self.indent, self.tight, self.at
        line = self._line()
        mark = _FENCE.match(line)
        fence = mark.group(1) if mark else "```"
        lines = [line]
        end = start + 1
        while end < len(self.lines):
            raw = self.lines[end]
            raw = raw[indent:] if raw.startswith(" " * indent) else raw
            lines.append(raw)
            end += 1
            if raw.strip().startswith(fence) and not raw.strip().strip(fence[0]):
                break
        else:
            lines.append(fence)
        return self._made("code", "\n".join(lines), lines=end - start, tight=tight)

    def _table(self) -> Block:
        start, tight = self.at, self.tight
        end = start
        while end < len(self.lines) and "|" in self.lines[end]:
            end += 1
        raw = self.lines[start:end]
        rows = tuple(_cells(line) for i, line in enumerate(raw) if i != 1)
        made = self._made("table", "\n".join(line.strip() for line in raw), lines=end - start, tight=tight)
        return Block("table", safe(made.text), made.place, role=made.role, tight=tight, rows=rows)


def _cells(line: str) -> tuple[str, ...]:
    inner = line.strip().removeprefix("|").removesuffix("|")
    cells = re.split(r"(?<!\\)\|", inner)
    return tuple(_BREAK.sub("\n", _inline(cell.strip().replace("\\|", "|"))) for cell in cells)


def _inline(line: str) -> str:
    """A line of Markdown without tags and with safe links; what stands in `code` is left alone."""
    line = _ATTRIBUTE_LIST.sub("", line)
    if "<" not in line:
        return safe(line).rstrip()
    parts = re.split(r"(`[^`]+`)", line)
    for i in range(0, len(parts), 2):
        part = _IMAGE_TAG.sub(_image, _LINK_TAG.sub(r"[\2](\1)", parts[i]))
        part = _BREAK.sub("\n", part)
        parts[i] = html.unescape(_TAG.sub("", part)) if part != parts[i] or _TAG.search(part) else part
    return safe("".join(parts)).rstrip()


def _image(found: re.Match[str]) -> str:
    attributes = {name.lower(): value for name, value in _ATTRIBUTE.findall(found.group(1))}
    return f"![{attributes.get('alt', '')}]({attributes['src']})" if attributes.get("src") else ""


def _is_link(text: str) -> bool:
    return bool(re.fullmatch(r"\s*(?:[-*+]|\d+[.)])?\s*\[[^\]]+\]\([^)]*\)\s*", text))
