"""Files that are there whole or not at all, whenever the power goes."""

import contextlib
import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from finetune.errors import FinetuneError


def write_bytes(path: Path, content: bytes) -> None:
    """Replaces `path` at once: what lay there stays until the new content is on the disk.

    Raises:
        FinetuneError: the disk is full or refuses; the old file is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise write_failed(path, error) from error


def write_json(path: Path, value: Any) -> None:
    """`value` as indented UTF-8 JSON, replaced at once."""
    write_bytes(path, (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode())


def write_lines(path: Path, rows: Iterable[Any]) -> None:
    """JSON Lines, replaced at once."""
    write_bytes(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())


def sync_folder(folder: Path) -> None:
    """Puts a folder's names on the disk; a rename is only safe from a power cut after that."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Puts a file's content on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_failed(path: Path, error: OSError) -> FinetuneError:
    """The sentence for a write that the disk refused."""
    return FinetuneError(
        "write_failed",
        f"写入 {path} 失败：{error.strerror or error}。之前保存的内容没有受影响。",
        f"Writing {path} failed: {error.strerror or error}. What was saved before is untouched.",
    )


def key_of(file: Path, size: int) -> bytes:
    """The bytes of a key file, which only its owner may read; made at random where there is none yet.

    Linked into place whole: a cut leaves no half of one, and of two processes at once both get the key of the first.
    Raises OSError.
    """
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}.part")
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as made:
                made.write(secrets.token_bytes(size))
                made.flush()
                os.fsync(made.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(temporary, file)
            sync_folder(file.parent)
        finally:
            temporary.unlink(missing_ok=True)
    return file.read_bytes()
