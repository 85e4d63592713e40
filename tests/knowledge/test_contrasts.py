import pytest

from knowledge.contrasts import clash, is_beside
from knowledge.encoders import TransformerEncoder
from knowledge.index import Index
from knowledge.types import Entry


@pytest.mark.parametrize(
    ("query", "wording"),
    [
        ("AZ-3000多少钱", "AZ-2087多少钱"),
        ("iPhone13Pro壳", "iPhone13壳"),
        ("PPR 40的管子多少钱", "PPR 20 的管子多少钱一米"),
        ("ＰＰＲ４０管价格", "ppr-20 管价格"),
        ("10寸蛋糕多少钱", "8 寸蛋糕多少钱"),
        ("六寸蛋糕多少钱", "8寸蛋糕多少钱"),
        ("一对二怎么收费", "一对一怎么收费"),
        ("公狗绝育多少钱", "公猫绝育多少钱"),
        ("公貓絕育多少錢", "母猫绝育多少钱"),
        ("有晚饭吗", "有早餐吗"),
        ("寒假班什么时候开始", "暑期班几号开"),
        ("季卡多少钱", "年卡多少钱"),
        ("寄到日本可以吗", "可以寄到台灣嗎"),
        ("上海仓库电话", "广州仓库的电话是多少"),
        ("新疆包邮吗", "发西藏包邮吗"),
    ],
)
def test_one_kind_does_not_do_for_another(query: str, wording: str) -> None:
    assert clash(query, [wording])
    assert not clash(query, [wording, query])
    assert not clash(query, [wording], f"{query}：请问店员。")
    assert not clash(query, ["多少钱"])
    assert not clash("多少钱", [wording])


@pytest.mark.parametrize(
    ("query", "wording"),
    [
        ("ａｚ２０８７多少钱", "AZ-2087多少钱"),
        ("六寸的多少钱", "6寸蛋糕多少钱"),
        ("有早饭吗", "早餐几点"),
        ("犬疫苗多少钱", "狗狗疫苗多少钱"),
        ("买了10天还能退吗", "7天无理由退货怎么退"),
        ("我花了500元能开票吗", "满200元可以开发票吗"),
        ("2026年的账单", "2025年账单怎么查"),
        ("ppr20管价格", "PPR 20 管价格"),
        ("within 10 days", "within 7 days"),
        ("app 2.0怎么升级", "app 1.8 怎么升级"),
        ("", "AZ-2087"),
    ],
)
def test_the_same_in_other_words_and_amounts_do_not_clash(query: str, wording: str) -> None:
    assert not clash(query, [wording])


@pytest.mark.parametrize(
    ("query", "wording", "answer"),
    [
        ("拔智齿多少钱", "拔智齿疼吗", "打麻药后不疼，术后按医嘱服药。"),
        ("矯正收費", "矫正要多久", "一般 18 到 24 个月。"),
        ("洗牙要多久", "洗牙多少钱", "超声波洗牙一次 168 元。"),
    ],
)
def test_a_price_is_no_answer_to_how_long_nor_the_other_way_round(query: str, wording: str, answer: str) -> None:
    assert is_beside(query, [wording], answer)
    assert not is_beside(query, [wording], f"{answer}费用到店面议，约一小时。")
    assert not is_beside(wording, [wording], answer)


@pytest.mark.parametrize(
    ("query", "wording", "answer"),
    [
        ("运费多少钱", "包邮吗", "满 99 包邮，不满收 8 块。"),
        ("停车多少钱", "有停车场吗", "有，客人免费停。"),
        ("多久能到", "什么时候发货", "当天发货，隔天就到。"),
        ("保修多久", "质保期", "一年内非人为损坏免费修。"),
        ("几天能退款", "退款到账时间", "原路退回，以银行为准。"),
        ("在吗", "几点开门", "九点。"),
    ],
)
def test_an_entry_that_speaks_of_it_may_answer(query: str, wording: str, answer: str) -> None:
    assert not is_beside(query, [wording], answer)


def test_a_city_among_the_wordings_is_an_example() -> None:
    assert not clash("北京能送吗", ["你们送哪些城市", "上海能送吗"])
    assert clash("北京能送吗", ["送到上海吗", "上海能送吗"])
    assert not clash("北京能送吗", ["上海能送吗"], "全国都送，北京也可以。")


def test_the_price_of_another_model_is_no_answer(encoder: TransformerEncoder) -> None:
    index = Index.open(None, encoder)
    index.synchronise(
        [Entry("a", "AZ-2087恒温箱租一天多少钱", "60元"), Entry("b", "AZ-2078恒温箱租一天多少钱", "40元")]
    )
    other = index.search("AZ-3000恒温箱租一天多少钱")
    assert (other.decision, set(other.options)) == ("clarify", {"a", "b"})
    right = index.search("AZ-2087恒温箱租一天多少钱")
    assert (right.decision, right.hits[0].id) == ("answer", "a")
