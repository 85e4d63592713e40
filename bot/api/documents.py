"""Documents: a file becomes a job whose result is its report; the list, the originals, the trash."""

import asyncio
import re
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from aiohttp import web
from pydantic import Field

from bot import documents, keys
from bot.api.bodies import Body, query
from bot.api.describe import describe
from bot.api.uploading import receive_form
from bot.errors import NotFoundError
from bot.jobs.importing import KIND
from bot.security.access import requires
from bot.storage import documents as stored
from bot.storage.documents import StoredDocument
from bot.storage.values import iso

DOCUMENT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "name": {"type": "string"},
        "bytes": {"type": "integer"},
        "entries": {"type": "integer"},
        "passages": {"type": "integer"},
        "created_at": {"type": "string", "format": "date-time"},
        "updated_at": {"type": "string", "format": "date-time", "description": "when its last version came"},
        "deleted_at": {"type": ["string", "null"], "format": "date-time"},
        "purged_at": {
            "type": ["string", "null"],
            "format": "date-time",
            "description": "until when it can be restored",
        },
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
    deleted: bool = False


def to_json(document: StoredDocument, trash_days: int) -> dict[str, Any]:
    """A document as the API shows it. In the trash it counts what would come back."""
    purged_at = document.deleted_at and document.deleted_at + timedelta(days=trash_days)
    return {
        "id": document.id,
        "name": document.name,
        "bytes": document.size_bytes,
        "entries": document.entries,
        "passages": document.passages,
        "created_at": iso(document.created_at),
        "updated_at": iso(document.updated_at),
        "deleted_at": iso(document.deleted_at),
        "purged_at": iso(purged_at),
    }


def attachment(name: str) -> str:
    """A Content-Disposition under which every browser saves a file by its name (RFC 6266, RFC 8187)."""
    plain = re.sub(r'[^ -~]|["\\%]', "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='', errors='replace')}"


def _shown(request: web.Request, document: StoredDocument) -> dict[str, Any]:
    return to_json(document, request.app[keys.SETTINGS].trash_days)


async def _served(request: web.Request, revision: int) -> None:
    await request.app[keys.KNOWLEDGE_BASE].wait_for(revision)
    request.app[keys.WATCHER].nudge()


@describe(
    "Upload a file; the job's result is the report",
    body=UPLOAD_SCHEMA,
    request_type="multipart/form-data",
    response={"type": "object", "properties": {"job_id": {"type": "string"}}},
    status=202,
)
@requires("editor")
async def upload(request: web.Request) -> web.Response:
    path, name, fields = await receive_form(request, "replace", "dry_run")
    replaces = fields.get("replace") or None
    if replaces:
        try:
            async with request.app[keys.DATABASE].reading() as session:
                await stored.get_document(session, replaces)
        except NotFoundError:
            await asyncio.to_thread(path.unlink)
            raise
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
    "Documents, the newest first; with `deleted=true` those in the trash",
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
        items, total = await stored.list_documents(session, wanted.offset, wanted.limit, deleted=wanted.deleted)
    return web.json_response({"items": [_shown(request, one) for one in items], "total": total})


@describe("One document", response=DOCUMENT_SCHEMA)
@requires("viewer")
async def get_document(request: web.Request) -> web.Response:
    async with request.app[keys.DATABASE].reading() as session:
        document = await stored.get_document(session, request.match_info["id"])
    return web.json_response(_shown(request, document))


@describe("Put a document into the trash, with its entries and passages", status=204)
@requires("editor")
async def delete_document(request: web.Request) -> web.Response:
    database, actor = request.app[keys.DATABASE], request[keys.PERSON].actor
    _, revision = await documents.delete(database, request.match_info["id"], actor)
    await _served(request, revision)
    return web.Response(status=204)


@describe("Take a document out of the trash, with all that was deleted with it", response=DOCUMENT_SCHEMA)
@requires("editor")
async def restore_document(request: web.Request) -> web.Response:
    database, actor = request.app[keys.DATABASE], request[keys.PERSON].actor
    document, revision = await documents.restore(database, request.match_info["id"], actor)
    await _served(request, revision)
    return web.json_response(_shown(request, document))


@describe(
    "The file as it was uploaded",
    response={"type": "string", "contentMediaType": "application/octet-stream"},
    content_type="application/octet-stream",
)
@requires("viewer")
async def download(request: web.Request) -> web.StreamResponse:
    folder = request.app[keys.SETTINGS].data / "uploads"
    document, path = await documents.original(request.app[keys.DATABASE], folder, request.match_info["id"])
    # Whatever it holds, no browser may show it as a page of ours.
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Disposition": attachment(document.name),
        "X-Content-Type-Options": "nosniff",
    }
    return web.FileResponse(path, headers=headers)


routes = [
    web.get("/api/documents", list_documents),
    web.post("/api/documents", upload),
    web.get("/api/documents/{id}", get_document),
    web.delete("/api/documents/{id}", delete_document),
    web.post("/api/documents/{id}/restore", restore_document),
    web.get("/api/documents/{id}/file", download),
]
