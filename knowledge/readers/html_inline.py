"""The inline content of a page as Markdown."""

import re
from typing import Any

from knowledge.readers.links import is_safe

_SPACES = re.compile(r"[ \t\r\n\f\v\u3000\xa0]+")
_BOLD = frozenset(("b", "strong"))
_LINES = frozenset(("p", "div", "li", "tr", "dd", "dt", "blockquote", "section"))
_DEPTH_MAX = 200
_ZERO_WIDTH = re.compile("[\u200b-\u200f\u2060\ufeff]")


def words(element: Any) -> str:
    """All the text of an element on one line."""
    return " ".join(_ZERO_WIDTH.sub("", "".join(element.itertext())).split())


def inline(pieces: list[Any]) -> str:
    """Texts and inline elements as one paragraph of Markdown; <br> is a line break."""
    text = "".join(_text(piece) if isinstance(piece, str) else _markdown(piece, 0) for piece in pieces)
    lines = (re.sub(r"[ \u3000]+", " ", line).strip() for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


def is_only_link(pieces: list[Any]) -> bool:
    """Whether nothing but links stands there."""
    links = [piece for piece in pieces if not isinstance(piece, str)]
    outside = "".join(piece for piece in pieces if isinstance(piece, str))
    if re.sub(r"[\s·•>|/,，、»›-]+", "", outside):
        return False
    anchored = [piece for piece in links if words(piece)]
    return bool(anchored) and all(_is_linked(piece) for piece in anchored)


def _is_linked(element: Any) -> bool:
    if element.tag == "a":
        return True
    total = len(words(element))
    return total > 0 and sum(len(words(link)) for link in element.iter("a")) >= total


def _text(text: str) -> str:
    return _SPACES.sub(" ", _ZERO_WIDTH.sub("", text))


def _markdown(element: Any, depth: int) -> str:
    """An inline element (with its own text, not what follows it)."""
    tag = element.tag
    if not isinstance(tag, str) or depth > _DEPTH_MAX:
        return ""
    if tag in ("br", "img"):
        return "\n" if tag == "br" else _image(element)
    inner = _text(element.text or "")
    for child in element:
        inner += _markdown(child, depth + 1) + _text(child.tail or "")
    if tag == "a":
        return _link(element, inner)
    if tag in _BOLD or _is_bold(element):
        return wrapped(inner, "**")
    if tag == "code" and inner.strip() and "\n" not in inner and "`" not in inner:
        return f"`{inner.strip()}`"
    return f"\n{inner}\n" if tag in _LINES else inner


def _is_bold(element: Any) -> bool:
    style = (element.get("style") or "").replace(" ", "").lower()
    return element.tag in ("span", "font") and (
        "font-weight:bold" in style or "font-weight:700" in style or "font-weight:600" in style
    )


def wrapped(inner: str, mark: str) -> str:
    """Each line within the marks, its spaces outside; what is marked already stays as it is."""
    lines = []
    for line in inner.split("\n"):
        bare = line.strip()
        if not bare or mark in bare or bare.startswith("!["):
            lines.append(line)
        else:
            lead, trail = line[: len(line) - len(line.lstrip())], line[len(line.rstrip()) :]
            lines.append(f"{lead}{mark}{bare}{mark}{trail}")
    return "\n".join(lines)


def _image(element: Any) -> str:
    source = next(
        (
            value
            for name in ("data-src", "data-original", "src")
            if (value := (element.get(name) or "").strip()) and is_safe(value)
        ),
        "",
    )
    alt = _text(element.get("alt") or "").strip().replace("]", "").replace("[", "")
    width = element.get("width") or ""
    if not source or re.search(r"[()\s<>]", source) or (width.isdigit() and int(width) <= 2):
        return ""
    return f"![{alt}]({source})"


def _link(element: Any, inner: str) -> str:
    address = (element.get("href") or "").strip()
    text = inner.strip()
    useless = not address or address.startswith("#") or re.search(r"[()\s<>]", address) or not is_safe(address)
    if useless or not text or "\n" in text or "](" in text:
        return inner
    return text if text == address else f"[{text.replace('[', '').replace(']', '')}]({address})"
