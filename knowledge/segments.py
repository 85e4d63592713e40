"""Vectors in files that are written once. A segment holds keys, row ids and vectors; what a row says is not in it.

The name of a file is the SHA-256 of its content, so a list of names says what is whole. Layout, little-endian, n rows
of dimension d in the order of their keys: first halves of the keys n × u8, second halves n × u8, ids n × i8, vectors
n × d × f2.
"""

import contextlib
import hashlib
import mmap
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Halves = NDArray[np.float16]
Ids = NDArray[np.int64]
Keys = NDArray[np.uint64]
KEY_BYTES = 16
TEMPORARY_SUFFIX = ".part"
SUFFIX = ".vectors"
ROWS_PER_WRITE = 8192


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Rows in the order of `keys[0]`: keys of shape [2, n], ids [n], vectors [n, dimension]."""

    name: str
    keys: Keys
    ids: Ids
    rows: Halves

    def __len__(self) -> int:
        return len(self.ids)

    def find(self, keys: Keys) -> Ids:
        """The id under each key, shape [n], of keys of shape [2, n]; -1 where it is not here."""
        if not len(self):
            return np.full(keys.shape[1], -1, dtype=np.int64)
        at = np.minimum(np.searchsorted(self.keys[0], keys[0]), len(self) - 1)
        found: Ids = np.where((self.keys[0, at] == keys[0]) & (self.keys[1, at] == keys[1]), self.ids[at], -1)
        return found


def write(folder: Path, keys: Keys, ids: Ids, rows_of: Callable[[Ids], Halves]) -> str:
    """Put rows into a file of their own and return its name. `rows_of` gives the vectors of some of these ids.

    Raises OSError; nothing is left behind then.
    """
    order = np.argsort(keys[0], kind="stable")
    keys, ids = keys[:, order], ids[order]

    def parts() -> Iterator[Any]:
        yield from (keys[0].astype("<u8"), keys[1].astype("<u8"), ids.astype("<i8"))
        for start in range(0, len(ids), ROWS_PER_WRITE):
            yield rows_of(ids[start : start + ROWS_PER_WRITE]).astype("<f2")

    def fill(path: Path) -> None:
        with path.open("wb") as file:
            for part in parts():
                file.write(np.ascontiguousarray(part).data)

    return write_named(folder, SUFFIX, fill)


def write_named(folder: Path, suffix: str, fill: Callable[[Path], None]) -> str:
    """Let `fill` write a file, and give it its SHA-256 as its name once it is on the disk. Raises what `fill` does."""
    with replaced(folder) as (path, rename):
        fill(path)
        with path.open("rb+") as file:
            name = hashlib.file_digest(file, "sha256").hexdigest() + suffix
            os.fsync(file.fileno())
        rename(name)
    return name


@contextlib.contextmanager
def replaced(folder: Path) -> Iterator[tuple[Path, Callable[[str], None]]]:
    """A temporary path and the function that renames it, which also makes the rename last; else it is removed."""
    handle, name = tempfile.mkstemp(dir=folder, suffix=TEMPORARY_SUFFIX)
    os.close(handle)

    def rename(to: str) -> None:
        Path(name).replace(folder / to)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    try:
        yield Path(name), rename
    finally:
        with contextlib.suppress(OSError):
            Path(name).unlink(missing_ok=True)


def is_whole(path: Path) -> bool:
    """Whether the content is what the name says. Read, not mapped: looking at it makes nothing resident."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == path.stem


def open_mapped(path: Path, count: int, dimension: int) -> Segment:
    """A segment of `count` rows whose vectors stay on the disk until they are looked at.

    Raises OSError, and ValueError where the file is of another length.
    """
    sizes = (8 * count, 8 * count, 8 * count, 2 * count * dimension)
    with path.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        if length != sum(sizes):
            raise ValueError(f"{length} bytes, expected {sum(sizes)}")
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if length else b""
    if isinstance(data, mmap.mmap):
        data.madvise(mmap.MADV_RANDOM)
    keys = np.frombuffer(data, "<u8", 2 * count).reshape(2, count)
    ids = np.frombuffer(data, "<i8", count, offset=16 * count)
    rows = np.frombuffer(data, "<f2", count * dimension, offset=24 * count).reshape(count, dimension)
    return Segment(path.name, keys, ids, rows)


def as_keys(keys: Iterable[bytes]) -> Keys:
    """Shape [2, n] of n keys of 16 bytes."""
    found = np.frombuffer(b"".join(keys), dtype="<u8").reshape(-1, 2)
    return np.ascontiguousarray(found.T, dtype=np.uint64)
