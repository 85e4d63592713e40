"""What the shared suite needs to know of a channel: its configuration, its stand-in, and how a customer writes."""

import io
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.servers.outside import Outside


@dataclass
class Sent:
    """A callback as the platform makes it."""

    method: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class Case(ABC):
    """One channel of the suite. `limit` is the most a single message may hold, as `measure` counts.

    `signs_body` is false where the platform's signature does not cover the body, `signs` false where there are no
    callbacks at all. `knows_again` is true where the platform recognises a message that is sent twice. `shows_cards` is
    true where the customer sees an answer while it is written. `refusal` is how the platform answers whoever's token it
    does not take (any more), empty where there is none.
    """

    kind = ""
    limit = 10**9
    signs = True
    signs_body = True
    stale_after: float | None = None
    has_groups = False
    knows_again = False
    shows_cards = False
    refusal: tuple[int, dict[str, Any]] | None = None

    def __init__(self) -> None:
        self.outside = self.make_outside()
        self.base = ""

    @staticmethod
    def measure(text: str) -> int:
        return len(text)

    @property
    def path(self) -> str:
        return f"/webhooks/{self.kind}/shop"

    @abstractmethod
    def make_outside(self) -> Outside: ...

    @abstractmethod
    def table(self) -> dict[str, Any]:
        """The `[[channels]]` table; `base` is the stand-in's address."""

    @abstractmethod
    def message(self, user: str, text: str, id_: str, *, group: str = "", at: float | None = None) -> Sent:
        """A customer's message as a callback."""

    def strange(self, user: str, id_: str) -> Sent | None:
        """A message of a type that nobody knows."""
        return None

    async def post(self, http: aiohttp.ClientSession, url: str, sent: Sent) -> int:
        """Make the callback; what the customer sees at once is noted. The status."""
        async with http.request(
            sent.method, url + self.path, params=sent.query, headers=sent.headers, data=io.BytesIO(sent.body)
        ) as response:
            await response.read()
            return response.status

    async def say(
        self, http: aiohttp.ClientSession, url: str, user: str, text: str, id_: str, *, group: str = ""
    ) -> int:
        """A customer writes."""
        return await self.post(http, url, self.message(user, text, id_, group=group))

    async def read_on(self, desk: Any, user: str) -> None:  # noqa: B027 - nothing, on most
        """What a customer does to see the rest of a long answer."""

    def joined(self, texts: list[str]) -> str:
        """The pieces of a long answer as one text."""
        return "\n".join(texts)

    def recipient(self, user: str, group: str = "") -> str:
        """Whom an answer goes to, as the stand-in names them."""
        return group or user
