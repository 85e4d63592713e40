"""A stand-in for a platform: a real HTTP server that keeps what it is sent, and fails as it is told."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer


@dataclass
class Outside:
    """Base of the fakes. `failing` is the share of calls that go wrong at random, `lost` of those that are done
    without the caller hearing of it, `slow_seconds` how long each takes. `refusing` is status and body of
    the answer to all of them, while it is set.

    `got` are the messages that reached a customer, in order: (recipient, text). `idempotent` fakes know a message
    again by its id.
    """

    failing: float = 0.0
    lost: float = 0.0
    slow_seconds: float = 0.0
    refusing: tuple[int, dict[str, Any]] | None = None
    got: list[tuple[str, str]] = field(default_factory=list)
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(7))
    troubles: list[Callable[[web.Request], Awaitable[web.StreamResponse | None]]] = field(default_factory=list)
    server: TestServer | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self, port: int = 0) -> str:
        """The base address."""
        app = web.Application(client_max_size=64 * 1024 * 1024, middlewares=[self._around])
        app.add_routes(self.routes())
        self.server = TestServer(app, port=port or None)
        await self.server.start_server()
        return str(self.server.make_url("/")).rstrip("/")

    async def stop(self) -> None:
        if self.server:
            await self.server.close()

    def routes(self) -> list[web.RouteDef]:
        raise NotImplementedError

    def arrived(self, recipient: str, text: str) -> None:
        """A customer sees a message."""
        self.got.append((recipient, text))
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def until_called(self, place: str, seconds: float = 240.0) -> None:
        """Until somebody called an address. Fails where nobody does."""
        async with asyncio.timeout(seconds):
            while all(path != place for _, path, _ in self.calls):
                await self._changed.wait()

    def to(self, recipient: str) -> list[str]:
        return [text for one, text in self.got if one == recipient]

    async def until(self, count: int, seconds: float = 240.0) -> list[tuple[str, str]]:
        """What customers see, once it is so many messages. Fails where they do not come."""
        async with asyncio.timeout(seconds):
            while len(self.got) < count:
                await self._changed.wait()
        return self.got

    async def until_true(self, seen: Callable[[list[str]], bool], seconds: float = 240.0) -> None:
        """Until what customers see is as wanted. Fails where it never is."""
        async with asyncio.timeout(seconds):
            while not seen([text for _, text in self.got]):
                await self._changed.wait()

    async def quiet(self, seconds: float = 0.4) -> list[tuple[str, str]]:
        """What customers see, after a while in which nothing more should come."""
        await asyncio.sleep(seconds)
        return self.got

    @web.middleware
    async def _around(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.calls.append((request.method, request.path, dict(request.query)))
        self._tell()
        if self.slow_seconds:
            await asyncio.sleep(self.slow_seconds)
        if self.refusing:
            return web.json_response(self.refusing[1], status=self.refusing[0])
        if self.troubles:
            trouble = await self.troubles.pop(0)(request)
            if trouble is not None:
                return trouble
        if self.failing and self.chance.random() < self.failing:
            kind = self.chance.random()
            if kind < 0.4:
                return web.Response(status=self.chance.choice([500, 502, 503]))
            if kind < 0.7:
                return web.Response(status=429, headers={"Retry-After": "1"})
            request.transport.close()  # type: ignore[union-attr]
            return web.Response(status=500)
        answer: web.StreamResponse = await handler(request)
        if self.lost and self.chance.random() < self.lost:
            request.transport.close()  # type: ignore[union-attr]
        return answer
