"""Links that may stand in an answer."""

import re
from html import unescape

_LINK = re.compile(r"(!?)\[([^\]\n]{0,500})\]\(\s*<?((?:[^()\s<>]|\([^()\s]{0,200}\)){0,2000})>?([^()\n]{0,500})\)")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_ALLOWED = ("http:", "https:", "mailto:", "tel:", "ftp:")
_BLANKS = re.compile(
    r"[\x00-\x20\u200b-\u200f\u2028-\u202e\ufeff]|&(?:tab|newline|#x?0*(?:9|a|d|10|13));?", re.IGNORECASE
)
_COLON = re.compile(r"&colon;|&#x?0*(?:58|3a);?|%3a", re.IGNORECASE)


def is_safe(address: str) -> bool:
    """Whether an address leads to a page, a mailbox, a telephone or a place of the same site, and runs nothing."""
    bare = _COLON.sub(":", _BLANKS.sub("", unescape(address))).lower()
    scheme = _SCHEME.match(bare)
    return scheme is None or scheme.group() in _ALLOWED


def safe(markdown: str) -> str:
    """The Markdown with only the words left of links that are not safe, and nothing of such pictures."""
    if "](" not in markdown:
        return markdown
    return _LINK.sub(lambda found: found.group() if is_safe(found.group(3)) else _words(found), markdown)


def _words(found: re.Match[str]) -> str:
    return "" if found.group(1) else found.group(2)
