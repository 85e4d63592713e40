"""What is decided on ranked hits."""

import pytest

from knowledge import rank
from knowledge.calibrate import Calibration
from knowledge.shelf import Found, Seen
from knowledge.types import Hit
from knowledge.verdict import SAME_PROBABILITY, judge

SURE = Calibration((0.0,) * len(rank.FEATURES), 9.0, 0.63, 0.11)
GROUND = rank.Background(0.8, 0.03)


def decided(query: str, *questions: str, answer: str = "") -> tuple[str, tuple[str, ...]]:
    """The decision on entries found in this order, by a calibration that is sure of everything, and the options."""
    hits = [Hit(text, "faq", text, 0.95 - n / 100, 0.5, 0.95 - n / 100) for n, text in enumerate(questions)]
    seen = Seen((1.0, 0.5), questions[:1], answer, len(questions))
    made = judge(query, hits, seen, Found([]), SURE, GROUND)
    return made.decision, made.options


@pytest.mark.parametrize(
    ("query", "questions", "decision"),
    [
        ("运费", ("退货运费谁出", "怎么开发票"), "clarify"),  # a small part of what the only one is about
        ("运费", ("运费多少", "怎么开发票"), "answer"),
        ("押金", ("押金多少", "押金怎么退", "怎么开发票"), "clarify"),
        ("押金是多少", ("押金多少", "押金怎么退"), "answer"),
        ("TK03报E2", ("TK03的出水量", "TK03滤芯多少钱", "显示E2怎么办"), "clarify"),
        ("TK03报E2", ("显示E2怎么办", "TK03的出水量", "TK03滤芯多少钱"), "answer"),
        ("TK03的出水量", ("TK03的出水量是多少", "TK05的出水量是多少"), "answer"),
        ("十寸蛋糕多少钱", ("八寸蛋糕多少钱", "怎么开发票"), "clarify"),
        ("退", ("怎么退货", "怎么开发票"), "clarify"),
    ],
)
def test_what_is_asked_back(query, questions, decision):
    assert decided(query, *questions)[0] == decision


def test_a_word_alone_offers_the_entries_that_have_it():
    assert decided("押金", "押金多少", "怎么开发票", "押金怎么退")[1] == ("押金多少", "押金怎么退")


def test_the_same_words_in_another_order_mean_that_entry_unless_another_comes_as_near():
    unsure = Calibration((0.0,) * len(rank.FEATURES), -3.0, 0.63, 0.11)

    def of(query: str, second: str, behind: float) -> tuple[str, float]:
        hits = [Hit("a", "faq", "发票怎么开", 0.9, 0.5, 0.9), Hit("b", "faq", second, 0.89, 0.5, 0.9 - behind)]
        made = judge(query, hits, Seen((0.5, 0.5), ("发票怎么开",), "在订单里申请", 2000), Found([]), unsure, GROUND)
        return made.decision, made.probability

    assert of("怎么开发票", "能开专票吗", 0.03) == ("answer", SAME_PROBABILITY)
    assert of("怎么开发票", "能开专票吗", 0.001)[0] == "clarify"
    assert of("怎么开发票", "如何开发票", 0.03)[0] == "clarify"
    assert of("怎么开收据", "能开专票吗", 0.03)[0] == "none"


@pytest.mark.parametrize(
    ("query", "decision", "options"),
    [
        ("JS-00077", "clarify", ("JS-00077怎么装", "JS00077的遥控器")),
        ("js00077的滤芯", "clarify", ("JS-00077怎么装", "JS00077的遥控器")),
        ("JS-00078", "none", ()),
        ("怎么装", "none", ()),
    ],
)
def test_entries_that_name_the_code_asked_about_are_offered_however_unlikely_they_seem(query, decision, options):
    unlikely = Calibration((0.0,) * len(rank.FEATURES), -5.0, 0.63, 0.11)
    questions = ("TX-1怎么装", "JS-00077怎么装", "怎么装", "JS00077的遥控器")
    hits = [Hit(text, "faq", text, 0.9, 0.5, 0.9 - n / 1000) for n, text in enumerate(questions)]
    made = judge(query, hits, Seen((0.5, 0.5), questions[:1], "", 100000), Found([]), unlikely, GROUND)
    assert (made.decision, made.options) == (decision, options)


@pytest.mark.parametrize(
    ("query", "decision", "options"),
    [
        ("查订单", "clarify", ("帮我查订单的物流", "查订单要密码吗")),
        ("查订单怎么弄", "none", ()),  # more than a word
        ("单", "none", ()),
        ("查快递", "none", ()),
    ],
)
def test_entries_that_have_the_word_that_is_all_of_a_message_are_offered_however_unlikely(query, decision, options):
    unlikely = Calibration((0.0,) * len(rank.FEATURES), -5.0, 0.63, 0.11)
    questions = ("订单记录在哪里", "帮我查订单的物流", "查订单要密码吗")
    hits = [Hit(text, "faq", text, 0.9, 0.5, 0.9 - n / 1000) for n, text in enumerate(questions)]
    made = judge(query, hits, Seen((0.5, 0.5), questions[:1], "", 100), Found([]), unlikely, GROUND)
    assert (made.decision, made.options) == (decision, options)
