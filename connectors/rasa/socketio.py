"""Rasa's Socket.IO channel, at `/socket.io/`, so that web front ends made for Rasa work unchanged.

Source: Rasa 3.6, `rasa/core/channels/socketio.py` (Apache-2.0). Engine.IO 4 by python-socketio: socket.io-client 3 and
4 can talk to it, 2 cannot. Beyond Rasa's own, what is written while a customer's page is closed reaches it when it is
back, and a customer who writes faster than the service allows is told so.
"""

import asyncio
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import parse_qs

from aiohttp import web
from socketio import AsyncServer
from socketio.exceptions import ConnectionRefusedError as RefusedError
from socketio.packet import Packet

from connectors.channel import Channel, Finding, Service
from connectors.errors import ConnectorError, DeliveryError
from connectors.http import bearer_token, json_value, same_secret, without_surrogates
from connectors.rasa.wire import SENDER_CHARACTERS_MAX, bot_uttered
from connectors.types import Delivery, Inbound, Outbound

MESSAGE_BYTES_MAX = 1024 * 1024
LOOK_AGAIN_SECONDS = 2.0
MALFORMED = "malformed"
TOO_FAST = "您发得太快了，请稍等一会儿再发。 Too many messages: please wait a moment."


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who connects: whether a page of this origin may, whether one more session may begin from there now, and whether
    a message of a session may come in.
    """

    is_welcome: bool
    begin: Callable[[], bool]
    admit: Callable[[str], bool]


class _Json:
    """What reads the clients' JSON: what cannot be kept comes as the event MALFORMED, with the reason."""

    dumps = staticmethod(json.dumps)

    @staticmethod
    def loads(text: str) -> Any:
        try:
            return without_surrogates(json_value(text))
        except ConnectorError as error:
            return [MALFORMED, f"{error.zh}。 {error.en}."]


class _Packet(Packet):  # type: ignore[misc]  # python-socketio has no types
    json = _Json


VISITOR: web.RequestKey[Visitor] = web.RequestKey("visitor", Visitor)


class SocketIOChannel(Channel):
    """With `token`, a connection must bring it: `auth: {token}`, `?token=` or as a Bearer token."""

    kind = "socketio"
    also_at: ClassVar[str] = "socket.io"

    def __init__(self, name: str, parameters: Mapping[str, Any], service: Service) -> None:
        super().__init__(name, parameters, service)
        self._token = parameters["token"]
        self._sids: dict[str, set[str]] = {}  # by session: the connections that listen to it
        self._session: dict[str, str] = {}  # by connection: the one session it listens to
        self._visitors: dict[str, Visitor] = {}
        self._looking: set[asyncio.Task[None]] = set()
        self._server = AsyncServer(
            async_mode="aiohttp",
            async_handlers=False,  # else the messages of a customer could overtake each other
            cors_allowed_origins=lambda _origin, environ: environ["aiohttp.request"][VISITOR].is_welcome,
            max_http_buffer_size=MESSAGE_BYTES_MAX,
            serializer=_Packet,
        )
        for event, handle in (
            ("connect", self._connect),
            ("disconnect", self._disconnect),
            ("session_request", self._session_request),
            ("user_uttered", self._user_uttered),
            (MALFORMED, self._malformed),
        ):
            self._server.on(event, handle)

    async def receive(self, request: web.Request) -> web.StreamResponse:
        """Engine.IO's one address: polling and WebSocket. The request bears a VISITOR."""
        if "EIO" not in request.query and "sid" not in request.query:
            # A person or a check that looks whether it is there: no client with a fault to be logged.
            return web.Response(status=400, text="Socket.IO: connect with socket.io-client 3 or 4\n")
        if (sid := request.query.get("sid")) and sid not in self._server.eio.sockets:
            # A page that was open when the service ended: it connects anew by itself, which is no fault either.
            return web.Response(status=400, text="Unknown session\n")
        response: web.StreamResponse = await self._server.handle_request(request)
        return response

    async def hang_up(self) -> None:
        """End every connection: the service stops. Clients connect again by themselves."""
        for task in self._looking:
            task.cancel()
        for sid in list(self._visitors):
            await self._server.disconnect(sid)
        await self._server.shutdown()

    def render(self, address: dict[str, Any], reply: Outbound) -> list[dict[str, Any]]:  # noqa: ARG002 - one for all
        return bot_uttered(reply)

    def address_of(self, user: str, group: str) -> dict[str, Any] | None:  # noqa: ARG002 - there are no groups
        return {"session": user}

    async def send(self, delivery: Delivery) -> None:
        session = delivery.address["session"]
        if not self._sids.get(session):
            raise DeliveryError(
                "not_connected", "客户的页面没有打开", "The customer's page is not open", outcome="held"
            )
        await self._server.emit("bot_uttered", delivery.payload, room=session)

    async def check(self) -> list[Finding]:
        note = "" if self._token else "；没有设 token，任何人都能发消息"
        note_en = "" if self._token else "; without a token anybody can write"
        return [Finding(ok=True, zh=f"Socket.IO 地址 /socket.io/{note}", en=f"Socket.IO at /socket.io/{note_en}")]

    async def _connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        request: web.Request = environ["aiohttp.request"]
        if self._token is not None:
            asked = parse_qs(environ.get("QUERY_STRING", "")).get("token", [None])[0]
            given = auth.get("token") if isinstance(auth, dict) else None
            if not same_secret(given if isinstance(given, str) else asked or bearer_token(request), self._token):
                raise RefusedError("NotAuthenticated")
        self._visitors[sid] = request[VISITOR]

    async def _disconnect(self, sid: str, _reason: str = "") -> None:
        self._visitors.pop(sid, None)
        self._forget(sid)

    def _forget(self, sid: str) -> str | None:
        """The session that the connection listened to until now."""
        session = self._session.pop(sid, None)
        if session is not None:
            self._sids[session].discard(sid)
            if not self._sids[session]:
                del self._sids[session]
        return session

    async def _session_request(self, sid: str, data: Any = None) -> None:
        session = _session_of(data) or uuid.uuid4().hex
        if await self._listen(sid, session):
            await self._server.emit("session_confirm", session, to=sid)
            await self._catch_up(session)

    async def _user_uttered(self, sid: str, data: Any = None) -> None:
        if not isinstance(data, dict):
            return
        # Without a session, Rasa takes the connection itself for the sender.
        session = _session_of(data) or self._session.get(sid) or sid
        text = data.get("message")
        new = self._session.get(sid) != session
        if not isinstance(text, str) or not text.strip() or not await self._listen(sid, session):
            return
        if new:
            await self._catch_up(session)
        if not self._visitors[sid].admit(session):
            await self._server.emit("bot_uttered", {"text": TOO_FAST}, to=sid)
            return
        metadata = next((one for key in ("metadata", "customData") if isinstance(one := data.get(key), dict)), {})
        inbound = Inbound(self.conversation(session), text, metadata=metadata, reply_to={"session": session})
        await self.service.accept(self, [inbound])

    async def _malformed(self, sid: str, why: Any = None) -> None:
        await self._server.emit("bot_uttered", {"text": str(why)}, to=sid)

    async def _listen(self, sid: str, session: str) -> bool:
        """From now on the connection hears what is said in this session, and in no other; whether it may."""
        if self._session.get(sid) == session:
            return True
        visitor = self._visitors.get(sid)
        if visitor is None:
            return False
        if not visitor.begin():
            await self._server.emit("bot_uttered", {"text": TOO_FAST}, to=sid)
            return False
        if (before := self._forget(sid)) is not None:
            await self._server.leave_room(sid, before)
        self._session[sid] = session
        self._sids.setdefault(session, set()).add(sid)
        await self._server.enter_room(sid, session)
        return True

    async def _catch_up(self, session: str) -> None:
        """What was held while the page was closed; once more later, for what was just being put aside."""
        await self._deliver_held(session)

        async def later() -> None:
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            if self._sids.get(session):
                await self._deliver_held(session)

        task = asyncio.create_task(later(), name="held messages")
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)

    async def _deliver_held(self, session: str) -> None:
        held = await self.service.held(self, self.conversation(session))
        for delivery in held:
            await self._server.emit("bot_uttered", delivery.payload, room=session)
        await self.service.delivered(held)


def _session_of(data: Any) -> str | None:
    """The session a client names, None where it names none that can be one."""
    named = data.get("session_id") if isinstance(data, dict) else None
    if isinstance(named, bool) or not isinstance(named, str | int):
        return None
    return str(named).strip()[:SENDER_CHARACTERS_MAX] or None
