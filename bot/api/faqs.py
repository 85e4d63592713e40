"""FAQ entries: list, add, change, delete. A change can be searched when its response arrives."""

from datetime import date
from typing import Any

from aiohttp import web
from pydantic import Field, field_validator

from bot import keys
from bot.api.bodies import Body, query, read
from bot.api.describe import describe
from bot.errors import InvalidError
from bot.security.access import requires
from bot.storage import audit, knowledge
from bot.storage.knowledge import StoredEntry
from bot.storage.values import iso, new_id
from knowledge.readers.limits import Limits
from knowledge.text import clean, clean_line
from knowledge.types import Entry

# What an entry may hold is what a file may bring, so that every export can be imported again.
LIMITS = Limits()
QUESTION_CHARACTERS_MAX = LIMITS.question_characters_max
ANSWER_CHARACTERS_MAX = LIMITS.answer_characters_max
PHRASINGS_MAX = LIMITS.phrasings_max
LABEL_CHARACTERS_MAX = LIMITS.label_characters_max
Phrasings = list[str]
DAY: dict[str, Any] = {"expects": ["日期，如 2026-01-31", "a date such as 2026-01-31"]}


class FaqChange(Body):
    """The fields of an entry to change. `revision` is that of the entry as it was read: 409 if it moved since."""

    question: str | None = Field(None, min_length=1, max_length=QUESTION_CHARACTERS_MAX)
    answer: str | None = Field(None, max_length=ANSWER_CHARACTERS_MAX)
    similar_questions: Phrasings | None = Field(None, max_length=PHRASINGS_MAX)
    negative_questions: Phrasings | None = Field(None, max_length=PHRASINGS_MAX)
    category: str | None = Field(None, max_length=LABEL_CHARACTERS_MAX)
    tags: Phrasings | None = Field(None, max_length=PHRASINGS_MAX)
    enabled: bool | None = None
    action: str | None = Field(None, max_length=LABEL_CHARACTERS_MAX)
    valid_from: date | None = Field(None, json_schema_extra=DAY)
    valid_until: date | None = Field(None, json_schema_extra=DAY)
    channels: Phrasings | None = Field(None, max_length=PHRASINGS_MAX)
    revision: int | None = Field(None, ge=0)

    @field_validator("question", "category", "action")
    @classmethod
    def _line(cls, value: str | None) -> str | None:
        return None if value is None else clean_line(value)

    @field_validator("answer")
    @classmethod
    def _text(cls, value: str | None) -> str | None:
        return None if value is None else clean(value)

    @field_validator("similar_questions", "negative_questions", "tags", "channels")
    @classmethod
    def _lines(cls, value: Phrasings | None) -> Phrasings | None:
        if value is None:
            return None
        if any(len(one) > QUESTION_CHARACTERS_MAX for one in value):
            raise ValueError("too long")
        return list(dict.fromkeys(line for one in value if (line := clean_line(one))))

    def changes(self) -> dict[str, Any]:
        """The fields that were sent, as an Entry has them."""
        found: dict[str, Any] = {}
        for name in self.model_fields_set - {"revision", "id"}:
            value = getattr(self, name)
            if name in ("category", "action", "valid_from", "valid_until"):
                found[name] = value or None
            elif value is not None:
                found[name] = tuple(value) if isinstance(value, list) else value
        return found


class FaqNew(FaqChange):
    """A new entry: a question, and an answer or an action."""

    id: str | None = Field(None, min_length=1, max_length=LIMITS.id_characters_max)
    question: str = Field(min_length=1, max_length=QUESTION_CHARACTERS_MAX)


class FaqQuery(Body):
    """What to list. `q` is looked for in questions and answers."""

    q: str = Field("", max_length=500)
    category: str | None = Field(None, max_length=LABEL_CHARACTERS_MAX)
    offset: int = Field(0, ge=0)
    limit: int = Field(50, ge=1, le=500)


FAQ_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "question": {"type": "string"},
        "answer": {"type": "string", "description": "Markdown"},
        "similar_questions": {"type": "array", "items": {"type": "string"}},
        "negative_questions": {"type": "array", "items": {"type": "string"}},
        "category": {"type": ["string", "null"]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "enabled": {"type": "boolean"},
        "action": {"type": ["string", "null"]},
        "valid_from": {"type": ["string", "null"], "format": "date"},
        "valid_until": {"type": ["string", "null"], "format": "date", "description": "the last day it is answered on"},
        "channels": {"type": "array", "items": {"type": "string"}, "description": "kinds or names; empty: all"},
        "document_id": {"type": ["string", "null"]},
        "revision": {"type": "integer"},
        "updated_at": {"type": "string", "format": "date-time"},
    },
}
PAGE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "items": {"type": "array", "items": FAQ_SCHEMA},
        "total": {"type": "integer"},
        "categories": {
            "type": "array",
            "items": {"type": "object", "properties": {"name": {"type": "string"}, "count": {"type": "integer"}}},
        },
    },
}


def to_json(stored: StoredEntry) -> dict[str, Any]:
    """An entry as the API shows it."""
    shown = {name: getattr(stored.entry, name) for name in Entry.__slots__}
    shown = {name: list(value) if isinstance(value, tuple) else value for name, value in shown.items()}
    shown |= {name: shown[name] and shown[name].isoformat() for name in ("valid_from", "valid_until")}
    return shown | {"revision": stored.revision, "updated_at": iso(stored.updated_at)}


async def _served(request: web.Request, revision: int) -> None:
    """Wait until a write can be searched; other processes hear of it by the revision."""
    await request.app[keys.KNOWLEDGE_BASE].wait_for(revision)
    request.app[keys.WATCHER].nudge()


def check_entry(entry: Entry) -> None:
    """Raises InvalidError for an entry that cannot be answered with."""
    if not entry.question:
        raise InvalidError("no_question", "问题不能为空", "An entry needs a question")
    if entry.valid_from and entry.valid_until and entry.valid_until < entry.valid_from:
        raise InvalidError("invalid_dates", "失效日期不能早于生效日期", "valid_until must not lie before valid_from")
    if not entry.answer and not entry.action:
        raise InvalidError("no_answer", "条目需要答案或业务动作", "An entry needs an answer or an action")


@describe("List and search FAQ entries", query=FaqQuery, response=PAGE_SCHEMA)
@requires("viewer")
async def list_faqs(request: web.Request) -> web.Response:
    wanted = query(request, FaqQuery)
    async with request.app[keys.DATABASE].reading() as session:
        page = await knowledge.list_entries(session, wanted.q.strip(), wanted.category, wanted.offset, wanted.limit)
    return web.json_response(
        {
            "items": [to_json(one) for one in page.items],
            "total": page.total,
            "categories": [{"name": name, "count": count} for name, count in page.categories],
        }
    )


@describe("One FAQ entry", response=FAQ_SCHEMA)
@requires("viewer")
async def get_faq(request: web.Request) -> web.Response:
    async with request.app[keys.DATABASE].reading() as session:
        stored = await knowledge.get_entry(session, request.match_info["id"])
    return web.json_response(to_json(stored))


@describe("Add a FAQ entry", body=FaqNew, response=FAQ_SCHEMA, status=201)
@requires("editor")
async def add_faq(request: web.Request) -> web.Response:
    given = await read(request, FaqNew)
    entry = Entry(id=given.id or new_id(), **given.changes())
    check_entry(entry)
    async with request.app[keys.DATABASE].session() as session:
        stored = await knowledge.add_entry(session, entry)
        await audit.record(session, request[keys.PERSON].actor, "faqs.add", entry.id)
    await _served(request, stored.revision)
    return web.json_response(to_json(stored), status=201)


@describe("Change fields of a FAQ entry", body=FaqChange, response=FAQ_SCHEMA)
@requires("editor")
async def change_faq(request: web.Request) -> web.Response:
    given = await read(request, FaqChange)
    async with request.app[keys.DATABASE].session() as session:
        stored = await knowledge.update_entry(session, request.match_info["id"], given.changes(), given.revision)
        check_entry(stored.entry)
        detail = {"fields": sorted(given.changes())}
        await audit.record(session, request[keys.PERSON].actor, "faqs.change", stored.entry.id, detail)
    await _served(request, stored.revision)
    return web.json_response(to_json(stored))


@describe("Delete a FAQ entry", status=204)
@requires("editor")
async def delete_faq(request: web.Request) -> web.Response:
    entry_id = request.match_info["id"]
    async with request.app[keys.DATABASE].session() as session:
        revision = await knowledge.remove_entry(session, entry_id)
        await audit.record(session, request[keys.PERSON].actor, "faqs.delete", entry_id)
    await _served(request, revision)
    return web.Response(status=204)


routes = [
    web.get("/api/faqs", list_faqs),
    web.post("/api/faqs", add_faq),
    web.get("/api/faqs/{id}", get_faq),
    web.patch("/api/faqs/{id}", change_faq),
    web.delete("/api/faqs/{id}", delete_faq),
]
