"""The company's voice and rules, read and edited by its staff; an edit holds from the next message on."""

import asyncio
from pathlib import Path
from typing import Any

from aiohttp import web
from pydantic import ConfigDict, Field

from bot import keys
from bot.api.bodies import read
from bot.api.describe import describe
from bot.dialogue.texts import TEXTS, WARM
from bot.errors import ConflictError, DiskFullError
from bot.profile import BUILT_IN, PROFILE, SETTINGS, profile_file
from bot.profile_file import FILE, ProfileFile, revision, write
from bot.profile_file import read as read_file
from bot.security.access import requires
from bot.storage import audit, revisions

BODY_BYTES_MAX = 4 * 1024 * 1024


class CompanyBody(ProfileFile):
    """The whole profile. `revision` is that of the profile as it was read: 409 if it moved since."""

    model_config = ConfigDict(extra="forbid")
    revision: str | None = Field(None, max_length=64)


COMPANY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "profile": {"type": "object", "description": "what profile.json holds, in full"},
        "fixed": {"type": "array", "items": {"type": "string"}, "description": "texts that a setting replaces"},
        "defaults": {"type": "object", "description": "the built-in wording of each text, by tone"},
        "revision": {"type": "string"},
        "clock": {
            "type": "object",
            "description": "the company's own time now, by which its hours count; an empty zone is the server's own",
            "properties": {
                "time_zone": {"type": "string"},
                "now": {"type": "string"},
                "weekday": {"type": "integer"},
                "time": {"type": "string"},
                "open": {"type": "boolean"},
            },
        },
    },
}


def _shown(request: web.Request) -> dict[str, Any]:
    settings = request.app[keys.SETTINGS]
    file = profile_file(settings)
    profile = read_file(file) if file else ProfileFile()
    texts = {name: {"zh": zh, "en": en} for name, (zh, en) in TEXTS.items()}
    hours = request.app[PROFILE].now().rules.hours
    here = hours.clock()
    warm = {name: {"zh": zh, "en": en} for name, (zh, en) in WARM.items()}
    return {
        "profile": profile.model_dump(mode="json", by_alias=True),
        "fixed": [name for name, fields in SETTINGS.items() if any(getattr(settings, field) for field in fields)],
        "defaults": {"polite": texts, "warm": texts | warm, "company": BUILT_IN},
        "revision": revision(settings.data / FILE),
        "clock": {
            "time_zone": settings.time_zone, "now": here.isoformat(timespec="seconds"), "weekday": here.isoweekday(),
            "time": f"{here:%H:%M}", "open": hours.open_at(here),
        },
    }  # fmt: skip


@describe("The company's voice and rules", response=COMPANY_SCHEMA)
@requires("viewer")
async def show_company(request: web.Request) -> web.Response:
    return web.json_response(await asyncio.to_thread(_shown, request))


@describe("Set the company's voice and rules", body=CompanyBody, response=COMPANY_SCHEMA)
@requires("editor")
async def set_company(request: web.Request) -> web.Response:
    given = await read(request, CompanyBody, BODY_BYTES_MAX)
    profile = ProfileFile.model_validate(given.model_dump(by_alias=True, exclude={"revision"}))
    file = request.app[keys.SETTINGS].data / FILE
    # The transaction owns the write lock, so that of two edits at once, in two processes even, one comes second.
    async with request.app[keys.DATABASE].session() as session:
        await audit.record(session, request[keys.PERSON].actor, "company.change", FILE, _detail(profile))
        await asyncio.to_thread(_replace, file, profile, given.revision)
        await revisions.bump(session, "settings")
    await request.app[PROFILE].follow()
    request.app[keys.WATCHER].nudge()
    return web.json_response(await asyncio.to_thread(_shown, request))


def _replace(file: Path, profile: ProfileFile, seen: str | None) -> None:
    if seen is not None and seen != revision(file):
        raise ConflictError(
            "conflict",
            "别人刚刚改过这些设置，请先看看最新的内容",
            "Somebody has changed these settings meanwhile; look at the newest first",
        )
    try:
        write(file, profile)
    except OSError as error:
        raise DiskFullError from error


def _detail(profile: ProfileFile) -> dict[str, int]:
    words = profile.words
    return {"topics": len(profile.topics), "refuse": len(words.refuse), "withhold": len(words.withhold)}


routes = [web.get("/api/company", show_company), web.put("/api/company", set_company)]
