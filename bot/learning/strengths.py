"""An adapter at a part of its strength: between two models lie some that keep most of the gain and lose little.

Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", https://arxiv.org/abs/2109.01903. Each half of the paper
chooses a part for the other half to judge: the best of several tries looks better than it is on the questions that it
was chosen by.
"""

import hashlib
import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from bot.learning.encoder_exam import COMPANY, MAIN, Answers, compared
from bot.learning.papers import Paper
from bot.learning.report import Compared
from finetune.registry import REQUIRED

PARTS = (0.7, 0.5)
FOLDER = "softened"


def in_part(run_dir: Path, paper: Paper, before: Answers, sit: Callable[[Path], Answers], whole: Compared) -> Compared:
    """The weaker of the parts that the two halves choose, as the half does that did not choose it (both, where both
    chose the same); `whole`, which is of full strength, where a half finds none or it does not hold.

    A half chooses the strongest part that gains there and lets nothing fall. A fall counts wherever it is found: also
    one that only both halves together show. `sit` lets a folder's adapter answer the paper.
    """
    questions = halves([(one["query"], one["set"]) for one in paper.questions])
    general = halves([(str(n), "general") for n in range(len(before.general))])
    settled: set[int] = set()
    for part in PARTS:
        after = sit(soften(run_dir, part))
        chosen = {
            half
            for half in {0, 1} - settled
            if _gains(compared(*_on(paper, before, after, questions[half], general[half])))
        }
        settled |= chosen
        if len(settled) < 2:
            continue
        judging = [1 - half for half in chosen]
        places = sorted(at for half in judging for at in questions[half])
        others = sorted(at for half in judging for at in general[half])
        found = compared(*_on(paper, before, after, places, others))
        if found.verdict["outcome"] == "better" and compared(paper, before, after).verdict["outcome"] != "worse":
            return replace(found, notes=(*found.notes, _chosen(part, len(places))), folder=FOLDER)
        return replace(whole, notes=(*whole.notes, _not_held(part, len(places))))
    return whole


def _gains(found: Compared) -> bool:
    """Nothing fell for certain, and what decides rose at all: half the questions seldom tell more."""
    main = next((figure for figure in found.figures if figure.name == MAIN[0] and figure.set in COMPANY), None)
    return found.verdict["outcome"] != "worse" and main is not None and main.interval.difference > 0


def halves(questions: Sequence[tuple[str, str]]) -> tuple[list[int], list[int]]:
    """Places of (text, set), each set cut in two; the same for the same questions, in whatever order they come."""
    sets: dict[str, list[tuple[bytes, int]]] = defaultdict(list)
    for at, (text, named) in enumerate(questions):
        sets[named].append((hashlib.sha256(text.encode()).digest(), at))
    ordered = [[at for _, at in sorted(places)] for places in sets.values()]
    return sorted(at for places in ordered for at in places[::2]), sorted(
        at for places in ordered for at in places[1::2]
    )


def _on(
    paper: Paper, before: Answers, after: Answers, places: Sequence[int], general: Sequence[int]
) -> tuple[Paper, Answers, Answers]:
    """Some questions of the paper with both sides' answers to them."""
    asked = replace(paper, questions=tuple(paper.questions[at] for at in places))
    old, new = (
        Answers([side.predictions[at] for at in places], [side.general[at] for at in general], side.report, side.notes)
        for side in (before, after)
    )
    return asked, old, new


def soften(run_dir: Path, strength: float) -> Path:
    """The run's adapter at a part of its strength, in a folder of its own: LoRA counts in proportion to its alpha."""
    from finetune.atomic import write_json
    from finetune.runs import replace_folder

    def write(folder: Path) -> None:
        for file in (run_dir / "adapter").iterdir():
            if file.name in REQUIRED:
                shutil.copyfile(file, folder / file.name)
        settings = json.loads((folder / REQUIRED[0]).read_text(encoding="utf-8"))
        write_json(folder / REQUIRED[0], {**settings, "lora_alpha": settings["lora_alpha"] * strength})

    return replace_folder(run_dir, write, FOLDER)


def _chosen(part: float, questions: int) -> dict[str, str]:
    return {
        "zh": f"全部用上时通用能力会明显变差，所以只取学到的 {part:.0%}。取多少由一半的题选、另一半的题评；结论、"
        f"上面的差别和变化的问题都出自没有参与选择的题（{questions} 题）。",
        "en": f"At full strength other abilities fell, so {part:.0%} of what was learnt is used. Each half of the "
        f"questions chose for the other; verdict, differences and changed questions are of the {questions} that had no "
        "part in the choice they judge.",
    }


def _not_held(part: float, questions: int) -> dict[str, str]:
    return {
        "zh": f"也试过只取学到的 {part:.0%}：在没有参与选择的题（{questions} 题）上看不出更好，或者别处变差。",
        "en": f"{part:.0%} of what was learnt was tried, too: on the {questions} questions that had no part in "
        "choosing it, it did not show as better, or other abilities fell.",
    }
