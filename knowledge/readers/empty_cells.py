"""Large sheets without their empty cells: a column that somebody coloured to the bottom is a million of them."""

import io
import re
import zipfile
from collections.abc import Iterable, Iterator

from knowledge.readers.archive import Archive

# Smaller ones are read as they are in less time than it takes to write them anew.
LARGE_BYTES = 1024 * 1024
_SHEET = re.compile(r"xl/worksheets/[^/]+\.xml", re.IGNORECASE)
# Only what says where it stands: without a place, what is left out would move all that is behind it.
_NOTHING = rb"(?:[^<>]*/>|[^<>]*[^/<>]>\s*</(?:\w+:)?c>)"
_ROW = re.compile(
    rb'<(?:\w+:)?row\s(?=[^<>]*\br="\d+")(?:[^<>]*/>|[^<>]*[^/<>]>(?:\s*<(?:\w+:)?c\b'
    + _NOTHING
    + rb")*\s*</(?:\w+:)?row>)"
)
_CELL = re.compile(rb'<(?:\w+:)?c\s(?=[^<>]*\br="[A-Za-z]+\d+")' + _NOTHING)


def without_empty_cells(archive: Archive, data: bytes) -> bytes:
    """The workbook `data` with the empty cells and rows of large sheets left out; `data` itself where none is large.

    Raises ReadError where the archive is damaged.
    """
    large = {m.filename for m in archive.members if m.file_size > LARGE_BYTES and _SHEET.fullmatch(m.filename)}
    if not large:
        return data
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as written:
        for name in sorted(archive.names):
            with written.open(name, "w", force_zip64=True) as file:
                pieces = archive.pieces(name)
                for piece in _bare(pieces) if name in large else pieces:
                    file.write(piece)
    return stream.getvalue()


def _bare(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """A sheet's XML row by row, as many as a piece holds, without what is empty."""
    rest = b""
    for piece in pieces:
        text = rest + piece
        end = text.rfind(b"row>") + len(b"row>")
        if end < len(b"row>"):
            rest = text
            continue
        yield _CELL.sub(b"", _ROW.sub(b"", text[:end]))
        rest = text[end:]
    yield rest
