"""What the columns of a table are, and one record of each row under them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from knowledge.readers.fields import LIST_FIELDS, RUNNING_NAMES, Uncalculated, field_of
from knowledge.readers.questions import ASKS_WITHOUT_MARK, asks

Row = tuple[int, list[str]]
PLAIN_SHARE = 0.8
ASKING_SHARE = 0.6


class Filled(str):
    """The text of a cell that belongs to a merged one above it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Columns:
    """The field of each column (None: not used), and the columns whose cells part several texts by ##."""

    fields: tuple[str | None, ...]
    hashed: frozenset[int] = frozenset()


def is_header(cells: Sequence[str]) -> bool:
    """Whether a row names columns: a question, and an answer or an action, or nothing that is no column."""
    fields = {field_of(cell) for cell in cells if cell}
    fields = {"question" if field == "title" else field for field in fields}
    return "question" in fields and (bool(fields & {"answer", "action"}) or None not in fields)


def header_columns(titles: Sequence[str], sample: Sequence[Sequence[str]]) -> Columns:
    """The columns that a header names."""
    fields = [field_of(title) for title in titles]
    for i, (field, title) in enumerate(zip(fields, titles, strict=True)):
        running = field == "id" and title.strip() in RUNNING_NAMES
        if running and all(cells[i].isdigit() for cells in sample if i < len(cells) and cells[i]):
            fields[i] = None
    return Columns(tuple(fields), frozenset(i for i, title in enumerate(titles) if "##" in title))


def plain_columns(rows: Sequence[Sequence[str]], *, asking: bool = False) -> Columns | None:
    """question and answer for a table of two used columns (beside a column of running numbers), or where one column
    asks throughout; None for another shape. With `asking`, two columns are not enough: the first must ask."""
    width = max(map(len, rows), default=0)
    used = [i for i in range(width) if sum(_filled(cells, i) for cells in rows) > (1 - PLAIN_SHARE) * len(rows)]
    numbered = len(rows) > 1 and len(used) > 1 and all(_at(cells, used[0]).strip(".、").isdigit() for cells in rows)
    used = used[1:] if numbered else used
    if not used or not rows:
        return None
    fields: list[str | None] = [None] * width
    asker = next((i for i in used if _asking_share(rows, i) >= ASKING_SHARE), None)
    if asker is not None and used[-1] > asker and (asking or len(used) > 2):
        fields[asker] = "question"
        after = [i for i in used if i > asker]
        fields[max(after, key=lambda i: sum(len(_at(cells, i)) for cells in rows))] = "answer"
        if asker > used[0] and len({_at(cells, used[0]) for cells in rows}) < len(rows):
            fields[used[0]] = "category"
        return Columns(tuple(fields))
    if asking or len(used) > 2:
        return None
    for i, field in zip(used, ("question", "answer"), strict=False):
        fields[i] = field
    return Columns(tuple(fields))


def records(rows: Iterable[Row], columns: Columns) -> Iterator[tuple[int, list[str], dict[str, object] | None]]:
    """A record for each row that holds something; None for one with more cells than there are columns.

    Where a merged question covers several rows their answers are one; where a merged answer does, their questions are.
    """
    waiting: tuple[int, list[str], dict[str, object]] | None = None
    for number, cells in rows:
        if not any(cells):
            continue
        if any(cells[len(columns.fields) :]):
            if waiting:
                yield waiting
                waiting = None
            yield number, cells, None
            continue
        record = _record(cells, columns)
        if waiting and _goes_on(cells, columns, waiting[2], record):
            continue
        if waiting:
            yield waiting
        waiting = (number, cells, record)
    if waiting:
        yield waiting


def split_list(cell: str) -> list[str]:
    """The items of a cell: one a line; in a cell of one line parted by ## or, where there is none, by |."""
    for separator in ("\n", "##", "|"):
        if separator in cell:
            return [item.strip() for item in cell.split(separator) if item.strip()]
    return [cell]


def trimmed(cells: Sequence[str]) -> list[str]:
    """Cells without the spaces around them, and without the empty ones at the end."""
    kept = (Filled, Uncalculated)
    found = [cell if cell.endswith("\n") or isinstance(cell, kept) else cell.strip() for cell in cells]
    while found and not found[-1].strip() and not isinstance(found[-1], Uncalculated):
        found.pop()
    return found


def _goes_on(cells: Sequence[str], columns: Columns, before: dict[str, object], record: dict[str, object]) -> bool:
    """Whether a row continues the one before, by cells merged with it; what it adds is then taken over."""
    merged = {field for cell, field in zip(cells, columns.fields, strict=False) if isinstance(cell, Filled)}
    plain = {f for cell, f in zip(cells, columns.fields, strict=False) if cell and not isinstance(cell, Filled)}
    asked, answered = bool(merged & {"question", "title"}) and "question" not in plain, "answer" in merged
    if asked and (answered or "answer" not in record):
        return True
    if asked and "answer" in before:
        before["answer"] = f"{before['answer']}\n\n{record['answer']}"
        return True
    if answered and "question" in record:
        similar = before.setdefault("similar_questions", [])
        if isinstance(similar, list):
            more = record.get("similar_questions")
            similar.extend([record["question"], *(more if isinstance(more, list) else [])])
        return True
    return False


def _record(cells: Sequence[str], columns: Columns) -> dict[str, object]:
    record: dict[str, object] = {}
    questions: list[str] = []
    lists: dict[str, list[str]] = {}
    for i, (cell, field) in enumerate(zip(cells, columns.fields, strict=False)):
        if isinstance(cell, Uncalculated) and field in ("question", "title", "answer"):
            record["uncalculated"] = True
        if field is None or not cell:
            continue
        if field == "question":
            questions.extend(line.strip() for line in cell.replace("\r", "\n").split("\n") if line.strip())
        elif field in LIST_FIELDS:
            lists.setdefault(field, []).extend(split_list(cell))
        elif field == "answer" and i in columns.hashed:
            record["answer"] = "\n\n".join(part.strip() for part in cell.split("##") if part.strip())
        elif field not in record:
            record[field] = str(cell)
    if questions:
        record["question"] = questions[0]
        lists["similar_questions"] = [*questions[1:], *lists.get("similar_questions", ())]
    return {**record, **lists}


def _at(cells: Sequence[str], i: int) -> str:
    return cells[i] if i < len(cells) else ""


def _filled(cells: Sequence[str], i: int) -> bool:
    return bool(_at(cells, i)) or isinstance(_at(cells, i), Uncalculated)


def _asking_share(rows: Sequence[Sequence[str]], i: int) -> float:
    texts = [re.split(r"[\r\n]", _at(cells, i), maxsplit=1)[0] for cells in rows]
    filled = [text for text in texts if text]
    return sum(asks(text) >= ASKS_WITHOUT_MARK for text in filled) / max(1, len(filled))
