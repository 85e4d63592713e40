"""Mistyped questions in the company's own words: homophones, pinyin, slips in foreign words; and what stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge.index import Index
from knowledge.lexical import LexicalIndex
from knowledge.sounds import blurred, divisions, readings
from knowledge.spelling import Vocabulary, read_as
from knowledge.text import tokens
from knowledge.types import Entry

WORDINGS = (
    "快递什么时候到", "怎么开发票", "优惠券怎么用", "收货地址能改吗", "怎么退货", "我要退款", "会员积分怎么用",
    "帐篷能住几个人", "PPR-9087 滤芯多久换一次", "怎么重置 password", "西安有门店吗",
)  # fmt: skip


@pytest.fixture
def lexical() -> LexicalIndex:
    made = LexicalIndex()
    for slot, wording in enumerate(WORDINGS):
        made.add(slot, tokens(wording))
    return made


@pytest.fixture
def vocabulary(lexical: LexicalIndex) -> Vocabulary:
    return lexical.vocabulary


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("快地什么时候到", "快递什么时候到"),
        ("发飘怎么开", "发票怎么开"),
        ("这个帐蓬能住几个", "这个帐篷能住几个"),
        ("优惠卷怎么用", "优惠券怎么用"),
        ("我的kuaidi到哪了", "我的快递到哪了"),
        ("收货dizhi", "收货地址"),
        ("怎么改收获地址", "怎么改收货地址"),  # 收获 is a word, but none of the company's
        ("kuai递", "快递"),
        ("tui huo", "退货"),
        ("fapiao zenme kai", "发票怎么开"),
        ("tuikuang", "退款"),
        ("xian", "西安"),
        ("怎么重置 pasword", "怎么重置 password"),
        ("passwrod 忘了", "password 忘了"),
    ],
)
def test_a_slip_is_read_in_the_companys_words(vocabulary, typed, meant):
    assert read_as(typed, vocabulary) == meant


@pytest.mark.parametrize(
    "text",
    [
        *WORDINGS,
        "",
        "可不可以便宜点",  # words of the language, though none of the company's
        "明天上海会不会下雨",
        "今年收获不小",
        "how can i change my address",
        "my name is Lin",
        "PPR-9086 滤芯",  # a code is no slip of another code
        "密码 pass",
        "zzz",
        "kuaidi" * 40,
    ],
)
def test_what_is_no_slip_stays(vocabulary, text):
    assert read_as(text, vocabulary) is None


def test_a_company_without_entries_reads_nothing():
    assert read_as("快地 kuaidi", LexicalIndex().vocabulary) is None


def test_what_no_wording_has_any_more_is_forgotten(lexical, vocabulary):
    lexical.remove(0)
    assert read_as("快地什么时候到", vocabulary) is None
    assert read_as("我的kuaidi", vocabulary) is None
    lexical.add(0, tokens("快递什么时候到"))
    assert read_as("我的kuaidi", vocabulary) == "我的快递"
    for slot in range(len(WORDINGS)):
        lexical.remove(slot)
    assert read_as("fapiao 怎么重置 pasword", vocabulary) is None


def test_syllables():
    assert readings("行") == ("xing", "hang", "heng")
    assert readings("地")[0] == readings("递")[0] == "di"
    assert readings("a") == readings("㐀") == ()
    assert divisions("xian") == [("xian",), ("xi", "an")]
    assert divisions("kuaidi")[0] == ("kuai", "di")
    assert divisions("hello") == []
    assert divisions("m") == []
    same = [("zhang", "zan"), ("nan", "lang"), ("shen", "seng"), ("jin", "jing")]
    assert all(blurred(one) == blurred(other) for one, other in same)
    assert blurred("dong") != blurred("don")


def test_letters_with_very_many_divisions_are_divided():
    assert len(divisions("xianga" * 100)[0]) == 200  # without a bound on the ways it would never end


@given(st.text(max_size=60))
def test_any_text_is_read_without_an_error(text):
    made = LexicalIndex()
    for slot, wording in enumerate(WORDINGS):
        made.add(slot, tokens(wording))
    found = read_as(text, made.vocabulary)
    assert found is None or found != text


def test_the_index_finds_what_was_mistyped_and_says_how_it_read_it(encoder):
    index = Index.open(None, encoder)
    index.synchronise(Entry(f"e{n}", wording, "答") for n, wording in enumerate(WORDINGS))
    for typed, id_, meant in (
        ("fapiao zenme kai", "e1", "发票怎么开"),
        ("kuaidi shenme shihou dao", "e0", WORDINGS[0]),
    ):
        found = index.search(typed)
        assert (found.hits[0].id, found.read_as, found.query) == (id_, meant, typed)
        assert found.decision != "none"
    found = index.search("快递什么时候能到")
    assert (found.hits[0].id, found.read_as) == ("e0", "")
    assert index.search("kuaidi", dense_only=True).read_as == ""
