"""The program behind a generic webhook: checks what it gets, knows a delivery again, and writes signed messages."""

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.servers.outside import Outside

SECRET = "whsec_" + base64.b64encode(b"a key of some twenty-four").decode()


def headers(body: bytes, id_: str, *, secret: str = SECRET, at: float | None = None) -> dict[str, str]:
    """Signed as the specification says, written anew here."""
    stamp = str(int(time.time() if at is None else at))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = base64.b64encode(hmac.new(key, f"{id_}.{stamp}.".encode() + body, hashlib.sha256).digest()).decode()
    return {"webhook-id": id_, "webhook-timestamp": stamp, "webhook-signature": f"v1,{signature}",
            "Content-Type": "application/json"}  # fmt: skip


@dataclass
class Receiver(Outside):
    """Takes replies at /replies."""

    seen: set[str] = field(default_factory=set)
    bodies: list[Any] = field(default_factory=list)

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/replies", self.take), web.get("/trap", self.trap), web.post("/trap", self.trap)]

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        wanted = headers(body, request.headers["webhook-id"], at=float(request.headers["webhook-timestamp"]))
        assert request.headers["webhook-signature"] == wanted["webhook-signature"]
        id_, message = request.headers["webhook-id"], json.loads(body)
        if id_ not in self.seen and message["type"] == "message":
            self.seen.add(id_)
            self.bodies.append(message)
            self.arrived(message["data"]["recipient"], message["data"]["text"])
        return web.Response(status=204)

    async def trap(self, request: web.Request) -> web.Response:
        return web.Response(status=200)
