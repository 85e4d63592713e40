"""CSV, TSV and XLSX question-answer tables, with a header or without."""

import csv
import datetime as dt
import io
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from itertools import chain, islice

from knowledge.errors import ReadError
from knowledge.readers.fields import LIST_FIELDS, Collector, field_of

Row = tuple[int, list[str]]
HEADER_ROWS = 10
SAMPLE_ROWS = 200
RESTARTS_MAX = 20_000
PLAIN_SHARE = 0.8
_DELIMITERS = (",", "\t", ";")
_HEADING = re.compile(r"^#{1,6} \S", re.MULTILINE)
_EXCEL_ERRORS = {"#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NULL!", "#NUM!"}
# What a spreadsheet would run as a formula is exported behind an apostrophe; reading takes one away again.
_OOXML_ESCAPE = re.compile(r"_x005F_(?=x[0-9A-Fa-f]{4}_)|_x000D_")
_GUARDED = re.compile(r"'+[=+\-@\t\r＝＋－＠]")


def find_delimiter(text: str, suffix: str) -> str | None:
    """The delimiter of a text that is a table; None where it is none.

    A known header says so, whatever the name is. Without one a file named as a table is one unless it has Markdown
    headings, and one named otherwise only if tabs part every line in two.
    """
    head = text[:100_000]
    samples = {d: [cells for _, cells in islice(_delimited(head, d), SAMPLE_ROWS) if any(cells)] for d in _DELIMITERS}
    for delimiter, rows in samples.items():
        if any({"question", "answer"} <= {_question_or(field_of(cell)) for cell in row} for row in rows[:HEADER_ROWS]):
            return delimiter
    if suffix in (".csv", ".tsv") and not _HEADING.search(head):
        return max(
            samples, key=lambda d: sum(len(row) > 1 for row in samples[d]) + 0.5 * (d == "," and suffix == ".csv")
        )
    tabbed = samples["\t"]
    return "\t" if len(tabbed) > 1 and all(len(row) == 2 and all(row) for row in tabbed) else None


def read_delimited(text: str, name: str, delimiter: str, collector: Collector) -> None:
    """Every row of a CSV or TSV text into the collector. Raises ReadError where the columns cannot be told."""
    unclosed: list[int] = []
    rows = ((number, [unguard(cell) for cell in cells]) for number, cells in _delimited(text, delimiter, unclosed))
    _read_rows(rows, name, "", collector, alone=True)
    for number in unclosed:
        collector.problem(f"第 {number} 行", "malformed")


def read_workbook(data: bytes, name: str, collector: Collector) -> None:
    """Every sheet of an XLSX file into the collector. Raises ReadError where it is none, or unpacks to too much."""
    _check_archive(data, name, collector)
    from openpyxl import load_workbook

    try:
        with warnings.catch_warnings():
            # openpyxl warns of styles and validations that it leaves out; values are all that is read here.
            warnings.simplefilter("ignore")
            book = load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
            sheets = [sheet for sheet in book.worksheets if hasattr(sheet, "iter_rows")]
            for sheet in sheets:
                if hasattr(sheet, "reset_dimensions"):
                    # Some programs write a wrong used range, and openpyxl would stop at it.
                    sheet.reset_dimensions()
                values = sheet.iter_rows(values_only=True, max_col=collector.limits.columns_max)
                rows = ((number, [_cell(value) for value in row]) for number, row in enumerate(values, start=1))
                _read_rows(rows, name, f"工作表「{sheet.title}」", collector, alone=len(sheets) == 1)
            book.close()
    except ReadError:
        raise
    except MemoryError:
        raise
    except Exception as error:
        raise ReadError(
            "malformed",
            f"文件「{name}」不是完好的 XLSX：{type(error).__name__} {error}",
            f"{name} is no sound XLSX file: {type(error).__name__} {error}",
        ) from error


def unguard(cell: str) -> str:
    """A cell without the apostrophe that `writers` put before what looks like a formula."""
    return cell[1:] if _GUARDED.match(cell) else cell


def _read_rows(rows: Iterator[Row], name: str, sheet: str, collector: Collector, *, alone: bool) -> None:
    """Rows under the columns their header names; without a header, two columns are question and answer."""
    rows = ((number, _trimmed(cells)) for number, cells in rows)
    head = list(islice(((number, cells) for number, cells in rows if any(cells)), SAMPLE_ROWS))
    if not head:
        return None
    header = next((i for i, (_, cells) in enumerate(head[:HEADER_ROWS]) if _is_header(cells)), None)
    if header is not None:
        titles = head[header][1]
        columns: list[str | None] = [field_of(title) for title in titles]
        hashed = {i for i, title in enumerate(titles) if "##" in title}
        head = head[header + 1 :]
    else:
        guessed = _plain_columns([cells for _, cells in head])
        if guessed is None or (not alone and "answer" not in guessed):
            if alone:
                raise _no_columns(name, head[0][1])
            return collector.problem(sheet, "no_columns")
        columns, hashed = guessed, set()
    for number, cells in chain(head, rows):
        place = f"{sheet}第 {number} 行"
        if collector.is_full:
            return collector.problem(place, "too_many")
        if any(cells[len(columns) :]):
            # More cells than columns: a comma inside an unquoted text has moved everything after it.
            collector.problem(place, "malformed", cells[0][:200])
        elif any(cells):
            collector.add(place, _record(cells, columns, hashed))
    return None


def _record(cells: Sequence[str], columns: Sequence[str | None], hashed: set[int]) -> dict[str, object]:
    record: dict[str, object] = {}
    questions: list[str] = []
    lists: dict[str, list[str]] = {}
    for i, (cell, field) in enumerate(zip(cells, columns, strict=False)):
        if field is None or not cell:
            continue
        if field == "question":
            questions.extend(_split_questions(cell))
        elif field in LIST_FIELDS:
            lists.setdefault(field, []).extend(split_list(cell))
        elif field == "answer" and i in hashed:
            record["answer"] = "\n\n".join(part.strip() for part in cell.split("##") if part.strip())
        elif field not in record:
            record[field] = cell
    if questions:
        record["question"] = questions[0]
        lists["similar_questions"] = [*questions[1:], *lists.get("similar_questions", ())]
    return {**record, **lists}


def split_list(cell: str) -> list[str]:
    """The items of a cell: one a line; in a cell of one line parted by ## or, where there is none, by |."""
    for separator in ("\n", "##", "|"):
        if separator in cell:
            return [item.strip() for item in cell.split(separator) if item.strip()]
    return [cell]


def _split_questions(cell: str) -> list[str]:
    return [line.strip() for line in cell.replace("\r", "\n").split("\n") if line.strip()]


def _is_header(cells: Sequence[str]) -> bool:
    fields = {_question_or(field_of(cell)) for cell in cells if cell}
    return "question" in fields and (bool(fields & {"answer", "action"}) or None not in fields)


def _question_or(field: str | None) -> str | None:
    return "question" if field == "title" else field


def _plain_columns(rows: Sequence[Sequence[str]]) -> list[str | None] | None:
    """question and answer for a table of two columns (beside a column of running numbers); None for another shape."""
    numbered = len(rows) > 1 and all(cells[0].isdigit() for cells in rows) and max(map(len, rows)) > 2
    widths = [len(cells) - numbered for cells in rows]
    lead: list[str | None] = [None] if numbered else []
    if max(widths) == 1:
        return [*lead, "question"]
    if sum(width <= 2 for width in widths) >= PLAIN_SHARE * len(widths):
        return [*lead, "question", "answer"]
    return None


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


def _trimmed(cells: Sequence[str]) -> list[str]:
    found = [cell if cell.endswith("\n") else cell.strip() for cell in cells]
    while found and not found[-1].strip():
        found.pop()
    return found


def _cell(value: object) -> str:
    if value is None or (isinstance(value, str) and value in _EXCEL_ERRORS):
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return value.date().isoformat()
    # OOXML writes characters as _xHHHH_: Excel's carriage returns, and the underscore that keeps such text apart.
    return _OOXML_ESCAPE.sub(lambda found: "_" if found.group() == "_x005F_" else "", str(value))


def _check_archive(data: bytes, name: str, collector: Collector) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise ReadError(
            "malformed", f"文件「{name}」已损坏，打不开：{error}。", f"{name} is damaged and cannot be opened: {error}."
        ) from error
    if "xl/workbook.xml" not in {member.filename for member in members}:
        raise ReadError(
            "unsupported",
            f"不支持文件「{name}」：它是压缩包或别的文档，不是 XLSX 表格。",
            f"{name} is not supported: it is an archive or another document, not an XLSX table.",
        )
    limits = collector.limits
    unpacked = sum(member.file_size for member in members)
    if unpacked > limits.unpacked_bytes_max or len(members) > limits.archive_members_max:
        raise ReadError(
            "too_large",
            f"文件「{name}」解压后有 {unpacked} 字节，超过上限 {limits.unpacked_bytes_max} 字节。",
            f"{name} unpacks to {unpacked} bytes, more than the limit of {limits.unpacked_bytes_max}.",
        )


def _no_columns(name: str, found: Sequence[str]) -> ReadError:
    shown = "、".join(cell[:20] for cell in found[:8])
    return ReadError(
        "no_columns",
        f"在文件「{name}」里找不到「问题」和「答案」两列，第一行是：{shown}。",
        f"{name} has no columns for question and answer; its first row is: {shown}.",
    )
