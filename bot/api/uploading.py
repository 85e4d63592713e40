"""Files that arrive as multipart forms."""

import asyncio
import errno
import os
import tempfile
from contextlib import suppress
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from aiohttp import BodyPartReader, web

from bot import keys, uploads
from bot.errors import DiskFullError, InvalidError, TooLargeError
from knowledge.text import clean_line

CHUNK_BYTES = 256 * 1024
FIELD_BYTES_MAX = 1024
NAME_CHARACTERS_MAX = 200
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _file_name(given: str | None) -> str:
    """The name without folders (either kind of slash) and control characters."""
    with suppress(UnicodeDecodeError):  # some clients percent-encode what is not ASCII
        if not (decoded := unquote(given or "", errors="strict")).isascii():
            given = decoded
    name = clean_line(PurePosixPath((given or "").replace("\\", "/")).name)
    return name[-NAME_CHARACTERS_MAX:] or "upload"


async def _receive(part: BodyPartReader, folder: Path, bytes_max: int) -> tuple[Path, int]:
    """Write a part to a temporary file as it arrives.

    Raises TooLargeError, DiskFullError; nothing is left behind then.
    """
    try:
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        handle, name = await asyncio.to_thread(tempfile.mkstemp, dir=folder, suffix=".part")
    except OSError as error:
        raise DiskFullError from error
    size, path = 0, Path(name)
    try:
        while chunk := await part.read_chunk(CHUNK_BYTES):
            size += len(chunk)
            if size > bytes_max:
                mebibytes = bytes_max // (1024 * 1024)
                raise TooLargeError(
                    "file_too_large",
                    f"文件超过上限 {mebibytes} MB",
                    f"The file is larger than the limit of {mebibytes} MB",
                    {"bytes_max": bytes_max},
                )
            await asyncio.to_thread(_write, handle, chunk)
        await asyncio.to_thread(os.fsync, handle)
    except BaseException as error:
        path.unlink(missing_ok=True)  # noqa: ASYNC240 - also while being cancelled, when nothing may be awaited
        if isinstance(error, OSError) and error.errno in FULL:
            raise DiskFullError from error
        raise
    finally:
        os.close(handle)
    return path, size


def _write(handle: int, chunk: bytes) -> None:
    """All of it: a disk that fills up takes a part and says nothing until the next write."""
    left = memoryview(chunk)
    while left:
        left = left[os.write(handle, left) :]


async def receive_form(request: web.Request, *names: str) -> tuple[Path, str, dict[str, str]]:
    """The uploaded file where it waits for its import, its name, and the other fields of those `names`.

    Whoever calls removes the file. Raises InvalidError, TooLargeError, DiskFullError; nothing is left behind then.
    """
    settings = request.app[keys.SETTINGS]
    if not request.content_type.startswith("multipart/form-data"):
        raise InvalidError("not_multipart", "请用 multipart/form-data 上传文件", "Send the file as multipart/form-data")
    folder = settings.data / "uploads" / uploads.INCOMING
    received: tuple[Path, int] | None = None
    name, fields = "", {}
    try:
        reader = await request.multipart()
        while (part := await reader.next()) is not None:
            if not isinstance(part, BodyPartReader):
                continue
            if part.name == "file" and received is None:
                name = _file_name(part.filename)
                received = await _receive(part, folder, settings.upload_bytes_max)
            elif part.name in names:
                fields[part.name] = (await part.read_chunk(FIELD_BYTES_MAX)).decode("utf-8", "replace").strip()
        if received is None or received[1] == 0:
            raise InvalidError("no_file", "没有收到文件，或文件是空的", "No file was received, or it is empty")
    except BaseException as error:
        if received:
            received[0].unlink(missing_ok=True)
        if isinstance(error, ValueError):
            raise InvalidError("bad_multipart", "上传的表单不完整", "The uploaded form is broken") from error
        raise
    return received[0], name, fields
