"""The demo company's files agree with their formats, with each other and with what they promise."""

import json
import re
import unicodedata
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bot import demo

CATEGORIES = {"订单", "配送", "退换货", "发票", "会员", "支付", "产品", "售后", "账户", "公司"}
TYPES = {"in", "oos_near", "oos_other_cs", "oos_open", "oos_chat"}

# What the shop promises in more than one place: (fact, FAQ entry, spelling there, document, spelling there).
FACTS = [
    ("free shipping", "shipping-fee", "满99元包邮", "配送政策.md", "满99元包邮"),
    ("shipping fee", "shipping-fee", "运费8元", "配送政策.md", "|8元|"),
    ("free shipping, remote", "shipping-remote", "满199元包邮", "配送政策.md", "满199元包邮"),
    ("shipping fee, remote", "shipping-remote", "不足收20元", "配送政策.md", "|20元|"),
    ("same-day cut-off", "shipping-time", "16:00前付款的当天发出", "配送政策.md", "16:00前付款的当天发出"),
    ("rush season", "shipping-time", "72小时内发出", "配送政策.md", "72小时内发出"),
    ("delivery, near", "delivery-duration", "江浙沪皖一般1到2天", "配送政策.md", "江浙沪皖一般1到2天"),
    ("delivery, remote", "delivery-duration", "偏远地区5到8天", "配送政策.md", "偏远地区5到8天"),
    ("express surcharge", "shipping-sf", "每单加12元", "配送政策.md", "每单加12元"),
    ("bulky goods", "shipping-large", "约3到6天", "配送政策.md", "约3到6天"),
    ("stuck parcel", "shipping-no-update", "48小时没有更新", "配送政策.md", "48小时没有更新"),
    ("signed, not received", "shipping-signed-missing", "72小时内联系客服", "配送政策.md", "72小时内联系客服"),
    ("refusal", "shipping-reject", "寄出的运费8元", "配送政策.md", "寄出的运费8元"),
    ("New Year", "shipping-holiday", "正月初七起按付款顺序恢复发货", "配送政策.md", "正月初七起按付款顺序恢复发货"),
    ("pickup", "shipping-pickup", "最多保留5天", "配送政策.md", "最多保留5天"),
    ("return period", "return-7days", "7天内", "退换货政策.md", "从签收次日零点起7天内"),
    ("return freight", "return-freight", "寄回运费由买家承担", "退换货政策.md", "寄回的运费由买家承担"),
    ("freight refund", "return-freight", "最高报销25元", "退换货政策.md", "最高报销25元"),
    ("refund time", "return-refund-time", "3个工作日内验收并退款", "退换货政策.md", "3个工作日内验收并退款"),
    ("missing box", "return-no-box", "扣除15元包装费", "退换货政策.md", "扣除15元包装费"),
    ("faulty goods", "exchange-quality", "签收15天内", "退换货政策.md", "签收15天内"),
    ("second level", "member-levels", "青石(满500元)", "会员章程.md", "|青石|满500元|"),
    ("third level", "member-levels", "玉石(满2000元)", "会员章程.md", "|玉石|满2000元|"),
    ("top level", "member-levels", "岩心(满6000元)", "会员章程.md", "|岩心|满6000元|"),
    ("top discount", "member-benefits", "岩心9.2折", "会员章程.md", "|岩心|满6000元|9.2折|"),
    ("birthday", "member-birthday", "满199元可用", "会员章程.md", "满199元可用"),
    ("points", "points-earn", "1元得1积分", "会员章程.md", "1元得1积分"),
    ("points as money", "points-use", "100积分抵1元", "会员章程.md", "100积分抵1元"),
    ("points limit", "points-use", "商品金额的20%", "会员章程.md", "商品金额的20%"),
    ("points expiry", "points-expire", "12个月", "会员章程.md", "从到账之日起12个月"),
    ("complaints", "company-complaint", "400-000-2108转9", "会员章程.md", "400-000-2108转9"),
    ("warranty, small", "warranty-period", "小家电整机保修2年", "产品保修与使用手册.md", "小家电整机保修2年"),
    ("warranty, others", "warranty-period", "保修1年", "产品保修与使用手册.md", "锅具和户外用品保修1年"),
    ("repair time", "repair-time", "7个工作日内修好寄回", "产品保修与使用手册.md", "7个工作日内修好寄回"),
    ("inspection fee", "repair-fee", "检测费20元", "产品保修与使用手册.md", "检测费20元"),
    ("kettle", "product-ql2108-spec", "容量1.7升,功率1800瓦", "产品保修与使用手册.md", "容量1.7升,功率1800瓦"),
    ("kettle descaling", "product-ql2108-descale", "20克", "产品保修与使用手册.md", "20克柠檬酸"),
    ("kettle fault", "product-ql2108-fault", "E2是温度传感器故障", "产品保修与使用手册.md", "E2表示温度传感器故障"),
    ("fryer", "product-ql2115-spec", "容量5升,功率1500瓦", "产品保修与使用手册.md", "容量5升,功率1500瓦"),
    ("fryer, first use", "product-ql2115-smell", "200°C空烧15分钟", "产品保修与使用手册.md", "200°C空烧15分钟"),
    ("filter", "product-ppr9087-life", "每6个月或过滤1200升", "产品保修与使用手册.md", "每6个月或1200升"),
]


def lines(path: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert all(isinstance(row, dict) for row in rows)
    return rows


def plain(text: str) -> str:
    """NFKC without white space, as key facts are compared."""
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", text))


def bare(text: str) -> str:
    """The letters and digits alone, as two questions are the same when only their dress differs."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text).casefold())


def likeness(one: set[str], other: set[str]) -> float:
    """Dice coefficient of two sets of character bigrams: 1 for the same question, 0 for nothing in common."""
    return 2 * len(one & other) / ((len(one) + len(other)) or 1)


def bigrams(text: str) -> set[str]:
    return {first + second for first, second in pairwise(bare(text))}


@pytest.fixture(scope="module")
def faq() -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in lines(demo.faq_path())}


@pytest.fixture(scope="module")
def phrasings(faq: dict[str, dict[str, Any]]) -> list[str]:
    return [text for row in faq.values() for text in (row["question"], *row["similar_questions"])]


def golden() -> list[dict[str, Any]]:
    return lines(demo.golden_path())


def paraphrases() -> list[dict[str, Any]]:
    return lines(demo.paraphrases_path())


def dialog_questions() -> list[dict[str, Any]]:
    return [
        {"query": message["content"], "faq_id": message["faq_id"]}
        for dialog in lines(demo.dialogs_path())
        for message in dialog["messages"]
        if message["role"] == "user"
    ]


def section(source: str) -> str:
    """The passage a source names: `documents/…md#heading`."""
    name, heading = source.removeprefix("documents/").split("#")
    (document,) = [path for path in demo.documents() if path.name == name]
    parts = re.split(r"^#+ +(.*)$", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[heading]


def test_faq_entries_are_in_the_native_form(faq: dict[str, dict[str, Any]]) -> None:
    rows = lines(demo.faq_path())
    assert len(rows) == len(faq) >= 80, "ids are unique"
    assert {row["category"] for row in rows} == CATEGORIES
    for row in rows:
        assert set(row) <= {"id", "question", "answer", "similar_questions", "category", "tags", "action"}, row["id"]
        assert re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", row["id"])
        assert 1 <= len(row["tags"]) <= 3
        if "action" not in row:
            assert 40 <= len(row["answer"]) <= 200, row["id"]
    assert [row["id"] for row in rows if "action" in row] == ["order-status", "order-address-now", "return-now"]
    assert "answer" not in faq["order-status"]
    assert faq["order-status"]["action"] == "action_order_status"


def test_no_phrasing_belongs_to_two_entries(phrasings: list[str]) -> None:
    twice = [text for text, count in Counter(map(bare, phrasings)).items() if count > 1]
    assert not twice


def test_the_golden_set_has_the_benchmarks_form(faq: dict[str, dict[str, Any]]) -> None:
    rows = golden()
    assert len(rows) == 100
    assert all(list(row) == ["query", "faq_id", "type"] for row in rows)
    assert {row["type"] for row in rows} == TYPES
    assert all((row["faq_id"] in faq) == (row["type"] == "in") for row in rows)
    assert all(row["faq_id"] is None for row in rows if row["type"] != "in")
    assert sum(row["type"] == "in" for row in rows) == 75
    assert min(Counter(row["type"] for row in rows).values()) >= 5


def test_paraphrases_ask_for_facts_that_their_source_holds(faq: dict[str, dict[str, Any]]) -> None:
    rows = paraphrases()
    assert len(rows) == 50
    for row in rows:
        assert (row["faq_id"] is None) == ("source" in row)
        text = plain(section(row["source"]) if "source" in row else faq[row["faq_id"]]["answer"]).replace("**", "")
        assert row["key_facts"]
        for fact in row["key_facts"]:
            assert any(plain(spelling) in text for spelling in fact), (row["query"], fact)
            given = plain(row["query"])
            assert not any(plain(spelling) in given for spelling in fact), f"{row['query']} gives {fact} away"


def test_dialogs_are_corrected_conversations(faq: dict[str, dict[str, Any]]) -> None:
    dialogs = lines(demo.dialogs_path())
    assert len(dialogs) >= 40
    assert len({dialog["id"] for dialog in dialogs}) == len(dialogs)
    for dialog in dialogs:
        roles = [message["role"] for message in dialog["messages"]]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert 1 <= len(roles) // 2 <= 3
        for message in dialog["messages"]:
            assert message["content"].strip()
            assert ("faq_id" in message) == (message["role"] == "user")
            assert message.get("faq_id") is None or message["faq_id"] in faq


def test_labelled_questions_are_in_words_of_their_own(phrasings: list[str]) -> None:
    sets = {"golden": golden(), "paraphrases": paraphrases(), "dialogs": dialog_questions()}
    queries = [bare(row["query"]) for rows in sets.values() for row in rows]
    assert len(set(queries)) == len(queries), "no question is in two sets"
    known = list(map(bare, phrasings))
    assert not set(queries) & set(known)
    # Nor is one a phrasing with a word changed: the sets measure understanding, not copying.
    shapes = [(text, bigrams(text)) for text in phrasings]
    for name, rows in sets.items():
        near = [
            (row["query"], text)
            for row, own in ((row, bigrams(row["query"])) for row in rows)
            for text, shape in shapes
            if likeness(own, shape) > 0.75
        ]
        assert not near, name


@pytest.mark.parametrize(("fact", "entry", "in_faq", "document", "in_document"), FACTS, ids=[fact[0] for fact in FACTS])
def test_faq_and_documents_promise_the_same(
    faq: dict[str, dict[str, Any]], fact: str, entry: str, in_faq: str, document: str, in_document: str
) -> None:
    (path,) = [path for path in demo.documents() if path.name == document]
    assert plain(in_faq) in plain(faq[entry]["answer"]).replace("**", "")
    assert plain(in_document) in plain(path.read_text(encoding="utf-8"))


def test_documents_are_longer_texts_with_headings_and_facts_of_their_own() -> None:
    assert len(demo.documents()) == 4
    for path in demo.documents():
        text = path.read_text(encoding="utf-8")
        assert 800 <= len(text) <= 2000
        assert text.startswith("# ")
        assert len(re.findall(r"^## ", text, flags=re.MULTILINE)) >= 5


def test_one_phone_number_everywhere() -> None:
    texts = [
        path.read_text(encoding="utf-8")
        for path in Path(demo.__file__).parent.rglob("*")
        if path.suffix in {".jsonl", ".md", ".json", ".py"}
    ]
    assert {number for text in texts for number in re.findall(r"400-\d{3}-\d{4}", text)} == {"400-000-2108"}
    # Addresses lie in the domain reserved for examples (RFC 2606).
    assert {domain for text in texts for domain in re.findall(r"@([\w.-]+\.\w+)", text)} == {"qingli.example"}


def test_the_profile_has_both_languages(faq: dict[str, dict[str, Any]], phrasings: list[str]) -> None:
    profile = json.loads(demo.profile_path().read_text(encoding="utf-8"))
    both = ("company_name", "assistant_name", "notice", "welcome", "handoff", "suggestions")
    assert set(profile) == {*both, "tone", "hours", "topics", "words"}
    assert all(set(profile[name]) == {"zh", "en"} for name in both)
    assert len(profile["suggestions"]["zh"]) == len(profile["suggestions"]["en"]) == 4
    assert set(profile["suggestions"]["zh"]) <= {row["question"] for row in faq.values()}
    assert "400-000-2108" in profile["handoff"]["zh"]
    assert "9:00 到 21:00" in profile["handoff"]["zh"]
    assert "9:00 到 21:00" in faq["company-contact"]["answer"]
