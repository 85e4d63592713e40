"""The review queue: what customers asked and probably did not get, and what staff decide about it."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal, cast

from aiohttp import web
from pydantic import Field

from bot import keys
from bot.api.bodies import Body, query, read
from bot.api.describe import describe
from bot.api.faqs import QUESTION_CHARACTERS_MAX, FaqNew, check_entry
from bot.knowledge_base import KnowledgeBase
from bot.learning import mining_job
from bot.learning.review import Action, Choice, decide, undo
from bot.security.access import requires
from bot.security.redaction import masked
from bot.storage import decisions, review
from bot.storage.decisions import Decision
from bot.storage.review import EXAMPLES_MAX, Item, Question
from bot.storage.values import iso, new_id
from knowledge.types import Entry, SearchResult

CANDIDATES = 3
REPLY_CHARACTERS_MAX, CUT_CHARACTERS = 300, 200
DRAFT_MESSAGES = 5
TEXT: Any = {"type": "string"}
COUNT: Any = {"type": "integer"}
ITEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("id", "question", "state", "first_at", "last_at"), TEXT),
        **dict.fromkeys(("revision", "count", "week", "week_before"), COUNT),
        "priority": {"type": "number", "description": "questions × how sure it is that they were not answered"},
        "claimed_by": {"type": ["string", "null"]},
        "signals": {"type": "object", "additionalProperties": COUNT},
        "examples": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    **dict.fromkeys(("id", "text", "reply", "asked_at", "session_id"), TEXT),
                    "answered": {"type": "number", "description": "how likely it was answered"},
                    "signals": {"type": "array", "items": TEXT},
                },
            },
        },
        "candidates": {
            "type": "array",
            "description": "the nearest entries there are now",
            "items": {
                "type": "object",
                "properties": {**dict.fromkeys(("faq_id", "question", "answer"), TEXT), "score": {"type": "number"}},
            },
        },
        "probability": {"type": "number", "description": "that the first of them answers"},
        "decision": {**TEXT, "description": "what the bot would do now: answer, clarify or none"},
        "draft": {"type": ["string", "null"], "description": "what a person answered"},
    },
}
QUEUE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "items": {"type": "array", "items": ITEM_SCHEMA},
        "totals": {"type": "object", "additionalProperties": COUNT},
    },
}
DECIDED_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("id", "action", "state"), TEXT),
        **dict.fromkeys(("revision", "labels"), COUNT),
        "faq_id": {"type": ["string", "null"]},
        "entry": {"type": ["string", "null"], "description": "decided ones: the entry's question as it is now"},
    },
}


class ReviewQuery(Body):
    """`open` items to decide, without those a colleague holds; or what was `decided`, the newest first."""

    state: Literal["open", "decided"] = "open"
    offset: int = Field(0, ge=0)
    limit: int = Field(10, ge=1, le=50)


class ReviewBody(Body):
    """`faq_id` goes with entry, similar and negative, `entry` with new. `question` is the wording to add; the item's
    own where it is missing. `questions` names the examples it holds for: all, where it is missing; those of `shown`
    that are not among them go back into the queue. `revision` is the item's as it was read."""

    action: Literal["claim", "entry", "similar", "negative", "new", "out_of_scope", "ignore", "undo"]
    revision: int = Field(0, ge=0)
    faq_id: str | None = Field(None, min_length=1, max_length=128)
    question: str | None = Field(None, max_length=QUESTION_CHARACTERS_MAX)
    entry: FaqNew | None = None
    questions: list[str] = Field(default_factory=list, max_length=EXAMPLES_MAX)
    shown: list[str] = Field(default_factory=list, max_length=EXAMPLES_MAX)


@describe("What to review, by what teaches most", query=ReviewQuery, response=QUEUE_SCHEMA)
@requires("editor")
async def queue(request: web.Request) -> web.Response:
    wanted, actor = query(request, ReviewQuery), request[keys.PERSON].actor
    async with request.app[keys.DATABASE].reading() as session:
        totals = await review.totals(session)
        if wanted.state == "decided":
            made = await decisions.newest(session, wanted.offset, wanted.limit)
            revisions = await review.revisions(session, [one.item_id for one in made])
            find = request.app[keys.KNOWLEDGE_BASE].entry
            return web.json_response({"items": [_decided(one, revisions, find) for one in made], "totals": totals})
        items = await review.page(session, "open", wanted.offset, wanted.limit, without=actor)
        asked = await review.questions(session, [one.id for one in items])
        replies = await review.replies_to(session, [one.id for one in asked])
        said = await review.people_said(session, asked)
    knowledge_base = request.app[keys.KNOWLEDGE_BASE]

    def shown() -> list[dict[str, Any]]:
        found = knowledge_base.look_up([one.question for one in items]) if items else []
        return [
            _shown(one, [q for q in asked if q.item_id == one.id], replies, said, near, knowledge_base)
            for one, near in zip(items, found, strict=True)
        ]

    # Looking up and masking take some milliseconds a text: others are answered meanwhile.
    return web.json_response({"items": await asyncio.to_thread(shown), "totals": totals})


def _shown(
    item: Item,
    asked: list[Question],
    replies: dict[str, str],
    said: dict[str, list[tuple[int, str]]],
    near: SearchResult,
    knowledge_base: KnowledgeBase,
) -> dict[str, Any]:
    entries = [(hit, entry) for hit in near.hits if (entry := knowledge_base.entry(hit.id))]
    held = item.claimed_by if item.claimed_until else None
    return {
        "id": item.id,
        "question": item.question,
        "state": item.state,
        "revision": item.revision,
        "count": item.count,
        "week": item.week,
        "week_before": item.week_before,
        "priority": round(item.priority, 3),
        "first_at": iso(item.first_at),
        "last_at": iso(item.last_at),
        "claimed_by": held.partition(":")[2] if held else None,
        "signals": dict(Counter(signal for one in asked for signal in one.signals)),
        "examples": [
            {
                "id": one.id,
                "text": one.text,
                "reply": excerpt(replies.get(one.id, "")),
                "asked_at": iso(one.asked_at),
                "session_id": one.conversation_id,
                "answered": one.answered,
                "signals": list(one.signals),
            }
            for one in asked
        ],
        "candidates": [
            {"faq_id": hit.id, "question": entry.question, "answer": entry.answer, "score": round(hit.score, 4)}
            for hit, entry in entries[:CANDIDATES]
        ],
        "probability": round(near.probability, 4),
        "decision": near.decision,
        "draft": draft_of(asked, said),
    }


def excerpt(text: str) -> str:
    """The beginning of a reply without personal data. Of what a long one is cut to, the end is not shown: it may be
    the half of a number or an address that is not recognised."""
    begun = text[: REPLY_CHARACTERS_MAX + 2 * CUT_CHARACTERS]
    read = masked(begun)
    return (read if begun == text else read[:-CUT_CHARACTERS])[:REPLY_CHARACTERS_MAX]


def draft_of(asked: list[Question], said: dict[str, list[tuple[int, str]]]) -> str | None:
    """The longest of what a person said next, without personal data: greetings come first and are short."""
    texts = [
        text
        for one in asked
        for text in [text for seq, text in said.get(one.conversation_id, ()) if seq > one.seq][:DRAFT_MESSAGES]
    ]
    return masked(max(texts, key=len)) if texts else None


def _decided(
    one: Decision, revisions: dict[str, tuple[str, int]], find: Callable[[str], Entry | None]
) -> dict[str, Any]:
    state, revision = revisions.get(one.item_id, ("gone", 0))
    entry = find(one.entry_id) if one.entry_id else None
    return {
        "id": one.item_id,
        "decision_id": one.id,
        "action": one.action,
        "question": one.question,
        "faq_id": one.entry_id,
        "entry": entry.question if entry else None,
        "labels": one.labels,
        "by": one.actor.partition(":")[2],
        "at": iso(one.created_at),
        "undone_by": one.undone_by.partition(":")[2] if one.undone_by else None,
        "undone_at": iso(one.undone_at),
        "state": state,
        "revision": revision,
    }


@describe(
    "Decide a question: claim, entry, similar, negative, new, out_of_scope, ignore, undo",
    body=ReviewBody,
    response=DECIDED_SCHEMA,
)
@requires("editor")
async def answer(request: web.Request) -> web.Response:
    given, item_id = await read(request, ReviewBody), request.match_info["id"]
    actor, database = request[keys.PERSON].actor, request.app[keys.DATABASE]
    if given.action == "claim":
        async with database.session() as session:
            item = await review.claim(session, item_id, actor)
        return web.json_response({"id": item_id, "action": "claim", "state": item.state, "revision": item.revision})
    async with database.session() as session:
        if given.action == "undo":
            done = await undo(session, item_id, given.revision, actor)
        else:
            done = await decide(session, item_id, _choice(given), actor)
        item = await review.item(session, item_id)
    if done.revision is not None:  # in effect, here and in other processes, when the response arrives
        await request.app[keys.KNOWLEDGE_BASE].wait_for(done.revision)
        request.app[keys.WATCHER].nudge()
    return web.json_response(
        {
            "id": item_id, "action": given.action, "state": item.state, "revision": item.revision,
            "faq_id": done.entry_id, "labels": done.labels,
        }
    )  # fmt: skip


def _choice(given: ReviewBody) -> Choice:
    entry = None
    if given.entry is not None:
        entry = Entry(id=given.entry.id or new_id(), **given.entry.changes())
        check_entry(entry)
    action = cast("Action", given.action)  # claim and undo went another way
    return Choice(
        action, given.revision, given.faq_id, entry, given.question, tuple(given.questions), tuple(given.shown)
    )  # fmt: skip


@describe("Look for new questions now", response={"type": "object", "properties": {"job_id": TEXT}}, status=202)
@requires("editor")
async def look(request: web.Request) -> web.Response:
    job_id = await mining_job.submit(request.app[keys.JOBS], request[keys.PERSON].id)
    return web.json_response({"job_id": job_id}, status=202)


routes = [
    web.get("/api/review", queue),
    web.post("/api/review", look),
    web.post("/api/review/{id}", answer),
]
