"""Feishu: calls out."""

from collections.abc import Callable, Mapping
from typing import Any

from connectors.calls import Answer, Platform
from connectors.errcodes import explained
from connectors.errors import DeliveryError, Outcome
from connectors.feishu import wire
from connectors.feishu.stream import interval
from connectors.tokens import AccessToken

API = "https://open.feishu.cn"


class FeishuClient:
    """One application's API."""

    def __init__(self, platform: Platform, app_id: str, app_secret: str, clock: Callable[[], float]) -> None:
        self._platform = platform
        self._app_id = app_id
        self._app_secret = app_secret
        self.token = AccessToken(self._fetch, clock)

    async def _fetch(self, _refused: bool) -> tuple[str, float]:
        body = {"app_id": self._app_id, "app_secret": self._app_secret}
        answer = await self._platform.call("POST", "/open-apis/auth/v3/tenant_access_token/internal", body=body)
        _check(answer)
        return str(answer.json["tenant_access_token"]), float(answer.json.get("expire", 7200))

    async def call(
        self,
        method: str,
        place: str,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        *,
        refusal: Outcome = "retry",
    ) -> Any:
        """A call with the token, renewed once where it is refused.

        Raises DeliveryError; what the platform refuses, and not merely delays, counts as `refusal`.
        """
        token = await self.token.get()
        answer = await self._once(method, place, body, query, token)
        if answer.json.get("code") in wire.TOKEN_REFUSED:
            answer = await self._once(method, place, body, query, await self.token.instead_of(token))
        _check(answer, refusal)
        return answer.json

    async def _once(self, method: str, place: str, body: Any, query: Mapping[str, str] | None, token: str) -> Answer:
        headers = {"Authorization": f"Bearer {token}"}
        return await self._platform.call(method, place, body=body, query=query, headers=headers)

    async def open_stream(self) -> tuple[str, float]:
        """The address of a new long connection, good for once, and the seconds between pings. Raises DeliveryError."""
        body = {"AppID": self._app_id, "AppSecret": self._app_secret}
        answer = await self._platform.call("POST", "/callback/ws/endpoint", body=body, headers={"locale": "zh"})
        _check(answer)
        data = answer.json.get("data")
        data = data if isinstance(data, dict) else {}
        config = data.get("ClientConfig")
        return str(data.get("URL", "")), interval(config if isinstance(config, dict) else {})

    async def bot_id(self) -> str:
        """The bot's own open id, by which a group message names it."""
        answer = await self.call("GET", "/open-apis/bot/v3/info")
        bot = answer.get("bot")
        return str(bot.get("open_id", "")) if isinstance(bot, dict) else ""


def _check(answer: Answer, refusal: Outcome = "retry") -> None:
    code = answer.json.get("code", 0 if answer.json else -1)
    if code == 0 and answer.status < 400:
        return
    error: DeliveryError = explained(
        code if isinstance(code, int) else -1, str(answer.json.get("msg", "")), wire.MEANINGS
    )
    if refusal != "retry" and error.retry_after is None and code not in (-1, *wire.TOKEN_REFUSED):
        error.outcome = refusal
    raise error
