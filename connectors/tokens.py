"""Access tokens: fetched once for all who wait, renewed before they end and once when the platform refuses one."""

import asyncio
from collections.abc import Awaitable, Callable

from connectors.errors import DeliveryError

EARLY_SECONDS = 300.0

Fetch = Callable[[bool], Awaitable[tuple[str, float]]]


class AccessToken:
    """One account's token. `fetch(refused)` returns one and the seconds it lasts; `refused` says that the last one was
    not taken any more. `clock()` is in seconds."""

    def __init__(self, fetch: Fetch, clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._value = ""
        self._renew_at = self._ends_at = 0.0
        self._turn = asyncio.Lock()

    async def get(self) -> str:
        """The token; a new one shortly before it ends. Raises DeliveryError."""
        if self._clock() < self._renew_at:
            return self._value
        async with self._turn:
            if self._clock() >= self._renew_at:
                try:
                    await self._renew(refused=False)
                except DeliveryError:
                    if self._clock() >= self._ends_at:
                        raise
                    self._renew_at = min(self._clock() + 30, self._ends_at)  # the old one still holds
            return self._value

    async def instead_of(self, refused: str) -> str:
        """A token other than the one that was refused; whoever else came before has renewed it already."""
        async with self._turn:
            if self._value == refused or not self._value:
                await self._renew(refused=True)
            return self._value

    async def _renew(self, *, refused: bool) -> None:
        value, lasts = await self._fetch(refused)
        begun = self._clock()
        self._value = value
        self._ends_at = begun + lasts
        self._renew_at = self._ends_at - min(EARLY_SECONDS, lasts / 4)
