"""The numbers Word puts before paragraphs: counted here as Word counts them (ISO/IEC 29500-1, 17.9)."""

import re
from dataclasses import dataclass
from typing import Any

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
LEVELS = 9


@dataclass(frozen=True, slots=True)
class Label:
    """What stands before a paragraph; `sequence` names the list and level that counted it."""

    text: str
    sequence: str
    level: int
    is_bullet: bool


@dataclass(frozen=True, slots=True)
class _Level:
    start: int
    kind: str
    pattern: str


class Numbering:
    """Counts every list of a document in reading order."""

    def __init__(self, root: Any) -> None:
        self._levels: dict[str, dict[int, _Level]] = {}
        self._abstract: dict[str, str] = {}
        self._counters: dict[str, list[int | None]] = {}
        if root is None:
            return
        abstract = {one.get(f"{W}abstractNumId", ""): one for one in root.findall(f"{W}abstractNum")}
        for one in root.findall(f"{W}num"):
            found = one.find(f"{W}abstractNumId")
            base = found.get(f"{W}val", "") if found is not None else ""
            if base not in abstract:
                continue
            list_id = one.get(f"{W}numId", "")
            levels = {_index(level): _level(level) for level in abstract[base].findall(f"{W}lvl")}
            overridden = False
            for override in one.findall(f"{W}lvlOverride"):
                start = override.find(f"{W}startOverride")
                index = _index(override)
                if start is not None and index in levels:
                    overridden = True
                    levels[index] = _Level(_int(start.get(f"{W}val"), 1), levels[index].kind, levels[index].pattern)
            self._levels[list_id] = levels
            # Lists of one abstract list go on counting each other, unless one says where it starts.
            self._abstract[list_id] = f"num{list_id}" if overridden else base

    def label(self, list_id: str, level: int) -> Label | None:
        """The next label of a list at a level; None where the paragraph is in no list."""
        levels = self._levels.get(list_id)
        if not levels or level not in levels:
            return None
        this = levels[level]
        sequence = f"{self._abstract[list_id]}/{level}"
        if this.kind == "bullet":
            return Label("", sequence, level, is_bullet=True)
        counters = self._counters.setdefault(self._abstract[list_id], [None] * LEVELS)
        counters[level] = this.start if counters[level] is None else (counters[level] or 0) + 1
        for deeper in range(level + 1, LEVELS):
            counters[deeper] = None
        if this.kind == "none" or not this.pattern.strip():
            return Label("", sequence, level, is_bullet=False)

        def number(found: re.Match[str]) -> str:
            index = int(found.group(1)) - 1
            definition = levels.get(index, this)
            value = counters[index]
            return _written(definition.start if value is None else value, definition.kind)

        return Label(re.sub(r"%([1-9])", number, this.pattern), sequence, level, is_bullet=False)


def _level(element: Any) -> _Level:
    def value(name: str, default: str) -> str:
        found = element.find(f"{W}{name}")
        return found.get(f"{W}val", default) if found is not None else default

    return _Level(_int(value("start", "1"), 1), value("numFmt", "decimal"), value("lvlText", "")[:40])


def _index(element: Any) -> int:
    return min(max(_int(element.get(f"{W}ilvl"), 0), 0), LEVELS - 1)


def _int(text: str | None, default: int) -> int:
    return int(text) if text and text.isdigit() and len(text) < 7 else default


def _written(number: int, kind: str) -> str:
    if kind in (
        "chineseCounting",
        "chineseCountingThousand",
        "ideographDigital",
        "japaneseCounting",
        "taiwaneseCounting",
    ):
        return _chinese(number)
    if kind in ("lowerLetter", "upperLetter") and number > 0:
        letter = chr(ord("a") + (number - 1) % 26)
        return letter.upper() if kind == "upperLetter" else letter
    if kind.startswith("decimalEnclosedCircle") and 1 <= number <= 20:
        return chr(ord("①") + number - 1)
    return str(number)


def _chinese(number: int) -> str:
    digits = "零一二三四五六七八九"
    if not 0 < number < 100:
        return str(number)
    tens, ones = divmod(number, 10)
    lead = "" if not tens else "十" if tens == 1 else digits[tens] + "十"
    return lead + (digits[ones] if ones else "")
