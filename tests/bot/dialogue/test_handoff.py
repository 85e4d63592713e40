"""The wish for a person, anger, failed turns, hours and listed words, each by itself."""

import time
from datetime import date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.dialogue.anger import angry
from bot.dialogue.failures import cause, failed_in_a_row
from bot.dialogue.handoff import asks_for_telephone, wish
from bot.dialogue.hours import Hours, Span
from bot.dialogue.outside import outside
from bot.dialogue.texts import TEXTS, WARM
from bot.dialogue.types import Utterance
from bot.dialogue.voice import Voice
from bot.dialogue.words import WordList


@pytest.mark.parametrize(
    "text",
    ["人工", "转人工", "人工客服", "请帮我转人工客服", "找真人", "你听不懂，给我转人工！", "我要找客服", "叫你们经理来",
     "怎么转人工", "转人工，我要退货", "不要机器人，我要人工", "I want to talk to a human", "human agent please",
     "不转人工是吧，那叫你们店长来", "轉人工", "ｒｅｎｇｏｎｇ", "转 人 工"],
)  # fmt: skip
def test_wish_for_a_person(text: str) -> None:
    assert wish(text) == "person"


@pytest.mark.parametrize("text", ["投诉", "我要投诉你们", "再不发货就投诉", "我要投訴", "I want to file a complaint"])
def test_wish_to_complain(text: str) -> None:
    assert wish(text) == "complaint"


@pytest.mark.parametrize(
    "text",
    ["人工费多少钱", "人工客服几点上班", "人工客服电话是多少", "人工降雨", "人工智能是什么", "你是人工吗", "客服",
     "老板在吗", "退货找客服还是自己申请", "is there a human made one", "", "改收货人公司地址", "责任工程师是谁",
     "投诉电话是多少", "投诉归谁管", "不投诉了", "不用转人工", "收件人张经理，上海市人民路1号", "谢谢人工客服"],
)  # fmt: skip
def test_no_wish_for_a_person(text: str) -> None:
    assert wish(text) is None


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=400))
def test_any_text_is_read(text: str) -> None:
    wish(text)
    angry(text)
    outside(text)
    WordList.of("list", ["违禁", "sb"]).find(text)


@pytest.mark.parametrize(
    "piece",
    ["我要", "转", "人工", "找", "给我", "一下", "按0", "不要", "你们", "的电话", "能不能", "求求你", "客服", "帮我找"],
)
def test_no_message_makes_the_patterns_backtrack(piece: str) -> None:
    started = time.process_time()
    for length in range(1, 59):
        wish((piece * 60)[:length] + "嗬人")
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "text",
    [
        "你们就是骗子，怎么还不退款",
        "垃圾公司！",
        "什么垃圾机构，打了三个电话没人接",
        "气死我了",
        "傻 逼",
        "太过分了吧",
        "别跟我说再等等",
        "我不管，你们别再跟我扯了",
        "少跟我来这套",
        "别拿放假来搪塞我",
        "太差了你们",
        "你们这服务真差劲",
        "客服态度怎么这么差",
        "you are scammers, where is my money",
    ],
)
def test_anger(text: str) -> None:
    assert angry(text)


@pytest.mark.parametrize(
    "text",
    [
        "垃圾袋怎么卖", "滚筒洗衣机", "神经酰胺", "质量问题怎么退", "where is my order", "垃圾短信怎么退订",
        "垃圾分类怎么做", "fraudulent", "麻烦您别跟我说太专业的词", "快递少给我装了一件", "别用洗衣机洗吗",
        "售后差价怎么退", "两种服务差别大吗", "信号太差怎么办",
    ],
)  # fmt: skip
def test_no_anger(text: str) -> None:
    assert not angry(text)


@pytest.mark.parametrize("text", ["今天天气怎么样", "帮我写一首诗", "1+1等于几", "who is the president of France"])
def test_outside_any_business(text: str) -> None:
    assert outside(text)


def test_a_companys_own_subject_is_not_outside() -> None:
    assert not outside("电影票怎么退", ("怎么改签电影票",))
    assert not outside("怎么退货")


def said(*turns: tuple[str, str, str, str]) -> tuple[Utterance, ...]:
    """(customer's words, decision, reply, reason) of each turn."""
    found: list[Utterance] = []
    for text, decision, reply, reason in turns:
        found.append(Utterance("user", text))
        found.append(Utterance("bot", reply, decision, reasons=(reason,)))  # type: ignore[arg-type]
    return tuple(found)


NOTHING = ("handoff", "没有找到", "handoff: no_answer")
OFFER = ("clarify", "哪一个？", "search: clarify")


@pytest.mark.parametrize(
    ("turns", "planned", "failed"),
    [
        ([], "", 0),
        ([("甲", *NOTHING)], "", 1),
        ([("甲", *NOTHING), ("乙", *NOTHING)], "", 2),
        ([("甲", *NOTHING), ("怎么退", "answer", "这样退", "")], "", 0),
        ([("甲", *OFFER)], "", 1),
        ([("甲", *OFFER), ("乙", *OFFER)], "", 2),
        ([("甲", *OFFER), ("1", "answer", "这样退", "choice: 1 of 2")], "", 0),
        ([("甲", *OFFER), ("1", "answer", "这样退", "choice: 1 of 2")], "这样退", 1),
        ([("怎么退", "answer", "这样退", ""), ("退货怎么弄", "answer", "这样退", "")], "这样退", 2),
        ([("怎么退", "answer", "这样退", ""), ("怎么退", "answer", "这样退", "")], "这样退", 1),
        ([("怎么退", "answer", "这样退", ""), ("怎么换", "answer", "这样换", "")], "这样换", 1),
        ([("转人工", "handoff", "好的", "handoff: person")], "", 0),
        ([("你好", "chitchat", "您好", "small talk: greeting")], "", 0),
    ],
)
def test_failed_turns(turns: list[tuple[str, str, str, str]], planned: str, failed: int) -> None:
    assert failed_in_a_row(said(*turns), "换个说法再问", planned) == failed


def offered(*ids: str) -> Utterance:
    return Utterance("bot", "哪一个？", "clarify", tuple(ids), tuple(ids), tuple(ids), ("search: clarify",))


@pytest.mark.parametrize(
    ("replies", "first", "failed"),
    [
        ([offered("a", "b")], "b", 1),  # what was not taken comes up again
        ([offered("a", "b")], "c", 0),  # the customer went on to something else
        ([offered("a", "b")], "", 1),  # nothing at all was found
        ([offered("a"), offered("b", "a")], "c", 0),
        ([offered("a"), offered("a")], "c", 1),
        ([offered("a"), offered("a")], "a", 2),
        ([offered("a"), offered("b"), offered("c")], "d", 0),
        ([offered("a"), offered("b"), offered("c"), offered("d")], "e", 4),  # it goes on guessing
    ],
)
def test_an_offer_that_was_passed_over_is_a_failure_only_where_it_comes_up_again(
    replies: list[Utterance], first: str, failed: int
) -> None:
    history = [one for number, reply in enumerate(replies) for one in (Utterance("user", f"问{number}"), reply)]
    assert failed_in_a_row(history, "再问", "", first) == failed


def test_the_cause_of_a_handoff_is_on_record() -> None:
    assert cause(("search: none", "handoff: no_answer")) == "no_answer"
    assert cause(("search: none",)) is None


WEEK = Hours((Span((1, 2, 3, 4, 5), 9 * 60, 18 * 60), Span((6,), 22 * 60, 2 * 60)), frozenset({date(2026, 10, 1)}))


@pytest.mark.parametrize(
    ("moment", "there"),
    [
        ("2026-11-20T09:00", True),  # a Friday
        ("2026-11-20T17:59", True),
        ("2026-11-20T18:00", False),
        ("2026-11-20T08:59", False),
        ("2026-11-21T12:00", False),
        ("2026-11-21T23:00", True),
        ("2026-11-22T01:59", True),  # the night that began on Saturday
        ("2026-11-22T02:00", False),
        ("2026-10-01T12:00", False),  # a day off
    ],
)
def test_hours(moment: str, there: bool) -> None:
    assert WEEK.open_at(datetime.fromisoformat(moment)) is there


def test_hours_in_words() -> None:
    assert WEEK.describe("zh") == "周一至周五 9:00–18:00，周六 22:00–2:00"
    assert WEEK.describe("en") == "Mon to Fri 9:00–18:00, Sat 22:00–2:00"
    assert Hours().open_now()


LIST = WordList({"毒品": "illegal", "法轮": "politics", "sb": "insult", "free money": "spam", "枪": "arms"})


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("哪里有毒品卖", "illegal"),
        ("毒 品", "illegal"),
        ("毒*品", "illegal"),
        ("毒\u200b品", "illegal"),
        ("毒-_-品", "illegal"),
        ("毒，品，多少钱", "illegal"),
        ("法輪", "politics"),
        ("你个SB", "insult"),
        ("ｓｂ", "insult"),
        ("s b", "insult"),
        ("s.b", "insult"),
        ("FREE   money", "spam"),
        ("我要退，这是中毒，品质不行", None),
        ("usb 线", None),
        ("this is big", None),
        ("退货", None),
        ("", None),
    ],
)
def test_listed_words(text: str, name: str | None) -> None:
    found = LIST.find(text)
    assert (found.name if found else None) == name


def test_an_empty_list_finds_nothing() -> None:
    assert WordList().find("毒品") is None
    assert WordList.of("x", ["", "！"]).find("！") is None


def test_a_voice_says_the_companys_own_words_in_its_tone() -> None:
    plain = Voice(
        "zh", "小山", "阿山", "欢迎", "电话 1", texts={"thanks": "{assistant}谢谢您光临{company}{x}"}, hours="每天"
    )
    assert plain.say("thanks") == "阿山谢谢您光临小山{x}"
    assert plain.say("bye") == TEXTS["bye"][0]
    warm = Voice("zh", "小山", "阿山", "欢迎", "电话 1", tone="warm")
    assert warm.say("bye") == WARM["bye"][0]
    assert warm.say("complaint") == TEXTS["complaint"][0]
    parts = plain.hand_over("person", reachable=False).split("\n\n")
    assert [bool(part) for part in parts] == [True, True, True]
    assert parts[1:] == ["电话 1", "现在是休息时间，人工客服的服务时间：每天。"]


def test_every_text_has_both_languages() -> None:
    assert set(WARM) <= set(TEXTS)
    assert all(len({zh, en}) == 2 and zh and en for zh, en in (*TEXTS.values(), *WARM.values()))


@pytest.mark.parametrize(
    "text",
    ["我还是不懂 有没有电话我打过去问", "给个电话我打过去", "你們電話多少", "客服热线是多少", "有没有联系方式",
     "留个电话给我", "我打电话给你们吧", "把你们的电话发我一下", "店里的座机号码", "what's your phone number",
     "Is there a number I can call?"],
)  # fmt: skip
def test_asks_for_a_number_to_call(text: str) -> None:
    assert asks_for_telephone(text)


@pytest.mark.parametrize(
    "text",
    ["快递员的电话是多少", "我的电话号码改了", "电话怎么绑定", "不用给我打电话", "手机号换了怎么改", "电话费能充吗",
     "没接到电话", "收货人电话写错了", "有人给我打电话说是你们", "能修改电话吗", "送货前会打电话吗", "打电话没人接",
     "老师电话多少", "电话手表多少钱", "you never called me back", "", "电话" * 500],
)  # fmt: skip
def test_speaks_of_a_telephone(text: str) -> None:
    assert not asks_for_telephone(text)
