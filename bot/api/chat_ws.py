"""The conversation over a WebSocket: resume, live replies, one's own messages.

In: `{"type": "auth", "token"}` first (unless `Authorization` was sent), then `{"type": "message", "text", "client_id"}`
and `{"type": "ping"}`. Out: the frames of `Feed`, and `pong`. Closed with 4401 for a bad token, 4404 for an unknown
conversation, 1001 when the service stops.
"""

import asyncio
import json
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web
from pydantic import Field

from bot import keys
from bot.api.bodies import Body, check
from bot.api.describe import describe
from bot.api.feed import Feed
from bot.api.sessions import admit_message, spoken_language, visitor
from bot.errors import ForbiddenError, InvalidError, KefuError, NotFoundError, UnauthorizedError
from bot.middleware import error_body, language_of
from bot.security.access import bearer
from bot.security.addresses import is_allowed_origin
from bot.storage.conversations import Conversation
from bot.turns import TURNS, Asked
from connectors.errors import ConnectorError
from connectors.http import json_value

AUTH_SECONDS = 10.0
HEARTBEAT_SECONDS = 30.0
FRAME_BYTES_MAX = 1024 * 1024
BAD_TOKEN = 4401
UNKNOWN = 4404


class MessageFrame(Body):
    """A message of the visitor."""

    type: str
    text: str
    client_id: str | None = Field(None, min_length=1, max_length=128)


@describe("The conversation as a WebSocket, resumed after the message `after`", response={"type": "object"}, status=101)
async def chat(request: web.Request) -> web.StreamResponse:
    if not is_allowed_origin(request, request.app[keys.SETTINGS].widget_origins):
        raise ForbiddenError("origin", "这个网站没有被允许使用聊天", "This site may not use the chat")
    socket = web.WebSocketResponse(heartbeat=HEARTBEAT_SECONDS, max_msg_size=FRAME_BYTES_MAX)
    await socket.prepare(request)
    try:
        conversation = await _signed_in(request, socket)
    except UnauthorizedError as error:
        await socket.close(code=BAD_TOKEN, message=error.code.encode())
        return socket
    except NotFoundError as error:
        await socket.close(code=UNKNOWN, message=error.code.encode())
        return socket
    async with Feed(request.app, conversation.id, request.query.get("after"), language_of(request)) as feed:
        writer = asyncio.create_task(_write(socket, feed))
        try:
            async for frame in socket:
                if frame.type is not WSMsgType.TEXT:
                    break
                await _take(request, socket, feed, conversation, frame.data)
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
    return socket


async def _signed_in(request: web.Request, socket: web.WebSocketResponse) -> Conversation:
    """Raises UnauthorizedError, NotFoundError."""
    token = bearer(request)
    if token is None:
        try:
            first = await socket.receive(AUTH_SECONDS)
        except TimeoutError:
            raise UnauthorizedError("no_token", "没有收到会话令牌", "No token was sent") from None
        frame = _object(first.data) if first.type is WSMsgType.TEXT else {}
        if frame.get("type") == "auth" and isinstance(frame.get("token"), str):
            token = frame["token"]
    return await visitor(request, token)


async def _take(
    request: web.Request, socket: web.WebSocketResponse, feed: Feed, conversation: Conversation, data: str
) -> None:
    """One frame of the visitor; what is wrong with it is said, and the line stays open."""
    frame = _object(data)
    try:
        if frame.get("type") == "ping":
            await socket.send_json({"type": "pong"})
        elif frame.get("type") == "message":
            given = check(MessageFrame, frame)
            admit_message(request, conversation.id, given.text)
            asked = Asked(conversation.id, given.text, given.client_id, spoken_language(request))
            feed.follow(await request.app[TURNS].submit(asked))
        elif frame.get("type") != "auth":
            raise InvalidError("unknown_frame", "不认识的消息帧", "This frame is of no known type")
    except KefuError as error:
        client_id = frame.get("client_id")
        reply_to = {"reply_to": client_id} if isinstance(client_id, str) else {}
        await socket.send_json({"type": "error", **reply_to, **error_body(error, language_of(request))})


async def _write(socket: web.WebSocketResponse, feed: Feed) -> None:
    try:
        async for kind, data in feed:
            await socket.send_json({"type": kind, **data}, dumps=_dumps)
        await socket.close(code=WSCloseCode.GOING_AWAY, message=b"stopping")
    except ConnectionResetError:
        return  # the reader notices too and ends the connection


def _object(text: str) -> dict[str, Any]:
    try:
        value = json_value(text)
    except ConnectorError:
        return {}
    return value if isinstance(value, dict) else {}


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


routes = [web.get("/api/sessions/{id}/ws", chat)]
