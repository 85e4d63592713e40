"""The handoff as it happens: what the staff and the customer are told while they look."""

import asyncio
from collections.abc import Callable
from typing import Any

from tests.bot.dialogue.staff import ASKS, Staff, staff_of


async def test_live_for_the_staff_and_for_the_customer(talk: Any, staff: Staff) -> None:
    visitor = await talk.begin()
    async with (
        staff.events("bob") as queue,
        talk.client.ws_connect(f"/api/sessions/{visitor.id}/ws", headers=visitor.headers) as socket,
    ):
        assert await staff.told(queue, "queue") == {"waiting": 0, "unasked": 0, "mine": 0, "others": 0}
        await visitor.say(ASKS)
        assert (await staff.told(queue, "queue"))["waiting"] == 1
        async with staff.events("ann", conversation=visitor.id) as content:
            assert (await staff.told(content, "message"))["message"]["text"] == ASKS
            assert await staff.told(content, "state") == {"state": "waiting", "staffed": False, "changed": False}
            await staff.take("ann", visitor.id)
            assert await staff.told(content, "state") == {"state": "human", "staffed": False, "changed": True}
            await socket.send_json({"type": "message", "text": "在吗", "client_id": "w1"})
            assert (await staff.told(content, "message"))["message"]["text"] == "在吗"
            await staff.reply("ann", visitor.id, "在的")
            shown = (await staff.told(content, "message"))["message"]
            assert (shown["author"], shown["client_id"], shown["text"]) == ("key:ann", "r1", "在的")
            await staff.call("ann", "POST", f"/conversations/{visitor.id}/back")
            assert await staff.told(content, "state") == {"state": "bot", "staffed": False, "changed": True}
        frames = []
        async with asyncio.timeout(20):
            while not frames or frames[-1].get("state") != "bot":
                frames.append(await socket.receive_json())
    wanted = [
        one for one in frames if one["type"] in ("state", "accepted") or one.get("message", {}).get("role") == "human"
    ]
    assert [one.get("state") or one["type"] for one in wanted] == ["waiting", "human", "accepted", "message", "bot"]
    assert wanted[2]["reply_to"] == "w1"
    assert "author" not in wanted[3]["message"]


async def test_a_stream_of_the_customer_gets_the_reply_too(talk: Any, staff: Staff) -> None:
    visitor = await talk.begin()
    await visitor.say(ASKS)
    await staff.take("ann", visitor.id)
    headers = visitor.headers | {"Accept": "text/event-stream"}
    async with talk.client.get(visitor.path, headers=headers) as response:
        assert (await staff.told(response.content, "state"))["state"] == "human"
        await staff.reply("ann", visitor.id, "我来帮您")
        assert (await staff.told(response.content, "message"))["message"]["text"] == "我来帮您"
    async with talk.client.get(visitor.path, headers=visitor.headers) as response:
        assert (await response.json())["state"] == "human"


async def test_messages_that_wait_behind_a_slow_one_go_to_the_person(
    talk_with: Callable[..., Any], scripted: Any
) -> None:
    talk = await talk_with(scripted("帐篷 HW-6021 可抗 6 级风，超过 6 级请收起。", pause_seconds=2))
    staff = await staff_of(talk)
    visitor = await talk.begin()
    slow = asyncio.create_task(visitor.post("帐篷能抗几级风"))
    await asyncio.sleep(0.1)
    behind = asyncio.create_task(visitor.post("怎么开发票"))
    streamed = asyncio.create_task(_streamed(talk, visitor, "可以货到付款吗"))
    await asyncio.sleep(0.1)
    assert (await staff.take("ann", visitor.id))[0] == 200
    assert (await slow)[0] == 200  # it was being written: it is not broken off
    status, body = await behind
    assert (status, set(body)) == (202, {"message_id"})
    assert "event: accepted" in await streamed
    assert [item["role"] for item in await visitor.history()].count("bot") == 1


async def _streamed(talk: Any, visitor: Any, text: str) -> str:
    headers = visitor.headers | {"Accept": "text/event-stream"}
    async with talk.client.post(visitor.path, json={"text": text}, headers=headers) as response:
        return str(await response.text())
