"""What a reply leaves out of the sentence that it rests on."""

import pytest

from bot.dialogue.guard import Guard

MEMBERS = "玉石会员在每月 18 日「会员日」下单得双倍积分，岩心会员得三倍积分。"
VOUCHER = "运费券抵扣基础运费 8 元，不能用于顺丰加价，每张有效期 31 天。"
EARLY = "没有申请先寄回的包裹，仓库会拒收。"
LISTED = "大件不支持放驿站、自提点和快递柜。"
LAMP = "露营灯只能走陆运，寄往海南和新疆的时间会多 2 到 3 天。"


@pytest.mark.parametrize(
    ("source", "question", "reply", "reason"),
    [
        (MEMBERS, "会员日下单有什么好处", "会员日下单可以双倍积分。", "left_out"),
        (MEMBERS, "会员日下单有什么好处", "玉石会员在会员日下单得双倍积分。", ""),
        (MEMBERS, "玉石会员会员日下单有什么好处", "会员日下单可以得双倍积分。", ""),  # the question says who
        (MEMBERS, "会员日下单有什么好处", MEMBERS, ""),
        (VOUCHER, "发顺丰要加多少钱", "运费抵扣基础运费 8 元。", "left_out"),
        (VOUCHER, "运费券抵多少", "运费券抵扣基础运费 8 元。", ""),
        (LISTED, "大件能放快递柜吗", "大件不支持放快递柜。", ""),
        (LISTED, "大件能放驿站吗", "大件不支持放驿站。", ""),
        (EARLY, "没申请就寄回去会怎样", "没申请先寄回的包裹，仓库会拒收。", ""),
        (LAMP, "寄露营灯去海南要多久", "露营灯去海南要多 2 到 3 天。", ""),
    ],
)
def test_a_word_or_whom_it_is_about_may_not_be_left_out(source: str, question: str, reply: str, reason: str) -> None:
    assert Guard([source], question).check(reply).reason == reason
