"""Is it up, is it ready, what does it count."""

from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from bot import keys
from bot.errors import UnauthorizedError
from bot.metrics import METRICS
from bot.security.access import identify
from bot.security.addresses import client_address, is_loopback

FORWARDED = ("X-Forwarded-For", "Forwarded")


async def healthz(_request: web.Request) -> web.Response:
    """The process is up and its event loop turns."""
    return web.json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """200 once every model is loaded, 503 before that: `starting` while messages are taken and wait for the encoder,
    `answering` while they are answered and the generator is still to come (what it would write is quoted meanwhile).
    A part is null where it cannot be loaded and the service does without.

    `encoding` tells how far it is where entries are still searched by their words alone.
    """
    parts = request.app[keys.READY]
    ready = bool(parts) and all(part is not False for part in parts.values())
    status = "ready" if ready else "answering" if parts.get("knowledge") else "starting"
    request.app[METRICS].ready.set(ready)
    told: dict[str, Any] = {"status": status, "parts": parts}
    encoding = request.app[keys.KNOWLEDGE_BASE].encoding
    if encoding:
        told["encoding"] = {"done": encoding[0], "total": encoding[1]}
    return web.json_response(told, status=200 if ready else 503)


async def metrics(request: web.Request) -> web.Response:
    """Prometheus text, for this machine itself or for a staff key."""
    address = client_address(request, request.app[keys.SETTINGS].trusted_proxies)
    # A proxy on this machine that is not in the list hides the real address: such a request is not local.
    unlisted_proxy = address == request.remote and any(name in request.headers for name in FORWARDED)
    if not is_loopback(address) or unlisted_proxy:
        principal = await identify(request)
        if principal is None or not principal.may("viewer"):
            raise UnauthorizedError
    return web.Response(
        body=generate_latest(request.app[METRICS].registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
    )


routes = [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)]
