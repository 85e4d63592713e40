"""WeChat Official Account: calls out."""

from collections.abc import Callable, Mapping
from typing import Any

from connectors.calls import Platform
from connectors.errcodes import TokenApi, check
from connectors.tokens import AccessToken
from connectors.wechat import wire

API = "https://api.weixin.qq.com"


class WeChatClient:
    """One account's API. Its token is the stable one, so that nobody else's fetching ends it."""

    def __init__(self, platform: Platform, app_id: str, app_secret: str, clock: Callable[[], float]) -> None:
        self._platform = platform
        self._app_id = app_id
        self._app_secret = app_secret
        self.token = AccessToken(self._fetch, clock)
        self._api = TokenApi(platform, self.token, wire.TOKEN_REFUSED, wire.MEANINGS)

    async def _fetch(self, refused: bool) -> tuple[str, float]:
        body = {
            "grant_type": "client_credential", "appid": self._app_id, "secret": self._app_secret,
            "force_refresh": refused,
        }  # fmt: skip
        answer = await self._platform.call("POST", "/cgi-bin/stable_token", body=body)
        check(answer, wire.MEANINGS)
        return str(answer.json["access_token"]), float(answer.json.get("expires_in", 7200))

    async def send(self, user: str, payload: Mapping[str, Any]) -> None:
        """A customer-service message. Raises DeliveryError."""
        await self._api.call("/cgi-bin/message/custom/send", wire.customer_message(user, payload))

    async def typing(self, user: str) -> None:
        await self._api.call("/cgi-bin/message/custom/typing", {"touser": user, "command": "Typing"})
