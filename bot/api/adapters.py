"""The adapters: what there is, what is served, switch and roll back."""

import asyncio
from typing import Any

from aiohttp import web
from pydantic import Field

from bot import keys
from bot.api.bodies import Body, read
from bot.api.describe import describe
from bot.learning import releases
from bot.learning.activation_job import KIND
from bot.security.access import requires
from bot.storage import adapters, audit, data_sets
from bot.storage.adapters import Adapter

JOB_SCHEMA: dict[str, Any] = {"type": "object", "properties": {"job_id": {"type": "string"}}}
ADAPTER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "The manifest, and the state: active, ready, damaged or missing",
    "properties": {
        **{key: {"type": "string"} for key in ("name", "kind", "base_model", "created_at", "data_hash")},
        "state": {"type": "string", "enum": ["active", "ready", "damaged", "missing"]},
        "forgotten": {"type": "boolean", "description": "it has learnt from somebody who was forgotten since"},
        "metrics": {"type": "object"},
        "verdict": {"type": "object"},
    },
}
NAMES_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {kind: {"type": ["string", "null"]} for kind in adapters.KINDS},
}
LIST_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "items": {"type": "array", "items": ADAPTER_SCHEMA},
        "active": NAMES_SCHEMA,
        "serving": NAMES_SCHEMA,
        "switching": {"type": ["object", "null"]},
        "can_roll_back": {"type": "object", "properties": {kind: {"type": "boolean"} for kind in adapters.KINDS}},
    },
}


class RollbackBody(Body):
    """Which kind of model goes back to the one before."""

    kind: str = Field(pattern="^(encoder|generator)$")


async def _shown(request: web.Request, found: list[Adapter]) -> tuple[list[dict[str, Any]], dict[str, str | None]]:
    async with request.app[keys.DATABASE].reading() as session:
        active, marked = await adapters.active(session), await data_sets.marked_runs(session)
    settings = request.app[keys.SETTINGS]
    states = await asyncio.gather(
        *(asyncio.to_thread(releases.state_of, settings, adapter, active) for adapter in found)
    )
    shown = [
        {**one.manifest, "state": state, "forgotten": one.name in marked}
        for one, state in zip(found, states, strict=True)
    ]
    return shown, active


@describe("Every adapter, newest first, and what is served", response=LIST_SCHEMA)
@requires("viewer")
async def list_adapters(request: web.Request) -> web.Response:
    async with request.app[keys.DATABASE].reading() as session:
        found = await adapters.installed(session)
        back = await adapters.can_roll_back(session)
    items, active = await _shown(request, found)
    release = request.app[keys.RELEASES]
    serving = release.serving() if request.app[keys.KNOWLEDGE_BASE].ready else active
    return web.json_response(
        {
            "items": items,
            "active": active,
            "serving": serving,
            "switching": release.to_json(),
            "can_roll_back": back,
        }
    )


@describe("One adapter", response=ADAPTER_SCHEMA)
@requires("viewer")
async def show_adapter(request: web.Request) -> web.Response:
    async with request.app[keys.DATABASE].reading() as session:
        found = await adapters.get(session, request.match_info["id"])
    return web.json_response((await _shown(request, [found]))[0][0])


@describe("Activate an adapter; the job ends when it is served", response=JOB_SCHEMA, status=202)
@requires("admin")
async def activate(request: web.Request) -> web.Response:
    name = request.match_info["id"]
    async with request.app[keys.DATABASE].reading() as session:
        adapter = await adapters.get(session, name)
    settings = request.app[keys.SETTINGS]
    await asyncio.to_thread(releases.verify, settings, name, releases.as_kind(adapter.kind))
    return await _submit(request, {"name": name})


@describe("Go back to what was active before", body=RollbackBody, response=JOB_SCHEMA, status=202)
@requires("admin")
async def rollback(request: web.Request) -> web.Response:
    wanted = await read(request, RollbackBody)
    return await _submit(request, {"rollback": wanted.kind})


@describe("Remove an adapter that is not active", status=204)
@requires("admin")
async def remove(request: web.Request) -> web.Response:
    from finetune import registry

    name = request.match_info["id"]
    async with request.app[keys.DATABASE].session() as session:
        await adapters.remove(session, name)
        await audit.record(session, request[keys.PERSON].actor, "adapters.remove", name)
    await asyncio.to_thread(registry.remove, request.app[keys.SETTINGS].data / "adapters", name)
    return web.Response(status=204)


async def _submit(request: web.Request, params: dict[str, Any]) -> web.Response:
    person = request[keys.PERSON]
    job_id = await request.app[keys.JOBS].submit(KIND, {**params, "actor": person.actor}, person.id)
    return web.json_response({"job_id": job_id}, status=202)


routes = [
    web.get("/api/adapters", list_adapters),
    web.post("/api/adapters/rollback", rollback),
    web.get("/api/adapters/{id}", show_adapter),
    web.post("/api/adapters/{id}/activate", activate),
    web.delete("/api/adapters/{id}", remove),
]
