"""On the way to a release: the candidate in the shadow, what is watched after a switch, and the schedule."""

import asyncio
from typing import Any

from aiohttp import web
from pydantic import Field

from bot import keys
from bot.api.bodies import Body, query, read
from bot.api.describe import describe
from bot.errors import ConflictError, DiskFullError, InvalidError, NotFoundError
from bot.learning import plan as plans
from bot.learning import releases
from bot.learning.plan import Plan
from bot.learning.shadow import report
from bot.middleware import language_of
from bot.security.access import requires
from bot.storage import adapters, audit, shadows

SPREAD: dict[str, Any] = {
    "type": ["object", "null"],
    "properties": {"p50": {"type": "number"}, "p95": {"type": "number"}},
}
SHADOW_SCHEMA: dict[str, Any] = {
    "type": ["object", "null"],
    "properties": {
        "id": {"type": "string"},
        "adapter": {"type": "string"},
        "against": {"type": ["string", "null"], "description": "the model in use beside it; null: the base model"},
        "state": {
            "type": "string",
            "enum": [
                "preparing", "answering", "enough", "released", "dropped", "replaced", "removed", "failed",
            ],
        },
        "progress": {"type": ["array", "null"], "description": "while preparing: texts encoded, of how many"},
        "share": {"type": "number"},
        "questions_max": {"type": "integer"},
        "asked": {"type": "integer"},
        "same": {"type": "integer", "description": "same decision and same first entry"},
        "errors": {"type": "integer"},
        "missed": {"type": "integer", "description": "passed over because customers kept the service busy"},
        "active_ms": SPREAD,
        "candidate_ms": SPREAD,
        "latency_ratio": {"type": ["number", "null"], "description": "median of candidate ÷ active, encoding"},
        "error": {"type": ["object", "null"]},
        "started_at": {"type": "string", "format": "date-time"},
        "ended_at": {"type": ["string", "null"], "format": "date-time"},
    },
}  # fmt: skip
WATCH_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "An adapter after a switch: figures before and since, and why it was rolled back",
    "properties": {
        "kind": {"type": "string"},
        "adapter": {"type": "string"},
        "before": {"type": "object"},
        "after": {"type": "object"},
        "limit_seconds": {"type": "number", "description": "a slower 95th percentile rolls it back"},
        "more_handoffs": {"type": ["object", "null"], "description": "a warning: people are called more often"},
        "outcome": {"type": ["string", "null"], "enum": ["passed", "rolled_back", "replaced", None]},
        "cause": {"type": ["string", "null"], "enum": ["errors", "latency", None]},
        "returned_to": {"type": ["string", "null"], "description": "null: the base model"},
        "started_at": {"type": "string", "format": "date-time"},
        "ended_at": {"type": ["string", "null"], "format": "date-time"},
    },
}
SCHEDULE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "mode": {"type": "string", "enum": ["off", "train", "release"]},
        "interval": {"type": "string", "enum": ["night", "week"]},
        "hours": {"type": "string"},
        "examples_min": {"type": "integer"},
        "fixed": {
            "type": "array",
            "items": {"type": "string"},
            "description": "which of these four kefu.toml or the environment lays down",
        },
        "new_examples": {"type": "integer", "description": "reviewed since the last training"},
        "next_at": {"type": ["string", "null"], "format": "date-time"},
        "waits_for": {"type": ["string", "null"], "enum": ["busy", "training", None]},
        "last": {
            "type": ["object", "null"],
            "description": "state: skipped, training, released, kept, failed or cancelled; reason says why",
        },
    },
}
RELEASES_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "shadow": SHADOW_SCHEMA,
        "watching": {"type": "array", "items": WATCH_SCHEMA},
        "rolled_back": {"type": "array", "items": WATCH_SCHEMA, "description": "by itself, in the last two weeks"},
        "schedule": SCHEDULE_SCHEMA,
    },
}
DIFFERENCES_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "question": {"type": "string", "description": "without personal data"},
                    "active": {"type": "object", "description": "{decision, entry, title}"},
                    "candidate": {"type": "object", "description": "{decision, entry, title}; empty on an error"},
                    "error": {"type": ["string", "null"]},
                    "asked_at": {"type": "string", "format": "date-time"},
                },
            },
        },
        "total": {"type": "integer"},
    },
}


class ShadowBody(Body):
    """The candidate, how large a share of the questions it answers, and after how many it has shown enough."""

    adapter: str = Field(min_length=1, max_length=128)
    share: float = Field(0.2, gt=0, le=1)
    questions_max: int = Field(500, ge=1, le=5000)


class PlanBody(Plan):
    """When it trains by itself, in full; what `fixed` names must stay."""


class PageQuery(Body):
    """Which part of the list."""

    offset: int = Field(0, ge=0)
    limit: int = Field(50, ge=1, le=200)


@describe("The candidate in the shadow, what is watched, and the schedule", response=RELEASES_SCHEMA)
@requires("viewer")
async def show(request: web.Request) -> web.Response:
    shadow = await report(request.app[keys.DATABASE], request.app[keys.SHADOW])
    if shadow and shadow["error"]:
        shadow["error"] = {"message": shadow["error"][language_of(request)]}
    watched = await request.app[keys.WATCH].report()
    schedule = await request.app[keys.SCHEDULE].report()
    return web.json_response({"shadow": shadow, **watched, "schedule": schedule})


@describe("Let a candidate answer in the shadow", body=ShadowBody, response=SHADOW_SCHEMA, status=201)
@requires("admin")
async def start(request: web.Request) -> web.Response:
    wanted = await read(request, ShadowBody)
    database, settings, actor = request.app[keys.DATABASE], request.app[keys.SETTINGS], request[keys.PERSON].actor
    async with database.reading() as session:
        adapter = await adapters.get(session, wanted.adapter)
    if adapter.kind != "encoder":
        raise InvalidError(
            "shadow_kind",
            "只有检索模型可以影子试答：生成模型再写一遍回答，机器负担太重",
            "Only encoders can answer in the shadow: writing each reply twice is too much for the machine",
        )
    await asyncio.to_thread(releases.check_usable, settings, adapter.name, "encoder")
    async with database.session() as session:
        active = (await adapters.active(session))["encoder"]
        if active == adapter.name:
            raise ConflictError(
                "shadow_active", f"{adapter.name} 已经启用", f"{adapter.name} is the active one already"
            )
        await shadows.start(session, adapter.name, active, wanted.share, wanted.questions_max, actor)
        detail = {"share": wanted.share, "questions_max": wanted.questions_max}
        await audit.record(session, actor, "shadow.start", adapter.name, detail)
    request.app[keys.WATCHER].nudge()
    return web.json_response(await report(database, request.app[keys.SHADOW]), status=201)


@describe("Drop the candidate in the shadow", status=204)
@requires("admin")
async def drop(request: web.Request) -> web.Response:
    actor = request[keys.PERSON].actor
    async with request.app[keys.DATABASE].session() as session:
        ended = await shadows.end(session, "dropped", actor)
        if ended is None:
            raise NotFoundError("no_shadow", "没有模型在影子试答", "No model answers in the shadow")
        await audit.record(session, actor, "shadow.drop", ended.adapter)
    request.app[keys.WATCHER].nudge()
    return web.Response(status=204)


@describe("Set when it trains by itself", body=PlanBody, response=SCHEDULE_SCHEMA)
@requires("admin")
async def plan(request: web.Request) -> web.Response:
    wanted = await read(request, PlanBody)
    async with request.app[keys.DATABASE].session() as session:
        detail = wanted.model_dump(mode="json")
        await audit.record(session, request[keys.PERSON].actor, "schedule.change", plans.FILE, detail)
        try:
            await asyncio.to_thread(plans.write, request.app[keys.SETTINGS], wanted)
        except OSError as error:
            raise DiskFullError from error
    return web.json_response(await request.app[keys.SCHEDULE].report())


@describe("Questions a candidate answers differently, newest first", query=PageQuery, response=DIFFERENCES_SCHEMA)
@requires("editor")
async def differences(request: web.Request) -> web.Response:
    wanted = query(request, PageQuery)
    async with request.app[keys.DATABASE].reading() as session:
        items, total = await shadows.differences(session, request.match_info["id"], wanted.offset, wanted.limit)
    return web.json_response({"items": items, "total": total})


routes = [
    web.get("/api/releases", show),
    web.put("/api/schedule", plan),
    web.post("/api/shadow", start),
    web.delete("/api/shadow", drop),
    web.get("/api/shadows/{id}/differences", differences),
]
