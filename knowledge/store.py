"""The index on disk: every vector under the hash of its text, so that a restart encodes nothing again.

One file holds manifest, keys and vectors and is replaced by a rename, so there is no moment at which they disagree.
It holds vectors alone, no texts: what to index comes from the database.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from knowledge.errors import SnapshotError
from knowledge.types import TextKind, Vectors

FILE_NAME = "vectors.safetensors"
FORMAT = "kefu-vectors-1"
TEMPORARY_SUFFIX = ".part"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Vectors by key; `note` says (Chinese, English) why a file that was there is not used."""

    vectors: dict[bytes, Vectors] = field(default_factory=dict)
    note: tuple[str, str] | None = None


def key(text: str, kind: TextKind) -> bytes:
    """What a vector is kept under: 32 bytes."""
    return hashlib.sha256(f"{kind}\0{text}".encode("utf-8", "surrogatepass")).digest()


def save(folder: Path, encoder_id: str, dimension: int, vectors: dict[bytes, Vectors]) -> None:
    """Replace the snapshot in `folder`. Raises SnapshotError (disk full, no permission); the old one then stays."""
    from safetensors.numpy import save as pack

    keys = np.frombuffer(b"".join(vectors), dtype=np.uint8).reshape(len(vectors), 32)
    rows = np.array(list(vectors.values()), dtype=np.float32).reshape(len(vectors), dimension)
    manifest = {
        "format": FORMAT,
        "encoder": encoder_id,
        "dimension": str(dimension),
        "count": str(len(vectors)),
        "sha256": _checksum(keys, rows),
    }
    data = pack({"keys": keys, "vectors": rows}, metadata=manifest)
    temporary: str | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, suffix=TEMPORARY_SUFFIX)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(folder / FILE_NAME)
        _sync_folder(folder)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink(missing_ok=True)
        raise SnapshotError(
            "index_not_saved",
            f"索引无法写入 {folder}（{error.strerror or error}），需要约 {len(data)} 字节，原有的索引没有变化。",
            f"The index cannot be written to {folder} ({error.strerror or error}); it needs about {len(data)} bytes. "
            "The one on disk is unchanged.",
        ) from error


def load(folder: Path, encoder_id: str, dimension: int) -> Snapshot:
    """The snapshot in `folder` if it is whole and of this encoder; else an empty one with a note. Never raises for its
    content. What an interrupted save left behind is removed."""
    for left in folder.glob(f"*{TEMPORARY_SUFFIX}"):
        with contextlib.suppress(OSError):
            left.unlink()
    path = folder / FILE_NAME
    if not path.exists():
        return Snapshot()
    try:
        manifest, keys, rows = _unpack(path.read_bytes())
    except Exception as error:  # noqa: BLE001 - whatever a damaged file makes the parser raise, it means "not usable"
        return Snapshot(note=_note(path, f"文件已损坏（{error}）", f"it is damaged ({error})"))
    if manifest.get("format") != FORMAT:
        return Snapshot(note=_note(path, "格式不认识", "its format is unknown"))
    if manifest.get("encoder") != encoder_id or rows.shape[1:] != (dimension,):
        return Snapshot(note=_note(path, "它来自另一个向量模型", "it was made by another encoder"))
    return Snapshot({bytes(name): row for name, row in zip(keys, rows, strict=True)})


def _unpack(data: bytes) -> tuple[dict[str, str], Any, Vectors]:
    from safetensors.numpy import load as unpack

    header_bytes = int.from_bytes(data[:8], "little")
    manifest: dict[str, str] = json.loads(data[8 : 8 + header_bytes])["__metadata__"]
    tensors = unpack(data)
    keys, rows = tensors["keys"], tensors["vectors"]
    if manifest.get("sha256") != _checksum(keys, rows):
        raise ValueError("checksum mismatch")
    return manifest, keys, rows


def _checksum(keys: Any, rows: Vectors) -> str:
    return hashlib.sha256(np.ascontiguousarray(keys).tobytes() + np.ascontiguousarray(rows).tobytes()).hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _note(path: Path, zh: str, en: str) -> tuple[str, str]:
    return (
        f"索引文件 {path} 没有使用：{zh}。将重新计算。",
        f"The index file {path} is not used: {en}. It is computed anew.",
    )
