"""The labelled conversations: what they name exists, and the judge tells right from wrong."""

import json
from pathlib import Path
from typing import get_args

import pytest

from bot import demo
from bot.dialogue.types import Answer, Decision, Source
from tests.benchmarks.fit_calibration import small_companies
from tests.demo.conversation_score import CONVERSATIONS, HELD_OUT, HELD_OUT_2, judge

NAMES = {"d1": "配送政策.md"}
FEE = Source("运费多少钱", "8 元", 1.0, faq_id="shipping-fee")
TIME = Source("发货后几天能收到", "1 到 2 天", 1.0, faq_id="delivery-duration")
SECTION = Source("青砾生活配送政策 / 二、运费", "满 99 元包邮", 1.0, document_id="d1")


@pytest.mark.parametrize(("path", "count"), [(CONVERSATIONS, 60), (HELD_OUT, 15), (HELD_OUT_2, 25)])
def test_labels_name_decisions_entries_and_headings_that_exist(path: Path, count: int) -> None:
    entries = {json.loads(line)["id"] for line in demo.faq_path().read_text(encoding="utf-8").splitlines()}
    sections = {
        f"{path.name}#{line.removeprefix('## ')}"
        for path in demo.documents()
        for line in Path(path).read_text(encoding="utf-8").splitlines()
        if line.startswith("## ")
    }
    conversations = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len({one["id"] for one in conversations}) == count
    companies = {name: {entry.question for entry in found} for name, (found, _) in small_companies().items()}
    for conversation in conversations:
        known = companies[conversation["company"]] if "company" in conversation else entries | sections
        assert 4 <= len(conversation["turns"]) <= 7
        for turn in conversation["turns"]:
            assert turn["user"]
            assert turn["decision"]
            assert set(turn["decision"]) <= set(get_args(Decision))
            named = {*turn["source"], *(id_ for group in turn.get("sources_all", []) for id_ in group)}
            assert {id_ for id_ in named if not id_.startswith("@")} <= known, turn


def test_a_reply_needs_the_decision_and_one_of_the_sources() -> None:
    label = {"decision": ["answer", "handoff"], "source": ["shipping-fee", "配送政策.md#二、运费"]}
    assert judge(label, Answer("", "answer", (FEE,)), NAMES, ()) == ""
    assert judge(label, Answer("", "answer", (SECTION,)), NAMES, ()) == ""
    assert judge(label, Answer("", "answer", (SECTION,)), {"d1": "会员章程.md"}, ()) != ""
    assert judge(label, Answer("", "answer", (TIME,)), NAMES, ()) != ""
    assert judge(label, Answer("", "clarify", (FEE,)), NAMES, ()) != ""
    assert judge(label, Answer("", "handoff"), NAMES, ()) == "", "an honest handoff needs no source"


def test_two_questions_need_a_source_each() -> None:
    label = {
        "decision": ["answer", "clarify"],
        "source": [],
        "sources_all": [["shipping-fee", "配送政策.md#二、运费"], ["delivery-duration"]],
    }
    assert judge(label, Answer("", "answer", (FEE,)), NAMES, ()) == "sources lack delivery-duration"
    assert judge(label, Answer("", "clarify", (SECTION, TIME)), NAMES, ()) == ""
    # What is told, and the other one asked back.
    both = Answer("", "answer", (FEE,), suggestions=(TIME.title,))
    assert judge(label, both, NAMES, (), {TIME.title: "delivery-duration"}) == ""
    assert judge(label, both, NAMES, (), {TIME.title: "shipping-time"}) == "sources lack delivery-duration"


def test_a_choice_counts_only_where_something_was_offered() -> None:
    label = {"decision": ["answer"], "source": ["@2"], "offered": True}
    assert judge(label, Answer("", "answer", (TIME,)), NAMES, ()) is None
    assert judge(label, Answer("", "answer", (TIME,)), NAMES, ("shipping-fee", "delivery-duration")) == ""
    assert judge(label, Answer("", "answer", (FEE,)), NAMES, ("shipping-fee", "delivery-duration")) != ""
