"""One way in: what kind of file it is, by content, and the reader for it."""

import re
from collections.abc import Callable
from pathlib import Path

from knowledge.errors import ReadError
from knowledge.readers import json, markup, table
from knowledge.readers.archive import Archive, encrypted
from knowledge.readers.blocks import Prose
from knowledge.readers.encoding import decode
from knowledge.readers.extract import extract
from knowledge.readers.fields import Collector
from knowledge.readers.limits import Limits
from knowledge.readers.zip import read_members
from knowledge.types import ReadResult

KINDS = ".jsonl .json .csv .tsv .xlsx .xls .docx .pdf .html .md .mdx .txt .zip"
_SIGNATURES = (
    (b"\x89PNG", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"\x1f\x8b", "gzip"),
    (b"Rar!", "RAR"),
    (b"7z\xbc\xaf", "7z"),
    (b"{\\rtf", "RTF"),
)
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLE_HEADER_BYTES = 512
# Old Office by the stream that only it has: what it is called, and what its program can save it as.
_OLD_KINDS = {
    "WordDocument": ("Word 97-2003 (.doc)", ".docx"),
    "PowerPoint Document": ("PowerPoint 97-2003 (.ppt)", ".pdf"),
}
_OLD_SUFFIXES = {".doc": ".docx", ".xls": ".xlsx", ".wps": ".docx", ".et": ".xlsx"}
_BIFF = (b"\x09\x08", b"\x09\x04", b"\x09\x02", b"\x09\x00\x04\x00")
_HTML = re.compile(
    r"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL
)
_HTML_PART = re.compile(
    r"\s*<(?:div|table|section|article|main|dl|ul|h[1-6]|p|details|meta|style|title|script)\b[^>]*>", re.IGNORECASE
)
_HTML_BYTES = re.compile(
    rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.{0,2000}?-->\s*)*<(?:!doctype\s+html|html|head|body|meta)\b",
    re.IGNORECASE | re.DOTALL,
)
_REFUSALS: tuple[tuple[type[OSError], tuple[str, str]], ...] = (
    (FileNotFoundError, ("没有这个文件", "there is no such file")),
    (PermissionError, ("没有读取它的权限", "it may not be read")),
    (IsADirectoryError, ("这是文件夹，不是文件", "it is a folder, no file")),
)
_HTML_SUFFIXES = (".html", ".htm", ".xhtml", ".shtml", ".xls")


def read(
    path: Path, name: str | None = None, *, limits: Limits | None = None, for_evaluation: bool = False
) -> ReadResult:
    """Entries, passages and problems of a file: a table, a document, a page, JSON, or a zip file of these.

    `name` is the name the user knows the file by; the kind is told from the content, and the name is asked only where
    the content fits several. A bad row is a problem and never costs a good one. `for_evaluation` takes entries without
    answers and never drops duplicates. Raises ReadError where nothing of the file can be read: it is empty, binary, too
    large, in an unknown encoding, malformed as a whole, encrypted, of a kind not supported or without the columns
    needed.
    """
    name, limits = name or path.name, limits or Limits()

    def collector() -> Collector:
        return Collector(limits, answers_needed=not for_evaluation, keep_duplicates=for_evaluation)

    return read_bytes(_bytes(path, name, limits), name, limits, collector)


def read_bytes(
    data: bytes, name: str, limits: Limits, collectors: Callable[[], Collector], depth: int = 0
) -> ReadResult:
    """`read` for bytes at hand; `depth` counts the zip files around them."""
    collector = collectors()
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _some(_read_archive(data, name, limits, collectors, depth), name)
    if data.startswith(b"%PDF-") or b"%PDF-" in data[:1024]:
        from knowledge.readers.pdf import read_pdf

        return _some(_prose(read_pdf(data, name), name, collector), name)
    if data.startswith((_OLE, *_BIFF)):
        return _some(_read_ole(data, name, collector), name)
    for signature, kind in _SIGNATURES:
        if data.startswith(signature):
            raise _unsupported(name, kind)
    return _some(_read_text(data, name, collector), name)


def _read_archive(
    data: bytes, name: str, limits: Limits, collectors: Callable[[], Collector], depth: int
) -> ReadResult:
    archive = Archive(data, name, limits)
    collector = collectors()
    if "xl/workbook.xml" in archive.names:
        from knowledge.readers.workbook import read_xlsx

        read_xlsx(archive, data, name, collector)
        return collector.result()
    if "word/document.xml" in archive.names:
        from knowledge.readers.word import read_word

        return _prose(read_word(archive, name), name, collector)
    for member, kind in (
        ("ppt/presentation.xml", "PPTX"),
        ("xl/workbook.bin", "XLSB"),
        ("META-INF/container.xml", "EPUB"),
        ("content.xml", "OpenDocument"),
    ):
        if member in archive.names:
            raise _unsupported(name, kind)
    return read_members(
        archive, name, limits, depth, lambda inner, member: read_bytes(inner, member, limits, collectors, depth + 1)
    )


def _read_ole(data: bytes, name: str, collector: Collector) -> ReadResult:
    """The compound files of old Office; names of their streams stand in UTF-16."""

    def holds(stream: str) -> bool:
        return stream.encode("utf-16-le") in data

    if data.startswith(_OLE):
        if holds("EncryptedPackage"):
            raise encrypted(name)
        for stream, (kind, suffix) in _OLD_KINDS.items():
            if holds(stream):
                raise _old(name, kind, suffix)
        if not (holds("Workbook") or holds("Book")):
            # Cut off before the list of its streams, mostly: what it is called says what it was.
            suffix = Path(name).suffix.lower()
            raise (
                _cut_off_old(name, suffix)
                if suffix in _OLD_SUFFIXES or _is_cut_off(data)
                else _unsupported(name, "OLE")
            )
    from knowledge.readers.workbook import read_xls

    read_xls(data, name, collector)
    return collector.result()


def _is_cut_off(data: bytes) -> bool:
    """Whether a compound file ends before the sector its directory begins in (MS-CFB 2.2)."""
    if len(data) < _OLE_HEADER_BYTES:
        return True
    shift, first = int.from_bytes(data[30:32], "little"), int.from_bytes(data[48:52], "little")
    return shift not in (9, 12) or (first + 1) << shift >= len(data)


def _read_text(data: bytes, name: str, collector: Collector) -> ReadResult:
    suffix = Path(name).suffix.lower()
    if _HTML_BYTES.match(data[:5000].lstrip(b"\xef\xbb\xbf")):
        from knowledge.readers.html import decode_html

        text = decode_html(data, name)
    else:
        text = decode(data, name)
    if _HTML.match(text[:5000]) or (suffix in _HTML_SUFFIXES and _HTML_PART.match(text[:5000])):
        from knowledge.readers.html import read_html

        return _prose(read_html(text, name), name, collector)
    if json.looks_like(text, suffix):
        json.read_json(text, name, collector)
    elif (delimiter := table.find_delimiter(text, suffix)) is not None:
        table.read_delimited(text, name, delimiter, collector)
    else:
        return _prose(markup.read_markup(text), name, collector)
    return collector.result()


def _prose(prose: Prose, name: str, collector: Collector) -> ReadResult:
    passages = extract(prose, Path(name).stem, collector)
    found = collector.result()
    return ReadResult(found.entries, found.places, passages, found.problems)


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
        zh, en = next((words for kind, words in _REFUSALS if isinstance(error, kind)), ("磁盘出错", "the disk failed"))
        raise ReadError("unreadable", f"文件「{name}」打不开：{zh}。", f"{name} cannot be opened: {en}.") from error
    if not data.strip(b"\x00 \t\r\n\xef\xbb\xbf\xff\xfe"):
        raise ReadError("empty", f"文件「{name}」是空的。", f"{name} is empty.")
    return data


def _some(result: ReadResult, name: str) -> ReadResult:
    if not (result.entries or result.passages or result.problems):
        raise ReadError("empty", f"文件「{name}」里没有内容。", f"There is nothing in {name}.")
    return result


def _old(name: str, kind: str, suffix: str) -> ReadError:
    return ReadError(
        "unsupported",
        f"不支持文件「{name}」的旧格式 {kind}。请用 Office 或 WPS 打开，点“文件 → 另存为”，选 {suffix}，再导入。",
        f"{name} is in the old format {kind}, which is not supported. Open it in its program, choose File, Save As, "
        f"the kind {suffix}, and import that.",
    )


def _cut_off_old(name: str, suffix: str) -> ReadError:
    newer = _OLD_SUFFIXES.get(suffix, "")
    return ReadError(
        "malformed",
        f"文件「{name}」不完整或已损坏，可能没有下载完。请重新下载，或用原来的程序打开后另存"
        f"{f'为 {newer}' if newer else ''}，再导入。",
        f"{name} is incomplete or damaged, perhaps a download that was cut off. Download it again, or open it in its "
        f"own program and save it anew{f' as {newer}' if newer else ''}.",
    )


def _unsupported(name: str, kind: str) -> ReadError:
    listed = "、".join(KINDS.split())
    return ReadError(
        "unsupported",
        f"不支持文件「{name}」的格式（{kind}）。可以导入 {listed}。",
        f"The kind of {name} ({kind}) is not supported; {', '.join(KINDS.split())} are.",
    )
