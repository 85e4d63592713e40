"""Markdown as plain text, for channels that show no markup; what must stay whole in it is remembered for `split`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from connectors.text import Measure, Span, split

if TYPE_CHECKING:
    from markdown_it.tree import SyntaxTreeNode

BULLET = "• "
MARKS = frozenset("*_`#[<>|\\&~+-=")
WIDE_FROM = "\u2e80"


@dataclass(frozen=True, slots=True)
class Block:
    """One run of text. It begins on a line of its own, after an empty one where it stands `apart`."""

    text: str
    apart: bool = True
    whole: bool = False


def pieces(markdown: str, limit: int, measure: Measure = len) -> list[str]:
    """Markdown as plain text, in pieces of at most `limit` as `measure` counts."""
    text, whole = plain(markdown)
    return split(text, limit, measure, whole)


def plain(markdown: str) -> tuple[str, list[Span]]:
    """Markdown as plain text, and the spans of it that should not be cut.

    Links keep their address behind the words, tables become lines with ` | `, code and numbers stay as they are; text
    without markup comes back as it was. Source: CommonMark 0.31, with GitHub's tables and strikethrough.
    """
    if MARKS.isdisjoint(markdown) and ". " not in markdown and "    " not in markdown:
        return markdown.strip(), []
    from markdown_it import MarkdownIt
    from markdown_it.tree import SyntaxTreeNode

    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    text, whole = "", []
    for block in _blocks(SyntaxTreeNode(parser.parse(markdown)).children):
        if text:
            text += "\n\n" if block.apart else "\n"
        if block.whole:
            whole.append((len(text), len(text) + len(block.text)))
        text += block.text
    return text, whole


def _blocks(nodes: "Iterable[SyntaxTreeNode]") -> Iterator[Block]:
    """The blocks of a document. Two stand apart where an empty line lay between them in the source."""
    last = None
    for node in nodes:
        begin, end = node.map or (0, 0)
        apart = last is None or begin > last
        last = end if node.type != "list_item" else None
        for number, block in enumerate(_of(node)):
            yield replace(block, apart=apart) if number == 0 else block


def _of(node: "SyntaxTreeNode") -> Iterator[Block]:
    if node.type in ("bullet_list", "ordered_list"):
        yield from _list(node)
    elif node.type in ("fence", "code_block"):
        yield Block(node.content.rstrip("\n"), whole=True)
    elif node.type == "hr":
        yield Block("———")
    elif node.type == "table":
        rows = [row for part in node.children for row in part.children]
        for row in rows:
            cells = [inline(content.children) for cell in row.children for content in cell.children]
            yield Block(" | ".join(cells), apart=False, whole=True)
    elif node.type == "inline":
        yield Block(inline(node.children))
    elif node.children:
        yield from _blocks(node.children)
    elif node.content:
        yield Block(node.content.rstrip("\n"))


def _list(node: "SyntaxTreeNode") -> Iterator[Block]:
    number = int(node.attrs.get("start", 1))
    for place, item in enumerate(node.children):
        mark = BULLET if node.type == "bullet_list" else f"{number + place}{item.markup} "
        for line, block in enumerate(_blocks(item.children)):
            text = mark + block.text if line == 0 else "  " + block.text.replace("\n", "\n  ")
            yield Block(text, apart=block.apart and line > 0, whole=True)
        if not item.children:
            yield Block(mark.rstrip(), apart=False)


def inline(nodes: "Iterable[SyntaxTreeNode]") -> str:
    """The words of a paragraph, without their markup."""
    return "".join(_inline(node) for node in nodes)


def _inline(node: "SyntaxTreeNode") -> str:
    if node.type in ("softbreak", "hardbreak"):
        return "\n"
    if node.type == "image":
        return f"{inline(node.children)} {node.attrs.get('src', '')}".strip()
    if node.type == "link":
        words, target = inline(node.children), str(node.attrs.get("href", "")).removeprefix("mailto:")
        if not target or words.strip() == target:
            return words
        return f"{words}（{target}）" if any(c >= WIDE_FROM for c in words) else f"{words} ({target})"
    return inline(node.children) if node.children else node.content
