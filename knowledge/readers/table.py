"""Question-answer tables, with a header or without: rows → records, and the delimited texts that hold them."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from knowledge.errors import ReadError
from knowledge.readers.columns import Columns, Row, header_columns, is_header, plain_columns, records, trimmed
from knowledge.readers.fields import Collector, field_of

HEADER_ROWS = 10
SAMPLE_ROWS = 200
RESTARTS_MAX = 20_000
_DELIMITERS = (",", "\t", ";")
_HEADING = re.compile(r"^#{1,6} \S", re.MULTILINE)
# What a spreadsheet would run as a formula is exported behind an apostrophe; reading takes one away again.
_GUARDED = re.compile(r"'+[=+\-@\t\r＝＋－＠]")
_TABLE_SUFFIXES = (".csv", ".tsv", ".xls", ".xlsx")


def find_delimiter(text: str, suffix: str) -> str | None:
    """The delimiter of a text that is a table; None where it is none.

    A known header says so, whatever the name is. Without one a file named as a table is one unless it has Markdown
    headings, and one named otherwise only if tabs part every line in two.
    """
    head = text[:100_000]
    samples = {d: [cells for _, cells in islice(_delimited(head, d), SAMPLE_ROWS) if any(cells)] for d in _DELIMITERS}
    for delimiter, rows in samples.items():
        if any({"question", "answer"} <= header_fields(row) for row in rows[:HEADER_ROWS]):
            return delimiter
    if suffix in _TABLE_SUFFIXES and not _HEADING.search(head):
        return max(
            samples, key=lambda d: sum(len(row) > 1 for row in samples[d]) + 0.5 * (d == "," and suffix == ".csv")
        )
    tabbed = samples["\t"]
    return "\t" if len(tabbed) > 1 and all(len(row) == 2 and all(row) for row in tabbed) else None


def header_fields(row: Sequence[str]) -> set[str | None]:
    """The fields that cells name; a title counts as a question."""
    fields = {field_of(cell) for cell in row}
    return {"question" if field == "title" else field for field in fields}


def read_delimited(text: str, name: str, delimiter: str, collector: Collector) -> None:
    """Every row of a CSV or TSV text into the collector. Raises ReadError where the columns cannot be told."""
    unclosed: list[int] = []
    rows = ((number, [unguard(cell) for cell in cells]) for number, cells in _delimited(text, delimiter, unclosed))
    read_rows(rows, name, "", collector, alone=True)
    for number in unclosed:
        collector.problem(f"第 {number} 行", "malformed")


def unguard(cell: str) -> str:
    """A cell without the apostrophe that `writers` put before what looks like a formula."""
    return cell[1:] if _GUARDED.match(cell) else cell


def read_rows(rows: Iterator[Row], name: str, sheet: str, collector: Collector, *, alone: bool) -> None:
    """Rows under the columns their header names; without a header, two columns are question and answer."""
    rows = ((number, trimmed(cells)) for number, cells in rows)
    head = list(islice(((number, cells) for number, cells in rows if any(cells)), SAMPLE_ROWS))
    if not head:
        return None
    header = next((i for i, (_, cells) in enumerate(head[:HEADER_ROWS]) if is_header(cells)), None)
    columns: Columns | None
    if header is not None:
        titles = head[header][1]
        head = head[header + 1 :]
        columns = header_columns(titles, [cells for _, cells in head])
    else:
        columns = plain_columns([cells for _, cells in head])
        if columns is None or (not alone and "answer" not in columns.fields):
            if alone:
                raise _no_columns(name, head[0][1])
            return collector.problem(sheet, "no_columns")
    _collect(chain(head, rows), columns, sheet, collector)
    return None


def _collect(rows: Iterable[Row], columns: Columns, sheet: str, collector: Collector) -> None:
    """Rows one by one; what is merged in the sheet was one record in its writer's eyes."""
    called = columns.called()
    for number, cells, record in records(rows, columns):
        place = f"{sheet}第 {number} 行"
        if collector.is_full:
            return collector.problem(place, "too_many")
        if record is None:
            # More cells than columns: a comma inside an unquoted text has moved everything after it.
            collector.problem(place, "malformed", cells[0][:200])
        else:
            collector.add(place, record, called)
    return None


def rows_of_pairs(rows: Sequence[Sequence[str]]) -> list[tuple[int, dict[str, object]]]:
    """The records of a table within a document, each with its row's number; none where it holds other things."""
    numbered: list[Row] = [(number, trimmed(cells)) for number, cells in enumerate(rows, start=1)]
    numbered = [(number, cells) for number, cells in numbered if any(cells)]
    if upright := _upright(numbered):
        return upright
    header = next(
        (i for i, (_, cells) in enumerate(numbered[:3]) if {"question", "answer"} <= header_fields(cells)), None
    )
    columns: Columns | None
    if header is not None:
        titles = numbered[header][1]
        numbered = numbered[header + 1 :]
        columns = header_columns(titles, [cells for _, cells in numbered])
    else:
        columns = plain_columns([cells for _, cells in numbered], asking=True)
    if columns is None or "answer" not in columns.fields:
        return []
    return [(number, record) for number, _, record in records(numbered, columns) if record is not None]


def _upright(rows: Sequence[Row]) -> list[tuple[int, dict[str, object]]]:
    """Records written downwards: 「问题 | …」 over 「答案 | …」."""
    if len(rows) < 2 or not all(len(cells) == 2 for _, cells in rows):
        return []
    fields = [field_of(cells[0]) for _, cells in rows]
    if not {"question", "answer"} <= set(fields) or None in fields:
        return []
    found: list[tuple[int, dict[str, object]]] = []
    for field, (number, cells) in zip(fields, rows, strict=True):
        if field == "question" or not found:
            found.append((number, {}))
        found[-1][1][str(field)] = cells[1]
    return found


def _delimited(text: str, delimiter: str, unclosed: list[int] | None = None) -> Iterator[Row]:
    """Records with their numbers. A quote that is never closed would swallow what follows: its line is given to
    `unclosed`, and reading goes on with the next one. A line with stray but paired quotes is taken as it stands."""
    csv.field_size_limit(2**31 - 1)
    lines = [line + "\n" for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    start = number = 0
    for _ in range(RESTARTS_MAX):
        reader = csv.reader(map(lines.__getitem__, range(start, len(lines))), delimiter=delimiter, strict=True)
        begun = 0
        try:
            for cells in reader:
                number += 1
                begun = reader.line_num
                yield number, cells
        except csv.Error:
            number += 1
            line = lines[start + begun]
            if line.count('"') % 2 == 0:
                yield number, next(csv.reader([line], delimiter=delimiter))
            elif unclosed is not None:
                unclosed.append(number)
            start += begun + 1
        else:
            return


def _no_columns(name: str, found: Sequence[str]) -> ReadError:
    shown = "、".join(cell[:20] for cell in found[:8])
    return ReadError(
        "no_columns",
        f"在文件「{name}」里找不到「问题」和「答案」两列，第一行是：{shown}。",
        f"{name} has no columns for question and answer; its first row is: {shown}.",
    )
