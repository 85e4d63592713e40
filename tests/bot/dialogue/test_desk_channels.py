"""The handoff on messaging channels: the person's reply goes where the customer wrote, or nobody is called."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from bot.storage import conversations
from tests.bot.dialogue.staff import ASKS, staff_of
from tests.servers import webhook
from tests.servers.chatwoot import ACCESS_TOKEN, ACCOUNT, SECRET, Chatwoot, signed


@pytest.fixture
async def receiver() -> Any:
    made = webhook.Receiver()
    await made.start()
    yield made
    await made.stop()


async def say(talk: Any, user: str, text: str, id_: str, **more: Any) -> int:
    body = json.dumps({"sender": user, "text": text, "message_id": id_, **more}).encode()
    async with talk.client.post(
        "/webhooks/webhook/crm", data=body, headers=webhook.headers(body, f"d-{id_}")
    ) as response:
        return int(response.status)


async def test_a_channels_customer_gets_the_persons_reply_once(
    talk_with: Callable[..., Any], receiver: webhook.Receiver
) -> None:
    url = str(receiver.server.make_url("/replies")) if receiver.server else ""
    talk = await talk_with(channels=({"kind": "webhook", "name": "crm", "secret": webhook.SECRET, "url": url},))
    staff = await staff_of(talk)
    await say(talk, "u1", ASKS, "m1")
    await receiver.until(1)
    (case,) = await staff.box("ann", "waiting")
    assert (case["channel"], case["user"], case["reachable"]) == ("webhook/crm", "u1", True)
    await staff.take("ann", case["id"])
    assert "已接入" in (await receiver.until(2))[-1][1]
    await staff.take("ann", case["id"])  # once more is nothing new
    await say(talk, "u1", "订单 123 还没到", "m2")
    replies = await asyncio.gather(*(staff.reply("ann", case["id"], "马上帮您查") for _ in range(4)))
    assert {status for status, _ in replies} == {201}
    assert len({body["id"] for _, body in replies}) == 1
    await receiver.until(3)
    assert (await receiver.quiet())[2:] == [("u1", "马上帮您查")]
    assert receiver.bodies[-1]["data"]["in_reply_to"] == "m2"
    await staff.call("ann", "POST", f"/conversations/{case['id']}/back")
    await say(talk, "u1", "退货运费谁出", "m3")
    await receiver.until(4)
    assert len(await receiver.quiet()) == 4


async def test_where_no_reply_gets_to_nobody_is_called(talk_with: Callable[..., Any]) -> None:
    desk = Chatwoot()
    await desk.start()
    try:
        base = str(desk.server.make_url("/")).rstrip("/") if desk.server else ""
        table = {"kind": "chatwoot", "name": "web", "base_url": base, "account_id": ACCOUNT,
                 "api_access_token": ACCESS_TOKEN, "webhook_secret": SECRET}  # fmt: skip
        talk = await talk_with(channels=(table,))
        staff = await staff_of(talk)
        headers, body = signed(desk.event("7", ASKS, "1"))
        async with talk.client.post("/webhooks/chatwoot/web", data=body, headers=headers) as response:
            assert response.status == 200
        await desk.until(1)  # Chatwoot's own staff are called, as ever
        async with talk.client.post("/webhooks/rest/webhook", json={"sender": "u", "message": ASKS}) as response:
            assert await response.json()
        assert await staff.box("ann", "waiting") == []
        (one,) = await staff.box("ann", "recent")  # programs' calls would bury the customers there
        assert (one["channel"], one["reachable"]) == ("chatwoot/web", False)
        called = conversations.channel_conversation_id("rest", "", "u", "")
        for id_ in (one["id"], called):
            assert (await staff.take("ann", id_))[1]["error"]["code"] == "unreachable"
    finally:
        await desk.stop()
