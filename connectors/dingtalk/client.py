"""DingTalk: calls out."""

import logging
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote_plus

from connectors.calls import Answer, Platform
from connectors.dingtalk import wire
from connectors.errcodes import check
from connectors.errors import DeliveryError, Outcome
from connectors.tokens import AccessToken

API = "https://api.dingtalk.com"
HOSTS = ("oapi.dingtalk.com", "api.dingtalk.com")
USED_UP_SECONDS = 30.0
SESSION_ENDED = 300001
log = logging.getLogger("kefu.connectors.dingtalk")


class DingTalkClient:
    """One application's API, and the address of the conversation that a message brought."""

    def __init__(self, platform: Platform, client_id: str, client_secret: str, clock: Callable[[], float]) -> None:
        self.platform = platform
        self.client_id = client_id
        self._client_secret = client_secret
        self._clock = clock
        self.token = AccessToken(self._fetch, clock)

    async def _fetch(self, _refused: bool) -> tuple[str, float]:
        body = {"appKey": self.client_id, "appSecret": self._client_secret}
        answer = await self.platform.call("POST", "/v1.0/oauth2/accessToken", body=body)
        _check(answer)
        return str(answer.json["accessToken"]), float(answer.json.get("expireIn", 7200))

    async def send(self, address: Mapping[str, Any], text: str) -> None:
        """To the conversation's own address while it holds and is DingTalk's, else through the robot's API.

        Raises DeliveryError.
        """
        if self._holds(address):
            body = wire.session_message(address, text)
            answer = await self.platform.call("POST", address["webhook"], body=body)
            if answer.json.get("errcode") != SESSION_ENDED:
                check(answer, wire.MEANINGS)
                return
        await self.call("POST", *wire.api_message(address, address["robot"] or self.client_id, text))

    def _holds(self, address: Mapping[str, Any]) -> bool:
        """Whether a conversation's own address may be called. A callback's body is not signed: anybody who saw one
        could have put an address of their own into it, and a proxy's or a private cloud's host is none we know."""
        if not address["webhook"] or self._clock() >= address["until_ms"] / 1000 - USED_UP_SECONDS:
            return False
        if self.platform.owns(address["webhook"]):
            return True
        log.warning("the address of a conversation is not DingTalk's and is not called; the robot's API is used")
        return False

    async def call(self, method: str, place: str, body: Any, *, refusal: Outcome = "retry") -> None:
        """A call with the token, renewed once where refused. Raises DeliveryError; a refusal's outcome is `refusal`."""
        token = await self.token.get()
        answer = await self._once(method, place, body, token)
        if answer.status == 401:
            answer = await self._once(method, place, body, await self.token.instead_of(token))
        _check(answer, refusal)

    async def _once(self, method: str, place: str, body: Any, token: str) -> Answer:
        return await self.platform.call(method, place, body=body, headers={"x-acs-dingtalk-access-token": token})

    async def open_stream(self) -> str:
        """The address of a new stream connection, good for once. Raises DeliveryError."""
        body = {
            "clientId": self.client_id,
            "clientSecret": self._client_secret,
            "subscriptions": [{"type": "CALLBACK", "topic": wire.BOT_MESSAGES}],
            "ua": "kefu",
            "localIp": "127.0.0.1",
        }
        answer = await self.platform.call("POST", "/v1.0/gateway/connections/open", body=body)
        _check(answer)
        return f"{answer.json['endpoint']}?ticket={quote_plus(str(answer.json['ticket']))}"


def _check(answer: Answer, refusal: Outcome = "retry") -> None:
    """The new API says what is wrong by HTTP status and a `code` in words."""
    if answer.status < 300 and answer.json:
        return
    code, message = str(answer.json.get("code", answer.status)), str(answer.json.get("message", ""))[:200]
    if code.lower() in ("invalidauthentication", "invalidclientidorsecret") or answer.status in (401, 403):
        raise DeliveryError(
            code, f"client_id 或 client_secret 不对，或应用没有该接口的权限：{message}",
            f"client_id or client_secret is wrong, or the application lacks the permission: {message}", outcome=refusal,
        )  # fmt: skip
    if "throttling" in code.lower() or "qps" in code.lower():
        raise DeliveryError(code, "钉钉限流，稍后自动重试", "DingTalk asks to send more slowly", retry_after=2.0)
    outcome: Outcome = "dead" if answer.status == 400 and "staffid" in code.lower() else refusal
    raise DeliveryError(code, f"钉钉返回错误 {code}：{message}", f"DingTalk answers {code}: {message}", outcome=outcome)
