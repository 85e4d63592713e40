"""What a search result comes to."""

from dataclasses import replace

import pytest

from bot.dialogue.policy import Limits, likely, plan
from knowledge.types import Entry, Hit, Passage, SearchResult

ENTRY = Entry("cancel", "可以退单吗", "制作前可以。")
PASSAGE = Passage("p", "须知 / 二、退款", "退款原路返回，微信 1 到 3 个工作日。", "d")


class Shelf:
    def __init__(self, entry=ENTRY):
        self._entry = entry

    def entry(self, id_):
        return self._entry if id_ == self._entry.id else None

    def passage(self, id_):
        return PASSAGE if id_ == PASSAGE.id else None


def found(query, decision, probability, relevance, lead=0.0):
    hit, passage = Hit("cancel", "faq", ENTRY.question, 0.9, 0.1, 0.9), Hit("p", "passage", "", 0.9, 0.5, 0.9)
    scored = SearchResult(query, (hit,), (passage,), decision, probability, probability, ("cancel",))
    return replace(scored, relevance=relevance, unit=0.02, passage_lead=lead)


@pytest.mark.parametrize(
    ("query", "decision", "probability", "relevance", "step"),
    [
        ("微信退款几天", "clarify", 0.24, 3.4, "passages"),  # a text says it, and no entry came near
        ("微信退款几天", "clarify", 0.24, 2.0, "clarify"),
        ("微信退款几天", "clarify", 0.6, 3.4, "clarify"),
        ("退款", "clarify", 0.24, 3.4, "clarify"),  # a word alone asks nothing that a text could say
        ("微信退款几天", "answer", 0.8, 3.4, "answer"),
        ("微信退款几天", "none", 0.01, 3.4, "passages"),
        ("微信退款几天", "none", 0.01, 2.0, "nothing"),
    ],
)
def test_a_relevant_text_goes_before_asking_back_on_entries_that_are_far(query, decision, probability, relevance, step):
    assert plan(found(query, decision, probability, relevance), Shelf(), Limits()).step == step


@pytest.mark.parametrize(
    ("decision", "relevance", "lead", "step"),
    [
        ("answer", 3.4, 0.2, "passages"),  # the entry lacks much of what is asked, and the text has it
        ("answer", 3.4, 0.01, "answer"),  # both have it: the company's own answer
        ("answer", 2.0, 0.2, "answer"),  # many words in common, on another subject
        ("clarify", 3.4, 0.2, "passages"),
    ],
)
def test_a_relevant_text_that_speaks_of_more_goes_before_the_entry(decision, relevance, lead, step):
    assert plan(found("微信退款几天", decision, 0.8, relevance, lead), Shelf(), Limits()).step == step


def test_what_an_entry_does_is_done_whatever_a_text_says():
    acting = replace(ENTRY, answer="", action="action_cancel")
    assert plan(found("微信退款几天", "answer", 0.8, 3.4, 0.2), Shelf(acting), Limits()).step == "answer"


@pytest.mark.parametrize(
    ("decision", "probability", "told"),
    [("clarify", 0.72, ENTRY), ("clarify", 0.6, None), ("none", 0.72, None)],
)
def test_what_is_likely_may_be_told_in_place_of_a_third_question(decision, probability, told):
    result = found("微信退款几天", decision, probability, 2.0)
    assert likely(plan(result, Shelf(), Limits()), result) == told


@pytest.mark.parametrize("entry", [replace(ENTRY, action="action_cancel"), replace(ENTRY, answer=" ")])
def test_what_does_something_or_says_nothing_is_not_told_for_being_likely(entry):
    result = found("微信退款几天", "clarify", 0.72, 2.0)
    assert likely(plan(result, Shelf(entry), Limits()), result) is None
