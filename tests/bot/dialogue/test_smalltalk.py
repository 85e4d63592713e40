"""What is small talk, abuse or a choice, and above all what is not."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.dialogue.smalltalk import abusive, chose_none, chosen, normalised, small_talk

OFFERED = ("怎么申请退货？", "退货运费谁出", "退款多久到账")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("你好", "greeting"),
        ("您好呀～", "greeting"),
        ("在吗？", "greeting"),
        ("亲，在吗", "greeting"),
        ("Hello!", "greeting"),
        ("ｈｉ", "greeting"),
        ("我想问一下", "greeting"),
        ("您好，请问一下", "greeting"),
        ("请问在吗", "greeting"),
        ("I have a question", "greeting"),
        ("我想问一下退货", None),
        ("请问怎么退", None),
        ("唔該晒！", "thanks"),
        ("早晨", "greeting"),
        ("唔該退貨點搞", None),
        ("谢谢", "thanks"),
        ("好的，谢谢你", "thanks"),
        ("ok, thanks", "thanks"),
        ("谢谢，再见", "thanks"),
        ("没事了，谢谢你啊", "thanks"),
        ("不用了，谢谢！", "cancel"),
        ("谢谢。你是机器人吗？", "identity"),
        ("没事了，谢谢，那运费谁出", None),
        ("没事了，退货", None),
        ("拜拜", "bye"),
        ("你是谁？", "identity"),
        ("你好，你是机器人吗", "identity"),
        ("Who are you?", "identity"),
        ("好的", "acknowledgement"),
        ("知道了", "acknowledgement"),
        ("算了", "cancel"),
        ("算了不用了", "cancel"),
        ("取消呢", None),
        ("取消吗？", None),
        ("你好，我想退货", None),
        ("谢谢，那运费谁出", None),
        ("取消订单", None),
        ("好评返现怎么弄", None),
        ("你们是哪里发货", None),
        ("早上好像没收到短信", None),
        ("可以退吗", None),
        ("", None),
        ("？？？", None),
    ],
)
def test_small_talk(text: str, kind: str | None) -> None:
    assert small_talk(text) == kind


@pytest.mark.parametrize(
    "text",
    ["傻逼客服", "你们是骗子吗", "骗子！！！", "垃圾", "什么破玩意，垃圾", "你有病吧，神经病", "你是智障吗",
     "人工智障", "滚", "SB", "一群骗子", "你們都是騙子", "fuck you", "You are so stupid!", "is this a scam",
     "Useless bot.", "scammers"],
)  # fmt: skip
def test_abuse(text: str) -> None:
    assert abusive(text)


@pytest.mark.parametrize(
    "text",
    ["骗子，怎么还不退款", "垃圾袋多少钱", "你们这些垃圾，东西都坏了怎么赔", "是不是假货", "傻逼客服我要退货",
     "滚筒洗衣机", "恶心想吐", "你真好", "客服", "你是机器人吗", "USB 充电吗", "usb", "where is my fucking order",
     "trash bags", "is this it", "什么东西", "", "？"],
)  # fmt: skip
def test_no_abuse(text: str) -> None:
    assert not abusive(text)


@pytest.mark.parametrize(
    ("text", "index"),
    [("1", 0), ("2.", 1), ("３", 2), ("第一个", 0), ("选二", 1), ("②", 1), ("第2个吧", 1), ("怎么申请退货", 0),
     ("退货运费谁出？", 1), ("4", None), ("0", None), ("12", None), ("2天", None), ("1个月能退吗", None), ("是", None),
     ("", None)],
)  # fmt: skip
def test_choice(text: str, index: int | None) -> None:
    assert chosen(text, OFFERED) == index


def test_yes_to_the_only_question_offered() -> None:
    assert chosen("是的", OFFERED[:1]) == 0


@pytest.mark.parametrize(
    ("text", "none"), [("都不是", True), ("以上都不是", True), ("None of these", True), ("不是质量问题", False)]
)
def test_none_of_them(text: str, none: bool) -> None:
    assert chose_none(text) is none


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=400))
def test_any_text_is_read(text: str) -> None:
    small_talk(text)
    abusive(text)
    chosen(text, OFFERED)
    chose_none(text)
    assert normalised(normalised(text)) == normalised(text)


@pytest.mark.parametrize(
    "piece", ["嗯", "好", "好的", "我要", "谢谢", "转", "人工", "你好", "麻烦", "你妈", "骗", "you", "a", "1"]
)
def test_no_message_makes_the_patterns_backtrack(piece: str) -> None:
    started = time.thread_time()
    for length in range(1, 41):
        text = (piece * 40)[:length] + "嗬"
        small_talk(text)
        abusive(text)
        chosen(text, OFFERED)
    assert time.thread_time() - started < 1
