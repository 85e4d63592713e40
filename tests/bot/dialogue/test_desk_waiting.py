"""Who waits for a person: what they are told, and how they leave the queue without one."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from bot.handoff.presence import GRACE_SECONDS, Presence
from bot.handoff.waiting import called_off
from bot.storage.tables import ConversationRow, HandoffRow
from bot.storage.values import now
from tests.bot.dialogue.staff import ASKS, Staff, staff_of

UNKNOWN = "附近有什么好吃的饭馆"


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


async def test_a_missing_answer_calls_nobody_who_was_not_asked_for(talk_with: Callable[..., Any]) -> None:
    talk = await talk_with()
    staff = await staff_of(talk)
    visitor = await talk.begin()
    async with staff.events("ann", attending="true") as content:
        assert await staff.told(content, "queue") == {"waiting": 0, "unasked": 0, "mine": 0, "others": 0}
        reply = await visitor.say(UNKNOWN)
        assert reply["decision"] == "handoff"
        assert "请说「转人工」" in reply["text"]
        assert "已经通知" not in reply["text"]
        assert (await staff.told(content, "queue"))["unasked"] == 1
        assert await staff.box("ann", "waiting") == []
        (case,) = await staff.box("ann", "unasked")
        assert (case["state"], case["cause"]) == ("bot", "no_answer")
        await visitor.say("怎么开发票")
        assert (await visitor.say(UNKNOWN))["text"] == reply["text"]  # it is in the box once
        assert len(await staff.box("ann", "unasked")) == 1
        assert "已经通知人工客服" in (await visitor.say(ASKS))["text"]
    assert await staff.box("ann", "unasked") == []
    (wanted,) = await staff.box("ann", "waiting")
    assert (wanted["state"], wanted["cause"]) == ("waiting", "person")
    assert wanted["since"] > case["since"]  # the wait begins with the wish
    async with talk.database.reading() as session:
        assert len(list(await session.scalars(select(HandoffRow)))) == 1


async def test_one_of_the_staff_may_take_what_nobody_asked_for(talk: Any, staff: Staff) -> None:
    visitor = await talk.begin()
    await visitor.say(UNKNOWN)
    status, case = await staff.take("ann", visitor.id)
    assert (status, case["state"], case["agent"]) == (200, "human", "key:ann")
    assert (await visitor.post("还在吗"))[0] == 202
    await staff.call("ann", "POST", f"/conversations/{visitor.id}/back")
    assert (await visitor.say("怎么开发票"))["decision"] == "answer"


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


async def test_who_waits_in_silence_leaves_the_queue(talk: Any, staff: Staff) -> None:
    old, young, unasked = [await talk.begin() for _ in range(3)]
    for visitor in (old, young):
        await visitor.say(ASKS)
    await unasked.say(UNKNOWN)
    async with talk.database.session() as session:
        for visitor, days in ((old, 8), (young, 2), (unasked, 2)):
            past = {"updated_at": now() - timedelta(days=days)}
            await session.execute(update(ConversationRow).where(ConversationRow.id == visitor.id).values(**past))
    await talk.desk.expire()
    assert [one["id"] for one in await staff.box("ann", "waiting")] == [young.id]
    assert await staff.box("ann", "unasked") == []
    async with talk.database.reading() as session:
        ended = await session.execute(select(HandoffRow.conversation_id, HandoffRow.ended_how))
    assert {tuple(row) for row in ended} == {(old.id, "expired"), (young.id, None), (unasked.id, "expired")}
