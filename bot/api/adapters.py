"""The adapters: what there is, what is served, switch and roll back."""

import asyncio
from typing import Any

from aiohttp import web
from pydantic import Field

from bot import keys
from bot.api.bodies import Body, read
from bot.api.describe import describe
from bot.api.dialogs import UPLOAD_SCHEMA
from bot.api.uploading import receive_form
from bot.errors import NotFoundError
from bot.learning import releases, report
from bot.learning.activation_job import KIND
from bot.learning.gate import admit
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
        "pinned": {"type": "boolean", "description": "kept however old it is"},
        "imported_at": {"type": ["string", "null"], "description": "set where it was trained elsewhere"},
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


REPORT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "verdict": {"type": "object", "description": "{outcome, zh, en}"},
        "level": {"type": "number", "description": "of the intervals, e.g. 0.9"},
        "figures": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    **{key: {"type": "string"} for key in ("set", "name")},
                    "questions": {"type": "integer"},
                    **{key: {"type": "number"} for key in ("before", "after", "difference", "low", "high")},
                    "outcome": {"type": "string", "enum": ["better", "same", "worse", "few"]},
                },
            },
        },
        "questions": {
            "type": "array",
            "items": {
                "type": "object",
                "description": "{set, text, entry, before, after, change}; a side is {entry, decision} or {reply}",
            },
        },
        "counts": {"type": "object"},
        "left_out": {"type": "array", "items": {"type": "object"}},
        "notes": {"type": "array", "items": {"type": "object"}},
    },
}


class PinBody(Body):
    """Whether an adapter is kept however old it is."""

    pinned: bool


class ActivationBody(Body):
    """Whether to activate it in spite of its verdict."""

    override: bool = Field(default=False, description="activate although it is worse; kept in the audit")


class RollbackBody(Body):
    """Which kind of model goes back to the one before."""

    kind: str = Field(pattern="^(encoder|generator)$")


async def _shown(request: web.Request, found: list[Adapter]) -> tuple[list[dict[str, Any]], dict[str, str | None]]:
    async with request.app[keys.DATABASE].reading() as session:
        active, marked = await adapters.active(session), await data_sets.marked_runs(session)
        pinned = await adapters.pinned(session)
    settings = request.app[keys.SETTINGS]
    states = await asyncio.gather(
        *(asyncio.to_thread(releases.state_of, settings, adapter, active) for adapter in found)
    )
    shown = [
        {**one.manifest, "state": state, "forgotten": one.name in marked, "pinned": one.name in pinned}
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


@describe(
    "Import an adapter trained elsewhere (a zip file of a peft folder); the job compares it with the model in use",
    body=UPLOAD_SCHEMA,
    request_type="multipart/form-data",
    response=JOB_SCHEMA,
    status=202,
)
@requires("admin")
async def import_adapter(request: web.Request) -> web.Response:
    from bot.learning.training_job import KIND as TRAIN

    path, name, _ = await receive_form(request)
    person = request[keys.PERSON]
    try:
        async with request.app[keys.DATABASE].session() as session:
            await audit.record(session, person.actor, "adapters.import", name)
        params = {"source": str(path), "kind": None, "actor": person.actor}
        job_id = await request.app[keys.JOBS].submit(TRAIN, params, person.id)
    except BaseException:
        await asyncio.to_thread(path.unlink, missing_ok=True)
        raise
    return web.json_response({"job_id": job_id}, status=202)


@describe("One adapter", response=ADAPTER_SCHEMA)
@requires("viewer")
async def show_adapter(request: web.Request) -> web.Response:
    async with request.app[keys.DATABASE].reading() as session:
        found = await adapters.get(session, request.match_info["id"])
    return web.json_response((await _shown(request, [found]))[0][0])


@describe(
    "Activate an adapter; the job ends when it is served. One that is worse is refused (409 not_released) "
    "without `override`",
    body=ActivationBody,
    response=JOB_SCHEMA,
    status=202,
)
@requires("admin")
async def activate(request: web.Request) -> web.Response:
    name = request.match_info["id"]
    wanted = await read(request, ActivationBody)
    async with request.app[keys.DATABASE].reading() as session:
        adapter = await adapters.get(session, name)
    settings = request.app[keys.SETTINGS]
    await asyncio.to_thread(releases.verify, settings, name, releases.as_kind(adapter.kind))
    admit(adapter.manifest, override=wanted.override)
    return await _submit(request, {"name": name, "override": wanted.override})


@describe("The comparison that an adapter was judged by, with the questions that changed", response=REPORT_SCHEMA)
@requires("admin")
async def show_report(request: web.Request) -> web.Response:
    name = request.match_info["id"]
    async with request.app[keys.DATABASE].reading() as session:
        await adapters.get(session, name)
    found = await asyncio.to_thread(report.read, request.app[keys.SETTINGS].data / "adapters" / name)
    if found is None:
        raise NotFoundError(
            "no_report",
            f"{name} 没有比较报告（它是有报告之前训练的）",
            f"{name} has no report: it is older than reports",
        )
    return web.json_response(found)


@describe("Keep an adapter from being removed by its age, or no longer", body=PinBody, status=204)
@requires("admin")
async def pin(request: web.Request) -> web.Response:
    wanted, name = await read(request, PinBody), request.match_info["id"]
    async with request.app[keys.DATABASE].session() as session:
        await adapters.pin(session, name, wanted=wanted.pinned)
        await audit.record(session, request[keys.PERSON].actor, "adapters.pin", name, {"pinned": wanted.pinned})
    return web.Response(status=204)


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
    web.post("/api/adapters", import_adapter),
    web.post("/api/adapters/rollback", rollback),
    web.get("/api/adapters/{id}", show_adapter),
    web.get("/api/adapters/{id}/report", show_report),
    web.post("/api/adapters/{id}/activate", activate),
    web.put("/api/adapters/{id}/pin", pin),
    web.delete("/api/adapters/{id}", remove),
]
