"""Telegram: calls out. The token is part of the path, which therefore never reaches a log."""

from typing import Any

from connectors.calls import Platform
from connectors.telegram import wire

API = "https://api.telegram.org"
POLL_SECONDS = 25


class TelegramClient:
    """One bot's API."""

    def __init__(self, platform: Platform, bot_token: str) -> None:
        self._platform = platform
        self._path = f"/bot{bot_token}"

    async def call(self, method: str, body: dict[str, Any] | None = None, seconds: float = 10.0) -> Any:
        """The result of a method. Raises DeliveryError."""
        answer = await self._platform.call(
            "POST", f"{self._path}/{method}", body=body or {}, seconds=seconds, judged=False
        )
        return wire.check(answer)

    async def updates(self, offset: int) -> list[dict[str, Any]]:
        """What came from `offset` on; waits for it. Those before `offset` are forgotten by Telegram."""
        body = {"offset": offset, "timeout": POLL_SECONDS, "allowed_updates": ["message", "callback_query"]}
        found = await self.call("getUpdates", body, POLL_SECONDS + 10.0)
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
