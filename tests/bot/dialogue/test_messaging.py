"""A messaging channel in front of the whole service: real questions, real answers, a customer's own conversation."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from sqlalchemy import select

from bot.errors import ConfigError
from bot.storage import conversations
from bot.storage.tables import ConversationRow
from tests.servers import webhook


@pytest.fixture
async def receiver() -> AsyncIterator[webhook.Receiver]:
    made = webhook.Receiver()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def talk(talk_with: Callable[..., Any], receiver: webhook.Receiver) -> Any:
    url = str(receiver.server.make_url("/replies")) if receiver.server else ""
    return await talk_with(channels=({"kind": "webhook", "name": "crm", "secret": webhook.SECRET, "url": url},))


async def say(talk: Any, user: str, text: str, id_: str) -> int:
    body = json.dumps({"sender": user, "text": text, "message_id": id_}).encode()
    headers = webhook.headers(body, f"d-{id_}")
    async with talk.client.post("/webhooks/webhook/crm", data=body, headers=headers) as response:
        return int(response.status)


async def test_a_question_is_answered_as_on_the_page(talk: Any, receiver: webhook.Receiver) -> None:
    for _ in range(3):
        assert await say(talk, "u1", "退货运费谁出", "m1") == 200
    await receiver.until(1)
    assert await receiver.quiet() == [("u1", "无理由退货由买家承担，质量问题由我们承担。")]
    (body,) = receiver.bodies
    assert body["data"]["decision"] == "answer"
    assert body["data"]["in_reply_to"] == "m1"
    id_ = conversations.channel_conversation_id("crm", "webhook", "u1", "")
    async with talk.database.reading() as session:
        history = await conversations.history(session, id_)
    assert [(one.role, one.text) for one in history] == [
        ("user", "退货运费谁出"), ("bot", "无理由退货由买家承担，质量问题由我们承担。"),
    ]  # fmt: skip


async def test_customers_do_not_see_each_others_conversations(talk: Any, receiver: webhook.Receiver) -> None:
    for number, (user, text) in enumerate((("u1", "退货运费谁出"), ("u2", "可以货到付款吗"), ("u1", "怎么开发票"))):
        assert await say(talk, user, text, f"m{number}") == 200
    await receiver.until(3)
    assert receiver.to("u2") == ["暂不支持货到付款。"]
    assert len(receiver.to("u1")) == 2


@pytest.mark.parametrize(("table", "word"), [
    ({"kind": "webhook", "name": "crm", "secret": webhook.SECRET}, "缺少参数 url"),
    ({"kind": "fax", "name": "f"}, "fax"),
])  # fmt: skip
async def test_a_wrong_table_stops_the_start_with_one_sentence(
    talk_with: Callable[..., Any], table: dict[str, Any], word: str
) -> None:
    with pytest.raises(ConfigError, match=word):
        await talk_with(channels=(table,))


async def test_a_letter_does_not_change_the_language_and_a_sentence_does(talk: Any, receiver: webhook.Receiver) -> None:
    languages = []
    for number, text in enumerate(("退货运费谁出", "x", "how do I return this", "ok", "怎么退货")):
        assert await say(talk, "u1", text, f"l{number}") == 200
        await receiver.until(number + 1)
        async with talk.database.reading() as session:
            (known,) = (await session.scalars(select(ConversationRow))).all()
        languages.append(known.language)
    assert languages == ["zh", "zh", "en", "en", "zh"]
