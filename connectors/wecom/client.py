"""WeCom: calls out, with one token an application."""

from collections.abc import Callable
from typing import Any

from connectors.calls import Platform
from connectors.errcodes import Meaning, TokenApi, check
from connectors.tokens import AccessToken
from connectors.wecom import wire

API = "https://qyapi.weixin.qq.com"


class WeComClient:
    """The API as one application or 微信客服 sees it."""

    def __init__(
        self,
        platform: Platform,
        corp_id: str,
        secret: str,
        clock: Callable[[], float],
        meanings: dict[int, Meaning] = wire.MEANINGS,
    ) -> None:
        self._platform = platform
        self._corp_id = corp_id
        self._secret = secret
        self.token = AccessToken(self._fetch, clock)
        self._api = TokenApi(platform, self.token, wire.TOKEN_REFUSED, meanings)

    async def _fetch(self, _refused: bool) -> tuple[str, float]:
        query = {"corpid": self._corp_id, "corpsecret": self._secret}
        answer = await self._platform.call("GET", "/cgi-bin/gettoken", query=query)
        check(answer, wire.MEANINGS)
        return str(answer.json["access_token"]), float(answer.json.get("expires_in", 7200))

    async def call(self, place: str, body: Any) -> dict[str, Any]:
        """A POST with the token. Raises DeliveryError."""
        return await self._api.call(place, body)
