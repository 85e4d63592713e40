import pytest

from knowledge.codes import clash, codes
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
