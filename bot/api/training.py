"""Trainings: start one, follow it, see what came of it."""

import asyncio
from typing import Any, Literal

from aiohttp import web
from pydantic import Field

from bot import keys
from bot.api.bodies import Body, read
from bot.api.describe import describe
from bot.api.jobs import JOB_SCHEMA, to_json
from bot.errors import ConflictError, NotFoundError
from bot.learning import runs
from bot.learning.training_job import FORECAST, KIND
from bot.middleware import language_of
from bot.security.access import requires
from bot.storage import audit
from bot.storage.jobs import Job

RUN_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        **JOB_SCHEMA["properties"],
        "run": {
            "type": ["object", "null"],
            "properties": {"name": {"type": ["string", "null"]}, "kind": {"type": "string"}},
        },
    },
}
DETAIL_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        **RUN_SCHEMA["properties"],
        "curve": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "step": {"type": "integer"},
                    "loss": {"type": "number"},
                    "heldout": {"type": "number", "description": "encoder: MRR@10 (higher is better); generator: loss"},
                },
            },
        },
        "before": {"type": ["object", "null"], "description": "figures of the model in use"},
        "after": {"type": ["object", "null"], "description": "figures of the candidate"},
        "verdict": {"type": ["object", "null"], "description": "{outcome, zh, en}"},
        "adapter": {"type": ["string", "null"]},
    },
}


class TrainingBody(Body):
    """What to train, and the options that are not to be the defaults."""

    kind: Literal["encoder", "generator"]
    options: dict[str, int | float] = Field(default_factory=dict, max_length=30)


def _shown(job: Job, request: web.Request) -> dict[str, Any]:
    begun = job.extra.get("run") or {"name": None, "kind": job.params.get("kind")}
    return {**to_json(job, language_of(request)), "run": begun}


@describe("Start a training", body=TrainingBody, response={"type": "object"}, status=202)
@requires("admin")
async def start(request: web.Request) -> web.Response:
    wanted = await _wanted(request)
    queue, person = request.app[keys.JOBS], request[keys.PERSON]
    params = {"kind": wanted.kind, "options": wanted.options, "actor": person.actor}
    async with request.app[keys.DATABASE].session() as session:
        await audit.record(session, person.actor, "training.start", wanted.kind, {"options": wanted.options})
    return web.json_response({"job_id": await queue.submit(KIND, params, person.id)}, status=202)


@describe(
    "What a training would take, tried for some seconds; the job's result has it",
    body=TrainingBody,
    response={"type": "object"},
    status=202,
)
@requires("admin")
async def forecast(request: web.Request) -> web.Response:
    wanted = await _wanted(request)
    params = {"kind": wanted.kind, "options": wanted.options}
    job = await request.app[keys.JOBS].submit(FORECAST, params, request[keys.PERSON].id)
    return web.json_response({"job_id": job}, status=202)


async def _wanted(request: web.Request) -> TrainingBody:
    """What is asked for, checked. Raises ConflictError while a training, or the trial of one, is under way."""
    from bot.learning.worker import busy, is_busy

    wanted = await read(request, TrainingBody)
    settings = request.app[keys.SETTINGS]
    await asyncio.to_thread(runs.check, settings, wanted.kind, wanted.options)
    going = any(not job.finished for job in await request.app[keys.JOBS].newest((KIND, FORECAST), 10))
    if going or await asyncio.to_thread(is_busy, runs.runs_dir(settings)):
        taken = busy()
        raise ConflictError(taken.code, taken.zh, taken.en)
    return wanted


@describe(
    "Trainings, newest first",
    response={"type": "object", "properties": {"items": {"type": "array", "items": RUN_SCHEMA}}},
)
@requires("viewer")
async def list_runs(request: web.Request) -> web.Response:
    found = await request.app[keys.JOBS].newest((KIND,), 50)
    return web.json_response({"items": [_shown(job, request) for job in found]})


@describe("One training with its curve and its comparison", response=DETAIL_SCHEMA)
@requires("viewer")
async def show(request: web.Request) -> web.Response:
    job = await request.app[keys.JOBS].get(request.match_info["id"])
    if job.kind != KIND:
        raise NotFoundError("run_not_found", f"没有训练 {job.id}", f"There is no training {job.id}")
    shown = _shown(job, request)
    result = job.result or {}
    name = shown["run"]["name"]
    folder = runs.runs_dir(request.app[keys.SETTINGS]) / name if name else None
    points = await asyncio.to_thread(runs.curve, folder) if folder else []
    figures = {key: result.get(key) for key in ("before", "after", "verdict", "adapter", "notes", "summary")}
    return web.json_response({**shown, "curve": points, **figures})


routes = [
    web.get("/api/training-runs", list_runs),
    web.post("/api/training-runs", start),
    web.get("/api/training-runs/{id}", show),
    web.post("/api/training-forecasts", forecast),
]
