"""Conversations through the running service: the history is the database's, the search is real."""

from typing import Any

import pytest

from bot import keys


def entries(reply: dict[str, Any]) -> list[str]:
    return [source["faq_id"] for source in reply["sources"]]


async def test_follow_ups_are_read_with_their_subject(talk: Any) -> None:
    visitor = await talk.begin()
    assert entries(await visitor.say("怎么申请退货")) == ["return-how"]
    freight = await visitor.say("那运费呢")
    assert freight["decision"] == "answer"
    assert entries(freight) == ["return-freight"]
    assert entries(await visitor.say("多久到账"))[0] == "return-time"


async def test_rewritings_are_searched_for_at_once_and_only_where_needed(
    talk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    knowledge, searches = talk.app[keys.KNOWLEDGE_BASE], []
    search_all = knowledge.search_all

    async def counted(queries: Any, *args: Any, **rest: Any) -> Any:
        searches.append(len(queries))
        return await search_all(queries, *args, **rest)

    monkeypatch.setattr(knowledge, "search_all", counted)
    visitor = await talk.begin()
    await visitor.say("怎么申请退货")
    assert searches == [1]
    await visitor.say("那运费呢")
    assert searches == [1, 1, 2]


async def test_the_same_words_without_a_subject_are_not_answered_for_one(talk: Any) -> None:
    visitor = await talk.begin()
    assert (await visitor.say("那呢"))["decision"] != "answer"


async def test_two_visitors_never_share_a_subject(talk: Any) -> None:
    one, other = await talk.begin(), await talk.begin()
    await one.say("怎么申请退货")
    await other.say("怎么开发票")
    assert "return-freight" in entries(await one.say("那运费呢"))
    assert entries(await other.say("那要多久能开出来"))[:1] == ["invoice"]


async def test_several_questions_are_answered_each(talk: Any) -> None:
    visitor = await talk.begin()
    reply = await visitor.say("怎么开发票？可以货到付款吗？")
    assert reply["decision"] == "answer"
    assert entries(reply) == ["invoice", "cod"]
    assert "电子发票 24 小时内开出" in reply["text"]
    assert "暂不支持货到付款" in reply["text"]
    again = await visitor.say("怎么开发票？发票怎么开？")
    assert entries(again) == ["invoice"]
    assert again["text"].endswith("在订单详情点「申请发票」，电子发票 24 小时内开出。")


async def test_two_things_that_are_compared_are_both_told(talk: Any) -> None:
    visitor = await talk.begin()
    reply = await visitor.say("申请退货和申请换货有什么区别？")
    assert (reply["decision"], entries(reply)) == ("answer", ["return-how", "exchange-how"])
    assert "审核通过后寄回" in reply["text"]
    assert "点申请换货" in reply["text"]


async def test_what_did_not_help_leads_to_a_person(talk: Any) -> None:
    visitor = await talk.begin()
    await visitor.say("怎么申请退货")
    reply = await visitor.say("试过了还是不行")
    assert reply["decision"] == "handoff"
    assert "400-000-0001" in reply["text"]


async def test_an_offered_question_is_taken_by_a_word_of_it(talk: Any) -> None:
    visitor = await talk.begin()
    offered = await visitor.say("退货钱")
    assert offered["decision"] == "clarify"
    index = next(i for i, one in enumerate(offered["suggestions"]) if "运费" in one)
    reply = await visitor.say("运费")
    assert (reply["decision"], entries(reply)) == ("answer", [entries(offered)[index]])


async def test_a_part_of_the_answer_before_is_said_again_alone(talk: Any) -> None:
    visitor = await talk.begin()
    await visitor.say("怎么申请退货")
    reply = await visitor.say("审核通过后要寄回吗")
    assert entries(reply) == ["return-how"]
    assert reply["decision"] == "answer"
