"""Blocks → question-answer pairs where a document has them, passages elsewhere.

Every way to write questions is a *style*: what the format marks as one, headings, 「问：」, a running number, an
automatic list, bold lines, plain lines that ask. A style is believed only where most of its lines are questions, so
that the chapters of a handbook and the steps of an answer stay what they are.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from knowledge.readers import outline, styles
from knowledge.readers.blocks import Block, Prose, join, markdown_table, plain
from knowledge.readers.fields import Collector
from knowledge.readers.passages import split
from knowledge.readers.questions import (
    ASKS,
    ASKS_WITHOUT_MARK,
    SYMPTOM,
    answer_mark,
    asks,
    is_faq_title,
    is_statement,
    says_faq,
    wording,
)
from knowledge.readers.table import rows_of_pairs
from knowledge.text import normalise
from knowledge.types import Passage

# One question over a whole page is a pair up to this length of the page; beyond, the page is an article.
PAGE_CHARACTERS_MAX = 3000
UNANSWERED_MIN = 3
_SPEAKER = re.compile(r"[^\s：:]{1,8}[：:]\s*\S")


@dataclass(slots=True)
class _Pair:
    question: str
    place: str
    category: str
    answer: list[Block] = field(default_factory=list)


def extract(prose: Prose, name: str, collector: Collector) -> tuple[Passage, ...]:
    """Pairs and what is wrong with them into the collector; the passages of all the rest."""
    known = frozenset(normalise(question) for question, _ in prose.pairs)
    blocks = outline.prepare(prose.blocks)
    if prose.title and not (blocks and blocks[0].kind == "heading" and blocks[0].text == prose.title):
        blocks.insert(0, Block("heading", prose.title, blocks[0].place if blocks else "", 0))
    found = styles.find(blocks, in_faq=says_faq(name), known=known)
    pairs, rest = _cut(blocks, found)
    if not pairs and not known and (page := _single(blocks)):
        pairs, rest = [page], []
    seen = _add_pairs(pairs, prose, collector)
    rest = _without_tables(rest, seen, collector)
    rest = _without_lists(rest, seen, collector)
    for place, reason in prose.problems:
        collector.problem(place, reason)
    return tuple(_passages(rest, name, known, found_pairs=bool(seen)))


def _cut(blocks: Sequence[Block], found: dict[int, int]) -> tuple[list[_Pair], list[Block]]:
    """The pairs, and the blocks that belong to none. `found` is as `styles.find` gives it."""
    pairs: list[_Pair] = []
    rest: list[Block] = []
    path: list[tuple[int, str]] = []
    current: _Pair | None = None
    depth = 0
    levels = sorted(block.level for block in blocks if block.kind == "heading")
    top = levels[0] if levels and levels[:2] != levels[:1] * 2 else -1
    for i, block in enumerate(blocks):
        if i in found:
            current = _Pair(_question(block), block.place, _category(path, top))
            depth = found[i]
            pairs.append(current)
            continue
        ended = block.kind == "heading" and block.level <= depth
        if ended or (depth == styles.BY_FORMAT and block.role != "answer"):
            current = None
        if current:
            current.answer.append(block)
            continue
        if block.kind == "heading":
            path = [*((level, title) for level, title in path if level < block.level), (block.level, plain(block.text))]
        rest.append(block)
    for pair, following in zip(pairs, [*pairs[1:], None], strict=False):
        _trim(pair, following)
    return pairs, rest


def _question(block: Block) -> str:
    return wording(block.text, heading=block.kind == "heading")


def _category(path: Sequence[tuple[int, str]], top: int) -> str:
    """The nearest heading above that names a subject; `top` is the level of the document's title."""
    named = [wording(title, heading=True) for level, title in path if level > top]
    return next((title for title in reversed(named) if _names(title)), "")


def _names(title: str) -> bool:
    """Whether a heading names a subject."""
    return len(title) <= 30 and not is_faq_title(title) and not is_statement(title) and not re.search("[，,！!]", title)


def _trim(pair: _Pair, following: _Pair | None) -> None:
    """Take from an answer's end what is no part of it: the title over the next questions, the date of the document."""
    answer = pair.answer
    while answer and outline.is_signature(answer[-1]):
        answer.pop()
    while answer and outline.is_signature(answer[0]):
        answer.pop(0)
    last = answer[-1] if len(answer) > 1 else None
    titled = last and last.bold and last.kind == "paragraph" and len(plain(last.text)) <= 20
    if last and following and titled and not is_statement(last.text) and answer_mark(last.text) is None:
        following.category = wording(last.text)
        answer.pop()
    if answer and (rest := answer_mark(answer[0].text)) is not None:
        answer[0] = replace(answer[0], text=rest)


def _single(blocks: Sequence[Block]) -> _Pair | None:
    """A page under one question as its answer."""
    if len(blocks) < 2 or blocks[0].kind not in ("heading", "paragraph") or asks(blocks[0].text) < ASKS_WITHOUT_MARK:
        return None
    body = [block for block in blocks[1:] if plain(block.text) != plain(blocks[0].text)]
    if blocks[0].kind == "paragraph":
        spoken = any(_SPEAKER.match(block.text) for block in blocks)
        if len(body) > 8 or spoken or asks(blocks[0].text) < ASKS or any(asks(block.text) >= ASKS for block in body):
            return None
    others = sum(block.kind == "heading" and block.level <= blocks[0].level for block in body)
    chapters = sum(block.kind == "heading" for block in body)
    if chapters >= 2 and asks(blocks[0].text, heading=True) < ASKS:
        return None
    if others or not any(not block.is_link for block in body) or len(join(body)) > PAGE_CHARACTERS_MAX:
        return None
    pair = _Pair(_question(blocks[0]), blocks[0].place, "", body)
    _trim(pair, None)
    return pair


def _add_pairs(pairs: Sequence[_Pair], prose: Prose, collector: Collector) -> set[str]:
    """Give the pairs to the collector; what the page shows comes before what its metadata repeats. Returns the
    questions, normalised."""
    answers = {normalise(pair.question): join(pair.answer) for pair in pairs if pair.answer}
    seen: set[str] = set()
    for pair in pairs:
        answer, key = join(pair.answer), normalise(pair.question)
        if not answer and key in answers:
            continue  # a list of contents
        seen.add(key)
        collector.add(pair.place, {"question": pair.question, "answer": answer, "category": pair.category})
    for number, (question, answer) in enumerate(prose.pairs, start=1):
        if not answers.get(normalise(question)):
            seen.add(normalise(question))
            collector.add(f"FAQPage 第 {number} 条", {"question": question, "answer": answer})
    return seen


def _without_tables(blocks: Sequence[Block], seen: set[str], collector: Collector) -> list[Block]:
    """The blocks but for tables of questions and answers, whose rows go to the collector."""
    rest = []
    for block in blocks:
        records = rows_of_pairs(block.rows) if block.kind == "table" else []
        for number, record in records:
            seen.add(normalise(str(record.get("question") or record.get("title") or "")))
            collector.add(f"{block.place} 表格第 {number} 行", record)
        if not records:
            rest.append(block)
    return rest


def _without_lists(blocks: Sequence[Block], seen: set[str], collector: Collector) -> list[Block]:
    """The blocks but for lists of nothing but questions: contents where they are answered, else reported."""
    rest: list[Block] = []
    run: list[Block] = []
    in_faq = any(block.kind == "heading" and says_faq(block.text) for block in blocks)

    blocks_of_text = sum(not block.is_link for block in blocks)

    def flush() -> None:
        if not run:
            return
        known = sum(normalise(wording(block.text)) in seen for block in run)
        alone = not seen and (in_faq or 2 * len(run) >= blocks_of_text)
        if known * 2 >= len(run):
            pass
        elif len(run) >= UNANSWERED_MIN and (alone or all(block.is_link for block in run)):
            for block in run:
                collector.problem(block.place, "no_answer", wording(block.text))
        else:
            rest.extend(run)
        run.clear()

    for block in blocks:
        if block.kind in ("item", "paragraph") and asks(block.text) > SYMPTOM and not is_statement(block.text):
            run.append(block)
        else:
            flush()
            rest.append(block)
    flush()
    return rest


def _is_label(block: Block) -> bool:
    """Whether a block is a word or two that only ordered the questions around it."""
    line = plain(block.text)
    return len(line) <= 12 and not is_statement(line) and not any(character.isdigit() for character in line)


def _passages(
    blocks: Sequence[Block], name: str, known: frozenset[str], *, found_pairs: bool = False
) -> Iterator[Passage]:
    position = 0
    path: list[tuple[int, str]] = []
    section: list[Block] = []
    for block in [*blocks, Block("heading", "", level=1)]:
        if block.kind != "heading":
            section.append(replace(block, text=markdown_table(block.rows)) if block.rows else block)
            continue
        text = join(section)
        labels = found_pairs and all(_is_label(one) for one in section)
        repeated = bool(path) and normalise(path[-1][1]) in known
        if text and not labels and not repeated and not all(one.is_link for one in section):
            for piece in split(text):
                yield Passage("", "", " / ".join(title for _, title in path) or name, piece, position)
                position += 1
        section = []
        path = [*((level, title) for level, title in path if level < block.level), (block.level, plain(block.text))]
