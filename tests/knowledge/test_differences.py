"""In what two questions differ."""

import pytest

from knowledge.differences import content, difference, is_bare, is_displaced, says_the_same, share_named, swap


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("怎么申请退货", "请问退货如何申请呢"),
        ("多久能到", "几天可以到？"),
        ("保修多久", "質保多長時間"),
        ("退货的运费谁承担", "退货邮费谁出"),
    ],
)
def test_the_frame_of_a_question_is_no_difference(one: str, other: str) -> None:
    assert set(content(one)) == set(content(other))


def test_what_stands_in_each_others_place() -> None:
    found = difference("换货运费谁出", "退货运费谁出")
    assert found.swapped == (("换", "退"),)
    assert (found.ours, found.theirs) == (("换",), ("退",))
    assert found.shared == pytest.approx(5 / 6)
    longer = difference("儿童可以化妆吗", "可以化妆吗")
    assert (longer.ours, longer.theirs, longer.swapped) == (("儿童",), (), ())
    assert difference("", "").shared == 0.0


@pytest.mark.parametrize(
    ("query", "wording"),
    [
        ("换货运费谁出", "退货运费谁出"),
        ("几点开门", "几点关门"),
        ("双十二有什么活动", "双十一有什么活动"),
        ("科目四补考多少钱", "科目三补考多少钱"),
        ("母亲节要提前订吗", "情人节要提前订吗"),
    ],
)
def test_another_word_in_a_wording_is_told(query: str, wording: str) -> None:
    assert swap(query, wording, [wording]) > 0.4
    assert swap(query, wording, [wording, f"也答：{query}"]) == 0.0
    assert swap(wording, wording, [wording]) == 0.0


def test_questions_that_share_little_are_not_one_with_another_word() -> None:
    assert swap("怎么开发票", "退货运费谁出", ["退货运费谁出"]) == 0.0


def test_what_another_is_asked_about() -> None:
    wordings, answer = ("黑五有什么活动", "黑五优惠"), "黑五三天全场八折"
    assert is_displaced("双十一优惠", wordings, answer)
    assert is_displaced("国庆有活动吗", wordings, answer)
    assert not is_displaced("黑五优惠几天", wordings, answer)
    assert not is_displaced("八折的活动吗", wordings, answer), "the answer speaks of it"
    assert not is_displaced("怎么开发票", wordings, answer), "nothing in common"
    assert not is_displaced("黑五", (), answer)


def test_a_word_alone() -> None:
    assert is_bare("运费")
    assert is_bare("退貨運費")
    assert not is_bare("运费多少")
    assert share_named("运费", "退货运费谁出") == pytest.approx(2 / 5)
    assert share_named("运费", "怎么退货") == 0.0
    assert share_named("押金", "押金怎么退") == pytest.approx(2 / 3)


def test_the_same_in_another_order_or_asked_otherwise() -> None:
    for query in ("怎么开发票", "如何開發票？", "我要开发票", "开发票", "请问发票怎么开呢", "开发票怎么弄"):
        assert says_the_same(query, "发票怎么开"), query
    for query in ("发票多久开", "开专票", "发票", "怎么开"):
        assert not says_the_same(query, "发票怎么开"), query
    assert not says_the_same("发票弄丢了", "发票丢了")
    assert not says_the_same("上海寄到北京", "北京寄到上海")
    assert says_the_same("怎么寄到北京", "寄到北京怎么寄") is False
    assert not says_the_same("多久到账", "怎么到账"), "what is asked stays"
    assert not says_the_same("怎么", "如何"), "nothing is asked"
