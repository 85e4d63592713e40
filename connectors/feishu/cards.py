"""飞书流式卡片 (CardKit v1): an answer that grows while it is written, and is closed when it is whole.

Source: open.feishu.cn, "流式更新卡片": 创建卡片实体, 流式更新文本, 更新卡片配置. `sequence` must rise with every
change, also over a restart: it is the milliseconds since the card was made (an int32 holds more than a card lives).
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from connectors.feishu import wire
from connectors.feishu.client import FeishuClient

CARDS = "/open-apis/cardkit/v1/cards"
OPEN_CARDS_MAX = 10_000
Say = Callable[[Mapping[str, Any], dict[str, Any], str], Awaitable[None]]


class FeishuCards:
    """`connectors.cards.CardApi`. `say(address, payload, uuid)` sends a message, once for each uuid."""

    def __init__(self, client: FeishuClient, clock: Callable[[], float], say: Say) -> None:
        self._client = client
        self._clock = clock
        self._say = say
        self._last: dict[str, int] = {}

    async def prepare(self, message: str, text: str) -> dict[str, Any]:  # noqa: ARG002 - the platform names it
        body = {"type": "card_json", "data": json.dumps(wire.streaming_card(text), ensure_ascii=False)}
        answer = await self._call("POST", CARDS, body)
        return {"id": str(answer["data"]["card_id"]), "made_at": self._clock()}

    async def present(self, card: Mapping[str, Any], message: str, address: Mapping[str, Any]) -> None:
        content = {"type": "card", "data": {"card_id": card["id"]}}
        uuid = hashlib.sha256(f"{message}/{card['id']}".encode()).hexdigest()[:32]
        await self._say(address, {"msg_type": "interactive", "content": content}, uuid)

    async def write(self, card: Mapping[str, Any], text: str) -> None:
        body = {"content": wire.card_text(text), "sequence": self._next(card)}
        await self._call("PUT", f"{CARDS}/{card['id']}/elements/{wire.ELEMENT}/content", body)

    async def finish(self, card: Mapping[str, Any], text: str, id_: str) -> None:
        body = {"content": wire.card_text(text), "sequence": self._next(card), "uuid": f"{id_}-1"}
        await self._call("PUT", f"{CARDS}/{card['id']}/elements/{wire.ELEMENT}/content", body)
        settings = json.dumps({"config": {"streaming_mode": False}})
        body = {"settings": settings, "sequence": self._next(card), "uuid": f"{id_}-2"}
        await self._call("PATCH", f"{CARDS}/{card['id']}/settings", body)
        self._last.pop(card["id"], None)

    def _next(self, card: Mapping[str, Any]) -> int:
        passed = int((self._clock() - card["made_at"]) * 1000) + 1
        if len(self._last) > OPEN_CARDS_MAX:
            self._last.clear()  # of cards that were never finished; the time alone rises, too
        self._last[card["id"]] = number = max(passed, self._last.get(card["id"], 0) + 1)
        return number

    async def _call(self, method: str, place: str, body: Any) -> Any:
        # No permission, a card that is over: trying again helps nobody, and the answer goes out as text.
        return await self._client.call(method, place, body, refusal="dead")
