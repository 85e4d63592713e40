"""Files as they were given to us, kept under the SHA-256 of their bytes."""

import asyncio
import hashlib
import os
import re
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from bot.errors import StorageError
from bot.storage import documents
from bot.storage.database import Database

CHUNK_BYTES = 1024 * 1024
INCOMING = "incoming"
CHECKSUM = re.compile("[0-9a-f]{64}")
UNNEEDED_SECONDS = 3600
INCOMING_SECONDS_MAX = 7 * 24 * 3600


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def keep(folder: Path, source: Path, sha256: str) -> Path:
    """Copy a file into `folder` under its checksum, whole or not at all. Raises StorageError where that fails."""
    target = folder / sha256
    if target.is_file() and target.stat().st_size == source.stat().st_size:
        target.touch()  # `release_unneeded` leaves what is young to the import that brings it
        return target
    temporary: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, suffix=".part")
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file, source.open("rb") as original:
            shutil.copyfileobj(original, file, CHUNK_BYTES)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        sync_folder(folder)
    except OSError as error:
        if temporary:
            temporary.unlink(missing_ok=True)
        raise StorageError(
            "cannot_keep_upload",
            f"不能把文件保存到 {folder}：{error.strerror}",
            f"The file cannot be kept in {folder}: {error.strerror}",
        ) from error
    return target


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is there as a whole or as it was before. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in the folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


async def release(database: Database, folder: Path, sha256: str) -> None:
    """Remove a kept file that no document needs, neither a live one nor one in the trash."""
    async with database.reading() as session:
        needed = await documents.checksums(session)
    if sha256 not in needed:
        await asyncio.to_thread((folder / sha256).unlink, missing_ok=True)


async def release_unneeded(database: Database, folder: Path) -> int:
    """Remove every kept file that no document needs any more; how many.

    Files of the last hour stay: their import may be about to register them.
    """
    limit = time.time() - UNNEEDED_SECONDS
    old = await asyncio.to_thread(_kept_before, folder, limit)
    async with database.reading() as session:
        needed = await documents.checksums(session)
    unneeded = [path for path in old if path.name not in needed]
    for path in unneeded:
        await asyncio.to_thread(path.unlink, missing_ok=True)
    return len(unneeded)


def _kept_before(folder: Path, limit: float) -> list[Path]:
    found = [path for path in folder.glob("*") if CHECKSUM.fullmatch(path.name)]
    return [path for path in found if path.stat().st_mtime < limit]


def clear_incoming(folder: Path) -> None:
    """Remove uploads that no job ever took up (the service died between the two): those older than a week."""
    limit = time.time() - INCOMING_SECONDS_MAX
    for path in (folder / INCOMING).glob("*.part"):
        with suppress(OSError):
            if path.stat().st_mtime < limit:
                path.unlink()
