"""What a Word document's styles say: headings, tables of contents, bold, lists."""

import re
from typing import Any

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_HEADING = re.compile(r"(?:heading|标题|標題)\s*([1-9])$", re.IGNORECASE)
_TITLE = re.compile(r"(?:title|标题|標題)$", re.IGNORECASE)
_CONTENTS = re.compile(r"(?:toc|目录|目錄)\s*\d?$|toc heading", re.IGNORECASE)
_CHAIN_MAX = 20


class Styles:
    """Looked up by id, through the styles that each is based on."""

    def __init__(self, root: Any) -> None:
        self._styles = {} if root is None else {one.get(f"{W}styleId", ""): one for one in root.iter(f"{W}style")}

    def outline(self, style: str, own: str) -> int | None:
        """The level of a heading, 0 for the document's title; None for a paragraph that is none."""
        if own.isdigit():
            return int(own) + 1 if int(own) < 9 else None
        for one in self._chain(style):
            name = self._name(one)
            if found := _HEADING.fullmatch(name):
                return int(found.group(1))
            if _TITLE.fullmatch(name):
                return 0
            level = one.find(f"{W}pPr/{W}outlineLvl")
            value = level.get(f"{W}val", "") if level is not None else ""
            if value.isdigit() and int(value) < 9:
                return int(value) + 1
        return None

    def is_contents(self, style: str) -> bool:
        """Whether a paragraph is a line of a table of contents."""
        return any(_CONTENTS.fullmatch(self._name(one)) for one in self._chain(style)[:1])

    def is_bold(self, style: str) -> bool:
        for one in self._chain(style):
            found = one.find(f"{W}rPr/{W}b")
            if found is not None:
                return found.get(f"{W}val", "1") not in ("0", "false", "off")
        return False

    def list_of(self, style: str) -> tuple[str, str]:
        """(id of the number list, level) that a style brings, or two empty texts."""
        for one in self._chain(style):
            found = one.find(f"{W}pPr/{W}numPr")
            if found is not None:
                list_id, level = found.find(f"{W}numId"), found.find(f"{W}ilvl")
                return (
                    list_id.get(f"{W}val", "") if list_id is not None else "",
                    level.get(f"{W}val", "") if level is not None else "",
                )
        return "", ""

    def _chain(self, style: str) -> list[Any]:
        found: list[Any] = []
        while style in self._styles and len(found) < _CHAIN_MAX:
            found.append(self._styles[style])
            based = found[-1].find(f"{W}basedOn")
            style = based.get(f"{W}val", "") if based is not None else ""
        return found

    @staticmethod
    def _name(style: Any) -> str:
        name = style.find(f"{W}name")
        return name.get(f"{W}val", "").strip() if name is not None else ""
