"""The messaging channels: which there are, set up and checked in the console; writing first; what was not delivered."""

from typing import Any, Literal

from aiohttp import web
from pydantic import Field

from bot import keys
from bot.api.bodies import Body, query, read
from bot.api.describe import describe
from bot.errors import InvalidError, NotFoundError
from bot.language import Language
from bot.messaging import sources
from bot.messaging.checking import findings, look_at
from bot.messaging.customers import customer_of
from bot.messaging.hub import HUB
from bot.messaging.sources import Configured
from bot.middleware import language_of
from bot.security.access import requires
from bot.security.vault import Vault
from bot.storage import audit, letters, messaging
from bot.storage.letters import Letter
from connectors.errors import ConnectorError
from connectors.kinds import API_BASE, COMMON, KINDS

MASK = "********"
STRING: dict[str, Any] = {"type": "string"}
CHANNEL_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("kind", "name", "path"), STRING),
        "source": {"type": "string", "enum": ["file", "console"]},
        "running": {"type": "boolean"},
        "parameters": {"type": "object", "description": "secrets are masked"},
        "outbox": {"type": "object", "additionalProperties": {"type": "integer"}},
    },
}
LETTER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("id", "channel", "recipient", "state", "text", "customer"), STRING),
        "question": {**STRING, "description": "what the customer had said last when it was written"},
        "message_id": {"type": ["string", "null"], "description": "the message of its conversation that it carries"},
        "attempts": {"type": "integer"},
        "uncertain": {"type": "integer", "description": "attempts that may have arrived although nobody said so"},
        "error": {"type": ["object", "null"]},
        "payload": {"type": "object"},
    },
}
CHECK_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}, "messages": {"type": "array", "items": STRING}},
}


KIND_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("kind", "title"), STRING),
        "paste": {**STRING, "description": "where on the platform the callback address is entered"},
        "opens": {**STRING, "description": "the mode in which no address of ours is called"},
        "path": {**STRING, "description": "of the callback address, with NAME in it"},
        "parameters": {"type": "array", "items": {"type": "object"}},
    },
}


def _items(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {"items": {"type": "array", "items": schema}}}


IDS_SCHEMA = _items(STRING)


class ChannelBody(Body):
    """The parameters of a channel. One that is left out stays as it was, a secret also where it is empty; null, and an
    empty one that is no secret, go back to the default."""

    parameters: dict[str, str | None]


class PushBody(Body):
    """A message to somebody who did not just ask."""

    user: str = Field(min_length=1, max_length=256)
    group: str = Field("", max_length=256)
    text: str = Field(min_length=1, max_length=20_000)


class LettersQuery(Body):
    """Which messages of the outbox."""

    state: str = Field("dead", pattern="^(dead|held|queued|undelivered)$")
    channel: str | None = Field(None, max_length=130)
    limit: int = Field(100, ge=1, le=500)


class IdsBody(Body):
    """Messages of the outbox by id."""

    ids: list[str] = Field(min_length=1, max_length=500)


async def _configured(request: web.Request) -> list[Configured]:
    settings = request.app[keys.SETTINGS]
    console = await sources.in_console(request.app[keys.DATABASE], Vault(settings.data))
    return [*sources.in_file(settings), *console]


@describe("Every channel, and how much of each waits or failed", response=_items(CHANNEL_SCHEMA))
@requires("viewer")
async def list_channels(request: web.Request) -> web.Response:
    async with request.app[keys.DATABASE].reading() as session:
        outbox = await messaging.counts(session)
    hub, items = request.app[HUB], []
    for one in await _configured(request):
        secret = {each.name for each in KINDS[one.kind].parameters if each.secret}
        shown = {
            name: MASK if name in secret and value else value for name, value in one.table.items() if name not in COMMON
        }
        items.append({
            "kind": one.kind, "name": one.name, "source": one.source, "path": one.path,
            "running": hub.has(one.id), "parameters": shown, "outbox": outbox.get(one.id, {}),
        })  # fmt: skip
    return web.json_response({"items": items})


@describe("The kinds of channels, their parameters, and where their values are found", response=_items(KIND_SCHEMA))
@requires("viewer")
async def list_kinds(request: web.Request) -> web.Response:
    english = language_of(request) == "en"
    items = [
        {
            "kind": kind.kind,
            "title": kind.en if english else kind.zh,
            "paste": kind.paste[english],
            "opens": kind.opens,
            "path": Configured({"kind": kind.kind, "name": "NAME"}, "console").path,
            "parameters": [
                {
                    "name": one.name, "title": one.en if english else one.zh, "secret": one.secret,
                    "required": one.required, "choices": list(one.choices), "mode": one.mode,
                    "where": one.where[english],
                }
                for one in (*kind.parameters, API_BASE)
            ],
        }
        for kind in KINDS.values()
        if kind.made_by
    ]  # fmt: skip
    return web.json_response({"items": items})


@describe("Add or change a channel of the console; it works at once", body=ChannelBody, response=CHECK_SCHEMA)
@requires("admin")
async def put_channel(request: web.Request) -> web.Response:
    body, settings = await read(request, ChannelBody), request.app[keys.SETTINGS]
    table = {**body.parameters, "kind": request.match_info["kind"], "name": request.match_info["name"]}
    vault, database = Vault(settings.data), request.app[keys.DATABASE]
    made = await sources.store(database, vault, settings, table)
    async with database.session() as session:
        await audit.record(session, request[keys.PERSON].actor, "channels.put", made.id)
    hub = request.app[HUB]
    await hub.remove(made.id)
    try:
        hub.add(made)
    except ConnectorError as error:
        raise InvalidError("wrong_channel", error.zh, error.en, {"field": error.field}) from None
    return await _checked(request, made)


@describe("Remove a channel of the console; what it had not delivered is given up, and can be seen", status=204)
@requires("admin")
async def delete_channel(request: web.Request) -> web.Response:
    kind, name = request.match_info["kind"], request.match_info["name"]
    settings, database = request.app[keys.SETTINGS], request.app[keys.DATABASE]
    await sources.remove(database, kind, name)
    hub = request.app[HUB]
    await hub.forget(f"{kind}/{name}")
    for one in sources.merged(sources.in_file(settings), await sources.in_console(database, Vault(settings.data))):
        if one.source == "built-in" and not hub.has(one.id):
            hub.add(one)  # it had made room for the one that is gone
    async with database.session() as session:
        await audit.record(session, request[keys.PERSON].actor, "channels.remove", f"{kind}/{name}")
    return web.Response(status=204)


@describe("Ask the platform whether a channel works", response=CHECK_SCHEMA)
@requires("admin")
async def check_channel(request: web.Request) -> web.Response:
    id_ = f"{request.match_info['kind']}/{request.match_info['name']}"
    one = next((one for one in await _configured(request) if one.id == id_), None)
    if one is None:
        raise NotFoundError("channel_not_found", f"没有渠道 {id_}", f"There is no channel {id_}")
    return await _checked(request, one)


def letter_json(letter: Letter, language: Language) -> dict[str, Any]:
    """A message of the outbox, its error in the reader's language."""
    shown = letter.to_json()
    if letter.error:
        text = letter.error.get("message_en" if language == "en" else "message")
        shown["error"] = {"code": letter.error.get("code"), "message": text}
    return shown


async def _checked(request: web.Request, one: Configured) -> web.Response:
    hub, english = request.app[HUB], language_of(request) == "en"
    found = await findings(hub.channel(one.id)) if hub.has(one.id) else await look_at(one)
    messages = [each.en if english else each.zh for each in found]
    return web.json_response({"ok": all(each.ok for each in found), "messages": messages})


@describe("Write to a customer first, within the platform's window", body=PushBody, response=IDS_SCHEMA, status=202)
@requires("agent")
async def push(request: web.Request) -> web.Response:
    body = await read(request, PushBody)
    id_ = f"{request.match_info['kind']}/{request.match_info['name']}"
    made = await request.app[HUB].push(id_, body.user, body.text, body.group)
    async with request.app[keys.DATABASE].session() as session:
        await audit.record(session, request[keys.PERSON].actor, "channels.push", id_, {"messages": len(made)})
    return web.json_response({"items": [one.id for one in made]}, status=202)


@describe("Messages that were not delivered (yet)", query=LettersQuery, response=_items(LETTER_SCHEMA))
@requires("agent")
async def list_letters(request: web.Request) -> web.Response:
    wanted, language = query(request, LettersQuery), language_of(request)
    states = messaging.UNDELIVERED if wanted.state == "undelivered" else (wanted.state,)
    async with request.app[keys.DATABASE].reading() as session:
        found = await letters.letters(session, states, channel=wanted.channel, limit=wanted.limit)
        about = await letters.about(session, found)
    items = [
        letter_json(one, language)
        | {"customer": customer_of(it.conversation, language) if it.conversation else "", "question": it.question}
        for one, it in zip(found, about, strict=True)
    ]
    return web.json_response({"items": items})


@describe("Send dead or held messages again", body=IdsBody, response=IDS_SCHEMA)
@requires("agent")
async def resend(request: web.Request) -> web.Response:
    found = await _settle(request, "resend")
    request.app[HUB].wake()
    return web.json_response({"items": found})


@describe("Give dead or held messages up", body=IdsBody, response=IDS_SCHEMA)
@requires("agent")
async def drop(request: web.Request) -> web.Response:
    return web.json_response({"items": await _settle(request, "drop")})


async def _settle(request: web.Request, what: Literal["resend", "drop"]) -> list[str]:
    body = await read(request, IdsBody)
    async with request.app[keys.DATABASE].session() as session:
        found = await (messaging.resend if what == "resend" else messaging.drop)(session, body.ids)
        whose = await letters.recipients(session, found)
        await audit.record(session, request[keys.PERSON].actor, f"deliveries.{what}", "", {"messages": len(found)})
    request.app[HUB].moved(whose)
    return found


routes = [
    web.get("/api/channels", list_channels),
    web.get("/api/channels/kinds", list_kinds),
    web.put("/api/channels/{kind}/{name}", put_channel),
    web.delete("/api/channels/{kind}/{name}", delete_channel),
    web.post("/api/channels/{kind}/{name}/check", check_channel),
    web.post("/api/channels/{kind}/{name}/messages", push),
    web.get("/api/deliveries", list_letters),
    web.post("/api/deliveries/resend", resend),
    web.post("/api/deliveries/drop", drop),
]
