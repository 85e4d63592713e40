"""A visitor's conversation over plain requests: start it, say something, read what was said."""

import secrets
from collections.abc import AsyncGenerator
from typing import Any

from aiohttp import web
from pydantic import Field

from bot import keys
from bot.api.bodies import Body, query, read
from bot.api.describe import describe
from bot.api.events import send_events, wants_stream
from bot.api.feed import Feed
from bot.dialogue.pipeline import readable
from bot.errors import InvalidError, NotFoundError, UnauthorizedError
from bot.handoff.desk import DESK
from bot.middleware import error_body, language_of, tag_of
from bot.security.access import bearer
from bot.security.addresses import client_address
from bot.security.limits import LIMITS
from bot.storage import conversations
from bot.storage.conversations import Conversation
from bot.turns import TURNS, Asked, Run

TOKENS_KNOWN_MAX = 10_000
TEXT: Any = {"type": "string"}
NUMBER: Any = {"type": "number"}
SOURCE: Any = {
    "type": "object",
    "properties": {**dict.fromkeys(("faq_id", "document_id", "title", "quote"), TEXT), "score": NUMBER},
}
STATE: Any = {"type": "string", "enum": ["bot", "waiting", "human"], "description": "who answers"}
REPLY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("id", "text", "created_at", "reply_to", "client_id", "feedback", "image_url"), TEXT),
        "role": {"type": "string", "enum": ["bot", "human", "user", "system"]},
        "decision": {
            "type": "string",
            "enum": ["answer", "clarify", "generate", "handoff", "refuse", "chitchat", "action"],
        },
        "sources": {"type": "array", "items": SOURCE},
        "suggestions": {"type": "array", "items": TEXT},
        "generated": {"type": "boolean"},
        "latency_ms": NUMBER,
    },
}


class SessionBody(Body):
    """Nothing needs to be said to start a conversation."""

    language: str | None = Field(None, pattern="^[A-Za-z0-9-]{2,16}$")


class MessageBody(Body):
    """What the visitor says. The same `client_id` twice is one message."""

    text: str
    client_id: str | None = Field(None, min_length=1, max_length=128)


class HistoryQuery(Body):
    """`after` is the id of the last message already known."""

    after: str | None = None
    limit: int = Field(conversations.HISTORY_MAX, ge=1, le=1000)


async def visitor(request: web.Request, token: str | None) -> Conversation:
    """The conversation of the address, where the token is its own. Raises NotFoundError, UnauthorizedError."""
    id_ = request.match_info["id"]
    async with request.app[keys.DATABASE].reading() as session:
        found = await conversations.find_visitor(session, id_, token or "")
        known = found is not None or await conversations.exists(session, id_)
    if not known:
        raise NotFoundError("session_not_found", "会话不存在或已删除", "There is no such conversation")
    if found is None:
        raise UnauthorizedError("bad_token", "会话令牌不对", "The token is not this conversation's")
    return found


async def visitor_id(request: web.Request, token: str | None) -> str:
    """As `visitor`, for those who need its id alone: a token that was right once is not looked up again. Whether the
    conversation is still there is for the caller's own transaction to see.
    """
    id_, known = request.match_info["id"], request.app[keys.KNOWN_TOKENS]
    hashed = conversations.token_hash(token or "")
    if not secrets.compare_digest(known.get(id_, ""), hashed):
        await visitor(request, token)
        known[id_] = hashed
    known.move_to_end(id_)
    while len(known) > TOKENS_KNOWN_MAX:
        known.popitem(last=False)
    return id_


def admit_message(request: web.Request, conversation_id: str, text: str) -> None:
    """Before a message is taken. Raises TooManyRequestsError, InvalidError for one without anything to read."""
    address = client_address(request, request.app[keys.SETTINGS].trusted_proxies)
    request.app[LIMITS].message(address, conversation_id)
    if not readable(text):
        raise InvalidError("empty_message", "请输入消息内容", "The message is empty")


def spoken_language(request: web.Request) -> str | None:
    """The caller's language and characters where the request says them."""
    says = request.headers.get("Accept-Language") or request.query.get("lang")
    return tag_of(request) if says else None


@describe(
    "Start a conversation",
    body=SessionBody,
    response={"type": "object", "properties": {"session_id": TEXT, "token": TEXT}},
    status=201,
)
async def start(request: web.Request) -> web.Response:
    request.app[LIMITS].session(client_address(request, request.app[keys.SETTINGS].trusted_proxies))
    given = await read(request, SessionBody)
    async with request.app[keys.DATABASE].session() as session:
        conversation, token = await conversations.open_visitor(session, language=given.language or tag_of(request))
    return web.json_response({"session_id": conversation.id, "token": token}, status=201)


@describe(
    "Say something; with Accept: text/event-stream the reply is streamed as meta, delta and done. "
    "202 {message_id} while a person has taken over", body=MessageBody,
    response=REPLY_SCHEMA,
)  # fmt: skip
async def say(request: web.Request) -> web.StreamResponse:
    id_ = await visitor_id(request, bearer(request))
    given = await read(request, MessageBody)
    admit_message(request, id_, given.text)
    asked = Asked(id_, given.text, given.client_id, spoken_language(request))
    run = await request.app[TURNS].submit(asked)
    if run.held:
        return web.json_response({"message_id": run.message.id}, status=202)
    if wants_stream(request):
        return await send_events(request, _reply_events(run, request))
    last = await run.result()
    if last is None:
        return web.json_response({"message_id": run.message.id}, status=202)
    if last.error:
        raise last.error
    return web.json_response(last.data)


@describe(
    "What was said; with Accept: text/event-stream also what is said from now on", query=HistoryQuery,
    response={
        "type": "object",
        "properties": {
            "items": {"type": "array", "items": REPLY_SCHEMA},
            "state": STATE,
            "staffed": {"type": "boolean", "description": "whether somebody of the staff is there"},
        },
    },
)  # fmt: skip
async def history(request: web.Request) -> web.StreamResponse:
    conversation = await visitor(request, bearer(request))
    wanted = query(request, HistoryQuery)
    after = request.headers.get("Last-Event-ID") or wanted.after
    if wants_stream(request):
        # The id of a piece is that of its message and a number; what comes after the message is what was missed.
        return await send_events(
            request, _feed_events(request, conversation.id, (after or "").partition(".")[0] or None)
        )
    async with request.app[keys.DATABASE].reading() as session:
        found = await conversations.history(session, conversation.id, after=after, limit=wanted.limit)
    items = [message.to_json() for message in found]
    return web.json_response({"items": items} | request.app[DESK].told(conversation.state))


async def _reply_events(run: Run, request: web.Request) -> AsyncGenerator[tuple[str, str, dict[str, Any]]]:
    number = 0
    async for frame in run.follow():
        number += 1
        if frame.error is not None:
            yield "error", "", error_body(frame.error, language_of(request))
        else:
            yield frame.kind, frame.data["id"] if frame.last else f"{run.message.id}.{number}", frame.data
    if run.held:
        yield "accepted", run.message.id, {"message_id": run.message.id}


async def _feed_events(
    request: web.Request, conversation_id: str, after: str | None
) -> AsyncGenerator[tuple[str, str, dict[str, Any]]]:
    async with Feed(request.app, conversation_id, after, language_of(request)) as feed:
        async for kind, data in feed:
            yield kind, data["message"]["id"] if "message" in data else "", data


routes = [
    web.post("/api/sessions", start),
    web.post("/api/sessions/{id}/messages", say),
    web.get("/api/sessions/{id}/messages", history),
]
