"""Platforms that answer 200 with an `errcode`: WeChat, WeCom, and their tokens."""

from collections.abc import Mapping
from typing import Any, cast

from connectors.calls import Answer, Platform
from connectors.errors import DeliveryError, Outcome
from connectors.tokens import AccessToken

# zh, en, what becomes of the message, seconds to wait for the whole channel
Meaning = tuple[str, str, Outcome, float | None]


def table(text: str) -> dict[int, Meaning]:
    """Meanings of codes, three lines each: the code with what becomes of the message (and seconds to wait for the whole
    channel), the words in Chinese, the words in English."""
    lines = [line.strip() for line in text.strip().splitlines()]
    made: dict[int, Meaning] = {}
    for head, zh, en in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
        code, outcome, *wait = head.split()
        made[int(code)] = (zh, en, cast("Outcome", outcome), float(wait[0]) if wait else None)
    return made


def explained(code: int, message: str, meanings: Mapping[int, Meaning]) -> DeliveryError:
    """The error of a code in plain words with the next step; an unknown one with the platform's own words."""
    known = meanings.get(code)
    if known is None:
        zh = f"平台返回错误 {code}：{message[:200]}；请按错误码查平台文档"
        en = f"The platform answers error {code}: {message[:200]}; look the code up in its documentation"
        return DeliveryError(f"errcode_{code}", zh, en)
    zh, en, outcome, wait = known
    return DeliveryError(
        f"errcode_{code}", f"{zh}（{code}）", f"{en} ({code})",
        outcome=outcome, retry_after=wait, whole_channel=wait is not None,
    )  # fmt: skip


class TokenApi:
    """Calls that carry an access token in the query, renewed once where it is refused."""

    def __init__(
        self, platform: Platform, token: AccessToken, refused: frozenset[int], meanings: Mapping[int, Meaning]
    ) -> None:
        self._platform = platform
        self._token = token
        self._refused = refused
        self._meanings = meanings

    async def call(self, place: str, body: Any, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The answer of a POST. Raises DeliveryError in plain words where its `errcode` is not 0."""
        token = await self._token.get()
        answer = await self._once(place, body, query, token)
        if answer.json.get("errcode", 0) in self._refused:
            token = await self._token.instead_of(token)
            answer = await self._once(place, body, query, token)
        check(answer, self._meanings)
        return answer.json

    async def _once(self, place: str, body: Any, query: Mapping[str, str] | None, token: str) -> Answer:
        return await self._platform.call("POST", place, body=body, query={**(query or {}), "access_token": token})


def check(answer: Answer, meanings: Mapping[int, Meaning]) -> None:
    """Raises DeliveryError where an answer says that something is wrong, or says nothing that can be read."""
    code = answer.json.get("errcode", 0 if answer.json else -1)
    if answer.status >= 400 and "errcode" not in answer.json:
        # A gateway or a proxy in between: whoever answers so has not taken the message.
        raise DeliveryError(
            f"http_{answer.status}",
            f"平台返回 HTTP {answer.status}：请检查 api_base 和代理，稍后自动重试",
            f"The platform answers HTTP {answer.status}: check api_base and the proxy; it is tried again",
        )
    if code != 0:
        raise explained(code if isinstance(code, int) else -1, str(answer.json.get("errmsg", "")), meanings)
