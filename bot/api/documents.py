"""Uploads: a file becomes a job, the job's result is its report."""

import asyncio
import os
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

from aiohttp import BodyPartReader, web
from pydantic import Field

from bot import keys, uploads
from bot.api.bodies import Body, query
from bot.api.describe import describe
from bot.errors import InvalidError, TooLargeError
from bot.jobs.importing import KIND
from bot.security.access import requires
from bot.storage import audit, knowledge
from bot.storage.knowledge import StoredDocument
from bot.storage.values import iso
from knowledge.text import clean_line

CHUNK_BYTES = 256 * 1024
FIELD_BYTES_MAX = 1024
NAME_CHARACTERS_MAX = 200

DOCUMENT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "name": {"type": "string"},
        "bytes": {"type": "integer"},
        "entries": {"type": "integer"},
        "passages": {"type": "integer"},
        "created_at": {"type": "string", "format": "date-time"},
    },
}
UPLOAD_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "file": {"type": "string", "contentMediaType": "application/octet-stream"},
        "replace": {"type": "string", "description": "id of the document this is the new version of"},
        "dry_run": {"type": "string", "enum": ["", "0", "1"]},
    },
    "required": ["file"],
}


class DocumentsQuery(Body):
    """Which part of the list."""

    offset: int = Field(0, ge=0)
    limit: int = Field(200, ge=1, le=500)


def to_json(document: StoredDocument) -> dict[str, Any]:
    """A document as the API shows it."""
    return {
        "id": document.id,
        "name": document.name,
        "bytes": document.size_bytes,
        "entries": document.entries,
        "passages": document.passages,
        "created_at": iso(document.created_at),
    }


def _file_name(given: str | None) -> str:
    """The name without folders (either kind of slash) and control characters."""
    name = clean_line(PurePosixPath((given or "").replace("\\", "/")).name)
    return name[-NAME_CHARACTERS_MAX:] or "upload"


async def _receive(part: BodyPartReader, folder: Path, bytes_max: int) -> tuple[Path, int]:
    """Write a part to a temporary file as it arrives. Raises TooLargeError; nothing is left behind then."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    handle, name = await asyncio.to_thread(tempfile.mkstemp, dir=folder, suffix=".part")
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
            await asyncio.to_thread(os.write, handle, chunk)
        await asyncio.to_thread(os.fsync, handle)
    except BaseException:
        path.unlink(missing_ok=True)  # noqa: ASYNC240 - also while being cancelled, when nothing may be awaited
        raise
    finally:
        os.close(handle)
    return path, size


async def _form(request: web.Request) -> tuple[Path, str, dict[str, str]]:
    """The uploaded file where it waits for its import, its name, and the other fields."""
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
            elif part.name in ("replace", "dry_run"):
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


@describe(
    "Upload a file; the job's result is the report",
    body=UPLOAD_SCHEMA,
    request_type="multipart/form-data",
    response={"type": "object", "properties": {"job_id": {"type": "string"}}},
    status=202,
)
@requires("editor")
async def upload(request: web.Request) -> web.Response:
    path, name, fields = await _form(request)
    replaces = fields.get("replace") or None
    if replaces:
        async with request.app[keys.DATABASE].reading() as session:
            await knowledge.get_document(session, replaces)
    person = request[keys.PERSON]
    params = {
        "path": str(path),
        "name": name,
        "replaces": replaces,
        "dry_run": fields.get("dry_run") == "1",
        "actor": person.actor,
    }
    return web.json_response({"job_id": await request.app[keys.JOBS].submit(KIND, params, person.id)}, status=202)


@describe(
    "Documents, the newest first",
    query=DocumentsQuery,
    response={
        "type": "object",
        "properties": {"items": {"type": "array", "items": DOCUMENT_SCHEMA}, "total": {"type": "integer"}},
    },
)
@requires("viewer")
async def list_documents(request: web.Request) -> web.Response:
    wanted = query(request, DocumentsQuery)
    async with request.app[keys.DATABASE].reading() as session:
        items, total = await knowledge.list_documents(session, wanted.offset, wanted.limit)
    return web.json_response({"items": [to_json(one) for one in items], "total": total})


@describe("One document", response=DOCUMENT_SCHEMA)
@requires("viewer")
async def get_document(request: web.Request) -> web.Response:
    async with request.app[keys.DATABASE].reading() as session:
        document = await knowledge.get_document(session, request.match_info["id"])
    return web.json_response(to_json(document))


@describe("Delete a document with its entries and passages", status=204)
@requires("editor")
async def delete_document(request: web.Request) -> web.Response:
    document_id, database = request.match_info["id"], request.app[keys.DATABASE]
    async with database.session() as session:
        document = await knowledge.get_document(session, document_id)
        revision = await knowledge.remove_document(session, document_id)
        detail = {"entries": document.entries, "passages": document.passages}
        await audit.record(session, request[keys.PERSON].actor, "documents.delete", document_id, detail)
    await uploads.release(database, request.app[keys.SETTINGS].data / "uploads", document.sha256)
    await request.app[keys.LIBRARY].wait_for(revision)
    request.app[keys.WATCHER].nudge()
    return web.Response(status=204)


routes = [
    web.get("/api/documents", list_documents),
    web.post("/api/documents", upload),
    web.get("/api/documents/{id}", get_document),
    web.delete("/api/documents/{id}", delete_document),
]
