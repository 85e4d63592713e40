"""Conversations to learn from: bring them in, count them."""

import asyncio
from dataclasses import asdict
from typing import Any

from aiohttp import web

from bot import keys
from bot.api.describe import describe
from bot.api.uploading import receive_form
from bot.dialogs import import_dialogs
from bot.security.access import requires
from bot.storage import training

COUNTS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {name: {"type": "integer"} for name in ("conversations", "messages", "labelled")},
}
UPLOAD_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"file": {"type": "string", "contentMediaType": "application/octet-stream"}},
    "required": ["file"],
}


@describe(
    "Bring in a file of conversations (JSON Lines, ShareGPT, Alpaca)",
    body=UPLOAD_SCHEMA,
    request_type="multipart/form-data",
    response=COUNTS_SCHEMA,
)
@requires("editor")
async def upload(request: web.Request) -> web.Response:
    path, name, _ = await receive_form(request)
    try:
        report = await import_dialogs(request.app[keys.DATABASE], path, name, actor=request[keys.PERSON].actor)
    finally:
        await asyncio.to_thread(path.unlink, missing_ok=True)
    return web.json_response(report.to_json())


@describe("How many conversations there are to learn from", response=COUNTS_SCHEMA)
@requires("viewer")
async def count(request: web.Request) -> web.Response:
    async with request.app[keys.DATABASE].reading() as session:
        found = await training.counts(session)
    return web.json_response(asdict(found))


routes = [web.post("/api/dialogs", upload), web.get("/api/dialogs", count)]
