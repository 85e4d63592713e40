"""What the columns of a table are, and one record of each row under them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from knowledge.readers.fields import LIST_FIELDS, RUNNING_NAMES, Uncalculated, field_of
from knowledge.readers.questions import ASKS_WITHOUT_MARK, asks

Row = tuple[int, list[str]]
QUESTION_FIELDS = ("similar_questions", "negative_questions")
NAME_CHARACTERS_MAX = 10
_SEMICOLON, _SLASH, _LABEL_MARKS = re.compile("[;；]"), re.compile("[/／]"), re.compile("[;；,，、]")
PLAIN_SHARE = 0.8
ASKING_SHARE = 0.6


class Filled(str):
    """The text of a cell that belongs to a merged one above it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Columns:
    """The field of each column (None: not used), the columns whose cells part several texts by ##, their titles, and
    the columns whose cells part questions by semicolons."""

    fields: tuple[str | None, ...]
    hashed: frozenset[int] = frozenset()
    titles: tuple[str, ...] = ()
    parted: frozenset[int] = frozenset()

    def called(self) -> dict[str, str]:
        """Field → where it stands: 「C 列「生效日期」」."""
        titles = (*(f"「{title}」" if title else "" for title in self.titles), *[""] * len(self.fields))
        return {field: f"{_letters(i)} 列{titles[i]}" for i, field in enumerate(self.fields) if field}


def _letters(i: int) -> str:
    """A column as spreadsheets name it: 0 is A, 26 is AA."""
    return (_letters(i // 26 - 1) if i >= 26 else "") + chr(ord("A") + i % 26)


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
    hashed = frozenset(i for i, title in enumerate(titles) if "##" in title)
    parted = frozenset(
        i for i, field in enumerate(fields) if field in QUESTION_FIELDS and _is_parted(i, titles, sample)
    )
    return Columns(tuple(fields), hashed, tuple(" ".join(title.split())[:40] for title in titles), parted)


def _is_parted(i: int, titles: Sequence[str], sample: Sequence[Sequence[str]]) -> bool:
    """Whether semicolons part the cells of a column: its title says so, or most cells with one are clearly lists."""
    if re.search("[;；]|分号", titles[i]):
        return True
    cells = [cell for cells in sample if "\n" not in (cell := _at(cells, i)) and _SEMICOLON.search(cell.strip(";； "))]
    return 2 * sum(len(split_list(cell, "similar_questions")) > 1 for cell in cells) > len(cells)


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


def split_list(cell: str, field: str = "tags", *, parted: bool = False) -> list[str]:
    """The items of a cell: one a line; in a cell of one line parted by ## or |, else by what people part lists with.

    A question may hold a semicolon itself (已经付款了；怎么还没发货): unless the whole column is `parted` by them, it
    parts questions only where something asks before it, or where nothing asks and all are short names; a slash where
    all parts ask.
    """
    for separator in ("\n", "##", "|", "｜"):
        if separator in cell:
            return [item.strip() for item in cell.split(separator) if item.strip()]
    if field not in QUESTION_FIELDS:
        return _parts(_LABEL_MARKS, cell)
    parts = _parts(_SEMICOLON, cell)
    asking = [asks(part) >= ASKS_WITHOUT_MARK for part in parts]
    named = not any(asking) and max(map(len, parts), default=0) <= NAME_CHARACTERS_MAX
    if parted or any(asking[:-1]) or (named and len(parts) > 1):
        return parts
    cut = _parts(_SLASH, cell)
    if len(cut) > 1 and all(asks(part) >= ASKS_WITHOUT_MARK for part in cut):
        return cut
    return parts if len(parts) == 1 else [cell]


def parts_of_its_own(item: str, field: str) -> bool:
    """Whether `split_list` would part an item, so that a writer has to say that it is one."""
    return split_list(item, field) != [item]


def _parts(mark: re.Pattern[str], cell: str) -> list[str]:
    return [part for item in mark.split(cell) if (part := item.strip())]


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
            lists.setdefault(field, []).extend(split_list(cell, field, parted=i in columns.parted))
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
