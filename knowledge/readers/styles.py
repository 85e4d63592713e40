"""Which lines of a document are its questions: each style of writing them is weighed as a whole."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from knowledge.readers.blocks import Block, plain
from knowledge.readers.chains import Line, chains
from knowledge.readers.headings import own, search
from knowledge.readers.questions import (
    ASKS,
    ASKS_WITHOUT_MARK,
    MARKED,
    SYMPTOM,
    answer_mark,
    asks,
    count,
    is_statement,
    says_faq,
)
from knowledge.text import normalise

SHARE_MIN = 0.6
LINE_CHARACTERS_MAX = 60
# Blocks an answer has on average at most, where nothing but its question mark tells a question.
ANSWER_BLOCKS_MAX = 8
# An answer's depth: ends with the blocks the format gives it; ends at any heading.
BY_FORMAT, AT_ANY_HEADING = -1, 99

Runs = list[list[int]]


def find(blocks: Sequence[Block], *, in_faq: bool, known: frozenset[str]) -> dict[int, int]:
    """Index of each question → the level of heading that ends its answer, or BY_FORMAT.

    `in_faq`: the document's name says that it is an FAQ. `known`: normalised questions that its metadata names.
    """
    scores = [_score(blocks, i, known) for i in range(len(blocks))]
    # A name alone is no proof: something in the document must ask, too.
    in_faq = in_faq and any(score >= SYMPTOM for score in scores)
    in_faq = in_faq or (bool(blocks) and blocks[0].kind == "heading" and says_faq(blocks[0].text))
    found = dict.fromkeys(_toggles(blocks, scores, in_faq=in_faq), BY_FORMAT)
    taken = _answered_by_format(blocks, found)
    for i in search(blocks, scores, taken, in_faq=in_faq):
        found[i] = blocks[i].level
        taken.update(own(blocks, i))
    in_faq = in_faq or any(block.kind == "heading" and says_faq(block.text) for block in blocks)
    for style in (_marked, _counted, _listed, _bold, _asking):
        runs = _runs(blocks, taken)
        new = set(style(blocks, scores, runs, in_faq=in_faq))
        if style is _marked and new:
            # Where some answers begin with 「答：」 and others do not, the questions still look alike.
            for other in (_counted, _listed, _bold):
                alike = set(other(blocks, scores, runs, in_faq=in_faq))
                new |= alike if 2 * len(alike & new) >= len(new) else set()
        found.update(dict.fromkeys(new, AT_ANY_HEADING))
        for run in runs:
            first = next((i for i in run if i in found), None)
            taken.update(i for i in run if first is not None and i >= first)
    return found


def _score(blocks: Sequence[Block], i: int, known: frozenset[str]) -> float:
    block = blocks[i]
    if block.kind in ("table", "code") or answer_mark(block.text) is not None:
        return 0.0
    if known and normalise(plain(block.text)) in known and not block.is_link:
        return MARKED
    following = blocks[i + 1] if i + 1 < len(blocks) else None
    if following and following.kind != "heading" and answer_mark(following.text) is not None:
        return MARKED if len(plain(block.text)) <= 200 else 0.0
    return asks(block.text, heading=block.kind == "heading")


def _toggles(blocks: Sequence[Block], scores: Sequence[float], *, in_faq: bool) -> list[int]:
    """Titles of what opens, where most of them ask; what metadata marks as questions in any case."""
    titles = [i for i, block in enumerate(blocks) if block.role == "toggle"]
    asking = sum(scores[i] >= SYMPTOM for i in titles)
    believed = in_faq or any(block.kind == "heading" and says_faq(block.text) for block in blocks)
    if 2 * asking < len(titles) and not (believed and asking):
        titles = [i for i in titles if scores[i] >= ASKS]
    return sorted([*titles, *(i for i, block in enumerate(blocks) if block.role == "faq")])


def _answered_by_format(blocks: Sequence[Block], found: Iterable[int]) -> set[int]:
    taken = set()
    for i in found:
        taken.add(i)
        for j in range(i + 1, len(blocks)):
            if blocks[j].role != "answer":
                break
            taken.add(j)
    return taken


def _runs(blocks: Sequence[Block], taken: set[int]) -> Runs:
    """Stretches of blocks between headings that belong to no question yet."""
    runs: Runs = [[]]
    for i, block in enumerate(blocks):
        if i in taken or block.kind == "heading":
            runs.append([])
        else:
            runs[-1].append(i)
    return [run for run in runs if run]


def _lines(blocks: Sequence[Block], runs: Runs) -> Iterator[int]:
    return (i for run in runs for i in run if blocks[i].kind in ("paragraph", "item") and not blocks[i].is_link)


def _following(runs: Runs) -> dict[int, int]:
    """What each block is followed by within its run."""
    return {i: j for run in runs for i, j in pairwise(run)}


def _answered(lines: Sequence[int], following: dict[int, int]) -> int:
    """How many of the lines are followed by something that is none of them."""
    among = set(lines)
    return sum(i in following and following[i] not in among for i in lines)


def _marked(blocks: Sequence[Block], scores: Sequence[float], runs: Runs, *, in_faq: bool) -> list[int]:
    """Lines that begin with 「问：」 or whose next line begins with 「答：」."""
    lines = [i for i in _lines(blocks, runs) if scores[i] >= MARKED]
    answers = sum(answer_mark(blocks[i + 1].text) is not None for i in lines if i + 1 < len(blocks))
    return lines if in_faq or answers or _answered(lines, _following(runs)) >= 2 else []


def _counted(blocks: Sequence[Block], scores: Sequence[float], runs: Runs, *, in_faq: bool) -> list[int]:
    """Lines along a running number, most of which ask; the steps counted within their answers are none."""
    by_style: dict[str, list[Line]] = {}
    for i in _lines(blocks, runs):
        counted = count(blocks[i].text)
        if counted:
            style = f"{counted.style}/{blocks[i].level if blocks[i].kind == 'item' else 0}"
            by_style.setdefault(style, []).append(Line(i, counted.number, scores[i], is_statement(blocks[i].text)))
    best: list[int] = []
    following = _following(runs)
    for lines in by_style.values():
        accepted = [chain for chain in chains(lines) if _believed(chain, following, in_faq=in_faq)]
        if sum(map(len, accepted)) == 1 and not in_faq and scores[accepted[0][0].at] < ASKS:
            continue
        found = [line.at for chain in accepted for line in chain]
        best = max(best, found, key=lambda chosen: sum(scores[i] >= ASKS_WITHOUT_MARK for i in chosen))
    return best or (_titles_counted(blocks, by_style, following) if in_faq else [])


def _titles_counted(blocks: Sequence[Block], by_style: dict[str, list[Line]], following: dict[int, int]) -> list[int]:
    """Short titles counted throughout an FAQ, each over its text: 「1、关于发票」."""
    for lines in by_style.values():
        running = [line.number for line in lines] == list(range(1, len(lines) + 1))
        short = all(not line.is_statement and len(plain(blocks[line.at].text)) <= 40 for line in lines)
        if len(lines) >= 2 and running and short and _answered([line.at for line in lines], following) == len(lines):
            return [line.at for line in lines]
    return []


def _believed(chain: Sequence[Line], following: dict[int, int], *, in_faq: bool) -> bool:
    enough = SYMPTOM if in_faq else ASKS_WITHOUT_MARK
    asking = sum(line.score >= enough for line in chain)
    return 2 * asking >= len(chain) and 2 * _answered([line.at for line in chain], following) >= len(chain)


def _listed(blocks: Sequence[Block], scores: Sequence[float], runs: Runs, *, in_faq: bool) -> list[int]:
    """Items of one automatic list, most of which ask."""
    lists: dict[str, list[int]] = {}
    for i in _lines(blocks, runs):
        if blocks[i].sequence:
            lists.setdefault(blocks[i].sequence, []).append(i)
    found: list[int] = []
    following = _following(runs)
    for lines in lists.values():
        asking = sum(scores[i] >= (SYMPTOM if in_faq else ASKS_WITHOUT_MARK) for i in lines)
        titles = not any(is_statement(blocks[i].text) for i in lines)
        if asking >= SHARE_MIN * len(lines) and titles and 2 * _answered(lines, following) > len(lines):
            found += lines
    return found


def _bold(blocks: Sequence[Block], scores: Sequence[float], runs: Runs, *, in_faq: bool) -> list[int]:
    """Bold lines, where most of the bold lines ask."""
    bold = [i for i in _lines(blocks, runs) if blocks[i].bold]
    lines = [i for i in bold if scores[i] >= (SYMPTOM if in_faq else ASKS_WITHOUT_MARK)]
    enough = len(lines) >= (1 if in_faq else 2) and len(lines) >= (0.3 if in_faq else SHARE_MIN) * len(bold)
    if not enough or 2 * _answered(lines, _following(runs)) < len(lines):
        return []
    return [i for i in bold if scores[i] >= SYMPTOM]


def _asking(blocks: Sequence[Block], scores: Sequence[float], runs: Runs, *, in_faq: bool) -> list[int]:
    """Short lines that end with a question mark and stand over lines that do not, throughout."""
    least = ASKS_WITHOUT_MARK if in_faq else ASKS
    lines = [
        i for i in _lines(blocks, runs) if scores[i] >= least and len(plain(blocks[i].text)) <= LINE_CHARACTERS_MAX
    ]
    among = set(lines)
    runs = [run for run in runs if among & set(run)]
    leads = [next(k for k, i in enumerate(run) if i in among) for run in runs]
    regular = (
        len(lines) >= (1 if in_faq else 2)
        and _answered(lines, _following(runs)) >= 0.75 * len(lines)
        and sum(map(len, runs)) <= ANSWER_BLOCKS_MAX * len(lines)
        and max(leads, default=0) <= (6 if in_faq else 2)
    )
    return lines if regular else []
