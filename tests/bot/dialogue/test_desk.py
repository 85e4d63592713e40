"""The handoff, from the decision to the person's reply and back: over HTTP, with two staff at once."""

import asyncio
import json
import logging
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from bot.storage import audit, conversations, handoffs, training
from bot.storage.tables import ConversationRow, HandoffRow, MessageRow
from bot.storage.values import now
from tests.bot.dialogue.staff import ASKS, Staff

SECRET_WORDS = "我的手机号是13800138000"


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
    assert (body["total"], body["counts"]) == (5, {"waiting": 5, "unasked": 0, "mine": 0, "others": 0})
    await staff.take("ann", ids[3])
    _, body = await staff.call("bob", "GET", "/conversations")
    assert body["counts"] == {"waiting": 4, "unasked": 0, "mine": 0, "others": 1}


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
