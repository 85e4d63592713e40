import pytest

from knowledge.codes import clash, codes, told_apart
from knowledge.encoders import TransformerEncoder
from knowledge.index import Index
from knowledge.types import Entry


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("AZ-2087 恒温箱怎么租", {"AZ2087"}),
        ("ａｚ２０８７多少钱", {"AZ2087"}),
        ("iPhone13Pro和PPR-9087", {"IPHONE13PRO", "PPR9087"}),
        ("2026年押金500元，wifi密码", set()),
        ("", set()),
    ],
)
def test_model_numbers_in_a_text(text: str, found: set[str]) -> None:
    assert codes(text) == found


def test_only_another_model_clashes() -> None:
    wordings = ("AZ-2087多少钱", "大号保温箱多少钱")
    assert clash("AZ-3000多少钱", wordings)
    assert not clash("az2087 多少钱", wordings)
    assert not clash("保温箱多少钱", wordings)
    assert not clash("AZ-3000多少钱", ("保温箱多少钱",))


def test_the_price_of_another_model_is_no_answer(encoder: TransformerEncoder) -> None:
    index = Index.open(None, encoder)
    index.synchronise(
        [Entry("a", "AZ-2087恒温箱租一天多少钱", "60元"), Entry("b", "AZ-2078恒温箱租一天多少钱", "40元")]
    )
    other = index.search("AZ-3000恒温箱租一天多少钱")
    assert (other.decision, set(other.options)) == ("clarify", {"a", "b"})
    right = index.search("AZ-2087恒温箱租一天多少钱")
    assert (right.decision, right.hits[0].id) == ("answer", "a")


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        ("产品 A-17 的价格是多少", "产品 A-18 的价格是多少", True),
        ("产品 A-17 多少钱", "B-17 产品多少钱", True),
        ("2026 年 5 月的账单怎么查", "怎么查 2026 年 6 月账单", True),
        ("套餐 A 多少钱", "套餐B多少钱", True),
        ("产品A-17的价格", "Ａ１７ 产品多少钱", False),
        ("七天无理由退货", "7 天无理由退货", False),
        ("iPhone15 怎么换屏", "iPhone 15 怎么换屏幕", False),
        ("APP 怎么下载", "怎么下载 app", False),
        ("How do I return an item", "How can I send a product back", False),
        ("怎么退货", "如何退货", False),
    ],
)
def test_what_names_another_number_asks_something_else(one: str, other: str, apart: bool) -> None:
    assert told_apart(one, other) is apart
    assert told_apart(other, one) is apart
