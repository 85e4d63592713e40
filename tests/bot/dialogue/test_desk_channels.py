"""The handoff on messaging channels: the person's reply goes where the customer wrote, or nobody is called."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import update

from bot import keys
from bot.cli import main
from bot.messaging.hub import HUB
from bot.storage import conversations
from bot.storage.tables import OutboxRow
from bot.storage.values import now
from tests.bot.dialogue.staff import ASKS, Staff, staff_of
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


async def crm(talk_with: Callable[..., Any], receiver: webhook.Receiver) -> Any:
    url = str(receiver.server.make_url("/replies")) if receiver.server else ""
    return await talk_with(channels=({"kind": "webhook", "name": "crm", "secret": webhook.SECRET, "url": url},))


async def deliveries(staff: Staff, id_: str) -> list[dict[str, Any]]:
    status, body = await staff.call("ann", "GET", f"/conversations/{id_}/deliveries")
    assert status == 200, body
    return list(body["items"])


async def until(seen: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(30):
        while not (found := await seen()):  # noqa: ASYNC110 - another part of the service writes it
            await asyncio.sleep(0.05)
    return found


async def test_the_staff_see_what_was_not_delivered_why_and_can_send_it_again(
    talk_with: Callable[..., Any], receiver: webhook.Receiver
) -> None:
    talk = await crm(talk_with, receiver)
    staff = await staff_of(talk)
    await say(talk, "u1", ASKS, "m1", metadata={"nickname": "小李"})
    await receiver.until(1)
    (case,) = await staff.box("ann", "waiting")
    assert (case["customer"], case["lost"]) == ("小李（Webhook）", 0)
    await staff.take("ann", case["id"])
    await receiver.until(2)
    assert await until(lambda: _none(deliveries(staff, case["id"])))
    receiver.refusing = (503, {})
    talk.app[HUB].channel("webhook/crm").schedule = (3600.0,) * 9
    async with staff.events("bob") as queue, staff.events("ann", conversation=case["id"]) as content:
        await staff.told(queue, "queue")
        await staff.told(content, "ready")
        _, said = await staff.reply("ann", case["id"], "马上帮您查")
        await staff.told(content, "delivery")  # as it happens, without asking
        (retried,) = await deliveries(staff, case["id"])
        assert (retried["message_id"], retried["state"], retried["attempts"]) == (said["id"], "queued", 1)
        assert "503" in retried["error"]["message"]
        receiver.refusing = (410, {})
        _, second = await staff.reply("ann", case["id"], "还在吗", "r2")
        waiting = (await deliveries(staff, case["id"]))[-1]
        assert (waiting["message_id"], waiting["state"], waiting["attempts"]) == (second["id"], "queued", 0)
        async with talk.database.session() as session:
            await session.execute(update(OutboxRow).values(due_at=now()))
        talk.app[HUB].wake()
        await staff.told(content, "delivery")  # the first one again, and given up
        await staff.told(content, "delivery")  # and the one behind it
        assert await staff.told(queue, "queue")
    lost = await deliveries(staff, case["id"])
    assert [(one["state"], one["message_id"]) for one in lost] == [("dead", said["id"]), ("dead", second["id"])]
    assert "410" in lost[0]["error"]["message"]
    assert (await staff.box("ann", "mine"))[0]["lost"] == 2
    status, body = await staff.ask("ann", "GET", "/api/deliveries")
    assert (status, len(body["items"])) == (200, 2)
    (letter,) = [one for one in body["items"] if one["message_id"] == said["id"]]
    assert (letter["customer"], letter["question"], letter["text"]) == ("小李（Webhook）", ASKS, "马上帮您查")

    receiver.refusing = None
    talk.app[HUB].channel("webhook/crm")._gone_until = 0.0
    ids = {"ids": [one["id"] for one in lost]}
    assert (await staff.ask("ann", "POST", "/api/deliveries/resend", json=ids))[0] == 200
    await receiver.until(4)
    assert [text for _, text in receiver.got[2:]] == ["马上帮您查", "还在吗"]
    assert await until(lambda: _none(deliveries(staff, case["id"])))
    assert (await staff.box("ann", "mine"))[0]["lost"] == 0


async def _none(found: Awaitable[list[Any]]) -> bool:
    return not await found


async def test_an_answer_of_the_bot_and_a_notice_that_did_not_arrive_are_shown_too(
    talk_with: Callable[..., Any], receiver: webhook.Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver.refusing = (410, {})
    talk = await crm(talk_with, receiver)
    staff = await staff_of(talk)
    await say(talk, "customer-number-3f9a", "怎么开发票，电话13800138000", "m1")
    (case,) = await until(lambda: staff.box("ann", "recent"))
    assert case["customer"] == "Webhook客户 3f9a"
    (one,) = await until(lambda: deliveries(staff, case["id"]))
    _, said = await staff.call("ann", "GET", f"/conversations/{case['id']}/messages")
    (reply,) = [message for message in said["items"] if message["role"] == "bot"]
    assert one["message_id"] == reply["id"]
    await staff.take("ann", case["id"])
    joined = (await deliveries(staff, case["id"]))[-1]
    assert (joined["message_id"], "已接入" in joined["text"]) == (None, True)
    command = ["channels", "undelivered", "--data", str(talk.app[keys.SETTINGS].data)]
    assert await until(lambda: _all_dead(staff, case["id"]))
    assert await asyncio.to_thread(main, command) == 0
    printed = capsys.readouterr().out
    assert "Webhook客户 3f9a" in printed
    assert "怎么开发票，电话[电话]" in printed
    assert "13800138000" not in printed


async def _all_dead(staff: Staff, id_: str) -> bool:
    return {one["state"] for one in await deliveries(staff, id_)} == {"dead"}


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
