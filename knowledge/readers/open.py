"""One way in: what kind of file it is, by content, and the reader for it."""

import re
from pathlib import Path

from knowledge.errors import ReadError
from knowledge.readers import json, markup, table
from knowledge.readers.encoding import decode
from knowledge.readers.fields import Collector
from knowledge.readers.limits import Limits
from knowledge.types import ReadResult

_SIGNATURES = (
    (b"%PDF-", "PDF"),
    (b"\xd0\xcf\x11\xe0", "旧版 Office（.doc/.xls，或设有密码）/ legacy or encrypted Office"),
    (b"\x89PNG", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"\x1f\x8b", "gzip"),
    (b"Rar!", "RAR"),
    (b"7z\xbc\xaf", "7z"),
    (b"{\\rtf", "RTF"),
)
_HTML = re.compile(
    r"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL
)


def read(
    path: Path, name: str | None = None, *, limits: Limits | None = None, for_evaluation: bool = False
) -> ReadResult:
    """Entries, passages and problems of a JSON, JSON Lines, CSV, TSV, XLSX, Markdown or text file.

    `name` is the name the user knows the file by; the kind is told from the content, and the name is asked only where
    the content fits several. A bad row is a problem and never costs a good one. `for_evaluation` takes entries without
    answers and never drops duplicates. Raises ReadError where nothing of the file can be read: it is empty, binary, too
    large, in an unknown encoding, malformed as a whole, of a kind not supported or without the columns needed.
    """
    name, limits = name or path.name, limits or Limits()
    data = _bytes(path, name, limits)
    collector = Collector(limits, answers_needed=not for_evaluation, keep_duplicates=for_evaluation)
    if data.startswith(b"PK\x03\x04"):
        table.read_workbook(data, name, collector)
        return _some(collector.result(), name)
    for signature, kind in _SIGNATURES:
        if data.startswith(signature):
            raise _unsupported(name, kind)
    text = decode(data, name)
    if _HTML.match(text[:5000]):
        raise _unsupported(name, "HTML")
    suffix = Path(name).suffix.lower()
    if json.looks_like(text, suffix):
        json.read_json(text, name, collector)
    elif (delimiter := table.find_delimiter(text, suffix)) is not None:
        table.read_delimited(text, name, delimiter, collector)
    else:
        return _some(ReadResult(passages=tuple(markup.passages(text, Path(name).stem))), name)
    return _some(collector.result(), name)


def _bytes(path: Path, name: str, limits: Limits) -> bytes:
    try:
        size = path.stat().st_size
        if size > limits.bytes_max:
            raise ReadError(
                "too_large",
                f"文件「{name}」有 {size} 字节，超过上限 {limits.bytes_max} 字节，请拆成几个文件。",
                f"{name} has {size} bytes, more than the limit of {limits.bytes_max}; split it into several files.",
            )
        data = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ReadError(
            "unreadable", f"文件「{name}」打不开：{reason}。", f"{name} cannot be opened: {reason}."
        ) from error
    if not data.strip(b"\x00 \t\r\n\xef\xbb\xbf\xff\xfe"):
        raise ReadError("empty", f"文件「{name}」是空的。", f"{name} is empty.")
    return data


def _some(result: ReadResult, name: str) -> ReadResult:
    if not (result.entries or result.passages or result.problems):
        raise ReadError("empty", f"文件「{name}」里没有内容。", f"There is nothing in {name}.")
    return result


def _unsupported(name: str, kind: str) -> ReadError:
    return ReadError(
        "unsupported",
        f"不支持文件「{name}」的格式（{kind}）。可以导入 .jsonl、.json、.csv、.tsv、.xlsx、.md 和 .txt。",
        f"The kind of {name} ({kind}) is not supported; .jsonl, .json, .csv, .tsv, .xlsx, .md and .txt are.",
    )
