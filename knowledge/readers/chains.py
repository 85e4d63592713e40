"""Running numbers: which of many numbered lines count the questions, and which the steps within an answer."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from knowledge.readers.questions import ASKS_WITHOUT_MARK, SYMPTOM

# What a line adds to the chain it stands in. Titles between questions are bridged, sentences (steps) are not.
_ASKS, _SYMPTOM, _TITLE, _STATEMENT = 1.0, -0.05, -0.35, -2.0
_GAP = -0.5
_LATE_START = -1.0


class Line(NamedTuple):
    """A numbered line: where its block stands, its number, how surely it asks, and whether it is a whole sentence."""

    at: int
    number: int
    score: float
    is_statement: bool


class _Node(NamedTuple):
    total: float
    line: Line
    before: "_Node | None"
    begins: bool


def chains(lines: Sequence[Line]) -> list[list[Line]]:
    """The series 1, 2, 3, … that together hold most questions and least else, in order. Linear in the lines.

    Where none of the lines asks, what reads like a complaint stands for a question.
    """
    if not any(line.score >= ASKS_WITHOUT_MARK for line in lines):
        lines = [line._replace(score=line.score and ASKS_WITHOUT_MARK) for line in lines]
    ending: dict[int, _Node] = {}
    best: _Node | None = None
    for line in lines:
        node = _extend(line, ending, best)
        if line.number not in ending or node.total >= ending[line.number].total:
            ending[line.number] = node
        if best is None or node.total > best.total:
            best = node
    found: list[list[Line]] = [[]]
    while best is not None:
        found[-1].append(best.line)
        if best.begins:
            found.append([])
        best = best.before
    series = [chain[::-1] for chain in reversed(found) if chain]
    following = [chain[0].at for chain in series[1:]]
    for chain, end in zip(series, [*following, lines[-1].at + 1 if lines else 0], strict=True):
        first = bisect_right(lines, chain[-1].at, key=lambda line: line.at)
        chain.extend(_rest(chain[-1], islice(lines, first, None), end))
    return series


def _rest(last: Line, lines: Iterable[Line], end: int) -> list[Line]:
    """Short lines that count on behind the last question, up to where another count begins."""
    found: list[Line] = []
    for line in lines:
        if line.number == 1 or line.is_statement or line.at >= end:
            break
        if line.number == last.number + 1 + len(found):
            found.append(line)
    return found


def _extend(line: Line, ending: dict[int, _Node], best: _Node | None) -> _Node:
    weight = _weight(line)
    start = 0.0 if line.number == 1 else _LATE_START
    options = [_Node(weight + start + max(best.total if best else 0.0, 0.0), line, best, begins=True)]
    for step, cost in ((1, 0.0), (2, _GAP)):
        before = ending.get(line.number - step)
        if before is not None:
            options.append(_Node(before.total + weight + cost, line, before, begins=False))
    # Going on with a series beats a new one of the same worth.
    return max(options, key=lambda node: (node.total, not node.begins))


def _weight(line: Line) -> float:
    if line.score >= ASKS_WITHOUT_MARK:
        return _ASKS
    if line.is_statement:
        return _STATEMENT
    return _SYMPTOM if line.score >= SYMPTOM else _TITLE
