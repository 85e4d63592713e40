"""Between the connectors and the turns: a message from outside becomes a turn, its frames become pieces of a reply."""

import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aiohttp import web

from bot import keys, loading
from bot.dialogue.types import Utterance
from bot.errors import TooManyRequestsError
from bot.handoff.desk import DESK
from bot.messaging import hub
from bot.messaging.customers import nickname
from bot.messaging.replies import described, replies_to
from bot.messaging.sources import in_console, in_file, merged
from bot.messaging.store import Store
from bot.metrics import METRICS
from bot.profile import PROFILE
from bot.security.access import identify
from bot.security.addresses import client_address, is_allowed_origin
from bot.security.limits import LIMITS
from bot.security.vault import Vault
from bot.storage import conversations
from bot.storage.conversations import HELD
from bot.storage.values import new_id
from bot.turns import TURNS, Asked, Run
from connectors.openai.channel import OpenAIChannel
from connectors.rasa.channel import RestChannel
from connectors.rasa.socketio import VISITOR, Visitor
from connectors.types import Button, Handler, Inbound, Outbound
from connectors.types import Turn as Said

if TYPE_CHECKING:
    from bot.config import Settings

log = logging.getLogger("kefu.channels")

_address: ContextVar[str] = ContextVar("address", default="")
_OFFERED = re.compile(r"^\s*\d{1,2}\. (.+?)\s*$", re.MULTILINE)
_WIDE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def channel_routes(app: web.Application, settings: "Settings") -> list[web.RouteDef]:
    """The addresses of the OpenAI-compatible API and of every channel of the settings.

    Rasa's REST channel is there without being named in them, as in Rasa's own default; it then takes no token.

    Raises:
        ConfigError: a channel of a kind that is not served, or with a parameter of the wrong type.
    """
    handle = handler(app)
    in_file(settings)  # a wrong table is said before anything starts
    rest = RestChannel(handle, token=rest_token(settings))
    if rest.is_open:
        log.info('the rest channel takes messages without a token: set one for kind = "rest" to close it')
    openai = OpenAIChannel(handle, _authorise, lambda: _models(app), loading)
    return [
        *(_with_address(route) for route in (*rest.routes(), *openai.routes())),
        web.route("*", "/socket.io/", socket_io),
        *hub.routes(),
    ]


def rest_token(settings: "Settings") -> str | None:
    """The token of Rasa's REST channel, None where it is open."""
    return next((one.get("token") for one in settings.channels if one["kind"] == "rest"), None)


async def open_messaging(app: web.Application) -> AsyncIterator[None]:
    """For `app.cleanup_ctx`: the messaging channels, from the dialogue's opening to its close."""
    handle, profile = handler(app), app[PROFILE]
    database, settings = app[keys.DATABASE], app[keys.SETTINGS]

    async def replies(inbound: Inbound, wrote: Callable[[str], None]) -> list[Outbound]:
        if inbound.event is None and not inbound.text.strip():
            async with database.reading() as session:
                known = await conversations.find(session, hub.recipient_of(inbound.conversation))
            if known is not None and known.state in HELD and (text := described(inbound)):
                inbound = replace(inbound, text=text)  # a person has taken over, and is told that there was something
        return await replies_to(inbound, handle, profile, wrote)

    app[hub.HUB] = app[DESK].hub = made = hub.Hub(Store(database, app[METRICS], app[DESK].delivery_moved), replies)
    configured = merged(in_file(settings), await in_console(database, Vault(settings.data)))
    await made.open(configured)
    yield
    app[DESK].hub = None
    await made.close()


async def hang_up(app: web.Application) -> None:
    """For `app.on_shutdown`, as `bot.turns.hang_up`."""
    if hub.HUB in app:
        await app[hub.HUB].hang_up()


async def socket_io(request: web.Request) -> web.StreamResponse:
    """Rasa's Socket.IO, at the one address that its clients know."""
    settings, limits = request.app[keys.SETTINGS], request.app[LIMITS]
    address = client_address(request, settings.trusted_proxies)

    def within(limit: Callable[[], None]) -> bool:
        try:
            limit()
        except TooManyRequestsError:
            return False
        return True

    request[VISITOR] = Visitor(
        is_allowed_origin(request, settings.widget_origins),
        lambda: within(lambda: limits.session(address)),
        lambda session: within(lambda: limits.message(address, session)),
    )
    return await request.app[hub.HUB].receive(request, "socketio", "socket.io")


def handler(app: web.Application) -> Handler:
    """The service as connectors see it."""

    async def handle(inbound: Inbound) -> AsyncGenerator[Outbound]:
        run = await _submit(app, inbound)
        frames = run.follow()
        try:
            async for frame in frames:
                if frame.error is not None:
                    raise frame.error
                if frame.kind == "delta":
                    yield Outbound(frame.data["text"], final=False)
                elif frame.kind == "done":
                    yield _outbound(run, frame.data)
        finally:
            await frames.aclose()
            await run.abandon()

    return handle


async def _submit(app: web.Application, inbound: Inbound) -> Run:
    where = inbound.conversation
    # Whoever names no user may be many people: they must not share what actions remember, so each request stands alone.
    user = where.user or (new_id() if inbound.history is not None else "default")
    language, id_ = spoken(inbound.text), conversations.channel_conversation_id(
        where.channel, where.account, user, where.group
    )  # fmt: skip
    app[LIMITS].message(_address.get(), id_)
    history = None if inbound.history is None else tuple(_utterances(inbound.history))
    opening = conversations.Opening(
        where.channel, where.account, user, where.group, language, nickname(inbound.nickname)
    )
    said = language if _tells_language(inbound.text) else None
    asked = Asked(id_, inbound.text, inbound.message_id, said, inbound.model, history, opening)
    return await app[TURNS].submit(asked)


def spoken(text: str) -> str:
    """The language to answer in where the protocol names none: English for text without a wide letter, else Chinese."""
    return "zh" if _WIDE.search(text) or not any(c.isalpha() for c in text) else "en"


def _tells_language(text: str) -> bool:
    """Whether a message is long enough to change the language of its conversation: an x, an ok or a 2 is not."""
    return bool(_WIDE.search(text)) or sum(c.isalpha() for c in text) > 2


def _utterances(said: Sequence[Said]) -> list[Utterance]:
    """A protocol's own history as the dialogue's. A numbered list in a reply may have been an offer to choose from."""
    roles: dict[str, Any] = {"user": "user", "assistant": "bot", "system": "system"}
    return [
        Utterance(roles[one.role], one.text, None, tuple(_OFFERED.findall(one.text)) if one.role == "assistant" else ())
        for one in said
    ]


def _outbound(run: Run, reply: dict[str, Any]) -> Outbound:
    answer = run.answer
    return Outbound(
        text=reply["text"],
        buttons=tuple(Button(title=text, payload=text) for text in reply["suggestions"]),
        image_url=reply.get("image_url"),
        custom=answer.custom if answer else None,
        decision=reply["decision"] or "",
        generated=bool(reply.get("generated")),
        prompt_tokens=answer.prompt_tokens if answer else 0,
        completion_tokens=answer.completion_tokens if answer else 0,
    )


async def _authorise(request: web.Request, token: str | None) -> str | None:
    """The name of the program whose key it is; None for no key or one that is not valid any more."""
    if token is None:
        return None
    principal = await identify(request)
    return principal.name if principal and principal.via == "key" and principal.may("api") else None


async def _models(app: web.Application) -> list[str]:
    engine = app[keys.ENGINE]
    return [engine.name, *engine.adapters] if engine else []


def _with_address(route: web.RouteDef) -> web.RouteDef:
    """The same route; the limits learn whose address it is."""
    inner: Callable[[web.Request], Awaitable[web.StreamResponse]] = route.handler

    async def handle(request: web.Request) -> web.StreamResponse:
        _address.set(client_address(request, request.app[keys.SETTINGS].trusted_proxies))
        return await inner(request)

    return web.route(route.method, route.path, handle, **route.kwargs)
