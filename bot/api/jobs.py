"""Background work: how far it is, live, and stopping it."""

from typing import Any

from aiohttp import web
from pydantic import Field

from bot import keys
from bot.api.bodies import Body, query
from bot.api.describe import describe
from bot.api.events import Events, send_events
from bot.language import Language
from bot.middleware import language_of
from bot.security.access import requires
from bot.storage import audit
from bot.storage.jobs import Job

JOB_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "kind": {"type": "string"},
        "state": {"type": "string", "enum": ["queued", "running", "done", "failed", "cancelled"]},
        "done": {"type": "integer"},
        "total": {"type": "integer"},
        "note": {"type": "string"},
        "extra": {"type": "object"},
        "result": {"type": ["object", "null"]},
        "error": {"type": ["object", "null"]},
        "created_at": {"type": "string", "format": "date-time"},
        "started_at": {"type": ["string", "null"], "format": "date-time"},
        "finished_at": {"type": ["string", "null"], "format": "date-time"},
    },
}


class JobsQuery(Body):
    """Which jobs: of one kind or of all."""

    kind: str | None = Field(None, max_length=32)
    limit: int = Field(50, ge=1, le=200)


def to_json(job: Job, language: Language) -> dict[str, Any]:
    """A job as the API shows it, its error in the reader's language."""
    shown = job.to_json()
    if job.error:
        error = dict(job.error)
        english = error.pop("message_en", None)
        if language == "en" and english:
            error["message"] = english
        shown["error"] = error
    return shown


@describe(
    "The newest jobs",
    query=JobsQuery,
    response={"type": "object", "properties": {"items": {"type": "array", "items": JOB_SCHEMA}}},
)
@requires("viewer")
async def list_jobs(request: web.Request) -> web.Response:
    wanted = query(request, JobsQuery)
    found = await request.app[keys.JOBS].newest((wanted.kind,) if wanted.kind else (), wanted.limit)
    return web.json_response({"items": [to_json(job, language_of(request)) for job in found]})


@describe("One job", response=JOB_SCHEMA)
@requires("viewer")
async def get_job(request: web.Request) -> web.Response:
    job = await request.app[keys.JOBS].get(request.match_info["id"])
    return web.json_response(to_json(job, language_of(request)))


@describe(
    "A job's progress as Server-Sent Events: `progress` at each change, `done` at its end",
    response=JOB_SCHEMA,
    content_type="text/event-stream",
)
@requires("viewer")
async def follow_job(request: web.Request) -> web.StreamResponse:
    queue, job_id, language = request.app[keys.JOBS], request.match_info["id"], language_of(request)
    await queue.get(job_id)  # an unknown job is a 404, not a stream

    async def events() -> Events:
        async for job in queue.events(job_id):
            yield "done" if job.finished else "progress", "", to_json(job, language)

    return await send_events(request, events())


@describe("Ask a job to stop", response=JOB_SCHEMA)
@requires("editor")
async def cancel_job(request: web.Request) -> web.Response:
    job = await request.app[keys.JOBS].cancel(request.match_info["id"])
    async with request.app[keys.DATABASE].session() as session:
        await audit.record(session, request[keys.PERSON].actor, "jobs.cancel", job.id, {"kind": job.kind})
    return web.json_response(to_json(job, language_of(request)))


routes = [
    web.get("/api/jobs", list_jobs),
    web.get("/api/jobs/{id}", get_job),
    web.get("/api/jobs/{id}/events", follow_job),
    web.post("/api/jobs/{id}/cancel", cancel_job),
]
