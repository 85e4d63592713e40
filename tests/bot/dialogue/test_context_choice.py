"""A follow-up's candidates: what was spoken of, what its words find, and what they find with their subject."""

from dataclasses import replace

import pytest

from bot.dialogue.context.choice import ANSWER_MIN, NONE_MIN, Choice, Likeness, Spoken, choose, to_choose_from
from bot.dialogue.context.reading import acted, spoken_of
from bot.dialogue.context.wording import FollowUp
from bot.dialogue.types import Utterance
from knowledge.types import Entry, Hit, SearchResult

DAMAGE = Entry("damage", "收到的商品破损了怎么办", "请在 48 小时内拍照。核实后任选补发或全额退款。", category="售后")
CLAIM = Entry("claim", "怎么申请维修", "选「维修」并上传视频。", category="售后")
INVOICE = Entry("invoice", "发票寄到哪里", "发到您的邮箱。", category="发票")
SHELF = {one.id: one for one in (DAMAGE, CLAIM, INVOICE)}


def result(similarity: float, *hits: tuple[str, float]) -> SearchResult:
    """Hits by id and how far behind the first."""
    found = tuple(Hit(id_, "faq", "", 0.9 - behind * 0.02, 0.0, 0.9 - behind * 0.02) for id_, behind in hits)
    return SearchResult("", found, (), "none", 0.0, 0.0, features=(similarity,), unit=0.02)


def among(words: str, own: SearchResult, together: SearchResult, spoken: dict[str, Spoken]) -> Choice:
    """The choice of an encoder to which all of them are alike."""
    entries = to_choose_from(own, together, spoken, SHELF.get)
    like = Likeness([0.8] * len(entries), [0.8] * len(entries))
    return choose(FollowUp("收到的商品破损了怎么办", words, surely=True), own, together, spoken, entries, like)


def chosen(words: str, own: SearchResult, together: SearchResult, **spoken: Spoken) -> tuple[str, float, float]:
    choice = among(words, own, together, spoken)
    assert choice.none + sum(one.probability for one in choice.candidates) == pytest.approx(1.0)
    best = choice.candidates[0]
    return best.entry.id, best.probability, choice.none


def test_what_was_answered_goes_on_where_it_says_something_to_the_words() -> None:
    own = result(1.0, ("invoice", 0.0), ("claim", 1.0))
    together = result(3.0, ("damage", 0.0), ("claim", 1.0))
    id_, sure, _ = chosen("是补发还是退款", own, together, damage="answered")
    assert id_ == "damage"
    assert sure > chosen("发到哪里", own, together, damage="answered")[1]


def test_what_the_words_surely_find_is_no_follow_up_of_another_subject() -> None:
    own = result(4.0, ("invoice", 0.0), ("claim", 3.0), ("damage", 4.0))
    together = result(3.0, ("damage", 0.0), ("invoice", 0.1))
    id_, sure, _ = chosen("发票寄到哪里", own, together, damage="answered")
    assert id_ == "invoice"
    assert sure >= ANSWER_MIN / 2


def test_far_from_everything_it_is_none_of_them() -> None:
    own = result(-3.0, ("invoice", 0.0), ("claim", 0.1))
    together = result(0.0, ("claim", 0.0), ("invoice", 0.1))
    assert chosen("天上有几颗星星", own, together, damage="offered")[2] >= NONE_MIN


def test_an_entry_that_is_gone_is_no_candidate() -> None:
    own = result(1.0, ("gone", 0.0), ("claim", 1.0))
    choice = among("退款", own, own, {"withdrawn": "answered"})
    assert [one.entry.id for one in choice.candidates] == ["claim"]
    nothing = replace(own, hits=())
    assert among("退款", nothing, nothing, {}).candidates == ()


def test_of_two_the_one_whose_answer_is_more_like_the_words_is_more_probable() -> None:
    own = result(1.0, ("invoice", 0.0), ("claim", 0.0))
    lean = FollowUp("收到的商品破损了怎么办", "什么时候", surely=True)
    for first in (0, 1):
        told = [0.9 if place == first else 0.8 for place in range(2)]
        choice = choose(lean, own, own, {}, [INVOICE, CLAIM], Likeness([0.8, 0.8], told))
        assert choice.candidates[0].entry is (INVOICE, CLAIM)[first]


def test_what_goes_on_with_an_action_is_for_the_entry_that_it_began_with() -> None:
    user = Utterance("user", "好")
    begun = Utterance("bot", "订单号？", "action", reasons=("search: answer", "action: return_form for return now"))
    goes_on = Utterance("bot", "原因？", "action", reasons=("loop: return_form", "action: return_form"))
    failed = Utterance("bot", "没成功", "handoff", reasons=("action: return_form action_slow", "handoff: action"))
    other = Utterance("bot", "在路上", "action", reasons=("action: action_order",))
    found = acted((user, begun, goes_on, failed, other))
    assert found == [
        ("", ""),
        ("return_form", "return now"),
        ("return_form", "return now"),
        ("", ""),
        ("action_order", ""),
    ]


def test_what_was_spoken_of_and_how() -> None:
    answer = Utterance("bot", "好的", "answer", (), ("a", ""), ("甲", "文档"))
    back = Utterance("bot", "哪一个", "clarify", ("乙", "甲", "丙"), ("b", "a", "c"))
    user, left = Utterance("user", "那运费呢"), Utterance("bot", "没有找到", "handoff")
    assert spoken_of((user, answer)) == {"a": "answered"}
    assert spoken_of((user, answer, user, left)) == {"a": "earlier"}
    assert spoken_of((user, answer, user, back)) == {"b": "offered", "a": "offered", "c": "offered"}
    assert spoken_of((user, back, user, answer)) == {"a": "answered"}
    assert spoken_of((user,)) == {}
