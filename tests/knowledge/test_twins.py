"""Near-duplicates: which of the near questions is the same one, within an index and within a file."""

from dataclasses import replace

import numpy as np
import pytest

from knowledge.encoders import TransformerEncoder
from knowledge.index import Index
from knowledge.rank import Background
from knowledge.twins import ALIKE_SIMILARITY_MIN, ROWS, SLOT_WORDS_MIN, Near, Search, Slots, judge
from knowledge.types import Entry
from tests.knowledge.test_index import Counting

BACKGROUND = Background(0.80, 0.02)


@pytest.mark.parametrize(
    ("question", "nearest", "next_", "twin"),
    [
        ("怎么申请退货", (0.90, "退货如何申请"), 0.82, True),  # near, apart, and in the same words
        ("怎么申请退货", (0.86, "退货如何申请"), 0.855, False),  # one of several neighbours
        ("怎么申请换货", (0.92, "怎么申请退货"), 0.82, False),  # another word in its place
        ("退货运费谁出", (0.87, "怎么申请退货"), 0.86, False),
        ("怎么申请退货", (0.99, "东西不想要了"), 0.985, True),  # so near that nothing else can be meant
    ],
)
def test_a_twin_is_near_and_asks_for_nothing_else(question, nearest, next_, twin):
    near = {"a": Near(nearest[0], "甲", nearest[1]), "b": Near(next_, "乙", "一件旁的事")}
    found = judge(question, near, BACKGROUND)
    assert (found is not None) is twin
    if found:
        assert (found.id, found.question, found.similarity) == ("a", "甲", nearest[0])


def test_nothing_near_is_no_twin():
    assert judge("怎么申请退货", {}, BACKGROUND) is None


def test_a_wide_background_leaves_room_for_a_twin():
    near = {"a": Near(0.99, "怎么退货", "怎么退货"), "b": Near(0.98, "旁的事", "旁的事")}
    assert judge("如何退货", near, Background(0.5, 0.2)) is not None
    assert ALIKE_SIMILARITY_MIN < 0.99


def test_a_row_sees_only_what_stood_before_it():
    near = Background(0.0, 0.1)
    vectors = np.eye(4, dtype=np.float32)[[0, 1, 0, 1]]
    search = Search([Entry("a", "甲"), Entry("b", "乙"), Entry("c", "甲甲"), Entry("d", "乙乙")], vectors, near)
    search.compare_with_itself(list(enumerate(["甲", "乙", "甲甲", "乙乙"])), vectors)
    assert [twin and twin.id for twin in search.judge()] == [None, None, "a", "b"]
    search.compare([("x", "丙", "丙")], np.eye(4, dtype=np.float32)[[1]])
    assert [twin and twin.id for twin in search.judge()] == [None, "x", "a", "b"]


def test_many_rows_are_compared_block_by_block():
    count, generator = 2 * ROWS + 10, np.random.default_rng(1)
    vectors = generator.standard_normal((count, 64)).astype(np.float32)
    vectors[count - 1] = vectors[3]
    vectors[ROWS + 1] = vectors[ROWS - 1]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    search = Search([Entry(f"e{n}", chr(0x4E00 + n) * 3) for n in range(count)], vectors, Background(0.0, 0.15))
    search.compare_with_itself([(n, chr(0x4E00 + n) * 3) for n in range(count)], vectors)
    found = {row: twin.id for row, twin in enumerate(search.judge()) if twin and twin.similarity > 0.99}
    assert found == {count - 1: "e3", ROWS + 1: f"e{ROWS - 1}"}


def test_a_neighbour_leaves_room_for_the_twin_behind_it():
    near = {"a": Near(0.99, "甲", "怎么退货"), "b": Near(0.98, "乙", "如何退货"), "c": Near(0.84, "丙", "开发票")}
    assert judge("怎样退货", near, BACKGROUND, lambda question: question == "甲").id == "b"
    assert judge("怎样退货", near, BACKGROUND, lambda question: question in "甲乙") is None


CITIES = ("北京", "上海", "上饶", "广州", "深圳", "杭州", "成都", "西安", "南京", "呼和浩特")


def test_the_slot_of_a_template_is_what_varies_over_many_questions():
    slots = Slots([f"{city}分店几点开门" for city in CITIES] + ["北京店几点开门", "怎么退货", "如何退货"])
    assert slots.differ_in_one("上海分店几点开门？", "上饶分店几点开门")
    assert slots.differ_in_one("呼和浩特分店几点开门", "成都分店几点开门")
    assert not slots.differ_in_one("北京分店几点开门", "北京店几点开门"), "one of them only says less"
    assert not slots.differ_in_one("怎么退货", "如何退货")
    assert not slots.differ_in_one("成都分店几点开门", "成都分店几点开门？"), "the same is no other word"
    few = Slots([f"{city}分店几点开门" for city in CITIES[: SLOT_WORDS_MIN - 1]])
    assert not few.differ_in_one("北京分店几点开门", "上海分店几点开门"), "so few may be rephrasings"


def test_rows_of_a_template_are_no_twins_and_real_ones_among_them_are(index):
    """Codes, numbers and names vary over many rows; what is asked twice is still found among them."""
    coded = [f"产品 {'ABCD'[n % 4]}-{17 + n} 的价格是多少" for n in range(120)]
    monthly = [f"{2020 + n // 12} 年 {n % 12 + 1} 月的账单怎么查" for n in range(48)]
    named = [f"{city}分店周末几点开门" for city in CITIES]
    rows = [*coded, *monthly, *named]
    asked = [Entry(f"t{n}", text) for n, text in enumerate(rows)]
    assert [(one.question, twin.question) for one, twin in zip(asked, index.twins(asked), strict=True) if twin] == []
    again = {"产品A-17的价格是多少呢": coded[0], "请问成都分店周末几点开门": named[6]}
    asked += [Entry(f"again{n}", text) for n, text in enumerate(again)]
    twins = index.twins(asked)
    assert not any(twins[: len(rows)])
    assert [twin and twin.question for twin in twins[len(rows) :]] == list(again.values())


@pytest.fixture
def counting(encoder: TransformerEncoder) -> Counting:
    return Counting(encoder)


@pytest.fixture
def index(counting: Counting, shop: list[Entry]) -> Index:
    index = Index.open(None, counting)
    index.synchronise(shop)
    return index


def test_the_same_question_is_a_twin_wherever_it_stands(index, shop):
    asked = [Entry("n1", shop[0].question + "呢"), Entry("n2", "月球上可以种土豆吗"), Entry("n3", "月球上能不能种土豆")]
    twins = index.twins(asked)
    assert twins[0] is not None
    assert (twins[0].id, twins[0].question) == (shop[0].id, shop[0].question)
    assert twins[1] is None
    assert (twins[2].id, twins[2].question) == ("n2", "月球上可以种土豆吗")


def test_an_entry_is_no_twin_of_itself_and_what_goes_is_ignored(index, shop):
    assert index.twins([shop[0]]) == [None]
    text = shop[0].question + "呢"
    assert index.twins([Entry("new", text)])[0].id == shop[0].id
    assert index.twins([Entry("new", text)], ignored={shop[0].id}) == [None]


def test_before_and_after_the_import_the_same_is_said(index, shop):
    new = [
        Entry("n1", "月球上可以种土豆吗", "x"),
        Entry("n2", "月球上能不能种土豆", "x"),
        Entry("n3", "东西不想要了怎么退掉", "x"),
    ]
    before = index.twins(new)
    index.apply(new)
    assert index.twins(new) == before
    assert before[1] is not None


def test_similar_questions_and_new_versions_count_as_the_file_has_them(index, shop):
    """Where only an earlier row's similar question is near, and where a row changes what an entry asks."""
    rows = [
        Entry("n1", "月球上可以种土豆吗", "x", ("火星上的萝卜要浇多少水",)),
        Entry("n2", "火星上的萝卜要浇多少水呢", "x"),
        replace(shop[0], question="木星上有没有人卖伞", similar_questions=("木星上买得到雨伞吗",)),
        Entry("n3", shop[0].question + "呢", "x"),
        Entry("n4", "请问木星上有没有人卖伞", "x"),
    ]
    before = index.twins(rows)
    assert [twin and twin.id for twin in before] == [None, "n1", None, None, shop[0].id]
    index.apply(rows)
    assert index.twins(rows) == before


def test_what_is_encoded_for_looking_is_not_encoded_again(index, counting):
    new = [Entry(f"n{n}", f"{n} 号商品怎么保养", "x") for n in range(20)]
    counting.count = 0
    index.twins(new)
    assert counting.count == 20
    index.apply(new)
    assert counting.count == 20
    index.twins(new)  # now they lie in the index
    assert counting.count == 20
