"""What customers do after a reply says whether it answered."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from bot.learning.signals import Said, estimate, overlap, turns

START = datetime.fromisoformat("2026-01-02T09:00:00")


def said(number: int, role: str, text: str, seconds: int = 0, **more) -> Said:
    reply_to = f"m{number - 1}" if role == "bot" else None
    return Said(number, f"m{number}", "c", role, text, START + timedelta(seconds=seconds), reply_to, **more)


def asked(text="几天能到", **reply) -> list[Said]:
    given = {"decision": "answer", "probability": 0.85, "entry": "delivery", **reply}
    return [said(1, "user", text), said(2, "bot", "两三天", 1, **given)]


def judged(messages):
    return estimate(next(iter(turns(messages))))


def test_an_answer_is_believed_as_much_as_its_own_probability_says():
    assert judged(asked(probability=0.85)).answered == pytest.approx(0.85, abs=0.001)
    assert judged(asked(probability=0.85)).signals == ()
    assert not judged(asked(probability=1.0)).to_review
    assert judged(asked(decision="handoff", probability=0.1, reasons=("handoff: no_answer",))).to_review


@pytest.mark.parametrize(
    ("then", "signal", "worse"),
    [
        ([said(3, "user", "几天能够到货", 40)], "rephrased", True),
        ([said(3, "user", "没用", 40), said(4, "bot", "", reasons=("context: the reply before did not help",))],
         "unsolved", True),
        ([said(3, "user", "转人工", 40), said(4, "bot", "", decision="handoff", reasons=("handoff: person",))],
         "fetched_person", True),
        ([said(3, "user", "谢谢", 40), said(4, "bot", "", decision="chitchat", reasons=("small talk: thanks",))],
         "thanked", False),
    ],
)  # fmt: skip
def test_what_is_said_next_counts(then, signal, worse):
    before, after = judged(asked()), judged([*asked(), *then])
    assert after.signals == (signal,)
    assert (after.answered < before.answered) is worse


def test_another_question_and_the_same_one_much_later_are_no_rephrasing():
    assert judged([*asked(), said(3, "user", "可以开发票吗", 40)]).signals == ()
    assert judged([*asked(), said(3, "user", "几天能够到货", 4000)]).signals == ()


def test_a_thumb_outweighs_the_bots_own_confidence():
    up = judged(asked(probability=0.3, rating="up"))
    down = judged(asked(probability=0.95, rating="down"))
    assert up.answered > 0.8
    assert down.answered < 0.4
    assert (up.signals, down.signals) == (("thumb_up",), ("thumb_down",))


def test_a_choice_among_options_answers_and_none_of_them_does_not():
    clarify = asked(decision="clarify", probability=0.5)
    chose = said(4, "bot", "", decision="answer", reasons=("choice: 1 of 3",))
    none = said(4, "bot", "", decision="handoff", reasons=("choice: none of them", "handoff: not_among"))
    assert judged([*clarify, said(3, "user", "第一个", 20), chose]).answered > 0.9
    assert judged([*clarify, said(3, "user", "都不是", 20), none]).answered < 0.1
    left = judged(clarify)
    assert left.signals == ("left",)
    assert left.to_review


def test_what_is_no_question_is_not_judged():
    for decision, reasons in (
        ("chitchat", ()),
        ("action", ("action: order",)),
        ("handoff", ("handoff: person",)),
        ("handoff", ("handoff: rule",)),
        ("answer", ("choice: 2 of 3",)),
    ):
        assert judged(asked(decision=decision, reasons=reasons)).answered is None
    assert judged([said(1, "user", "在吗")]).answered is None  # a person has the conversation


def test_a_persons_correction_is_the_last_word():
    right, wrong = asked(), asked()
    right[0] = replace(right[0], reviewed=True, label="delivery")
    wrong[0] = replace(wrong[0], reviewed=True, label="return")
    assert judged(right).answered == 1.0
    assert (judged(wrong).answered, judged(wrong).signals) == (0.0, ("corrected",))


def test_a_person_who_answers_says_that_the_bot_did_not():
    handed = asked(decision="handoff", probability=0.1, reasons=("handoff: no_answer",))
    with_person = judged([*handed, said(3, "human", "三天左右", 60)])
    assert with_person.signals == ("person_answered",)
    assert with_person.answered < judged(handed).answered + 0.05


def test_overlap_is_of_pairs_of_characters():
    assert overlap("几天能到", "几天能到！") == 1.0
    assert overlap("几天能到", "可以开票吗") == 0.0
    assert overlap("", "几天") == 0.0
