"""The real encoder, loaded once, and a small shop's entries."""

from pathlib import Path

import pytest

from knowledge.encoders import TransformerEncoder
from knowledge.types import Entry


@pytest.fixture(scope="session")
def encoder(encoder_folder: Path) -> TransformerEncoder:
    return TransformerEncoder(encoder_folder)


@pytest.fixture(scope="session")
def shop() -> list[Entry]:
    return [
        Entry("return", "怎么退货", "七天无理由退货。", ("我要退货", "买错了能退吗"), ("怎么换货",), "售后"),
        Entry("exchange", "怎么换货", "在订单里申请换货。", ("换个颜色行吗",), (), "售后"),
        Entry("invoice", "发票什么时候开", "确认收货后三天内。", ("能开专票吗",)),
        Entry("freight", "退货运费谁出", "质量问题由我们承担。"),
        Entry("pot", "PPR-9087 炖锅能放洗碗机吗", "可以。"),
        Entry("pan", "PPR-9078 煎锅能放洗碗机吗", "不可以。"),
        Entry("hours", "人工客服几点上班", "九点到二十一点。"),
        Entry("coupon", "优惠券怎么用不了", "请看有效期。"),
        Entry("address", "下单后还能改地址吗", "发货前可以。"),
        Entry("points", "积分什么时候过期", "每年年底。"),
    ]
