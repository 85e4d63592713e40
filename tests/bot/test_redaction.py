"""Personal data is masked, and what only looks like it is not."""

import logging
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.security.redaction import PLACEHOLDERS, MaskingFormatter, mask, masked
from tests.bot.personal_data import lines

MISSED_MAX, WRONG_MAX = 0.01, 0.02


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("电话13812345678", "电话[电话]"),
        ("电话１３８１２３４５６７８。", "电话[电话]。"),
        ("+86 138-1234-5678", "[电话]"),
        ("0571-88886666转801", "[电话]"),
        ("(010)62345678", "[电话]"),
        ("+852 9123 4567", "[电话]"),
        ("+886 912 345 678", "[电话]"),
        ("+853 6612 3456", "[电话]"),
        ("一三八一二三四五六七八", "[电话]"),
        ("客服热线 400-000-2108", "客服热线 400-000-2108"),
        ("身份证11010519491231002X", "身份证[证件号]"),
        ("110105194912310021", "110105194912310021"),  # the check digit is wrong
        ("6222 0212 3456 7890 127", "6222 0212 3456 7890 127"),  # no card: the check digit is wrong
        ("4111 1111 1111 1111", "[银行卡号]"),
        ("a.b+c@mail.example.org，谢谢", "[邮箱]，谢谢"),
        ("寄到浙江省杭州市西湖区文三路 90 号 2 幢 301 室", "寄到[地址]"),
        ("收件人：欧阳明辉，电话13812345678", "收件人：[姓名]，电话[电话]"),
        ("我叫王小明，要退货", "我叫[姓名]，要退货"),
        ("我叫王伟想退货", "我叫[姓名]想退货"),
        ("我叫了快递", "我叫了快递"),
        ("李雷，13812345678，广州", "[姓名]，[电话]，广州"),
        ("13812345678 李娜娜 上海市浦东新区张杨路855号", "[电话] [姓名] [地址]"),
        ("方便 13812345678，谢谢", "方便 [电话]，谢谢"),
        ("我是王小明", "我是[姓名]"),
        ("我是高级会员", "我是高级会员"),
        ("住朝阳区建国门外大街甲6号", "住[地址]"),
        ("共计 13800138000 分", "共计 13800138000 分"),
        ("车牌浙A·12D45", "车牌[车牌号]"),
        ("护照E12345678", "护照[护照号]"),
        ("微信号：sunny_2024", "微信号：[账号]"),
        ("微信支付 12345", "微信支付 12345"),
        ("QQ 123456789", "QQ [账号]"),
        ("订单号13812345678", "订单号13812345678"),
        ("快递单号 SF1381234567890", "快递单号 SF1381234567890"),
        ("HW-6021 3000 mm", "HW-6021 3000 mm"),
        ("2026-11-22 14:05:06", "2026-11-22 14:05:06"),
        ("满 99 元包邮，13800 积分", "满 99 元包邮，13800 积分"),
        ("发到上海市可以吗", "发到上海市可以吗"),
        ("", ""),
    ],
)
def test_mask(text: str, expected: str) -> None:
    assert masked(text) == expected


def test_items_say_what_was_where() -> None:
    found = mask("我叫王小明，电话13812345678")
    assert [(item.kind, item.start, item.end) for item in found.items] == [("name", 2, 5), ("phone", 8, 19)]


def test_the_companys_own_contacts_are_kept() -> None:
    text = "打0573-82108888，或加微信 qingli_kefu，我的电话13812345678"
    assert masked(text) == "打[电话]，或加微信 [账号]，我的电话[电话]"
    assert (
        mask(text, keep="电话 0573-82108888，微信 qingli_kefu").text
        == "打0573-82108888，或加微信 qingli_kefu，我的电话[电话]"
    )


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("1380区路号市省 -@:：我叫王")), max_size=200))
def test_any_text_is_read(text: str) -> None:
    found = mask(text)
    assert all(0 <= item.start < item.end <= len(text) for item in found.items)
    assert all(one.end <= other.start for one, other in zip(found.items, found.items[1:], strict=False))


def test_800_items_in_500_lines() -> None:
    """Missed: an item of which a letter or digit is still there. Wrong: something masked that touches no item."""
    made = lines()
    assert (len(made), sum(len(line.items) for line in made)) == (500, 800)
    assert {kind for line in made for kind, _, _ in line.items} == set(PLACEHOLDERS)
    missed, wrong, all_masked = [], [], 0
    for line in made:
        found = mask(line.text).items
        all_masked += len(found)
        for kind, start, end in line.items:
            if not any(one.start <= start and end <= one.end for one in found):
                missed.append((kind, line.text[start:end], line.text))
        wrong += [
            (one.kind, line.text[one.start : one.end], line.text)
            for one in found
            if not any(one.start < end and start < one.end for _, start, end in line.items)
        ]
    print(f"missed {len(missed)} of 800, wrong {len(wrong)} of {all_masked}", *missed, *wrong, sep="\n")
    assert len(missed) <= MISSED_MAX * 800
    assert len(wrong) <= WRONG_MAX * all_masked


def test_a_log_line_and_its_traceback_hold_nothing_personal() -> None:
    try:
        raise ValueError("13812345678")
    except ValueError:
        record = logging.LogRecord("kefu", logging.ERROR, __file__, 1, "call %s", ("a@b.example",), sys.exc_info())
    shown = MaskingFormatter("%(levelname)s %(message)s").format(record)
    assert shown.startswith("ERROR call [邮箱]\n")
    assert "ValueError: [电话]" in shown
    assert "13812345678" not in shown


@pytest.mark.parametrize(
    "id_",
    [
        "CDVwxCwZBPqNMyqOrWXfpI",
        "8VX8rQq12345678abcdefg",
        "wx3JVxCwZBPqNMyqOrWXfp",
        "138123456781381234567813812345678"[:32],
    ],
)
def test_the_id_of_a_request_can_be_read_in_its_line(id_: str) -> None:
    record = logging.LogRecord("kefu.access", logging.INFO, "x", 1, "POST 200 电话 13812345678 %s", (id_,), None)
    record.request_id = id_
    shown = MaskingFormatter("%(message)s").format(record)
    assert shown == f"POST 200 电话 [电话] {id_}"


def test_names_of_accounts_are_words_of_their_own() -> None:
    assert masked("文件 abcwxhello123456 在 fooqq12345678") == "文件 abcwxhello123456 在 fooqq12345678"
    assert masked("我的vx13812345678，8vx:zhang_san88") == "我的vx[账号]，8vx:[账号]"


def test_a_line_in_which_nothing_is_anybodys_to_choose_is_written_as_it_is() -> None:
    record = logging.LogRecord("kefu.access", logging.INFO, "x", 1, "GET 200 13812345678", (), None)
    assert MaskingFormatter("%(message)s").format(record) == "GET 200 [电话]"
    record.impersonal = True
    assert MaskingFormatter("%(message)s").format(record) == "GET 200 13812345678"
