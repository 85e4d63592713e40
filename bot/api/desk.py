"""The staff's side of a handoff: the queue, one conversation, taking it over, replying, and giving it back."""

import asyncio
import time
from contextlib import nullcontext, suppress
from typing import Any

from aiohttp import web
from pydantic import Field

from bot import keys
from bot.api.bodies import Body, query, read
from bot.api.channels import LETTER_SCHEMA, letter_json
from bot.api.describe import describe
from bot.api.events import Events, merged, send_events
from bot.api.feed import Feed
from bot.api.sessions import REPLY_SCHEMA
from bot.dialogue.pipeline import readable
from bot.errors import InvalidError
from bot.handoff.desk import DESK, Desk
from bot.handoff.news import QUEUE
from bot.language import Language
from bot.messaging.customers import customer_of
from bot.middleware import language_of
from bot.security.access import Principal, is_still, requires
from bot.storage import conversations, handoffs, letters
from bot.storage.conversations import STAFF, Message
from bot.storage.handoffs import Case
from bot.storage.values import iso

GLANCE_CHARACTERS = 160
PAGE_MAX = 200
SETTLE_SECONDS = 0.2
LOOK_AGAIN_SECONDS = 60.0
TEXT: dict[str, Any] = {"type": "string"}
MAYBE: dict[str, Any] = {"type": ["string", "null"]}
WHOLE: dict[str, Any] = {"type": "integer"}
CASE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("id", "channel", "user", "customer", "language", "updated_at"), TEXT),
        "state": {"type": "string", "enum": ["bot", "waiting", "paused", "human"]},
        "cause": {**MAYBE, "description": "why a person was called: the cause of the handoff, paused or staff"},
        "since": {**MAYBE, "description": "when a person was called"},
        "agent": {**MAYBE, "description": "who has taken it over, as user:NAME or key:NAME"},
        "mine": {"type": "boolean"},
        "reachable": {"type": "boolean", "description": "whether a reply of the staff gets to the customer"},
        "unanswered": {**WHOLE, "description": "messages of the customer after the last one to them"},
        "lost": {**WHOLE, "description": "messages to them that could not be delivered"},
        "last": {
            "type": ["object", "null"],
            "description": "what the customer or one of the staff said last",
            "properties": dict.fromkeys(("id", "role", "text", "created_at"), TEXT),
        },
    },
}
MESSAGE_SCHEMA: dict[str, Any] = {
    "type": "object", "properties": {**REPLY_SCHEMA["properties"], "author": MAYBE, "seq": WHOLE},
}  # fmt: skip
COUNTS: dict[str, Any] = {
    "type": "object",
    "properties": dict.fromkeys(("waiting", "unasked", "mine", "others"), WHOLE),
}


class BoxQuery(Body):
    """Which conversations: those that wait, those where nothing was found and nobody was asked for, one's own, the
    colleagues', or the last ones of the bot.
    """

    box: handoffs.Box = "waiting"
    offset: int = Field(0, ge=0)
    limit: int = Field(50, ge=1, le=PAGE_MAX)


class MessagesQuery(Body):
    """`before` is the `seq` of the earliest message already known."""

    before: int | None = Field(None, ge=0)
    limit: int = Field(50, ge=1, le=PAGE_MAX)


class EventsQuery(Body):
    """`conversation` is the one that is looked at, `after` its last message already known.

    `attending` counts its reader as somebody who is there for customers.
    """

    conversation: str | None = Field(None, max_length=40)
    after: str | None = Field(None, max_length=40)
    attending: bool = False


class TakeBody(Body):
    """`from` is the colleague who has it, as `agent` says; without it, it must be with nobody."""

    from_agent: str | None = Field(None, alias="from", max_length=160)


class ReplyBody(Body):
    """What the customer is told. The same `client_id` twice is one message."""

    text: str = Field(min_length=1, max_length=5000)
    client_id: str = Field(min_length=1, max_length=64)


def case_json(case: Case, person: Principal, desk: Desk, language: Language) -> dict[str, Any]:
    """A conversation as its line in the list."""
    conversation, handoff, last = case.conversation, case.handoff, case.last
    kind = conversation.account.partition(":")[0]
    glance = last and {
        "id": last.id, "role": last.role, "text": last.text[:GLANCE_CHARACTERS], "created_at": iso(last.created_at),
    }  # fmt: skip
    return {
        "id": conversation.id,
        "channel": f"{kind}/{conversation.channel}" if kind else conversation.channel,
        "user": conversation.user,
        "customer": customer_of(conversation, language),
        "language": conversation.language,
        "state": conversation.state,
        "cause": handoff.cause if handoff else None,
        "since": iso(handoff.requested_at) if handoff else None,
        "agent": handoff.taken_by if handoff else None,
        "mine": bool(handoff and handoff.taken_by == person.actor),
        "reachable": desk.reaches(conversation),
        "unanswered": case.unanswered,
        "lost": case.lost,
        "updated_at": iso(case.updated_at),
        "last": glance,
    }


def message_json(message: Message) -> dict[str, Any]:
    """A message as the staff see it."""
    shown = message.to_json() | {"author": message.author, "seq": message.seq}
    if message.role == "human" and message.client_id:
        shown["client_id"] = message.client_id.removeprefix(STAFF)
    return shown


@describe(
    "Conversations that wait for a person, are one's own, the colleagues', or the bot's", query=BoxQuery,
    response={
        "type": "object",
        "properties": {"items": {"type": "array", "items": CASE_SCHEMA}, "total": WHOLE, "counts": COUNTS},
    },
)  # fmt: skip
@requires("agent")
async def list_cases(request: web.Request) -> web.Response:
    wanted, person = query(request, BoxQuery), request[keys.PERSON]
    async with request.app[keys.DATABASE].reading() as session:
        found, total = await handoffs.cases(session, wanted.box, person.actor, offset=wanted.offset, limit=wanted.limit)
        counts = await handoffs.counts(session, person.actor)
    items = [case_json(one, person, request.app[DESK], language_of(request)) for one in found]
    return web.json_response({"items": items, "total": total, "counts": counts})


@describe("One conversation", response=CASE_SCHEMA)
@requires("agent")
async def get_case(request: web.Request) -> web.Response:
    return web.json_response(await _case(request))


async def _case(request: web.Request) -> dict[str, Any]:
    async with request.app[keys.DATABASE].reading() as session:
        found = await handoffs.case(session, request.match_info["id"])
    return case_json(found, request[keys.PERSON], request.app[DESK], language_of(request))


@describe(
    "What was said in a conversation, the newest messages first read", query=MessagesQuery,
    response={
        "type": "object",
        "properties": {
            "items": {"type": "array", "items": MESSAGE_SCHEMA},
            "earlier": {"type": "boolean", "description": "whether there are older ones"},
        },
    },
)  # fmt: skip
@requires("agent")
async def list_messages(request: web.Request) -> web.Response:
    wanted, id_ = query(request, MessagesQuery), request.match_info["id"]
    async with request.app[keys.DATABASE].reading() as session:
        await handoffs.case(session, id_)
        found = await conversations.history(session, id_, before=wanted.before, limit=wanted.limit + 1)
    items = [message_json(one) for one in found[-wanted.limit :]]
    return web.json_response({"items": items, "earlier": len(found) > wanted.limit})


@describe(
    "What of a conversation did not reach its customer (yet): on its way, tried again, or given up",
    response={"type": "object", "properties": {"items": {"type": "array", "items": LETTER_SCHEMA}}},
)
@requires("agent")
async def list_deliveries(request: web.Request) -> web.Response:
    id_ = request.match_info["id"]
    async with request.app[keys.DATABASE].reading() as session:
        await handoffs.case(session, id_)
        found = await letters.of_conversation(session, id_)
    return web.json_response({"items": [letter_json(one, language_of(request)) for one in found]})


@describe("Take a conversation over; 409 names who was faster", body=TakeBody, response=CASE_SCHEMA)
@requires("agent")
async def take(request: web.Request) -> web.Response:
    given = await read(request, TakeBody)
    await request.app[DESK].take(request.match_info["id"], request[keys.PERSON].actor, given.from_agent)
    return web.json_response(await _case(request))


@describe(
    "Reply to the customer of a conversation that one has taken over", body=ReplyBody, response=MESSAGE_SCHEMA,
    status=201,
)  # fmt: skip
@requires("agent")
async def reply(request: web.Request) -> web.Response:
    given = await read(request, ReplyBody)
    text = readable(given.text)
    if not text:
        raise InvalidError("empty_message", "请输入消息内容", "The message is empty")
    made = await request.app[DESK].reply(request.match_info["id"], request[keys.PERSON].actor, text, given.client_id)
    return web.json_response(message_json(made), status=201)


@describe("Give a conversation back to the bot", response=CASE_SCHEMA)
@requires("agent")
async def give_back(request: web.Request) -> web.Response:
    await request.app[DESK].end(request.match_info["id"], request[keys.PERSON].actor, "back")
    return web.json_response(await _case(request))


@describe(
    "Close a conversation, or take one that waits out of the queue; what the customer says next is the bot's",
    response=CASE_SCHEMA,
)
@requires("agent")
async def close(request: web.Request) -> web.Response:
    await request.app[DESK].end(request.match_info["id"], request[keys.PERSON].actor, "closed")
    return web.json_response(await _case(request))


@describe(
    "Live: `queue` with the counts at each change, and of one conversation its own stream, `delivery` among it",
    query=EventsQuery, response=COUNTS, content_type="text/event-stream",
)  # fmt: skip
@requires("agent")
async def events(request: web.Request) -> web.StreamResponse:
    wanted, person, desk = query(request, EventsQuery), request[keys.PERSON], request.app[DESK]
    sources = [_queue(request, person)]
    if wanted.conversation:
        async with request.app[keys.DATABASE].reading() as session:
            await handoffs.case(session, wanted.conversation)  # an unknown one is a 404, not a stream
        after = request.headers.get("Last-Event-ID") or wanted.after
        sources.append(_conversation(request, wanted.conversation, after))
    with desk.presence.attending(person.actor) if wanted.attending else nullcontext():
        return await send_events(request, merged(*sources))


async def _queue(request: web.Request, person: Principal) -> Events:
    """The counts at first and after each change, for as long as the reader may have them."""
    database, looked = request.app[keys.DATABASE], time.monotonic()
    async with request.app[DESK].news.subscribe(QUEUE) as changes:
        while True:
            async with database.reading() as session:
                yield "queue", "", await handoffs.counts(session, person.actor)
            told = False
            while not told:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_AGAIN_SECONDS):
                        told = await changes.get() is not None
                        if not told:
                            return
                if time.monotonic() - looked > LOOK_AGAIN_SECONDS:
                    looked = time.monotonic()
                    if not await is_still(request, "agent"):
                        return
            await asyncio.sleep(SETTLE_SECONDS)  # what happens together is told once
            while not changes.empty():
                if changes.get_nowait() is None:
                    return


async def _conversation(request: web.Request, conversation_id: str, after: str | None) -> Events:
    async with Feed(request.app, conversation_id, after, language_of(request), message_json) as feed:
        async for kind, data in feed:
            yield kind, data["message"]["id"] if "message" in data else "", data


routes = [
    web.get("/api/desk/conversations", list_cases),
    web.get("/api/desk/conversations/{id}", get_case),
    web.get("/api/desk/conversations/{id}/messages", list_messages),
    web.post("/api/desk/conversations/{id}/messages", reply),
    web.get("/api/desk/conversations/{id}/deliveries", list_deliveries),
    web.post("/api/desk/conversations/{id}/take", take),
    web.post("/api/desk/conversations/{id}/back", give_back),
    web.post("/api/desk/conversations/{id}/close", close),
    web.get("/api/desk/events", events),
]
