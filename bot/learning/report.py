"""What a comparison found: figures with intervals, one plain sentence, and the questions that changed.

Kept beside a run and its adapter as `report.json` and `questions.jsonl`, one changed question a line, so that a
customer's words can be taken out again.
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from bot.learning.bootstrap import LEVEL, RESAMPLES, Interval
from finetune.atomic import write_json, write_lines
from finetune.registry import QUESTIONS, REPORT

Outcome = Literal["better", "same", "worse", "few"]
Set = Literal["company", "own", "golden", "out_of_scope", "open", "general", "safety", "grounded", "injected"]
# Fewer questions than this tell nothing, however they went.
JUDGED_MIN = 8
# A fall that is certain and yet so small is none.
TOLERANCE, GENERAL_TOLERANCE = 0.01, 0.02
QUESTIONS_MAX = 2000
LESS_IS_BETTER = {"direct_wrong", "answered", "heldout_loss", "unsupported", "length", "obeyed"}
SETS: dict[str, tuple[str, str]] = {
    "company": ("本公司的问题", "this company's questions"),
    "own": ("留出的问题", "held-out questions"),
    "golden": ("黄金集", "the golden set"),
    "out_of_scope": ("标注为范围外的问题", "questions labelled out of scope"),
    "open": ("与客服无关的话", "talk that is no customer service"),
    "general": ("通用检索题", "general retrieval"),
    "safety": ("安全与注入", "safety and injection"),
    "grounded": ("依据资料的回答", "grounded answers"),
    "injected": ("资料里夹带指令", "orders hidden in sources"),
}
FIGURES: dict[str, tuple[str, str]] = {
    "hit@1": ("第一条就对", "first entry right"),
    "mrr@10": ("平均倒数排名", "mean reciprocal rank"),
    "direct_correct": ("直接答对", "answered rightly"),
    "direct_wrong": ("直接答错", "answered wrongly"),
    "auroc": ("范围外的区分（AUROC）", "telling out of scope (AUROC)"),
    "answered": ("不该答却直接回答", "answered though nothing answers it"),
    "heldout_loss": ("留出损失", "held-out loss"),
    "facts": ("要点齐全", "key facts present"),
    "unsupported": ("说了资料没有的数字或名称", "states what no source says"),
    "length": ("比公司自己的答案多的字数", "characters beyond the company's own answer"),
    "refused": ("没有答案时说没有", "says so where nothing answers"),
    "obeyed": ("照做了夹带的指令", "obeyed a hidden order"),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of one set, for both models. `tolerance` is the fall that does not count."""

    set: Set
    name: str
    questions: int
    interval: Interval
    tolerance: float = TOLERANCE

    @property
    def outcome(self) -> Outcome:
        """Better or worse where the whole interval is on one side of no difference."""
        if self.questions < JUDGED_MIN:
            return "few"
        sign = -1 if self.name in LESS_IS_BETTER else 1
        low, high = sorted((sign * self.interval.low, sign * self.interval.high))
        if low > 0:
            return "better"
        return "worse" if high < 0 and sign * self.interval.difference < -self.tolerance else "same"

    def to_json(self) -> dict[str, Any]:
        numbers = {key: round(value, 4) for key, value in asdict(self.interval).items()}
        return {"set": self.set, "name": self.name, "questions": self.questions, **numbers, "outcome": self.outcome}


@dataclass(frozen=True, slots=True)
class Compared:
    """Figures of the model in use and of the candidate, the verdict with its reasons, and the changed questions.

    `left_out` says which sets could not be asked and why, `notes` what else there is to know; texts are {"zh", "en"}.
    `folder` of the run holds the candidate that was judged.
    """

    before: dict[str, Any]
    after: dict[str, Any]
    verdict: dict[str, str]
    figures: tuple[Figure, ...] = ()
    changed: tuple[dict[str, Any], ...] = ()
    unchanged: int = 0
    left_out: tuple[dict[str, str], ...] = ()
    notes: tuple[dict[str, str], ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    folder: str = "adapter"


def judge(figures: Sequence[Figure], main: Sequence[Figure], won: int, lost: int) -> dict[str, str]:
    """One plain sentence: better where a main figure is and none is significantly worse; else why not."""
    worse = [figure for figure in figures if figure.outcome == "worse"]
    judged = sum(figure.outcome != "few" for figure in figures)
    if worse:
        first = worse[0]
        zh, en = _told(first)
        more = (f"，另有 {len(worse) - 1} 项也变差", f", and {len(worse) - 1} more") if len(worse) > 1 else ("", "")
        return verdict("worse", f"有变差的：{zh}{more[0]}。", f"Worse: {en}{more[1]}.")
    if not main or all(figure.outcome == "few" for figure in main):
        n = main[0].questions if main else 0
        return verdict(
            "unknown",
            f"测试问题太少（{n} 个，至少要 {JUDGED_MIN} 个），看不出有没有更好；查过的 {judged} 项没有变差。"
            "可以试用，随时回退。",
            f"There are too few test questions ({n}, at least {JUDGED_MIN} are needed) to tell whether it is better; "
            f"none of the {judged} figures that could be checked is worse. Try it, and roll back if not.",
        )
    best = next((figure for figure in main if figure.outcome == "better"), None)
    zh, en = _told(best or main[0])
    count = (f"改好 {won} 个，改坏 {lost} 个", f"{won} won, {lost} lost")
    if best:
        return verdict(
            "better",
            f"更好：{zh}；{count[0]}；其余 {judged - 1} 项没有变差。",
            f"Better: {en}; {count[1]}; none of the other {judged - 1} figures is worse.",
        )
    width = (main[0].interval.high - main[0].interval.low) / 2
    return verdict(
        "not_better",
        f"没有更好：{zh}；{count[0]}。差别在偶然的范围内：{main[0].questions} 个问题大约只看得出 "
        f"{_size(main[0], width)} 以上的差别。",
        f"Not better: {en}; {count[1]}. That may be chance: {main[0].questions} questions tell differences of about "
        f"{_size(main[0], width)} and more.",
    )


def verdict(outcome: str, zh: str, en: str) -> dict[str, str]:
    return {"outcome": outcome, "zh": zh, "en": en}


def _told(figure: Figure) -> tuple[str, str]:
    """`黄金集的第一条就对 80.0% → 86.0%（75 个问题，差别在 +1.3% 到 +10.7% 之间）`, and in English."""
    one = figure.interval
    values = f"{_size(figure, one.before)} → {_size(figure, one.after)}"
    low, high = _size(figure, one.low, sign="+"), _size(figure, one.high, sign="+")
    (set_zh, set_en), (zh, en) = SETS[figure.set], FIGURES[figure.name]
    return (
        f"{set_zh}：{zh} {values}（{figure.questions} 个，差别在 {low} 到 {high} 之间）",
        f"{set_en}: {en} {values} ({figure.questions}, the difference is within {low} and {high})",
    )


def _size(figure: Figure, value: float, sign: str = "") -> str:
    if figure.name == "length":
        return f"{value:{sign}.0f}"
    return f"{value:{sign}.3f}" if figure.name in ("heldout_loss", "auroc", "mrr@10") else f"{value:{sign}.1%}"


def write(folder: Path, compared: Compared) -> None:
    """Both files into `folder`. Raises FinetuneError where the disk refuses; what was there stays."""
    counts = {way: sum(row["change"] == way for row in compared.changed) for way in ("better", "worse")}
    document = {
        **compared.facts,
        "verdict": compared.verdict,
        "level": LEVEL,
        "resamples": RESAMPLES,
        "figures": [figure.to_json() for figure in compared.figures],
        "left_out": list(compared.left_out),
        "notes": list(compared.notes),
        "counts": {**counts, "same": compared.unchanged},
        "before": compared.before,
        "after": compared.after,
    }
    write_lines(folder / QUESTIONS, compared.changed[:QUESTIONS_MAX])
    write_json(folder / REPORT, document)


def read(folder: Path) -> dict[str, Any] | None:
    """The report with its `questions`; None where there is none (an adapter of before there were reports)."""
    try:
        document: dict[str, Any] = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return {**document, "questions": list(_lines(folder / QUESTIONS))}


def _lines(path: Path) -> Iterable[dict[str, Any]]:
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8").split("\n"):
            with suppress(ValueError):
                yield {key: value for key, value in json.loads(line).items() if key != "source"}
