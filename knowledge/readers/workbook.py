"""XLSX and the old XLS → rows as their sheets show them."""

import io
import re
import warnings
from collections.abc import Iterator
from itertools import compress, count, repeat
from operator import is_not
from typing import Any

from knowledge.errors import ReadError
from knowledge.readers.archive import Archive, damaged, encrypted
from knowledge.readers.columns import Filled, Row
from knowledge.readers.empty_cells import without_empty_cells
from knowledge.readers.fields import Collector, Uncalculated
from knowledge.readers.numbers import is_date, shown
from knowledge.readers.table import read_rows

Merged = dict[int, dict[int, int]]  # row → column → the row its text stands in, all from 1
_EXCEL_ERRORS = {"#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NULL!", "#NUM!", "#SPILL!", "#CALC!"}
_OOXML_ESCAPE = re.compile(r"_x005F_(?=x[0-9A-Fa-f]{4}_)|_x000D_")
_MERGE = re.compile(rb'<(?:\w+:)?mergeCell\s+ref="\$?([A-Z]{1,3})\$?(\d{1,7}):\$?([A-Z]{1,3})\$?(\d{1,7})"')
_MERGED_CELLS_MAX = 200_000
_FORMULA = re.compile(rb"<(?:\w+:)?f[\s/>]")
_FORMULA_CELL = re.compile(
    rb"<(?:\w+:)?c\s([^<>]*)>\s*<(?:\w+:)?f\b(?:[^<>]*/>|[^<>]*>[^<]*</(?:\w+:)?f>)\s*"
    rb"(<(?:\w+:)?v\s*/>|<(?:\w+:)?v>\s*</(?:\w+:)?v>)?\s*</(?:\w+:)?c>"
)
_PLACE = re.compile(rb'(?:^|\s)r="([A-Z]{1,3})(\d{1,7})"')
_EMPTY_TEXT = re.compile(rb'(?:^|\s)t="str"')
_UNCALCULATED_MAX = 200_000
_SPREADSHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
# Of a sheet of XLS; 1 and 2 are hidden and "very hidden" (MS-XLS 2.4.28, BoundSheet8).
VISIBLE = 0
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


def read_xlsx(archive: Archive, data: bytes, name: str, collector: Collector) -> None:
    """Every sheet of an XLSX file into the collector; formulas by the value last computed. Raises ReadError.

    A hidden sheet is reported and not read: its owner did not mean to show it, least of all to customers.
    """
    archive.refuse_entities()
    from openpyxl import load_workbook

    try:
        with warnings.catch_warnings():
            bare = without_empty_cells(archive, data)
            # openpyxl warns of styles and validations that it leaves out; values are all that is read here.
            warnings.simplefilter("ignore")
            book = load_workbook(io.BytesIO(bare), read_only=True, data_only=True, keep_links=False)
            sheets = []
            for sheet in book.worksheets:
                if sheet.sheet_state != "visible":
                    collector.problem(_place(sheet.title), "hidden_sheet")
                elif hasattr(sheet, "iter_rows"):
                    sheets.append(sheet)
            marks = _marks_by_sheet(archive)
            for sheet in sheets:
                if hasattr(sheet, "reset_dimensions"):
                    # Some programs write a wrong used range, and openpyxl would stop at it.
                    sheet.reset_dimensions()
                values = sheet.iter_rows(max_col=collector.limits.columns_max)
                merged, waiting = marks.get(sheet.title, ({}, set()))
                rows = _filled(_cells(values, waiting), merged)
                read_rows(rows, name, _place(sheet.title), collector, alone=len(book.worksheets) == 1)
            book.close()
    except (ReadError, MemoryError):
        raise
    except Exception as error:
        raise damaged(name, "XLSX") from error


def _place(title: str) -> str:
    return f"工作表「{title}」"


def read_xls(data: bytes, name: str, collector: Collector) -> None:
    """Every sheet of an XLS file (Excel 97 to 2003, and older) into the collector, as `read_xlsx`. Raises ReadError."""
    import xlrd

    try:
        book = xlrd.open_workbook(file_contents=data, formatting_info=True, on_demand=True, logfile=io.StringIO())
        for number in range(book.nsheets):
            sheet = book.sheet_by_index(number)
            if sheet.visibility != VISIBLE:
                collector.problem(_place(sheet.name), "hidden_sheet")
                continue
            merged: Merged = {}
            for top, bottom, left, right in sheet.merged_cells:
                _merge(merged, top + 1, bottom, left + 1, right)
            rows = (
                (
                    r + 1,
                    [
                        _old_cell(book, sheet.cell(r, c))
                        for c in range(min(sheet.row_len(r), collector.limits.columns_max))
                    ],
                )
                for r in range(sheet.nrows)
            )
            read_rows(_filled(rows, merged), name, _place(sheet.name), collector, alone=book.nsheets == 1)
            book.unload_sheet(number)
    except (ReadError, MemoryError):
        raise
    except Exception as error:
        if "encrypt" in str(error).lower():
            raise encrypted(name) from error
        raise damaged(name, "XLS") from error


def _cells(rows: Iterator[Any], waiting: set[tuple[int, int]]) -> Iterator[Row]:
    from openpyxl.cell.read_only import EMPTY_CELL

    for number, row in enumerate(rows, start=1):
        # Rows are as wide as the limit, and of a large sheet most is nothing: told without a step of Python for each.
        width = max(compress(count(1), map(is_not, row, repeat(EMPTY_CELL))), default=0)
        cells = [_cell(cell) for cell in row[:width]]
        if waiting:
            cells = [Uncalculated() if (number, i) in waiting else cell for i, cell in enumerate(cells, start=1)]
        yield number, cells


def _cell(cell: Any) -> str:
    value = cell.value
    if value is None or (isinstance(value, str) and value in _EXCEL_ERRORS):
        return ""
    if not isinstance(value, str):
        return shown(value, cell.number_format)
    # OOXML writes characters as _xHHHH_: Excel's carriage returns, and the underscore that keeps such text apart.
    return _OOXML_ESCAPE.sub(lambda found: "_" if found.group() == "_x005F_" else "", value)


def _old_cell(book: Any, cell: Any) -> str:
    import xlrd

    if cell.ctype in (xlrd.XL_CELL_EMPTY, xlrd.XL_CELL_BLANK, xlrd.XL_CELL_ERROR):
        return ""
    if cell.ctype == xlrd.XL_CELL_BOOLEAN:
        return shown(bool(cell.value), None)
    if cell.ctype not in (xlrd.XL_CELL_NUMBER, xlrd.XL_CELL_DATE):
        return str(cell.value)
    number_format = "General"
    if cell.xf_index is not None and cell.xf_index < len(book.xf_list):
        found = book.format_map.get(book.xf_list[cell.xf_index].format_key)
        number_format = found.format_str if found else number_format
    if cell.ctype == xlrd.XL_CELL_DATE or is_date(number_format):
        try:
            return shown(xlrd.xldate_as_datetime(cell.value, book.datemode), number_format)
        except (ValueError, OverflowError):
            return shown(cell.value, None)
    return shown(cell.value, number_format)


def _filled(rows: Iterator[Row], merged: Merged) -> Iterator[Row]:
    """Rows with the text of a cell merged downwards in every row that it covers."""
    kept: dict[tuple[int, int], str] = {}
    above = {(top, column) for columns in merged.values() for column, top in columns.items()}
    for number, cells in rows:
        for column, top in merged.get(number, {}).items():
            text = kept.get((top, column), "")
            if text:
                cells.extend([""] * (column - len(cells)))
                cells[column - 1] = Filled(text)
        for i, cell in enumerate(cells):
            if cell and (number, i + 1) in above:
                kept[number, i + 1] = cell
        yield number, cells


def _merge(merged: Merged, top: int, bottom: int, left: int, right: int) -> None:
    """Note one merged range, bounds inclusive. Only its first column is filled down: a title across stays one cell."""
    if bottom - top >= 10_000 or sum(map(len, merged.values())) > _MERGED_CELLS_MAX or right - left > 50:
        return
    for row in range(top + 1, bottom + 1):
        merged.setdefault(row, {})[left] = top


def _marks_by_sheet(archive: Archive) -> dict[str, tuple[Merged, set[tuple[int, int]]]]:
    """What openpyxl leaves out where it reads values row by row: the merged ranges of every sheet, and the cells (row,
    column) whose formula has no value."""
    book, relations = archive.xml("xl/workbook.xml"), archive.xml("xl/_rels/workbook.xml.rels")
    if book is None or relations is None:
        return {}
    targets = {relation.get("Id"): relation.get("Target", "") for relation in relations}
    found: dict[str, tuple[Merged, set[tuple[int, int]]]] = {}
    for sheet in book.iter(f"{_SPREADSHEET}sheet"):
        target = targets.get(sheet.get(_RELATION), "")
        member = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
        if member in archive.names:
            merged: Merged = {}
            for left, top, right, bottom in _MERGE.findall(archive.tail(member)):
                _merge(merged, int(top), int(bottom), _column(left), _column(right))
            found[sheet.get("name", "")] = merged, _uncalculated(archive, member)
    return found


def _uncalculated(archive: Archive, member: str) -> set[tuple[int, int]]:
    """The cells with a formula and no value: a program wrote them, and no spreadsheet has opened the file since."""
    found: set[tuple[int, int]] = set()
    rest = b""
    for piece in archive.pieces(member):
        text = rest + piece
        end = text.rfind(b"c>") + 2
        if _FORMULA.search(text, 0, end):
            for cell in _FORMULA_CELL.finditer(text, 0, end):
                attributes, value = cell.groups()
                place = _PLACE.search(attributes)
                # What is worked out to nothing is a text of no characters.
                empty_text = value and _EMPTY_TEXT.search(attributes)
                if place and not empty_text and len(found) < _UNCALCULATED_MAX:
                    found.add((int(place[2]), _column(place[1])))
        rest = text[end:]
    return found


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number
