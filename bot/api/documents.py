"""Uploads: a file becomes a job, the job's result is its report."""

import asyncio
from typing import Any

from aiohttp import web
from pydantic import Field

from bot import keys, uploads
from bot.api.bodies import Body, query
from bot.api.describe import describe
from bot.api.uploading import receive_form
from bot.errors import NotFoundError
from bot.jobs.importing import KIND
from bot.security.access import requires
from bot.storage import audit, knowledge
from bot.storage.knowledge import StoredDocument
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
                await knowledge.get_document(session, replaces)
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
    await request.app[keys.KNOWLEDGE_BASE].wait_for(revision)
    request.app[keys.WATCHER].nudge()
    return web.Response(status=204)


routes = [
    web.get("/api/documents", list_documents),
    web.post("/api/documents", upload),
    web.get("/api/documents/{id}", get_document),
    web.delete("/api/documents/{id}", delete_document),
]
