"""What a page says of itself in JSON-LD: its questions and answers, as schema.org's FAQPage and QAPage have them."""

import html as entities
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

_CHARACTERS_MAX = 5_000_000
_NODES_MAX = 20_000
# An answer may hold </script> itself, where a browser ends the script: so many ends further on it is looked for, and so
# often on one page.
_ENDS_MAX = 8
_FURTHER_MAX = 200
_OPENING = re.compile(r"<!--|<script\b([^>]{0,2000})>", re.IGNORECASE)
_CLOSING = re.compile(r"</script\b[^>]{0,200}>", re.IGNORECASE)
_PAGE = re.compile(r"</head|<body|<script", re.IGNORECASE)
_GOES_ON = re.compile(r"[\"}\]]\s*[}\],:]")


class Metadata(NamedTuple):
    """The page without its JSON-LD; what each piece of it says, None for one that is broken."""

    page: str
    stated: tuple[Any, ...]


def take_metadata(text: str) -> Metadata:
    """Cut the JSON-LD out of the source of a page, with all that a broken one would leave in the text."""
    kept: list[str] = []
    stated: list[Any] = []
    begun = at = further = 0
    while found := _OPENING.search(text, at):
        if found.group(1) is None:
            at = text.find("-->", found.end())
            if at < 0:
                break
            continue
        ends = _some_ends(text, found.end(), _ENDS_MAX if further < _FURTHER_MAX else 1)
        at = ends[0][1]
        if "ld+json" not in entities.unescape(found.group(1)).lower():
            continue
        said = None
        for number, (start, end) in enumerate(ends):
            further += number > 0
            said = _parsed(text[found.end() : start])
            if said is not None:
                at = end
                break
        else:
            at = _after_leftovers(text, ends)
        stated.append(said and said[0])
        kept.append(text[begun : found.start()])
        begun = at
    return Metadata("".join((*kept, text[begun:])), tuple(stated))


def pairs_of(stated: Sequence[Any], convert: Callable[[Any], str]) -> tuple[tuple[str, str], ...]:
    """The questions and answers in it; `convert` makes Markdown of an element. https://schema.org/FAQPage"""
    found: dict[str, str] = {}
    for question in (one for piece in stated for one in _questions(piece)):
        name = " ".join(_markdown(question.get("name") or question.get("text"), convert).split())
        answer = question.get("acceptedAnswer") or question.get("suggestedAnswer")
        answers = answer if isinstance(answer, list) else [answer]
        texts = [_markdown(one.get("text"), convert) for one in answers if isinstance(one, dict)]
        if name:
            found.setdefault(name, "\n\n".join(text for text in texts if text))
    return tuple(found.items())


def _some_ends(text: str, at: int, most: int) -> list[tuple[int, int]]:
    """The next ends of a script; the end of the page where there is none."""
    found: list[tuple[int, int]] = []
    while len(found) < most and (one := _CLOSING.search(text, at)):
        found.append(one.span())
        at = one.end()
    return found or [(len(text), len(text))]


def _parsed(text: str) -> tuple[Any] | None:
    """What a script says, alone in a tuple; None where it is broken."""
    text = text.strip().removeprefix("<!--").removesuffix("-->").rstrip("; \n\r\t")
    try:
        return (json.loads(text, strict=False) if text and len(text) <= _CHARACTERS_MAX else {},)
    except (ValueError, RecursionError):
        return None


def _after_leftovers(text: str, ends: Sequence[tuple[int, int]]) -> int:
    """Where the page goes on behind a broken piece: an end of a script that nothing opens belongs to it."""
    at = ends[0][1]
    for start, end in ends[1:]:
        between = text[at:start]
        if _PAGE.search(between) or not _GOES_ON.search(between):
            break
        at = end
    return at


def _questions(stated: Any) -> Iterator[dict[str, Any]]:
    """Every object of type Question, however it is wrapped."""
    waiting, nodes = [stated], 0
    while waiting and nodes < _NODES_MAX:
        node = waiting.pop(0)
        nodes += 1
        if isinstance(node, list):
            waiting[:0] = node
        elif isinstance(node, dict):
            kinds = node.get("@type")
            if "Question" in (kinds if isinstance(kinds, list) else [kinds]):
                yield node
            else:
                waiting[:0] = [value for value in node.values() if isinstance(value, dict | list)]


def _markdown(text: Any, convert: Callable[[Any], str]) -> str:
    """A text of metadata, which may be HTML within the string."""
    if not isinstance(text, str) or not text.strip():
        return ""
    if "<" not in text and "&" not in text:
        return text.strip()
    from lxml import etree, html

    try:
        fragment = html.fragment_fromstring(text, create_parent="div")
    except (etree.ParserError, ValueError):
        return ""
    for element in list(fragment.iter("script", "style")):
        element.drop_tree()
    return convert(fragment)
