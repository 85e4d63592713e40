"""Nothing that the sources do not say gets past the guard."""

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.dialogue.figures import addresses, codes, figures, folded
from bot.dialogue.guard import Guard, repeatable, sentences, shown

RETURNS = """退换货政策 > 退款
退款将在收到退货后3个工作日内原路返回。七天无理由退货，运费由买家承担。质量问题运费由我们承担。
定制商品不支持无理由退货。"""
DELIVERY = """现货订单当天17:00前付款的当天发货，偏远地区（新疆、西藏）约7天送达，运费12元。
客服电话400-820-1234，官网https://shop.example.com/help。
H20 Pro 保修期为二十四个月，满 1,999 元送 10% 积分，3至5天到货"""
SOURCES = [RETURNS, DELIVERY]
GUARD = Guard(SOURCES)


@pytest.mark.parametrize(
    "sentence",
    [
        "退款将在收到退货后3个工作日内原路返回。",
        "退款会在收到退货后三个工作日内原路返回，运费由买家承担。",
        "您好！七天无理由退货，运费由买家承担。",
        "7天无理由退货，运费由买家承担。",
        "偏远地区约7天送达，运费十二元。",
        "客服电话４００-８２０-１２３４。",
        "官网https://shop.example.com/help。",
        "H20 Pro 保修期为24个月。",
        "满1999元送百分之十积分。",
        "3-5天到货。",
        "定制商品不支持无理由退货。",
        "您好，",
    ],
)
def test_what_the_sources_say_passes(sentence: str) -> None:
    assert GUARD.check(sentence).ok


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [
        ("退款将在收到退货后3天内原路返回。", "unsupported_figure"),
        ("退款将在收到退货后２０个工作日内原路返回。", "unsupported_figure"),
        ("退款将在收到退货后二十个工作日内原路返回。", "unsupported_figure"),
        ("5天到货。", "unsupported_figure"),
        ("偏远地区约7天送达，运费7元。", "unsupported_figure"),
        ("满1999元送百分之二十积分。", "unsupported_figure"),
        ("现货订单当天18:00前付款的当天发货。", "unsupported_figure"),
        ("客服电话400-820-1235。", "unsupported_figure"),
        ("官网https://shop.example.com/hel。", "unsupported_address"),
        ("官网 shop.example.org", "unsupported_address"),
        ("请写信到 help@shop.example.com", "unsupported_address"),
        ("H30 Pro 保修期为24个月。", "unsupported_code"),
        ("我是ChatGPT。", "unsupported_word"),
        ("定制商品支持无理由退货。", "contradicts_source"),
        ("退款将不在收到退货后3个工作日内原路返回。", "contradicts_source"),
        ("我们周末也营业，欢迎光临。", "unsupported_wording"),
        ("可以。", "too_short"),
        ("七天无理由退货，运费由买家承担吗？", "question_back"),
    ],
)
def test_what_they_do_not_say_is_stopped(sentence: str, reason: str) -> None:
    verdict = GUARD.check(sentence)
    assert not verdict.ok
    assert verdict.reason == reason


def test_a_clause_may_repeat_the_question() -> None:
    asked = "东西坏了运费谁付"
    assert not GUARD.check("东西坏了运费由我们承担。").ok
    assert Guard(SOURCES, asked).check("东西坏了运费由我们承担。").ok
    assert not Guard(SOURCES, "东西坏了退回去邮费谁付").check("东西坏了退回去邮费由我们承担。").ok, "too little is left"
    # But the question alone is no source.
    assert not Guard(SOURCES, "支持货到付款吗").check("支持货到付款。").ok
    assert not Guard(SOURCES, "退款要10天吗").check("退款要10天，将在收到退货后原路返回。").ok


NUMBER = st.one_of(
    st.integers(0, 10**12).map(str),
    st.decimals(0, 9999, places=2).map(str),
    st.tuples(st.integers(0, 23), st.integers(0, 59)).map(lambda t: f"{t[0]}:{t[1]:02d}"),
    st.integers(1, 100).map(lambda n: f"{n}%"),
    st.integers(0, 9999).map(lambda n: "".join(chr(ord(c) + 0xFEE0) for c in str(n))),
)


@settings(max_examples=300, deadline=None)
@given(NUMBER, st.sampled_from(["天", "元", "个工作日", "小时", "", "折", "%", "号", "个"]), st.integers(0, 40))
def test_no_figure_that_is_not_in_the_sources_passes(number: str, unit: str, place: int) -> None:
    said = "退款将在收到退货后原路返回，运费由买家承担。"
    sentence = said[:place] + number + unit + said[place:]
    known = {value for value, _ in figures(folded("\n".join(SOURCES)))}
    if GUARD.check(sentence).ok:
        assert {value for value, _ in figures(folded(sentence))} <= known


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="退款货运费天元0123456789.。！？ \n1)-—:/abcXYZ％％①[]", max_size=80))
def test_what_is_shown_of_any_text_has_no_foreign_digits(text: str) -> None:
    whole, rest = sentences(text)
    assert "".join(whole) + rest == text
    digits = set(re.findall(r"\d+", unicodedata.normalize("NFKC", "".join(SOURCES).replace(",", "")))) | {"7"}
    for sentence in (*whole, rest):
        if GUARD.check(shown(sentence)).ok:
            found = set(re.findall(r"\d+", unicodedata.normalize("NFKC", shown(sentence))))
            assert found <= digits


def test_sentences_end_where_they_end() -> None:
    assert sentences("你好。价格3.5元!ok") == (["你好。", "价格3.5元!"], "ok")
    assert sentences("看 shop.example.com 吧") == ([], "看 shop.example.com 吧")
    assert sentences("是吗？") == ([], "是吗？")  # it may still become 「？！」
    assert sentences("第一行\n第二") == (["第一行\n"], "第二")


def test_list_numbers_and_source_marks_are_not_shown() -> None:
    assert shown("1. 退货[1]。") == "- 退货。"
    assert shown("① 退货【2】") == "- 退货"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("十五天", {("15", "天")}),
        ("两百三十元", {("230", "元")}),
        ("一个", set()),
        ("一起看看", set()),
        ("3～5天", {("3-5", "天")}),
        ("三到五个工作日", {("3-5", "工作日")}),
        ("1,234,567元", {("1234567", "元")}),
        ("百分之五", {("5%", "")}),
        ("within 3 business days", {("3", "工作日")}),
        ("二〇二六年", {("2026", "年")}),
        ("QS20260103001", set()),
    ],
)
def test_figures(text: str, expected: set[tuple[str, str]]) -> None:
    assert figures(folded(text)) == expected


def test_codes_and_addresses() -> None:
    text = folded("型号 QL-2115、ＨＷ-6021，官网 HTTPS://Shop.Example.com/a?b=1，信箱 a.b@shop.example.com。")
    assert codes(text) == {"ql-2115", "hw-6021"}
    assert addresses(text) == {"https://shop.example.com/a?b=1", "a.b@shop.example.com"}


RULES = """从签收次日零点起 7 天内，商品没有使用过、配件齐全的，可以无理由退货。拆封的滤芯不适用无理由退货。
参考时间：鸡翅 180 ℃ 20 分钟，整鸡 180 ℃ 45 分钟。新机可以退。但拆修过的除外。
同一件商品换新后又坏的那台机器，可以全额退款。
| 等级 | 条件 | 折扣 |
| 青石 | 满 500 元 | 9.8 折 |
| 岩心 | 满 6000 元 | 9.2 折 |"""


@pytest.mark.parametrize(
    ("question", "sentence", "reason"),
    [
        ("能退吗", "7 天内可以无理由退货。", "condition_dropped"),
        ("能退吗", "签收 7 天内且未使用的可以无理由退货。", "contradicts_source"),
        ("能退吗", "商品没有使用过、配件齐全的，可以无理由退货。", "condition_dropped"),
        ("能退吗", "从签收次日零点起 7 天内，商品没有使用过、配件齐全的，可以无理由退货。", ""),
        ("签收次日零点起 7 天内，没有使用过、配件齐全的商品能退吗", "可以无理由退货。", ""),
        ("说一句可以全额退款", "可以全额退款。", "condition_dropped"),
        ("换新又坏了呢", "换新后又坏的，可以全额退款。", ""),
        ("新机能退吗", "新机可以退。", "condition_dropped"),
        ("新机能退吗", "新机可以退，但拆修过的除外。", ""),
        ("整鸡烤多久", "180 ℃ 20 分钟。", "figure_of_another"),
        ("整鸡烤多久", "整鸡 180 ℃ 20 分钟。", "figure_of_another"),
        ("整鸡烤多久", "整鸡 180 ℃ 45 分钟。", ""),
        ("岩心会员几折", "岩心会员 9.8 折。", "unsupported_wording"),
        ("岩心会员几折", "满 500 元 9.8 折。", "figure_of_another"),
        ("滤芯能退吗", "拆封的滤芯不适用无理由退货，免费。", "unsupported_wording"),
        ("滤芯能退吗", "拆封的滤芯不适用无理由退货，包邮到家。", "unsupported_wording"),
    ],
)
def test_conditions_stay_and_figures_stay_with_what_they_are_of(question: str, sentence: str, reason: str) -> None:
    assert Guard([RULES], question).check(sentence).reason == reason


def test_what_is_said_of_one_thing_is_not_said_of_another() -> None:
    cards = "用礼品卡支付的部分退回原卡。用花呗分期支付的，已经产生的手续费不退。"
    guard = Guard([cards], "花呗分期付的钱退到哪")
    assert guard.check("用花呗分期支付的部分退回原卡。").reason == "said_of_another"
    assert guard.check("用花呗分期支付的，已经产生的手续费不退。").ok
    assert Guard([cards], "礼品卡付的钱退到哪").check("用礼品卡支付的部分退回原卡。").ok


def test_a_title_or_a_question_affirms_nothing() -> None:
    guard = Guard(["大件不支持放驿站和快递柜。"], "大件可以放快递柜吗", ["大件可以放快递柜吗"])
    assert not guard.check("大件可以放快递柜。").ok
    assert guard.check("大件不支持放快递柜。").ok


def test_a_name_put_together_of_two_is_no_name() -> None:
    guard = Guard(["玉石会员在每月 18 日下单得双倍积分，岩心会员得三倍积分。"], "会员日下单得几倍积分")
    assert guard.check("玉心会员在每月 18 日下单得双倍积分。").reason == "made_up_word"
    assert guard.check("玉石会员在每月 18 日下单得双倍积分。").ok


def test_a_reply_keeps_to_the_point() -> None:
    sources = ["每用完 30 箱水清洗一次喷头。", "皮革和绒面不能熨烫。"]
    assert Guard(sources, "挂烫机喷头怎么洗").check("每用完 30 箱水清洗一次喷头。").ok
    verdict = Guard(sources, "挂烫机能烫皮衣吗").check("每用完 30 箱水清洗一次喷头。")
    assert verdict.reason == "beside_the_point"


def test_how_long_is_answered_with_a_time_where_a_source_has_one() -> None:
    sources = ["种植体质保 10 年，牙冠质保 5 年。每年至少复查一次的，质保才有效。"]
    assert Guard(sources, "质保几年").check("每年至少复查一次的，质保才有效。").reason == "beside_the_point"
    assert Guard(sources, "质保几年").check("种植体质保 10 年，牙冠质保 5 年。").ok
    assert Guard(sources, "怎样质保才有效").check("每年至少复查一次的，质保才有效。").ok
    assert Guard(["质保以合同为准。"], "质保几年").check("质保以合同为准。").ok


def test_traditional_and_simplified_are_one() -> None:
    assert Guard(["退款將在收到退貨後三個工作日內原路返回。"]).check("退款将在收到退货后3个工作日内原路返回。").ok


@pytest.mark.parametrize("text", ["运费多少", "可以用支付宝吗", "how much is it"])
def test_a_plain_question_may_be_repeated(text: str) -> None:
    assert repeatable(text)


@pytest.mark.parametrize(
    "text",
    [
        "看 evil.example.com 吗",
        "![x](http://a.cn/?q=1) 吗",
        "**急**怎么退",
        "<b>运费</b>",
        "a@b.cn 收到了吗",
        "码 AB12 是啥",
        "退" * 61,
    ],
)
def test_links_markup_and_codes_are_not_repeated(text: str) -> None:
    assert not repeatable(text)


def test_a_sentence_is_not_taken_where_another_is_much_nearer_to_the_question() -> None:
    source = (
        "仓库收到退货后 3 个工作日内退款。用礼品卡支付的部分退回原卡；原卡已过期的，改发一张有效期 6 个月的新卡。"
        "用花呗分期支付的，已经产生的手续费不退。"
    )
    guard = Guard([source], "礼品卡付的钱退款时卡已经过期，怎么处理", ["验收与退款"])
    assert guard.check("用花呗分期支付的，已经产生的手续费不退。").reason == "beside_the_point"
    assert guard.check("用礼品卡支付的部分退回原卡；原卡已过期的，改发一张有效期 6 个月的新卡。").ok
