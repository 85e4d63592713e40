"""An English question to a Chinese knowledge base that has a few English wordings of its own."""

import pytest

from knowledge.encoders import TransformerEncoder
from knowledge.foreign import in_latin
from knowledge.index import Index
from knowledge.types import Entry

SHOP = [
    Entry("status", "我的订单到哪了", "查询中", ("Where is my order?", "查物流")),
    Entry("return", "怎么申请退货", "在我的订单里申请。", ("How do I return an item?",)),
    Entry("cancel", "怎么取消订单", "在订单详情里点取消。"),
    Entry("gift", "礼品卡怎么使用", "结算时输入卡号。"),
    Entry("password", "忘记登录密码怎么办", "点忘记密码重设。"),
    Entry("warranty", "产品保修多长时间", "保修 2 年。"),
    Entry("model", "QL-2108 水壶能保温吗", "最长保温 12 小时。"),
    Entry("wifi", "店里的 WiFi 密码是多少", "问店员。"),
]
ASKED = {
    "I would like to cancel my order": "cancel",
    "how do I use a gift card": "gift",
    "I forgot my password": "password",
    "how long is the warranty": "warranty",
    "how can I return something": "return",
    "where is my order now": "status",
}


@pytest.fixture(scope="module")
def index(encoder: TransformerEncoder) -> Index:
    index = Index.open(None, encoder)
    index.synchronise(SHOP)
    return index


@pytest.mark.parametrize(("query", "wanted"), ASKED.items())
def test_the_meaning_is_found_whatever_language_a_wording_is_in(index: Index, query: str, wanted: str) -> None:
    found = index.search(query)
    assert wanted in [hit.id for hit in found.hits[:2]]
    assert found.decision != "none"
    assert found.hits[0].id == wanted or found.decision == "clarify"


def test_what_no_entry_answers_is_not_answered(index: Index) -> None:
    for query in ("can I book a table for two", "tell me about the history of Rome", "is the metro running today"):
        assert index.search(query).decision != "answer", query


def test_an_english_wording_is_exact_and_a_model_is_no_language(index: Index) -> None:
    assert index.search("where is my order").hits[0].score == 1.0
    found = index.search("QL-2108")
    assert found.hits[0].id == "model"
    assert found.hits[0].lexical > 0


def test_an_english_knowledge_base_is_read_as_ever(encoder: TransformerEncoder) -> None:
    index = Index.open(None, encoder)
    index.synchronise(
        [Entry("a", "How do I return an item?", "In the app."), Entry("b", "Where is my order?", "Here.")]
    )
    found = index.search("how do I return this item")
    assert found.hits[0].id == "a"
    assert found.hits[0].lexical > 0


def test_chinese_questions_find_what_an_english_knowledge_base_says(encoder: TransformerEncoder) -> None:
    index = Index.open(None, encoder)
    index.synchronise(
        [
            Entry("pool", "Is there a swimming pool?", "On floor 4."),
            Entry("breakfast", "How much is breakfast?", "¥68."),
            Entry("airport", "How do I get to the airport?", "By shuttle."),
            Entry("invoice", "Can I get an invoice?", "At check-out."),
            Entry("dog", "Can I bring my dog?", "In garden rooms."),
        ]
    )
    for query, wanted in {"早餐多少钱": "breakfast", "怎么去机场": "airport"}.items():
        found = index.search(query)
        assert (found.decision, found.hits[0].id) == ("answer", wanted), query
    for query in ("附近有地铁站吗", "你们招人吗"):
        assert index.search(query).decision != "answer", query


@pytest.mark.parametrize(
    ("text", "latin"),
    [
        ("how do I return this", True), ("what about PayPal", True), ("怎么退 return it", False), ("QL-2108", False),
        ("iphone", False), ("123 456", False), ("wo yao tui huo", True), ("", False), ("HW-6021 PPR-9087", False),
    ],
)  # fmt: skip
def test_what_is_in_latin_letters(text: str, latin: bool) -> None:
    assert in_latin(text) is latin
