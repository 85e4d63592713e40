"""Cards that grow while an answer is written: one a message, finished once, and text where there can be none."""

import asyncio
from typing import Any

import pytest

from tests.connectors.cases import DingTalkCards, Feishu, FeishuLongConnection
from tests.servers.desk import SLOW, Answers


@pytest.fixture(params=[DingTalkCards, Feishu, FeishuLongConnection], ids=lambda case: case.__name__.lower())
async def case(request: pytest.FixtureRequest) -> Any:
    made = request.param()
    made.base = await made.outside.start()
    yield made
    await made.outside.stop()


@pytest.fixture
async def slow_desk(start_desk: Any) -> Any:
    answers = Answers()
    answers.slow_seconds = 3.0
    return await start_desk(answers)


def seen(desk: Any) -> list[Any]:
    return [card for card in desk.outside.cards.values() if card.to]


async def test_a_slow_answer_grows_in_one_card_and_a_quick_one_is_text(slow_desk: Any) -> None:
    desk = slow_desk
    await desk.say("u1", SLOW)
    await desk.outside.until(1)
    (card,) = seen(desk)
    assert card.finished
    assert card.to == desk.case.recipient("u1")
    assert card.shown[-1] == f"答：{SLOW}"
    assert all(card.shown[-1].startswith(words) for words in card.shown)
    assert len(card.shown) >= 2
    await desk.say("u1", "怎么退货")
    assert (await desk.outside.until(2))[-1] == (desk.case.recipient("u1"), "答：怎么退货")
    assert len(seen(desk)) == 1
    assert len(await desk.outside.quiet()) == 2


async def test_in_a_group_the_card_is_shown_there(slow_desk: Any) -> None:
    await slow_desk.say("u1", SLOW, group="g1")
    await slow_desk.outside.until(1)
    assert [card.to for card in seen(slow_desk)] == [slow_desk.case.recipient("u1", "g1")]


async def test_where_cards_are_not_allowed_the_answer_is_text(slow_desk: Any, start_desk: Any) -> None:
    desk = slow_desk
    if isinstance(desk.case, DingTalkCards):
        await desk.server.close()
        desk = await start_desk(desk.answers, card_template_id="another.schema")
    else:
        desk.outside.cards_allowed = False
    await desk.say("u1", SLOW)
    await desk.outside.until(1)
    assert await desk.outside.quiet() == [(desk.case.recipient("u1"), f"答：{SLOW}")]
    assert seen(desk) == []


async def test_a_card_that_is_gone_is_followed_by_text(slow_desk: Any) -> None:
    desk = slow_desk
    await desk.say("u1", SLOW)
    async with asyncio.timeout(60):
        while not seen(desk):
            await desk.outside._changed.wait()
    for card in desk.outside.cards.values():
        card.finished = True  # as after its ten minutes
    await desk.outside.until(1)
    assert await desk.outside.quiet() == [(desk.case.recipient("u1"), f"答：{SLOW}")]


async def test_a_platform_that_fails_gets_one_finished_card(slow_desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = slow_desk
    channel = desk.hub.channel(f"{desk.case.kind}/shop")
    monkeypatch.setattr(type(channel), "schedule", (0.05,) * 12)
    await desk.say("u0", "先问一句")  # tokens are there
    await desk.outside.until(1)
    desk.outside.failing = 0.3
    for number in range(1, 6):
        await desk.say(f"u{number}", f"{SLOW}{number}")
    await desk.outside.until(6, 120)
    desk.outside.failing = 0.0
    got = await desk.outside.quiet(1.0)
    assert sorted(got[1:]) == sorted((desk.case.recipient(f"u{n}"), f"答：{SLOW}{n}") for n in range(1, 6))
    assert all(card.finished for card in seen(desk))


async def test_an_answer_whose_confirmation_is_lost_is_not_shown_twice(
    slow_desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = slow_desk
    channel = desk.hub.channel(f"{desk.case.kind}/shop")
    monkeypatch.setattr(type(channel), "schedule", (0.05,) * 12)
    finish, lost = channel._cards._api.finish, []

    async def and_lost(_self: Any, card: Any, text: str, id_: str) -> None:
        await finish(card, text, id_)
        if not lost:
            lost.append(id_)
            raise OSError("cut off")

    monkeypatch.setattr(type(channel._cards._api), "finish", and_lost)
    await desk.say("u1", SLOW)
    await desk.outside.until(1)
    assert await desk.outside.quiet(1.5) == [(desk.case.recipient("u1"), f"答：{SLOW}")]
    assert lost


async def test_what_a_colleague_writes_is_a_message_of_its_own(slow_desk: Any) -> None:
    desk = slow_desk
    await desk.say("u1", SLOW)
    await desk.outside.until(1)
    await desk.hub.push(f"{desk.case.kind}/shop", "u1", "我是人工客服")
    assert (await desk.outside.until(2))[-1][1] == "我是人工客服"
    (card,) = seen(desk)
    assert card.text == f"答：{SLOW}"


async def test_a_card_shows_markup_but_calls_nobody(slow_desk: Any) -> None:
    desk = slow_desk
    if isinstance(desk.case, DingTalkCards):
        pytest.skip("its Markdown has no elements that call people")
    await desk.say("u1", f"{SLOW}**重要** <at id=all></at>")
    await desk.outside.until(1)
    (card,) = seen(desk)
    assert "**重要**" in card.text
    assert "<" not in card.text
