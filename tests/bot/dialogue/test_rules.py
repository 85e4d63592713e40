"""What a company has laid down, in whole turns: topics, words, labels, hours; and anger and turns that do not help."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bot import keys
from bot.dialogue.hours import Hours, Span
from bot.dialogue.pipeline import Pipeline
from bot.dialogue.policy import entry_source
from bot.dialogue.rules import Rules
from bot.dialogue.types import Answer, Turn, Utterance
from bot.dialogue.voice import Profile
from bot.dialogue.words import WordList
from bot.profile import PROFILE

CONTACT = "400-000-0001"
PASSAGES = "露营灯多久充一次电"


class Fixed:
    """A company with these rules."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    def now(self) -> Profile:
        return self._profile


@pytest.fixture
def ask(talk: Any) -> Callable[..., Any]:
    """Asks a pipeline under rules; `said` are the earlier turns, as texts asked or answers given."""

    async def asked(text: str, *said: Utterance, engine: Any = None, **rules: Any) -> Answer:
        profile = replace(talk.app[PROFILE].now(), rules=Rules(**rules))
        pipeline = Pipeline(talk.app[keys.KNOWLEDGE_BASE], Fixed(profile), engine)
        return await pipeline.answer(Turn("c", text, tuple(said)))

    return asked


def turn(text: str, answer: Answer) -> tuple[Utterance, Utterance]:
    return Utterance("user", text), answer.said


async def test_topics_of_the_company_go_to_a_person(ask: Any) -> None:
    topics = WordList({"着火": "安全事故", "发票": "税务"})
    answer = await ask("帐篷着 火了怎么退货", handed_over=topics)
    assert (answer.decision, answer.reasons[-2:]) == ("handoff", ("topic: 安全事故, 着火", "handoff: topic"))
    assert CONTACT in answer.text
    # The company's own words of the very question are said, and a person comes all the same.
    answer = await ask("怎么开发票", handed_over=topics)
    assert answer.decision == "handoff"
    assert answer.text == "在订单详情点「申请发票」，电子发票 24 小时内开出。"


async def test_refused_words_are_declined_whatever_is_asked(ask: Any) -> None:
    answer = await ask("怎么申请退货，赌~博网站", refused=WordList.of("refuse", ["赌博"]))
    assert (answer.decision, answer.sources) == ("refuse", ())
    assert "赌博" not in answer.text


async def test_what_a_model_wrote_with_a_withheld_word_is_not_said(ask: Any, scripted: Any) -> None:
    engine = scripted("露营灯 DG-4402 长期不用时，", "每 3 个月充电一次，", "建议保持一半电量。")
    spoken = await ask(PASSAGES, engine=engine)
    assert spoken.decision == "generate"
    held = await ask(PASSAGES, engine=engine, withheld=WordList.of("withhold", ["一半电量"]))
    assert "一半电量" not in held.text
    assert (held.decision, held.generated, held.sources) == ("handoff", False, ())
    assert any("withheld" in reason for reason in held.reasons)
    # An entry's own answer is the company's word.
    own = await ask("怎么申请退货", withheld=WordList.of("withhold", ["申请退货"]))
    assert own.decision == "answer"


async def test_what_cannot_be_answered_is_named_only_where_its_words_may_be_said(ask: Any) -> None:
    asked = "可以货到付款吗？会员换货怎么样？"
    assert "「会员换货怎么样？」我还不确定" in (await ask(asked)).text
    answer = await ask(asked, withheld=WordList.of("withhold", ["会员换货"]))
    assert answer.decision == "answer"
    assert "您问的另一件事我还不确定" in answer.text
    assert "会员换货" not in answer.text


async def test_entries_of_a_label_are_said_and_a_person_comes(ask: Any, talk: Any) -> None:
    knowledge_base = talk.app[keys.KNOWLEDGE_BASE]
    entry = knowledge_base.entry("member")
    knowledge_base._units["member"] = replace(entry, category="大客户")
    answer = await ask("会员有什么权益", labels=frozenset({"大客户"}))
    assert (answer.decision, answer.reasons[-1]) == ("handoff", "handoff: rule")
    assert answer.text.startswith(entry.answer)
    assert CONTACT in answer.text
    offered = Utterance("bot", "哪一个？", "clarify", ("会员有什么权益", "怎么开发票"), ("member", "invoice"))
    chosen = await ask("1", Utterance("user", "会员"), offered, labels=frozenset({"大客户"}))
    assert chosen.reasons == ("choice: 1 of 2", "rule: entries of 大客户 are for a person", "handoff: rule")
    both = await ask("会员有什么权益？可以货到付款吗？", labels=frozenset({"大客户"}))
    assert (both.decision, both.reasons[-1]) == ("handoff", "handoff: rule")
    assert entry.answer in both.text
    assert "货到付款" in both.text
    asked = turn("会员有什么权益", replace(answer, decision="answer", sources=(entry_source(entry, 1.0),)))
    more = await ask("生日券也有吗", *asked, labels=frozenset({"大客户"}))
    assert (more.decision, more.reasons[-1]) == ("handoff", "handoff: rule")


async def test_outside_the_hours_it_is_said_when(ask: Any) -> None:
    shut = Hours((Span((1, 2, 3, 4, 5, 6, 7), 0, 0),), frozenset())
    assert "休息时间" not in (await ask("转人工", hours=shut)).text  # from midnight to midnight
    never = Hours((Span((), 0, 60),))
    answer = await ask("转人工", hours=never)
    assert "休息时间" in answer.text
    assert "hours: closed" in answer.reasons


async def test_a_wish_and_a_complaint_get_words_of_their_own(ask: Any) -> None:
    person = await ask("这个我说不清楚，还是给我转人工吧")
    complaint = await ask("我要投诉你们")
    assert (person.decision, complaint.decision) == ("handoff", "handoff")
    assert (person.reasons[-1], complaint.reasons[-1]) == ("handoff: person", "handoff: complaint")
    assert "投诉" in complaint.text
    assert "没有找到" not in complaint.text


async def test_anger_is_answered_where_that_is_sure_and_met_by_a_person_where_not(ask: Any) -> None:
    sure = await ask("你们这帮骗子，怎么申请退货")
    assert (sure.decision, sure.sources[0].faq_id) == ("answer", "return-how")
    unsure = await ask("你们这帮骗子，还我的押金")
    assert (unsure.decision, unsure.reasons[-1]) == ("handoff", "handoff: anger")
    assert "抱歉" in unsure.text


async def test_two_turns_without_an_answer_lead_to_a_person(ask: Any) -> None:
    first = await ask("附近有什么好吃的饭馆")
    assert first.reasons[-1] == "handoff: no_answer"
    second = await ask("哪里有好吃的火锅", *turn("附近有什么好吃的饭馆", first))
    assert second.reasons[-1] == "handoff: failed"
    # What is surely answered is answered, whatever went before.
    said = (*turn("甲", first), *turn("乙", second))
    assert (await ask("怎么申请退货", *said)).decision == "answer"


async def test_two_offers_that_nobody_took_lead_to_a_person(ask: Any) -> None:
    offer = await ask("退货钱")
    assert offer.decision == "clarify"
    once = await ask("退的钱", *turn("退货钱", offer))
    assert once.decision == "clarify"
    twice = await ask("退货退钱", *turn("退货钱", offer), *turn("退的钱", once))
    assert twice.reasons[-1] == "handoff: failed"


async def test_the_same_answer_to_other_words_is_given_twice_not_thrice(ask: Any) -> None:
    said: tuple[Utterance, ...] = ()
    decisions = []
    for text in ("怎么申请退货", "我想退货", "退货流程是什么"):
        answer = await ask(text, *said)
        decisions.append(answer.decision)
        said = (*said, *turn(text, answer))
    assert decisions == ["answer", "answer", "handoff"]
    again = await ask("怎么申请退货", *turn("怎么申请退货", await ask("怎么申请退货")))
    assert again.decision == "answer"
