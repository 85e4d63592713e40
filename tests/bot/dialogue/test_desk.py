"""The handoff, from the decision to the person's reply and back: over HTTP, with two staff at once."""

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from bot.handoff.presence import GRACE_SECONDS, Presence
from bot.handoff.waiting import called_off
from bot.security.passwords import new_api_key, token_hash
from bot.storage import audit, conversations, handoffs, people, training
from bot.storage.tables import ConversationRow, HandoffRow, MessageRow
from bot.storage.values import now
from tests.servers import webhook
from tests.servers.chatwoot import ACCESS_TOKEN, ACCOUNT, SECRET, Chatwoot, signed

ASKS = "转人工"
SECRET_WORDS = "我的手机号是13800138000"


class Staff:
    """Programs with keys of several roles, in the place of people."""

    def __init__(self, talk: Any) -> None:
        self.talk = talk
        self.keys: dict[str, str] = {}

    async def hire(self, name: str, role: str = "agent") -> str:
        self.keys[name] = key = new_api_key()
        async with self.talk.database.session() as session:
            await people.add_key(session, name, role, key[:12], token_hash(key))
        return name

    async def call(self, who: str, method: str, path: str, **options: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.keys[who]}"}
        async with self.talk.client.request(method, f"/api/desk{path}", headers=headers, **options) as response:
            return response.status, await response.json()

    async def box(self, who: str, name: str, **query: Any) -> list[dict[str, Any]]:
        status, body = await self.call(who, "GET", "/conversations", params={"box": name, **query})
        assert status == 200, body
        return list(body["items"])

    async def take(self, who: str, id_: str, **body: str) -> tuple[int, Any]:
        return await self.call(who, "POST", f"/conversations/{id_}/take", json=body)

    async def reply(self, who: str, id_: str, text: str, client_id: str = "r1") -> tuple[int, Any]:
        body = {"text": text, "client_id": client_id}
        return await self.call(who, "POST", f"/conversations/{id_}/messages", json=body)

    @asynccontextmanager
    async def events(self, who: str, **query: str) -> Any:
        headers = {"Authorization": f"Bearer {self.keys[who]}"}
        async with self.talk.client.get("/api/desk/events", headers=headers, params=query) as response:
            assert response.status == 200
            yield response.content

    async def told(self, content: Any, kind: str) -> dict[str, Any]:
        """The data of the next event of that kind."""
        event = ""
        async with asyncio.timeout(20):
            async for line in content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "event":
                    event = value
                elif name == "data" and event == kind:
                    return dict(json.loads(value))
        raise AssertionError(f"no {kind}")


async def staff_of(talk: Any) -> Staff:
    staff = Staff(talk)
    for name in ("ann", "bob"):
        await staff.hire(name)
    return staff


@pytest.fixture
async def staff(talk: Any) -> Staff:
    return await staff_of(talk)


async def test_the_whole_way(talk: Any, staff: Staff) -> None:
    visitor = await talk.begin()
    reply = await visitor.say(ASKS)
    assert reply["decision"] == "handoff"
    (case,) = await staff.box("ann", "waiting")
    assert (case["id"], case["state"], case["cause"], case["agent"]) == (visitor.id, "waiting", "person", None)
    assert (case["last"]["role"], case["last"]["text"]) == ("user", ASKS)
    answered = await visitor.say("怎么开发票")  # the bot goes on helping; the words are kept all the same
    assert answered["decision"] == "answer"
    assert len(await staff.box("ann", "waiting")) == 1

    status, case = await staff.take("ann", visitor.id)
    assert (status, case["state"], case["agent"], case["mine"]) == (200, "human", "key:ann", True)
    assert await staff.box("ann", "waiting") == []
    assert [one["id"] for one in await staff.box("ann", "mine")] == [visitor.id]
    assert [one["id"] for one in await staff.box("bob", "others")] == [visitor.id]
    status, body = await visitor.post("还是想退货", "c-1")
    assert (status, set(body)) == (202, {"message_id"})
    assert (await visitor.post("还是想退货", "c-1"))[1] == body
    assert (await staff.box("ann", "mine"))[0]["unanswered"] == 1

    status, said = await staff.reply("ann", visitor.id, "**您好**，请问订单号？")
    assert (status, said["role"], said["author"]) == (201, "human", "key:ann")
    assert (await staff.reply("ann", visitor.id, "**您好**，请问订单号？"))[1]["id"] == said["id"]
    items = await visitor.history()
    assert [item["role"] for item in items] == ["user", "bot", "user", "bot", "user", "human"]
    assert items[-1]["text"] == "**您好**，请问订单号？"
    assert "author" not in items[-1]
    status, seen = await staff.call("ann", "GET", f"/conversations/{visitor.id}/messages", params={"limit": 4})
    assert [item["id"] for item in seen["items"]] == [item["id"] for item in items[-4:]]
    assert seen["earlier"] is True
    older = {"limit": 4, "before": seen["items"][0]["seq"]}
    _, seen = await staff.call("ann", "GET", f"/conversations/{visitor.id}/messages", params=older)
    assert ([item["id"] for item in seen["items"]], seen["earlier"]) == ([item["id"] for item in items[:2]], False)

    status, case = await staff.call("ann", "POST", f"/conversations/{visitor.id}/back")
    assert (status, case["state"], case["agent"]) == (200, "bot", None)
    assert (await visitor.say("我想退货"))["decision"] == "answer"
    assert [one["id"] for one in await staff.box("bob", "recent")] == [visitor.id]
    async with talk.database.reading() as session:
        deeds = {one.action: one for one in await audit.recent(session)}
        (row,) = await session.scalars(select(HandoffRow))
        learnt = [one async for one in training.conversations(session)]
    assert {deeds[name].actor for name in ("desk.take", "desk.back")} == {"key:ann"}
    assert deeds["desk.take"].target == visitor.id
    assert (row.taken_by, row.ended_by, row.ended_how) == ("key:ann", "key:ann", "back")
    roles = [(one.role, one.machine) for one in learnt[0].messages]
    assert roles[4:6] == [("user", False), ("assistant", False)]  # what a person answered, after what was asked


async def test_two_at_once_one_wins_and_the_other_is_told_who(talk: Any, staff: Staff) -> None:
    for _ in range(5):
        visitor = await talk.begin()
        await visitor.say(ASKS)
        done = await asyncio.gather(*(staff.take(who, visitor.id) for who in ("ann", "bob", "ann", "bob")))
        winners = {body["agent"] for status, body in done if status == 200}
        assert len(winners) == 1
        (winner,) = winners
        lost = [body["error"] for status, body in done if status == 409]
        assert {one["code"] for one in lost} == {"taken"}
        assert {one["details"]["agent"] for one in lost} == winners
        name = winner.removeprefix("key:")
        assert name in lost[0]["message"]
        other = "bob" if name == "ann" else "ann"
        for path in ("messages", "back", "close"):
            body = {"text": "抢答", "client_id": "x"} if path == "messages" else {}
            status, refused = await staff.call(other, "POST", f"/conversations/{visitor.id}/{path}", json=body)
            assert (status, refused["error"]["code"]) == (409, "taken")
        # With eyes open a colleague may take it, but only from who really has it.
        assert (await staff.take(other, visitor.id, **{"from": f"key:{other}2"}))[0] == 409
        status, case = await staff.take(other, visitor.id, **{"from": winner})
        assert (status, case["agent"]) == (200, f"key:{other}")
        assert (await staff.reply(name, visitor.id, "还是我来"))[0] == 409
        assert [item["role"] for item in await visitor.history()] == ["user", "bot"]
    async with talk.database.reading() as session:
        taken = [one for one in await audit.recent(session) if one.action == "desk.take"]
    assert len(taken) >= 10


async def test_who_may_not(talk: Any, staff: Staff) -> None:
    visitor = await talk.begin()
    await visitor.say(ASKS)
    await staff.hire("eve", "viewer")
    await staff.hire("till", "api")
    at = f"/conversations/{visitor.id}"
    calls = [
        ("GET", "/conversations"), ("GET", at), ("GET", f"{at}/messages"), ("POST", f"{at}/messages"),
        ("POST", f"{at}/take"), ("POST", f"{at}/back"), ("POST", f"{at}/close"), ("GET", "/events"),
    ]  # fmt: skip
    for method, path in calls:
        for who in ("eve", "till"):
            status, body = await staff.call(who, method, path, json={"text": "x", "client_id": "x"})
            assert (status, body["error"]["code"]) == (403, "forbidden"), path
        for headers in ({}, visitor.headers):
            async with talk.client.request(method, f"/api/desk{path}", headers=headers) as response:
                assert response.status == 401, path
    for method, path in calls:
        if at in path:
            told = path.replace(visitor.id, "none")
            status, _ = await staff.call(
                "ann", method, told, json={"text": "x", "client_id": "x"} if "mess" in path and method == "POST" else {}
            )
            assert status == 404, path
    assert (await staff.reply("ann", visitor.id, "还没接"))[1]["error"]["code"] == "not_taken"
    assert (await staff.take("ann", visitor.id))[0] == 200
    assert (await staff.reply("ann", visitor.id, " \u0007 "))[1]["error"]["code"] == "empty_message"
    assert (await staff.reply("ann", visitor.id, "长" * 5001))[0] == 400


async def test_the_customer_may_do_without(talk: Any, staff: Staff) -> None:
    visitor = await talk.begin()
    await visitor.say(ASKS)
    reply = await visitor.say("算了，不用人工了")
    assert (reply["decision"], reply["suggestions"]) == ("chitchat", [])
    assert "不再等人工" in reply["text"]
    assert await staff.box("ann", "waiting") == []
    async with talk.database.reading() as session:
        (row,) = await session.scalars(select(HandoffRow))
    assert (row.ended_by, row.ended_how, row.taken_by) == ("customer", "customer", None)
    assert "不再等人工" not in (await visitor.say("不用人工了"))["text"]  # nobody is called: nothing to take back
    await visitor.say(ASKS)
    assert len(await staff.box("ann", "waiting")) == 1
    assert (await staff.call("bob", "POST", f"/conversations/{visitor.id}/close"))[1]["state"] == "bot"
    assert await staff.box("ann", "waiting") == []


@pytest.mark.parametrize(
    "text",
    ["不用人工了", "不用转人工了", "算了不等了", "不等了", "不想等了", "取消排队", "取消转人工",
     "不需要人工客服了，谢谢", "那不转了", "不排隊了", "机器人就行", "还是机器人回答吧", "算了",
     "不用了", "no agent", "never mind", "cancel",
     "I don't want to wait"],
)  # fmt: skip
def test_words_that_call_it_off(text: str) -> None:
    assert called_off(text)


@pytest.mark.parametrize(
    "text",
    ["转人工", "人工呢", "还要等多久", "等了半天了", "不用人工智能吗", "取消订单", "我要取消订单", "不想要了能退吗",
     "怎么还不来人", "机器人听不懂", "不用了吗", "不能用怎么办", "where is the agent", "cancel my order",
     "不等了，投诉你们", "x" * 200],
)  # fmt: skip
def test_words_that_do_not(text: str) -> None:
    assert not called_off(text)


def test_a_bare_no_belongs_to_a_form() -> None:
    assert not called_off("算了", busy=True)
    assert called_off("不用人工了", busy=True)


async def test_only_what_is_true_is_promised(talk_with: Callable[..., Any]) -> None:
    talk = await talk_with()
    staff = await staff_of(talk)
    first = await talk.begin()
    plain = (await first.say(ASKS))["text"]
    assert "人工客服：400-000-0001。" in plain
    assert "通知" not in plain  # nobody has ever looked: only how to reach a person
    assert "留给" not in plain
    async with staff.events("ann", attending="true") as content:
        await staff.told(content, "queue")
        second = await talk.begin()
        called = (await second.say(ASKS))["text"]
        assert called.startswith(plain)
        assert "已经通知人工客服" in called
        again = (await second.say("帮我看看火星天气怎么样呢"))["text"]
        assert ("还没有接入" in again) == ((await second.history())[-1]["decision"] == "handoff")
        assert "还没有接入" in (await second.say("人工呢，转人工"))["text"]
        english = (await (await talk.begin()).say("human agent please", **{"Accept-Language": "en"}))["text"]
        assert "will reply right here" in english
        assert (await staff.take("ann", second.id))[0] == 200
    talk.desk.presence = Presence()
    assert "留给人工客服" in (await (await talk.begin()).say(ASKS))["text"]  # somebody does look, just not now


async def test_outside_the_hours_it_says_so_and_goes_on_helping(
    talk_with: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = await talk_with()
    staff = await staff_of(talk)
    monkeypatch.setattr("bot.dialogue.hours.Hours.open_now", lambda _: False)
    visitor = await talk.begin()
    async with staff.events("ann", attending="true") as content:
        await staff.told(content, "queue")
        told = (await visitor.say(ASKS))["text"]
    assert "休息时间" in told
    assert "请稍候" not in told
    assert (await visitor.say("怎么开发票"))["decision"] == "answer"
    assert len(await staff.box("ann", "waiting")) == 1


def test_presence_outlives_a_reload() -> None:
    moment = 1000.0
    presence = Presence(lambda: moment)
    assert not presence.anybody()
    with presence.attending("user:ann"), presence.attending("user:ann"):
        assert presence.anybody()
    moment += GRACE_SECONDS - 1
    assert presence.anybody()
    moment += 2
    assert not presence.anybody()


async def test_live_for_the_staff_and_for_the_customer(talk: Any, staff: Staff) -> None:
    visitor = await talk.begin()
    async with (
        staff.events("bob") as queue,
        talk.client.ws_connect(f"/api/sessions/{visitor.id}/ws", headers=visitor.headers) as socket,
    ):
        assert await staff.told(queue, "queue") == {"waiting": 0, "mine": 0, "others": 0}
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
    talk = await talk_with(scripted("帐篷 HW-6021 可抗 6 级风，超过 6 级请收起。", pause_seconds=0.5))
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


async def test_the_list_is_paged_and_ordered(talk: Any, staff: Staff) -> None:
    ids = []
    for _ in range(5):
        visitor = await talk.begin()
        await visitor.say(ASKS)
        ids.append(visitor.id)
    first = await staff.box("ann", "waiting", limit=2)
    rest = await staff.box("ann", "waiting", limit=10, offset=2)
    assert [one["id"] for one in [*first, *rest]] == ids
    _, body = await staff.call("ann", "GET", "/conversations", params={"limit": 2})
    assert (body["total"], body["counts"]) == (5, {"waiting": 5, "mine": 0, "others": 0})
    await staff.take("ann", ids[3])
    _, body = await staff.call("bob", "GET", "/conversations")
    assert body["counts"] == {"waiting": 4, "mine": 0, "others": 1}


async def test_an_action_that_silences_the_bot_calls_a_person_who_ends_the_silence(talk: Any, staff: Staff) -> None:
    visitor = await talk.begin()
    async with talk.database.session() as session:
        await handoffs.request(session, visitor.id, "paused", silent=True)
        events = [{"event": "pause", "timestamp": 1.0}]
        await session.execute(update(ConversationRow).where(ConversationRow.id == visitor.id).values(events=events))
    assert (await visitor.post("我想退货"))[0] == 202
    (case,) = await staff.box("ann", "waiting")
    assert (case["state"], case["cause"]) == ("paused", "paused")
    await staff.take("ann", visitor.id)
    await staff.call("ann", "POST", f"/conversations/{visitor.id}/back")
    assert (await visitor.say("我想退货"))["decision"] == "answer"
    async with talk.database.reading() as session:
        conversation = await conversations.find(session, visitor.id)
    assert conversation is not None
    assert [one["event"] for one in conversation.events][-1] == "resume"


async def test_who_waits_in_silence_leaves_the_queue(talk: Any, staff: Staff) -> None:
    old, young = await talk.begin(), await talk.begin()
    for visitor in (old, young):
        await visitor.say(ASKS)
    async with talk.database.session() as session:
        past = now() - timedelta(days=8)
        await session.execute(update(ConversationRow).where(ConversationRow.id == old.id).values(updated_at=past))
    await talk.desk.expire()
    assert [one["id"] for one in await staff.box("ann", "waiting")] == [young.id]
    async with talk.database.reading() as session:
        ended = await session.scalar(select(HandoffRow.ended_how).where(HandoffRow.conversation_id == old.id))
    assert ended == "expired"


async def test_a_customers_conversation_takes_its_handoffs_with_it(talk: Any, staff: Staff) -> None:
    visitor = await talk.begin()
    await visitor.say(ASKS)
    await staff.take("ann", visitor.id)
    async with talk.database.session() as session:
        past = now() - timedelta(days=200)
        await session.execute(update(ConversationRow).where(ConversationRow.id == visitor.id).values(updated_at=past))
        assert await conversations.delete_older(session, 180) == 1
    async with talk.database.reading() as session:
        assert await session.scalar(select(HandoffRow.id)) is None
    assert (await staff.reply("ann", visitor.id, "还在吗"))[0] == 404


async def test_nothing_that_was_said_is_logged_or_audited(
    talk: Any, staff: Staff, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "kefu")
    visitor = await talk.begin()
    await visitor.say(ASKS)
    await staff.take("ann", visitor.id)
    await visitor.post(SECRET_WORDS)
    await staff.reply("ann", visitor.id, f"收到，{SECRET_WORDS}")
    await staff.call("bob", "POST", f"/conversations/{visitor.id}/close")
    assert "13800138000" not in caplog.text
    async with talk.database.reading() as session:
        deeds = await audit.recent(session)
        stored = list(await session.scalars(select(MessageRow.text)))
    assert not [one for one in deeds if "13800138000" in json.dumps(one.detail)]
    assert SECRET_WORDS in stored


# Messaging channels.


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
