"""A visitor over plain requests and Server-Sent Events: the contract's forms, one turn at a time, nothing lost."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text, update

from bot import health_checks, profile
from bot.config import Settings
from bot.storage import conversations, exchange
from bot.storage.exchange import Incoming
from bot.storage.tables import ConversationRow
from bot.storage.values import now

CAMPING = "帐篷能抗几级风"
GROUNDED = "帐篷 HW-6021 可抗 6 级风，超过 6 级请收起。"
STREAM = {"Accept": "text/event-stream"}
REPLY = {
    "id", "role", "text", "decision", "sources", "suggestions", "generated", "created_at", "latency_ms", "reply_to",
    "feedback",
}  # fmt: skip


async def events(response: Any) -> list[tuple[str, str, Any]]:
    """(event, id, data) of a whole event stream."""
    found = []
    for block in (await response.text()).split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and line[0] != ":")
        if fields:
            found.append((fields["event"], fields.get("id", ""), json.loads(fields["data"])))
    return found


async def count(talk: Any, table: str) -> int:
    async with talk.database.reading() as session:
        return int(await session.scalar(text(f"select count(*) from {table}")))  # noqa: S608 - names of ours


async def test_the_replys_form_and_the_history(talk: Any) -> None:
    visitor = await talk.begin()
    reply = await visitor.say("我想退货", "c-1")
    assert set(reply) == REPLY
    assert reply["role"] == "bot"
    assert reply["decision"] == "answer"
    assert reply["created_at"].endswith("Z")
    assert set(reply["sources"][0]) == {"faq_id", "document_id", "title", "quote", "score"}
    assert reply["sources"][0]["faq_id"] == "return-how"
    await visitor.say("谢谢")
    items = await visitor.history()
    assert [item["role"] for item in items] == ["user", "bot", "user", "bot"]
    assert items[0]["client_id"] == "c-1"
    assert items[1] == reply
    assert items[1]["reply_to"] == items[0]["id"]
    assert await visitor.history(after=items[1]["id"]) == items[2:]
    assert await visitor.history(after="nonsense") == items
    other = await talk.begin()
    offered = await other.say("退货钱")
    assert offered["suggestions"]
    assert offered["suggestions"] == [source["title"] for source in offered["sources"]]
    assert (await other.history())[1] == offered


async def test_a_conversation_opens_to_its_own_token_alone(talk: Any) -> None:
    one, two = await talk.begin(), await talk.begin()
    await one.say("我想退货")
    for token in (two.token, "", "x" * 5000):
        headers = {"Authorization": f"Bearer {token}"}
        async with talk.client.get(one.path, headers=headers) as response:
            assert response.status == 401
            assert (await response.json())["error"]["code"] == "bad_token"
    async with talk.client.post("/api/sessions/unknown/messages", json={"text": "x"}) as response:
        assert response.status == 404
    async with talk.database.reading() as session:
        stored = await session.scalar(text("select group_concat(token_hash) from conversations"))
    assert one.token not in stored


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"text": 5}', b'{"text": ""}', b'{"text": "  \\u0000 "}', b'{"texts": "x"}', b"\xff\xfe",
     b'{"text": "x", "client_id": ""}', b"[" * 100_000],
)  # fmt: skip
async def test_wrong_bodies_get_one_sentence(talk: Any, body: bytes) -> None:
    visitor = await talk.begin()
    async with talk.client.post(visitor.path, data=body, headers=visitor.headers) as response:
        assert response.status == 400
        error = (await response.json())["error"]
        assert error["message"]
    assert await visitor.history() == []


async def test_hostile_texts_are_answered(talk: Any) -> None:
    visitor = await talk.begin()
    huge = await visitor.say("退" * 100_000)
    assert huge["decision"] == "refuse"
    assert "100000" in huge["text"]
    assert len((await visitor.history())[0]["text"]) < 2100
    async with talk.client.post(
        visitor.path, data=b'{"text": "\\ud800\\u0007\\u9000\\u8d27"}', headers=visitor.headers
    ) as raw:
        assert raw.status == 200
    for hostile in ("'; drop table messages; --", "<script>alert(1)</script>", "{{7*7}}", "\u202e退货", "🙂" * 50):
        assert (await visitor.say(hostile))["text"]
    english = await visitor.say("hello", **{"Accept-Language": "en"})
    assert "Hill Camping" in english["text"]


async def test_streamed_reply(talk_with: Callable[..., Any], scripted: Any) -> None:
    talk = await talk_with(scripted(GROUNDED, "帐内严禁", "生火。"))
    visitor = await talk.begin()
    async with talk.client.post(visitor.path, json={"text": CAMPING}, headers=visitor.headers | STREAM) as response:
        assert response.content_type == "text/event-stream"
        told = await events(response)
    assert [event for event, _, _ in told] == ["meta", "delta", "delta", "done"]
    assert told[0][2]["decision"] == "generate"
    assert told[0][2]["sources"][0]["document_id"]
    done = told[-1][2]
    assert done["text"] == "".join(data["text"] for event, _, data in told if event == "delta")
    assert done["generated"] is True
    assert done["id"] == told[-1][1]
    assert len({id_ for _, id_, _ in told}) == 4
    assert (await visitor.history())[-1] == done


async def test_the_same_message_twice_is_one(talk_with: Callable[..., Any], scripted: Any) -> None:
    engine = scripted(GROUNDED, "帐内严禁生火。", pause_seconds=0.1)
    talk = await talk_with(engine)
    visitor = await talk.begin()
    replies = await asyncio.gather(*(visitor.say(CAMPING, "same") for _ in range(6)))
    assert all(reply == replies[0] for reply in replies)
    later = await visitor.say(CAMPING, "same")
    assert later == replies[0]
    async with talk.client.post(
        visitor.path, json={"text": CAMPING, "client_id": "same"}, headers=visitor.headers | STREAM
    ) as response:
        told = await events(response)
    assert [event for event, _, _ in told] == ["meta", "delta", "done"]
    assert told[-1][2] == replies[0]
    assert len(engine.asked) == 1
    assert await count(talk, "messages") == 2
    other = await talk.begin()  # the same client_id in another conversation is another message
    await other.say("我想退货", "same")
    assert await count(talk, "messages") == 4


async def test_one_turn_at_a_time_in_order(talk_with: Callable[..., Any], scripted: Any) -> None:
    talk = await talk_with(scripted(GROUNDED, pause_seconds=0.3))
    visitor, other = await talk.begin(), await talk.begin()
    slow = asyncio.create_task(visitor.say(CAMPING))
    await asyncio.sleep(0.1)
    quick = asyncio.create_task(visitor.say("怎么开发票"))
    elsewhere = await other.say("怎么开发票")  # another conversation waits for nobody
    assert elsewhere["decision"] == "answer"
    assert not slow.done()
    assert not quick.done()
    await asyncio.gather(slow, quick)
    items = await visitor.history()
    replies = [item for item in items if item["role"] == "bot"]
    assert [reply["decision"] for reply in replies] == ["generate", "answer"]
    assert [reply["reply_to"] for reply in replies] == [item["id"] for item in items if item["role"] == "user"]


async def test_the_reply_is_stored_though_the_visitor_leaves(talk_with: Callable[..., Any], scripted: Any) -> None:
    talk = await talk_with(scripted(GROUNDED, "帐内严禁生火。", pause_seconds=0.2))
    visitor = await talk.begin()
    async with talk.client.post(visitor.path, json={"text": CAMPING}, headers=visitor.headers | STREAM) as response:
        await response.content.readline()
        response.close()
    for _ in range(100):
        items = await visitor.history()
        if len(items) == 2:
            break
        await asyncio.sleep(0.05)
    assert items[1]["text"] == GROUNDED + "帐内严禁生火。"


async def test_the_history_as_a_stream_resumes(talk_with: Callable[..., Any], scripted: Any) -> None:
    talk = await talk_with(scripted(GROUNDED, pause_seconds=0.1))
    visitor = await talk.begin()
    first = await visitor.say("我想退货")
    headers = visitor.headers | STREAM | {"Last-Event-ID": f"{first['reply_to']}.2"}
    async with talk.client.get(visitor.path, headers=headers) as response:
        told: list[dict[str, str]] = [{}]
        speaking = None
        async for line in response.content:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                told[-1][name] = value
                continue
            if told[-1].get("event") == "ready":
                speaking = asyncio.create_task(visitor.say(CAMPING))
            if told[-1].get("event") == "done":
                break
            told.append({})
    assert speaking is not None
    await speaking
    assert [one["event"] for one in told] == ["message", "ready", "message", "meta", "delta", "done"]
    assert json.loads(told[0]["data"])["message"]["id"] == first["id"] == told[0]["id"]
    assert json.loads(told[-1]["data"])["message"]["text"] == GROUNDED


async def test_thumbs(talk: Any) -> None:
    visitor, other = await talk.begin(), await talk.begin()
    reply = await visitor.say("我想退货")
    path = f"/api/messages/{reply['id']}/feedback"

    async def rate(body: Any, headers: dict[str, str], at: str = path) -> int:
        async with talk.client.post(at, json=body, headers=headers) as response:
            return int(response.status)

    assert await rate({"rating": "down", "comment": "没用"}, visitor.headers) == 200
    assert (await visitor.history())[1]["feedback"] == "down"
    assert await rate({"rating": "up"}, visitor.headers) == 200
    assert (await visitor.history())[1]["feedback"] == "up"
    assert await rate({"rating": None}, visitor.headers) == 200
    assert (await visitor.history())[1]["feedback"] is None
    assert await rate({"rating": "up"}, other.headers) == 401
    assert await rate({"rating": "up"}, {}) == 401
    assert await rate({"rating": "best"}, visitor.headers) == 400
    assert await rate({}, visitor.headers) == 400
    mine = (await visitor.history())[0]["id"]
    assert await rate({"rating": "up"}, visitor.headers, f"/api/messages/{mine}/feedback") == 404
    assert await rate({"rating": "up"}, visitor.headers, "/api/messages/none/feedback") == 404


async def test_limits_and_a_person_in_the_bots_place(talk_with: Callable[..., Any]) -> None:
    talk = await talk_with(messages_per_minute=3, sessions_per_minute=3)
    visitor = await talk.begin()
    for _ in range(3):
        await visitor.say("你好")
    status, body = await visitor.post("你好")
    assert (status, body["error"]["code"]) == (429, "too_many_requests")
    held, _ = await talk.begin(), await talk.begin()
    async with talk.client.post("/api/sessions", json={}) as response:
        assert response.status == 429
        assert int(response.headers["Retry-After"]) >= 1
    async with talk.database.session() as session:
        await session.execute(update(ConversationRow).where(ConversationRow.id == held.id).values(state="human"))
    status, body = await held.post("有人吗？")
    assert status == 202
    assert body == {"message_id": (await held.history())[0]["id"]}


async def test_old_conversations_go_and_young_ones_stay(talk: Any) -> None:
    old, young = await talk.begin(), await talk.begin()
    reply = await old.say("我想退货")
    await young.say("我想退货")
    async with talk.client.post(f"/api/messages/{reply['id']}/feedback", json={"rating": "up"}, headers=old.headers):
        pass
    async with talk.database.session() as session:
        past = now() - timedelta(days=181)
        await session.execute(update(ConversationRow).where(ConversationRow.id == old.id).values(updated_at=past))
    async with talk.database.session() as session:
        assert await conversations.delete_older(session, 180) == 1
    assert await count(talk, "conversations") == 1
    assert await count(talk, "messages") == 2
    assert await count(talk, "feedback") == 0
    status, _ = await old.post("还在吗")
    assert status == 404
    assert len(await young.history()) == 2


async def test_a_turn_cut_off_by_a_crash_is_answered_when_the_message_comes_again(talk: Any) -> None:
    visitor = await talk.begin()
    lost = Incoming(visitor.id, "我想退货", "lost")  # what a kill -9 between message and reply leaves behind
    await talk.database.write(lambda connection: exchange.keep(connection, lost))
    reply = await visitor.say("我想退货", "lost")
    assert reply["decision"] == "answer"
    assert await count(talk, "messages") == 2


async def test_the_profile_speaks_the_visitors_language(talk: Any) -> None:
    async with talk.client.get("/api/profile", headers={"Accept-Language": "en"}) as response:
        english = await response.json()
    async with talk.client.get("/api/profile") as response:
        chinese = await response.json()
    assert english["company_name"] == "Hill Camping"
    assert chinese["company_name"] == "小山露营"
    assert chinese["assistant_name"] == english["assistant_name"] == "阿山"
    assert chinese["suggestions"] == ["怎么申请退货"]
    assert chinese["question_characters_max"] == 2000
    assert chinese["built_in"] == []


async def test_the_profile_is_in_the_visitors_characters(talk: Any) -> None:
    for tag, welcome in (("zh-TW", "請問"), ("zh-Hant-HK,en;q=0.5", "請問"), ("zh-CN", "请问"), ("zh-SG", "请问")):
        async with talk.client.get("/api/profile", headers={"Accept-Language": tag}) as response:
            shown = await response.json()
        assert welcome in shown["welcome"], tag
        assert shown["language"] == "zh"
    async with talk.client.get("/api/profile?lang=zh-TW") as response:
        shown = await response.json()
    assert shown["company_name"] == "小山露營"
    assert shown["suggestions"] == ["怎麼申請退貨"]
    visitor = await talk.begin(**{"Accept-Language": "zh-TW"})
    reply = await visitor.say("你好", **{"Accept-Language": "zh-TW"})  # 你好 is written alike in both
    assert "請問有什麼" in reply["text"]


@pytest.mark.parametrize(
    ("given", "built_in"),
    [
        ({}, ["company_name", "handoff_text"]),
        ({"company_name": "小山露营"}, ["handoff_text"]),
        ({"handoff_text_en": "Call 400-000-0001."}, ["company_name"]),
        ({"company_name": "小山露营", "handoff_text": "请拨打 400-000-0001。"}, []),
    ],
)
def test_texts_that_are_not_the_companys_own_are_told_of(
    tmp_path: Path, given: dict[str, str], built_in: list[str]
) -> None:
    settings = Settings(data=tmp_path, **given)  # type: ignore[arg-type]
    assert profile.built_in_texts(profile.load_profile(settings)) == built_in
    _hours, finding = health_checks.texts(settings)
    assert finding.state == ("warning" if built_in else "ok")
    assert all(name in finding.text for name in built_in)
