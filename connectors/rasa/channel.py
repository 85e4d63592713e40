"""Rasa REST channel: `/webhooks/rest/` and `/webhooks/rest/webhook`."""

import json
from contextlib import aclosing

from aiohttp import web

from connectors.errors import ConnectorError
from connectors.http import bearer_token, read_body, same_secret
from connectors.rasa import wire
from connectors.types import Conversation, Handler, Inbound

TRUTHY = {"true", "1", "yes"}
DECISION = "Kefu-Decision"  # beside Rasa's own body, which has no place for it


class RestChannel:
    """Rasa's REST channel over `handler`. With `token`, requests must carry it as `?token=` or as a Bearer token."""

    kind = "rest"

    def __init__(self, handler: Handler, *, name: str = "rest", token: str | None = None) -> None:
        self._handler = handler
        self._name = name
        self._token = token

    @property
    def is_open(self) -> bool:
        """Whether anyone who reaches the port may talk here; said at start."""
        return self._token is None

    def routes(self) -> list[web.RouteDef]:
        """The channel's addresses, Rasa's own."""
        return [
            web.get("/webhooks/rest/", self.status),
            web.get("/webhooks/rest", self.status),
            web.post("/webhooks/rest/webhook", self.receive),
        ]

    async def status(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def receive(self, request: web.Request) -> web.StreamResponse:
        """Answer one message with an array of messages, or one JSON object a line where `?stream=true`.

        The array comes with what was decided (`answer`, `handoff`, …) in the header `Kefu-Decision`.
        """
        if self._token is not None:
            given = request.query.get("token") or bearer_token(request)
            if not same_secret(given, self._token):
                return web.json_response({"status": "failure", "reason": "NotAuthenticated"}, status=401)
        try:
            message = wire.parse(await read_body(request))
        except ConnectorError as error:
            return web.json_response(
                {"status": "failure", "reason": error.code, "message": error.en}, status=error.status
            )
        if request.query.get("stream", "").lower() in TRUTHY:
            return await self._stream(request, message)
        messages = []
        decision = ""
        if message.text.strip():
            async with aclosing(self._handler(self._inbound(message))) as replies:
                async for reply in replies:
                    if reply.final:
                        messages += wire.render(message.sender, reply)
                        decision = reply.decision
        return web.json_response(messages, headers={DECISION: decision} if decision else None, dumps=_dumps)

    async def _stream(self, request: web.Request, message: wire.RestMessage) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        if message.text.strip():
            async with aclosing(self._handler(self._inbound(message))) as replies:
                async for reply in replies:
                    if not reply.final:
                        continue
                    for one in wire.render(message.sender, reply):
                        await response.write((_dumps(one) + "\n").encode())
        await response.write_eof()
        return response

    def _inbound(self, message: wire.RestMessage) -> Inbound:
        conversation = Conversation(channel=self._name, user=message.sender, account=message.input_channel or "")
        return Inbound(conversation=conversation, text=message.text, metadata=message.metadata)


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
