"""The hit test: what a question finds, with every score, and what would be done."""

from typing import Any

from aiohttp import web
from pydantic import Field

from bot import keys
from bot.api.bodies import Body, read
from bot.api.describe import describe
from bot.errors import QuestionTooLongError
from bot.filtered import filtered
from bot.knowledge_base import KnowledgeBase
from bot.security.access import requires
from knowledge.types import Hit

NUMBER = {"type": "number"}
TEXT = {"type": "string"}
RESULT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "query": TEXT,
        "decision": {"type": "string", "enum": ["answer", "clarify", "none"]},
        "probability": NUMBER,
        "score": NUMBER,
        "thresholds": {"type": "object", "properties": {"answer": NUMBER, "clarify": NUMBER}},
        "options": {"type": "array", "items": TEXT},
        "read_as": {**TEXT, "description": "the question in the company's own words where it was found as mistyped"},
        "hits": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    **dict.fromkeys(("id", "kind", "title", "phrasing", "text"), TEXT),
                    "same_as": {**TEXT, "description": "the entry of the same question that stands for this one"},
                    "channels": {"type": "array", "items": TEXT, "description": "where alone it is answered"},
                    **dict.fromkeys(("dense", "lexical", "score", "rerank"), NUMBER),
                },
            },
        },
        "filtered": {
            "type": "array",
            "description": "entries that would stand among the best, and why they were left out",
            "items": {
                "type": "object",
                "properties": {
                    **dict.fromkeys(("id", "title", "phrasing"), TEXT),
                    "reasons": {
                        "type": "array",
                        "items": {"type": "string", "enum": ["disabled", "category", "channel", "not_yet", "expired"]},
                    },
                    "channels": {"type": "array", "items": TEXT},
                    **{name: {"type": ["string", "null"]} for name in ("category", "valid_from", "valid_until")},
                    **dict.fromkeys(("dense", "lexical", "score"), NUMBER),
                },
            },
        },
    },
}


class SearchBody(Body):
    """A question, and how many candidates to show of each kind."""

    query: str = Field(min_length=1)
    k: int = Field(10, ge=1, le=100)
    channel: str | None = Field(None, min_length=1, max_length=64)
    category: str | None = Field(None, min_length=1, max_length=200)


def _hit(knowledge_base: KnowledgeBase, hit: Hit) -> dict[str, Any] | None:
    entry = knowledge_base.entry(hit.id) if hit.kind == "faq" else None
    if hit.kind == "faq":
        title, text = (entry.question, entry.answer) if entry else ("", "")
    else:
        passage = knowledge_base.passage(hit.id)
        title, text = (passage.title, passage.text) if passage else ("", "")
    if not title and not text:
        return None  # deleted between the search and now
    given = ((name, getattr(hit, name)) for name in ("dense", "lexical", "score", "rerank"))
    scores = {name: round(value, 6) for name, value in given if value is not None}
    same: dict[str, Any] = {"same_as": hit.same_as} if hit.same_as else {}
    if entry and entry.channels:
        same["channels"] = list(entry.channels)
    return {"id": hit.id, "kind": hit.kind, "title": title, "phrasing": hit.phrasing, "text": text, **scores, **same}


@describe("Search the knowledge base as a customer's question does", body=SearchBody, response=RESULT_SCHEMA)
@requires("viewer")
async def search(request: web.Request) -> web.Response:
    given = await read(request, SearchBody)
    limit = request.app[keys.SETTINGS].question_characters_max
    if len(given.query) > limit:
        raise QuestionTooLongError(len(given.query), limit)
    knowledge_base = request.app[keys.KNOWLEDGE_BASE]
    if given.channel is not None:
        knowledge_base.check_channel(given.channel)
    found = await knowledge_base.search(given.query, given.k, channel=given.channel, category=given.category)
    left_out = await filtered(knowledge_base, found, channel=given.channel, category=given.category)
    answer, clarify = knowledge_base.thresholds
    hits = (_hit(knowledge_base, one) for one in (*found.hits, *found.passages))
    return web.json_response(
        {
            "query": given.query,
            "decision": found.decision,
            "probability": found.probability,
            "score": found.score,
            "thresholds": {"answer": answer, "clarify": clarify},
            "options": list(found.options),
            **({"read_as": found.read_as} if found.read_as else {}),
            "hits": [hit for hit in hits if hit],
            "filtered": [one.to_json() for one in left_out],
        }
    )


routes = [web.post("/api/search", search)]
