"""The index on disk: every vector under the hash of its text, so that a restart encodes nothing again.

Vectors never change, so files are only added: each save writes what is new as a segment, and merges segments that are
small beside it or hold mostly rows nobody needs. One manifest, replaced by a rename, names the segments and other files
that are valid; what it does not name is left over and removed. No texts are kept here: what to index comes from the
database.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from knowledge import segments
from knowledge.errors import SnapshotError
from knowledge.segments import Halves, Ids, Segment
from knowledge.types import TextKind, Vectors

MANIFEST = "manifest.json"
LOCK = "lock"
FORMAT = "kefu-index-2"
# A segment is merged with the smaller ones once these hold this share of its rows: a dozen segments at a million rows,
# and each row is written some ten times on the way there.
SMALL_SHARE = 0.25


def key(text: str, kind: TextKind) -> bytes:
    """What a vector is kept under: 16 bytes, the first half of a SHA-256."""
    digest = hashlib.sha256(f"{kind}\0{text}".encode("utf-8", "surrogatepass")).digest()
    return digest[: segments.KEY_BYTES]


@dataclass(frozen=True, slots=True)
class View:
    """All rows at one moment; stays readable whatever is written later."""

    blocks: tuple[Halves, ...]
    # By id: the number of the block × 2³² + the row in it, or -1.
    places: Ids

    def halves(self, ids: Ids) -> Halves:
        """Vectors as they are stored, float16, shape [len(ids), dimension]. Raises KeyError for an unknown id."""
        places = self.places[ids]
        if len(places) and places.min() < 0:
            raise KeyError(f"no row {ids[places < 0][0]}")
        numbers, rows = places >> 32, places & 0xFFFFFFFF
        first = int(numbers[0]) if len(places) else 0
        if (numbers == first).all():
            whole: Halves = self.blocks[first][rows]
            return whole
        found = np.empty((len(ids), self.blocks[0].shape[1]), dtype=np.float16)
        for number in np.flatnonzero(np.bincount(numbers)).tolist():
            here = numbers == number
            found[here] = self.blocks[number][rows[here]]
        return found

    def vectors(self, ids: Ids) -> Vectors:
        """The same as float32."""
        return self.halves(ids).astype(np.float32)

    def similarities(self, ids: Ids, vector: Vectors) -> Vectors:
        """Inner products with a vector: the same to the last bit wherever a row lies and whatever else is asked."""
        found: Vectors = np.einsum("ij,j->i", self.vectors(ids), vector)
        return found


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is valid in a folder: segments as (file name, rows), other files by what they are for, the next free id."""

    encoder: str
    dimension: int
    next_id: int = 0
    segments: tuple[tuple[str, int], ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        found = {
            "format": FORMAT, "encoder": self.encoder, "dimension": self.dimension, "next_id": self.next_id,
            "segments": self.segments, "files": dict(self.files),
        }  # fmt: skip
        return json.dumps({"sha256": _checksum(found), "index": found})

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Raises ValueError, KeyError or TypeError where it is not one, or not whole."""
        outer = json.loads(text)
        found = outer["index"]
        if found["format"] != FORMAT or outer["sha256"] != _checksum(found):
            raise ValueError("manifest checksum")
        named = tuple((str(name), int(rows)) for name, rows in found["segments"])
        return cls(str(found["encoder"]), int(found["dimension"]), int(found["next_id"]), named, found["files"])


class Store:
    """Vectors by key and by row id; ids are given once and stay with their row over saves and restarts.

    Vectors are kept as float16: what is read back is the same before and after a save. For one writer at a time; `view`
    may be read from any thread. Where another process has the folder open, this one reads and never writes.
    """

    def __init__(self, folder: Path | None, encoder_id: str, dimension: int) -> None:
        """Opens what is in `folder` (None: in memory only), as far as it is whole and of this encoder.

        `notes` says (Chinese, English) what is not used, and why. Raises OSError where the folder cannot be read.
        """
        self._folder = folder
        self.notes: list[tuple[str, str]] = []
        self._lock: weakref.finalize[[int], Store] | None = None
        self._manifest = Manifest(encoder_id, dimension)
        self._written = b""
        self._mapped: list[Segment] = []
        # What is not written yet, in a block that grows: keys with their ids, which are the last ones in order.
        self._fresh: dict[bytes, int] = {}
        self._block = np.empty((0, dimension), dtype=np.float16)
        self._next_id = 0
        if folder is not None and folder.is_dir():
            self._open(folder)
        self.view = self._look()

    @property
    def dimension(self) -> int:
        return self._manifest.dimension

    @property
    def rows(self) -> int:
        """How many rows there are, needed or not."""
        return sum(map(len, self._mapped)) + len(self._fresh)

    @property
    def files(self) -> Mapping[str, Path]:
        """The other files of the manifest, by what they are for; whole, as their names say."""
        return {use: self._folder / name for use, name in self._manifest.files.items()} if self._folder else {}

    def find(self, keys: Sequence[bytes]) -> Ids:
        """The row id under each key, -1 where there is none; shape [len(keys)]."""
        found = np.array([self._fresh.get(one, -1) for one in keys], dtype=np.int64)
        for segment in self._mapped:
            unknown = np.flatnonzero(found < 0)
            if not len(unknown):
                break
            found[unknown] = segment.find(segments.as_keys(keys[at] for at in unknown.tolist()))
        return found

    def put(self, keys: Sequence[bytes], vectors: Vectors) -> Ids:
        """Keep vectors, shape [len(keys), dimension], under new keys; returns their ids."""
        ids = np.arange(self._next_id, self._next_id + len(keys), dtype=np.int64)
        start, self._next_id = len(self._fresh), self._next_id + len(keys)
        # Both arrays are only written where nobody reads yet; when they are full, views of before keep the old ones.
        if start + len(keys) > len(self._block):
            grown = np.empty((max(start + len(keys), 2 * start), self.dimension), dtype=np.float16)
            grown[:start] = self._block[:start]
            self._block = grown
        places = self.view.places
        if self._next_id > len(places):
            places = np.concatenate([places, np.full(max(self._next_id, 1024), -1, dtype=np.int64)])
        self._block[start : start + len(keys)] = vectors
        places[ids] = (len(self._mapped) << 32) + np.arange(start, start + len(keys))
        self._fresh.update(zip(keys, ids.tolist(), strict=True))
        self.view = View((*(one.rows for one in self._mapped), self._block), places)
        return ids

    def save(self, needed: Ids | None = None, files: Mapping[str, Callable[[Path], None] | None] | None = None) -> None:
        """Write what is new. Rows not `needed` (None: all are) stay out, and go where a segment is written anew.

        `files` are other files by what they are for: written by the function, or kept where it is None; what is not
        among them is dropped. Raises SnapshotError (disk full, no permission): nothing has changed then.
        """
        if self._folder is None:
            return
        files = files or {}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not self._is_mine():
                return
            kept, mapped = self._write(self._folder, needed)
            names = {
                use: self._manifest.files[use] if fill is None else segments.write_named(self._folder, f".{use}", fill)
                for use, fill in files.items()
            }
            self._publish(self._folder, kept, names)
        except (OSError, RuntimeError) as error:  # FAISS tells of a full disk by a RuntimeError
            self._clear()
            reason = getattr(error, "strerror", None) or error
            raise SnapshotError(
                "index_not_saved",
                f"索引无法写入 {self._folder}（{reason}），原有的索引没有变化。",
                f"The index cannot be written to {self._folder} ({reason}). The one on disk is unchanged.",
            ) from error
        self._mapped = mapped
        self._forget_fresh()
        self._clear()

    def close(self) -> None:
        """Let go of the files; nothing is saved."""
        self._mapped = []
        self._forget_fresh()
        if self._lock is not None:
            self._lock()
            self._lock = None

    def _write(self, folder: Path, needed: Ids | None) -> tuple[list[tuple[str, int]], list[Segment]]:
        """The segments to be valid from now on, as (name, rows) and opened."""
        alive = np.full(self._next_id, needed is None)
        if needed is not None:
            alive[needed] = True
        fresh = np.fromiter(self._fresh.values(), dtype=np.int64, count=len(self._fresh))
        merged = [(segments.as_keys(self._fresh), fresh)]
        total, kept = int(alive[fresh].sum()), []
        for segment in sorted(self._mapped, key=len):
            rows = int(alive[segment.ids].sum())
            if rows * SMALL_SHARE <= total or rows < len(segment) / 2:
                merged.append((segment.keys, segment.ids))
                total += rows
            else:
                kept.append(segment)
        if total:
            ids = np.concatenate([ids for _, ids in merged])
            keys = np.concatenate([keys for keys, _ in merged], axis=1)
            here = alive[ids]
            name = segments.write(folder, keys[:, here], ids[here], self.view.halves)
            kept.append(segments.open_mapped(folder / name, total, self._manifest.dimension))
        return [(one.name, len(one)) for one in kept], kept

    def _publish(self, folder: Path, kept: list[tuple[str, int]], files: Mapping[str, str]) -> None:
        new = Manifest(self._manifest.encoder, self._manifest.dimension, self._next_id, tuple(kept), files)
        content = new.to_json().encode()
        if content == self._written:
            return
        with segments.replaced(folder) as (path, rename):
            with path.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            rename(MANIFEST)
        self._manifest, self._written = new, content

    def _forget_fresh(self) -> None:
        self._fresh, self._block = {}, np.empty((0, self.dimension), dtype=np.float16)
        self.view = self._look()

    def _look(self) -> View:
        places = np.full(self._next_id, -1, dtype=np.int64)
        for number, segment in enumerate(self._mapped):
            places[segment.ids] = (number << 32) + np.arange(len(segment))
        return View((*(one.rows for one in self._mapped), self._block), places)

    def _open(self, folder: Path) -> None:
        path = folder / MANIFEST
        with contextlib.suppress(FileNotFoundError):
            self._written = path.read_bytes()
        mine = self._is_mine()
        if not self._written:
            return
        try:
            found = Manifest.from_json(self._written.decode())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.notes.append(_note(path, f"文件已损坏（{error}）", f"it is damaged ({error})"))
            return
        if (found.encoder, found.dimension) != (self._manifest.encoder, self._manifest.dimension):
            self.notes.append(_note(path, "它来自另一个向量模型", "it was made by another encoder"))
            return
        whole = {use: name for use, name in found.files.items() if self._try(folder / name, _check)}
        for name, rows in found.segments:
            segment = self._try(folder / name, partial(_check_and_map, rows=rows, dimension=found.dimension))
            if segment is not None:
                self._mapped.append(segment)
        self._manifest = Manifest(found.encoder, found.dimension, found.next_id, found.segments, whole)
        self._next_id = found.next_id
        if mine:
            self._clear()

    def _try(self, path: Path, look: Callable[[Path], Any]) -> Any:
        """What `look` makes of a file; None, and a note, where it is not whole."""
        try:
            return look(path)
        except (OSError, ValueError) as error:
            self.notes.append(_note(path, f"文件已损坏（{error}）", f"it is damaged ({error})"))
            return None

    def _is_mine(self) -> bool:
        """Whether this process may write: it holds the folder's lock, and nobody wrote since it looked."""
        if self._lock is not None or self._folder is None:
            return self._lock is not None
        handle = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        held = weakref.finalize(self, os.close, handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held()
            return False
        manifest = self._folder / MANIFEST
        if (manifest.read_bytes() if manifest.exists() else b"") != self._written:
            held()
            return False
        self._lock = held
        return True

    def _clear(self) -> None:
        """Remove what no manifest names."""
        if self._folder is None or self._lock is None:
            return
        named = {MANIFEST, LOCK, *dict(self._manifest.segments), *self._manifest.files.values()}
        for path in self._folder.iterdir():
            if path.name not in named:
                with contextlib.suppress(OSError):
                    path.unlink()


def examine(folder: Path) -> tuple[int, list[str]]:
    """How many rows a folder's manifest names, and which of its files are not whole; nothing is changed.

    Raises ValueError, KeyError or TypeError where the manifest itself is damaged, OSError where it cannot be read.
    """
    found = Manifest.from_json((folder / MANIFEST).read_text("utf-8"))
    names = [*dict(found.segments), *found.files.values()]
    damaged = [name for name in names if not (folder / name).is_file() or not segments.is_whole(folder / name)]
    return sum(rows for _, rows in found.segments), damaged


def _check(path: Path) -> Path:
    if not segments.is_whole(path):
        raise ValueError("checksum mismatch")
    return path


def _check_and_map(path: Path, rows: int, dimension: int) -> Segment:
    return segments.open_mapped(_check(path), rows, dimension)


def _checksum(found: Any) -> str:
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def _note(path: Path, zh: str, en: str) -> tuple[str, str]:
    return (
        f"索引文件 {path} 没有使用：{zh}。将重新计算。",
        f"The index file {path} is not used: {en}. It is computed anew.",
    )
