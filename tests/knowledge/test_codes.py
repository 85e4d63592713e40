import pytest

from knowledge.codes import codes, told_apart


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


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        ("产品 A-17 的价格是多少", "产品 A-18 的价格是多少", True),
        ("产品 A-17 多少钱", "B-17 产品多少钱", True),
        ("2026 年 5 月的账单怎么查", "怎么查 2026 年 6 月账单", True),
        ("套餐 A 多少钱", "套餐B多少钱", True),
        ("HZ-3300 多少钱", "HZ-3300B 多少钱", True),
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
