"""The knowledge base as a file that reads back equal."""

import csv
import io
import json
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from knowledge.errors import WriteError
from knowledge.readers.columns import parts_of_its_own
from knowledge.text import without_controls
from knowledge.types import Entry

COLUMNS = {
    "id": "id",
    "question": "问题",
    "answer": "答案",
    "similar_questions": "相似问题",
    "negative_questions": "反例问题",
    "category": "分类",
    "tags": "标签",
    "enabled": "是否启用",
    "action": "动作",
    "valid_from": "生效日期",
    "valid_until": "失效日期",
    "channels": "渠道",
}
WIDTHS = (16, 36, 60, 36, 24, 14, 18, 10, 16, 12, 12, 14)
XLSX_CELL_CHARACTERS_MAX = 32_767
_FORMULA = re.compile(r"'*[=+\-@\t\r＝＋－＠]")


def write(entries: Iterable[Entry], path: Path) -> None:
    """Entries as `.jsonl`, `.csv` or `.xlsx`, by the path's suffix; `readers.read` gives them back equal.

    The file is replaced in one step. Raises WriteError for another suffix, for a text that no XLSX cell can hold, and
    where the disk refuses; a file that was there then stays.
    """
    writers = {".jsonl": _jsonl, ".csv": _csv, ".xlsx": _xlsx}
    writer = writers.get(path.suffix.lower())
    if writer is None:
        raise WriteError(
            "unsupported",
            f"只能导出为 .jsonl、.csv 或 .xlsx，不能是「{path.name}」。",
            f"Exports are .jsonl, .csv or .xlsx, not {path.name}.",
        )
    data = writer(entries)
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        reason = error.strerror or str(error)
        raise WriteError(
            "not_written", f"无法写入 {path}：{reason}。", f"{path} cannot be written: {reason}."
        ) from error


def to_record(entry: Entry) -> dict[str, Any]:
    """An entry in the native form; fields that say nothing are left out."""
    record: dict[str, Any] = {"id": entry.id, "question": entry.question, "answer": entry.answer}
    optional = {
        "similar_questions": list(entry.similar_questions),
        "negative_questions": list(entry.negative_questions),
        "category": entry.category,
        "tags": list(entry.tags),
        "action": entry.action,
        "valid_from": entry.valid_from and entry.valid_from.isoformat(),
        "valid_until": entry.valid_until and entry.valid_until.isoformat(),
        "channels": list(entry.channels),
    }
    record.update({name: value for name, value in optional.items() if value})
    if not entry.enabled:
        record["enabled"] = False
    if not entry.id:
        del record["id"]
    return record


def guard(cell: str) -> str:
    """A cell that no spreadsheet runs as a formula; `readers.table.unguard` takes the apostrophe away again.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _jsonl(entries: Iterable[Entry]) -> bytes:
    return "".join(json.dumps(to_record(entry), ensure_ascii=False) + "\n" for entry in entries).encode()


def _csv(entries: Iterable[Entry]) -> bytes:
    # The byte order mark is what makes Excel read UTF-8.
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS.values())
    writer.writerows([guard(cell) for cell in _row(entry)] for entry in entries)
    return text.getvalue().encode("utf-8-sig")


def _xlsx(entries: Iterable[Entry]) -> bytes:
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Alignment, Font

    rows = [(entry, _row(entry)) for entry in entries]
    for entry, row in rows:
        _check_cells(entry, row)
    book = Workbook(write_only=True)
    sheet = book.create_sheet("FAQ")
    sheet.freeze_panes = "A2"
    for letter, width in zip("ABCDEFGHIJKL", WIDTHS, strict=True):
        sheet.column_dimensions[letter].width = width
    wrap, bold = Alignment(wrap_text=True, vertical="top"), Font(bold=True)

    def cell(text: str, *, header: bool = False) -> Any:
        # The type is set after the value: openpyxl would take a text that starts with = for a formula.
        made = WriteOnlyCell(sheet, text or None)
        if text:
            made.data_type = "s"
        made.alignment = wrap
        if header:
            made.font = bold
        return made

    sheet.append([cell(title, header=True) for title in COLUMNS.values()])
    for _, row in rows:
        sheet.append([cell(_escape(text)) for text in row])
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def _row(entry: Entry) -> list[str]:
    record = {name: getattr(entry, name) for name in COLUMNS}
    record["enabled"] = "是" if entry.enabled else "否"
    return [_join(value, name) if isinstance(value, tuple) else str(value or "") for name, value in record.items()]


def _join(items: Sequence[str], field: str) -> str:
    """One item a line. A single one that would be parted gets a line end, which says that lines part the cell."""
    if len(items) == 1 and parts_of_its_own(items[0], field):
        return items[0] + "\n"
    return "\n".join(items)


# OOXML writes characters as _xHHHH_; text that looks like that is kept apart by escaping its underscore (ISO 29500-1
# 22.9.2.19).
_OOXML_ESCAPE = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")


def _escape(text: str) -> str:
    return _OOXML_ESCAPE.sub("_x005F_", without_controls(text))


def _check_cells(entry: Entry, row: Sequence[str]) -> None:
    longest = max(map(len, row))
    if longest > XLSX_CELL_CHARACTERS_MAX:
        raise WriteError(
            "cell_too_long",
            f"条目「{entry.question[:30]}」的一格有 {longest} 个字符，XLSX 最多 {XLSX_CELL_CHARACTERS_MAX} 个，"
            "请导出为 .jsonl。",
            f"The entry {entry.question[:30]!r} has {longest} characters in one cell, XLSX allows "
            f"{XLSX_CELL_CHARACTERS_MAX}; export .jsonl instead.",
        )
