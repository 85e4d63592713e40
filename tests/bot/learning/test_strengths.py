"""A part of what was learnt: each half of the questions chooses for the other to judge."""

import json
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from bot.learning.encoder_exam import Answers, Prediction, compared
from bot.learning.papers import Paper
from bot.learning.report import Compared
from bot.learning.strengths import PARTS, halves, in_part, soften
from knowledge.types import Entry

QUESTIONS = tuple({"query": f"第{n}个问题", "faq_id": "a", "type": "in", "set": "own"} for n in range(80))
PAPER = Paper(QUESTIONS, (Entry("a", "问"), Entry("b", "别的")))
FIRST, SECOND = halves([(one["query"], one["set"]) for one in QUESTIONS])


def found(right: bool) -> Prediction:
    return {"ranked": ["a" if right else "b"], "decision": "clarify", "options": ["a", "b"], "score": 0.5}


def answers(right: set[int], wrong: Collection[int] = ()) -> Answers:
    """Right at these places of the paper, and wrong at those of the forty questions of the general set."""
    predictions = [found(at in right) for at in range(len(QUESTIONS))]
    return Answers(predictions, [("a", found(at not in wrong)) for at in range(40)], {})


BEFORE = answers({*FIRST[:15], *SECOND[:15]})
GENERAL = halves([(str(n), "general") for n in range(40)])
FULL = compared(PAPER, BEFORE, answers(set(range(80)), wrong=set(range(20))))


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"r": 16, "lora_alpha": 32, "peft_type": "LORA"}')
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    (adapter / "calibration.json").write_text("{}")
    return tmp_path


def sitting(*parts: Answers) -> Callable[[Path], Answers]:
    def sit(folder: Path) -> Answers:
        alpha = json.loads((folder / "adapter_config.json").read_text())["lora_alpha"]
        return dict(zip([32 * part for part in PARTS], parts, strict=False))[alpha]

    return sit


def judged(run_dir: Path, *parts: Answers) -> Compared:
    return in_part(run_dir, PAPER, BEFORE, sitting(*parts), FULL)


def test_a_part_that_both_halves_choose_is_judged_on_all(run_dir: Path) -> None:
    assert FULL.verdict["outcome"] == "worse"
    part = judged(run_dir, answers({*FIRST[:25], *SECOND[:25]}))
    assert (part.verdict["outcome"], part.folder) == ("better", "softened")
    (main, *_) = part.figures
    assert (main.name, main.questions, main.interval.after) == ("hit@1", 80, 50 / 80)
    assert "70%" in part.notes[-1]["en"]


def test_the_weaker_choice_is_taken_and_the_half_that_chose_it_does_not_judge_it(run_dir: Path) -> None:
    strong = answers({*FIRST[:40], *SECOND[:40]}, wrong=set(GENERAL[1][:8]))  # a fall that the second half sees
    weak = answers({*FIRST[:25], *SECOND[:40]})
    part = judged(run_dir, strong, weak)
    (main, *_) = part.figures
    assert (main.questions, main.interval.after) == (40, 25 / 40)
    assert {row["text"] for row in part.changed} == {QUESTIONS[at]["query"] for at in FIRST[15:25]}
    assert "50%" in part.notes[-1]["en"]
    assert "（40 题）" in part.notes[-1]["zh"]


def test_what_gains_on_one_half_alone_is_luck(run_dir: Path) -> None:
    lucky = answers({*FIRST, *SECOND[:15]})
    assert judged(run_dir, lucky, lucky) == FULL


def test_a_gain_that_may_be_chance_is_none_and_is_told(run_dir: Path) -> None:
    told = judged(run_dir, answers({*FIRST[:16], *SECOND[:16]}))
    assert (told.verdict, told.folder) == (FULL.verdict, "adapter")
    assert "did not show" in told.notes[-1]["en"]


def test_a_fall_that_only_both_halves_show_counts(run_dir: Path) -> None:
    wrong = {at for half in GENERAL for at in half[:2]}  # four of forty are no chance, two of twenty may be
    told = judged(run_dir, answers({*FIRST[:30], *SECOND[:30]}, wrong=wrong))
    assert told.verdict == FULL.verdict
    assert len(told.notes) == 1


def test_where_no_part_is_harmless_there_is_none(run_dir: Path) -> None:
    bad = answers(set(range(80)), wrong=set(range(20)))
    assert judged(run_dir, bad, bad) == FULL


def test_halves_are_even_in_every_set_and_the_same_in_any_order() -> None:
    asked = [(f"问{n}", "own" if n % 3 else "golden") for n in range(30)]
    first, second = halves(asked)
    assert sorted(first + second) == list(range(30))
    for named in ("own", "golden"):
        one, other = (sum(asked[at][1] == named for at in half) for half in (first, second))
        assert abs(one - other) <= 1
    turned, _ = halves(asked[::-1])
    assert {asked[::-1][at] for at in turned} == {asked[at] for at in first}


def test_a_part_is_the_same_adapter_with_a_smaller_alpha(run_dir: Path) -> None:
    folder = soften(run_dir, 0.5)
    assert {path.name for path in folder.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    softened = json.loads((folder / "adapter_config.json").read_text())
    assert softened == {"r": 16, "lora_alpha": 16, "peft_type": "LORA"}
    assert (folder / "adapter_model.safetensors").read_bytes() == b"weights"
    assert json.loads((run_dir / "adapter" / "adapter_config.json").read_text())["lora_alpha"] == 32
