"""What of a page is not its content: navigation, footers, forms, lists of links."""

import re
from typing import Any

from knowledge.readers.html_inline import words
from knowledge.readers.html_marks import Marks
from knowledge.readers.questions import ASKS_WITHOUT_MARK, asks

# What nobody reads: gone wherever it stands, in a question or an answer, too.
_ACTIVE = (
    "script", "style", "noscript", "template", "iframe", "object", "embed", "svg", "canvas", "link", "meta", "applet",
    "frameset", "head", "math",
)  # fmt: skip
_DROPPED = ("video", "audio", "select", "input", "textarea", "option", "map")
_SURE_TAGS = frozenset(("nav", "footer"))
_LIKELY_TAGS = frozenset(("aside", "form", "header"))
_SURE_ROLES = frozenset(("navigation", "contentinfo", "banner", "search", "menubar", "toolbar"))
_SURE = re.compile(
    r"(?:^|[-_])(?:nav|navs|navbar|navigation|breadcrumbs?|crumbs?|bread|footer|foot|copyright|pagination|pager|topnav|subnav|sub[-_]?menu|"
    r"mianbaoxie|dibu|daohang|footers?|beian|icp)(?:$|[-_])|(?:^|[a-z])(?:Footer|Breadcrumb|Navbar)",
)
_LIKELY = re.compile(
    r"(?:^|[-_])(?:sidebar|side|aside|menu|menus|toolbar|topbar|share|social|related|recommend(?:ed|s)?|comments?|login|advert|ads|"
    r"banner|bnr|contactus\w*|qrcode|toc|cookie|skip|links|friendlinks?|votes?|feedback|subscribe|satisfaction|helpful|"
    r"recently|attribution|meta|tags|prev|next|search)(?:$|[-_])"
)
_HEADER = re.compile(r"^(?:(?:site|page|global|top|main|mobile|web)[-_]?)?(?:header|head|top)$")
_KEEPS = ("main", "article", "body", "html")
_LINK_SHARE = 0.8
_LIKELY_SHARE_MAX = 0.4
_BREADCRUMB = re.compile(r"\s[>»›/]\s|[>»›]")


def strip_active(body: Any) -> None:
    """Take scripts and the like out of the page."""
    nothing = Marks()
    for element in list(body.iter(*_ACTIVE)):
        _drop(element, nothing)


def strip_noise(body: Any, marks: Marks) -> None:
    """Take what is not content out of the page. What is marked as a question or its answer stays."""
    for element in list(body.iter(*_DROPPED)):
        _drop(element, marks)
    total = max(1, _own_text(body))
    for element in list(body.iter()):
        if isinstance(element.tag, str) and element.getparent() is not None and _is_noise(element, marks, total):
            _drop(element, marks)
    for element in list(body.iter("h1", "h2", "h3", "h4", "p", "div", "ul", "ol")):
        if element.getparent() is not None and _is_breadcrumb(element):
            _drop(element, marks)
    for element in list(body.iter("ul", "ol", "dl", "p", "div", "td")):
        if element.getparent() is not None and _is_link_list(element, marks):
            _drop(element, marks)


def _is_noise(element: Any, marks: Marks, total: int) -> bool:
    if element.tag in _KEEPS or marks.covers(element):
        return False
    names = f"{element.get('class') or ''} {element.get('id') or ''}".split()
    role = (element.get("role") or "").lower()
    sure = element.tag in _SURE_TAGS or role in _SURE_ROLES or any(map(_SURE.search, names))
    site_header = (element.tag == "header" or any(map(_HEADER.match, names))) and not _within_article(element)
    likely = (element.tag in _LIKELY_TAGS - {"header"} or any(map(_LIKELY.search, names))) and not _within_list(element)
    if (
        not (sure or site_header or likely)
        or element.find(".//main") is not None
        or element.find(".//article") is not None
    ):
        return False
    if sure or site_header:
        return _own_text(element) < 0.8 * total or element.tag in _SURE_TAGS
    return _own_text(element) < _LIKELY_SHARE_MAX * total


def _within_article(element: Any) -> bool:
    return any(ancestor.tag in ("article", "main", "section") for ancestor in element.iterancestors())


def _within_list(element: Any) -> bool:
    return element.tag in ("li", "dt", "dd", "tr", "td", "th", "p", "h1", "h2", "h3")


def _own_text(element: Any) -> int:
    """Characters outside links."""
    return len(words(element)) - sum(len(words(link)) for link in element.iter("a"))


def _is_breadcrumb(element: Any) -> bool:
    links = sum(1 for link in element.iter("a") if words(link))
    text = words(element)
    if len(text) > 150 or not _BREADCRUMB.search(text):
        return False
    return links >= 1 or (element.tag in ("h1", "h2", "h3", "h4") and bool(re.search(r"\S\s+[>»›]\s+\S", text)))


def _is_link_list(element: Any, marks: Marks) -> bool:
    """Whether an element is a list of links, and these no questions."""
    links = [text for link in element.iter("a") if (text := words(link))]
    if marks.covers(element) or element in marks.roles or element.find(".//h1") is not None:
        return False
    total = len(words(element))
    if len(links) < 2 or sum(map(len, links)) < _LINK_SHARE * total:
        return False
    questions = sum(asks(text) >= ASKS_WITHOUT_MARK for text in links)
    return 2 * questions < len(links)


def _drop(element: Any, marks: Marks) -> None:
    """Remove an element; the text behind it stays."""
    parent = element.getparent()
    if parent is None or marks.covers(element) or element in marks.roles:
        return
    tail = element.tail
    before = element.getprevious()
    parent.remove(element)
    if tail:
        if before is not None:
            before.tail = (before.tail or "") + tail
        else:
            parent.text = (parent.text or "") + tail
