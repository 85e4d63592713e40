"""The power goes while people of the staff have conversations: who has them, and what was said, is there, once."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.power.shop import Shop
from tests.servers import webhook

ASKS = "转人工"


@pytest.fixture
async def receiver() -> AsyncIterator[webhook.Receiver]:
    made = webhook.Receiver()
    await made.start()
    yield made
    await made.stop()


class Visitor:
    """A customer on the page."""

    def __init__(self, shop: Shop, id_: str, token: str) -> None:
        self.shop, self.id, self.token = shop, id_, token

    @classmethod
    async def begin(cls, shop: Shop) -> "Visitor":
        async with shop.http.post(f"{shop.base}/api/sessions", json={}) as response:
            body = await response.json()
        return cls(shop, body["session_id"], body["token"])

    async def call(self, method: str, **options: Any) -> tuple[int, Any]:
        path = f"{self.shop.base}/api/sessions/{self.id}/messages"
        headers = {"Authorization": f"Bearer {self.token}"}
        async with self.shop.http.request(method, path, headers=headers, **options) as response:
            return response.status, await response.json()

    async def say(self, text: str, client_id: str) -> tuple[int, Any]:
        return await self.call("POST", json={"text": text, "client_id": client_id})


async def on_the_channel(shop: Shop, text: str, id_: str) -> int:
    body = json.dumps({"sender": "u1", "text": text, "message_id": id_}).encode()
    headers = webhook.headers(body, id_)
    async with shop.http.post(f"{shop.base}/webhooks/webhook/crm", data=body, headers=headers) as response:
        return response.status


async def reply(shop: Shop, id_: str, text: str) -> tuple[int, Any]:
    body = {"text": text, "client_id": text}
    return await shop.call("POST", f"/api/desk/conversations/{id_}/messages", json=body)


async def case(shop: Shop, id_: str) -> dict[str, Any]:
    return dict(await shop.get(f"/api/desk/conversations/{id_}"))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("points", [2, pytest.param(40, marks=pytest.mark.soak)])
async def test_a_person_keeps_the_conversation_and_every_word_is_there_once(
    shop_on: Callable[..., Any], tmp_path: Path, points: int, moments: Callable[..., list[float]],
    receiver: webhook.Receiver,
) -> None:  # fmt: skip
    url = str(receiver.server.make_url("/replies")) if receiver.server else ""
    async with shop_on(tmp_path / "data") as shop:
        (shop.data / "kefu.toml").write_text(
            f'[[channels]]\nkind = "webhook"\nname = "crm"\nsecret = "{webhook.SECRET}"\nurl = "{url}"\n'
        )
        await shop.start()
        page = await Visitor.begin(shop)
        assert (await page.say(ASKS, "first"))[1]["decision"] == "handoff"
        assert await on_the_channel(shop, ASKS, "first") == 200
        await receiver.until(1)
        waiting = (await shop.get("/api/desk/conversations"))["items"]
        (channel,) = (one["id"] for one in waiting if one["channel"] == "webhook/crm")
        for id_ in (page.id, channel):
            assert (await shop.call("POST", f"/api/desk/conversations/{id_}/take", json={}))[0] == 200
        await receiver.until(2)  # somebody is there
        outcomes = []
        for number, moment in enumerate(moments(7, points, 0.12)):
            other = await Visitor.begin(shop)
            await other.say(ASKS, "first")
            words = f"第{number}句"
            work = (
                page.say(words, words),
                reply(shop, page.id, f"答{words}"),
                reply(shop, channel, f"答{words}"),
                shop.call("POST", f"/api/desk/conversations/{other.id}/take", json={}),
            )
            asked = [asyncio.ensure_future(one) for one in work]
            await asyncio.sleep(moment)
            assert shop.running.cut()
            before = await asyncio.gather(*asked, return_exceptions=True)
            promised = [not isinstance(one, BaseException) and one[0] < 300 for one in before]
            await shop.start()
            outcomes.append(promised)
            found = await case(shop, other.id)
            assert (found["state"], found["agent"]) in (("waiting", None), ("human", "key:test"))
            assert found["mine"] or not promised[3], "it was taken, and is not any more"
            for id_ in (page.id, channel):
                found = await case(shop, id_)
                assert (found["state"], found["agent"], found["cause"]) == ("human", "key:test", "person")
            messages = (await shop.get(f"/api/desk/conversations/{page.id}/messages?limit=200"))["items"]
            texts = [one["text"] for one in messages]
            assert words in texts or not promised[0], "it was kept, and is lost"
            assert f"答{words}" in texts or not promised[1], "it was said, and is lost"
            # What got no answer is sent again, as every client does, and stays one message.
            status, body = await page.say(words, words)
            assert (status, set(body)) == (202, {"message_id"})
            for id_ in (page.id, channel):
                assert (await reply(shop, id_, f"答{words}"))[0] == 201
            await receiver.until(number + 3)
        said = (await page.call("GET"))[1]["items"][2:]
        assert [one["text"] for one in said if one["role"] == "human"] == [f"答第{n}句" for n in range(points)]
        assert [one["text"] for one in said if one["role"] == "user"] == [f"第{n}句" for n in range(points)]
        assert {one["role"] for one in said} == {"human", "user"}  # the bot kept silent all along
        joined, *answers = [text for _, text in (await receiver.quiet())[1:]]
        assert "人工客服已接入" in joined
        assert answers == [f"答第{n}句" for n in range(points)]
        assert (await shop.call("POST", f"/api/desk/conversations/{page.id}/back"))[0] == 200
        assert (await page.say("你好", "last"))[0] == 200
        print(f"handoff: {points} cuts; promised before each: {outcomes}")
