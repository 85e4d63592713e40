"""Is the candidate better than the model in use? Both answer the held-out part; one plain sentence says which."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot import calibrations
from finetune.data import read_jsonl
from finetune.loop import Outcome
from finetune.runs import RunConfig

if TYPE_CHECKING:
    from bot.learning.runs import Context
    from knowledge.calibrate import Calibration
    from knowledge.index import Index
    from knowledge.types import Reranker

CALIBRATION_QUERIES_MIN = 120
WRONG_ANSWERS_MORE_MAX = 0.03
SHOWN = ("hit@1", "hit@3", "mrr@10", "direct_correct", "direct_wrong", "clarify_hit")
REPLIES = 12
REPLY_TOKENS_MAX = 160
FACTS_FEWER_MAX = 0.02
Report = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Compared:
    """Figures of the model in use and of the candidate (None where nothing was held out), and the verdict."""

    before: Report | None
    after: Report | None
    verdict: dict[str, str]
    notes: tuple[dict[str, str], ...] = ()


def compare(
    run_dir: Path,
    config: RunConfig,
    context: "Context",
    outcome: Outcome,
    on_progress: Callable[[int, int], None],
) -> Compared:
    """Measures both on the run's held-out part; writes an encoder's `calibration.json` into `run_dir/adapter`."""
    rows = read_jsonl(run_dir / "heldout.jsonl")
    if not any(row["entry"] for row in rows):
        return Compared(
            None,
            None,
            verdict(
                "unknown",
                "数据太少，留不出测试部分，无法比较；可以启用后试用，随时回退。",
                "There is too little data to hold any out, so nothing could be compared; try it, and roll back if not.",
            ),
        )
    if config.kind == "encoder":
        return _encoders(run_dir, config, context, rows, on_progress)
    return _generators(run_dir, config, context, outcome, rows, on_progress)


def verdict(outcome: str, zh: str, en: str) -> dict[str, str]:
    return {"outcome": outcome, "zh": zh, "en": en}


def _encoders(
    run_dir: Path,
    config: RunConfig,
    context: "Context",
    rows: Sequence[dict[str, Any]],
    on_progress: Callable[[int, int], None],
) -> Compared:
    from finetune.atomic import write_bytes

    queries = [
        {"query": r["text"], "faq_id": r["entry"], "type": "in" if r["entry"] is not None else "oos"} for r in rows
    ]
    parent = context.adapters_dir / context.parent if context.parent else None
    total = len(queries) * 4
    told = 0

    def tick(done: int, _total: int = 0, _note: str = "") -> None:
        on_progress(min(told + done, total), total)

    reranker = _reranker(context)
    index = _index(run_dir, config, parent, reranker)
    index.calibration = _calibration_in_use(context, parent)
    before, found_before = _measure(index, queries, tick)
    told = 2 * len(queries)
    index.close()
    index = _index(run_dir, config, run_dir / "adapter", reranker)
    calibration, note = _calibrate(index, queries)
    if calibration:
        calibration = calibrations.fitted_for(calibration, context.models)
        write_bytes(run_dir / "adapter" / "calibration.json", calibration.to_json().encode())
        index.calibration = calibration.with_thresholds(context.answer_threshold, context.clarify_threshold)
    after, found_after = _measure(index, queries, tick)
    index.close()
    return Compared(before, after, _judge_encoders(before, after, found_before, found_after), (note,))


def _calibration_in_use(context: "Context", parent: Path | None) -> "Calibration":
    found = calibrations.read((parent or context.adapters_dir.parent) / "calibration.json", context.models)
    return found.with_thresholds(context.answer_threshold, context.clarify_threshold)


def _reranker(context: "Context") -> "Reranker | None":
    from knowledge.rerankers import TransformerReranker

    return TransformerReranker(Path(context.reranker)) if context.reranker else None


def _index(run_dir: Path, config: RunConfig, adapter: Path | None, reranker: "Reranker | None") -> "Index":
    from knowledge.encoders import TransformerEncoder
    from knowledge.index import Index
    from knowledge.types import Entry

    index = Index.open(None, TransformerEncoder(config.base_folder, adapter), reranker=reranker)
    index.synchronise(
        Entry(row["id"], row["phrasings"][0], similar_questions=tuple(row["phrasings"][1:]))
        for row in read_jsonl(run_dir / "entries.jsonl")
    )
    return index


def _measure(index: "Index", queries: Sequence[dict[str, Any]], tick: Callable[..., None]) -> tuple[Report, list[bool]]:
    """The report of the whole decision with the dense model's own hit rate, and which in-scope queries hit."""
    from knowledge.evaluate import evaluate

    predictions, report = evaluate(index, queries, on_progress=tick)
    _, dense = evaluate(index, queries, dense_only=True, on_progress=tick)
    hits = [
        bool(p["ranked"]) and p["ranked"][0] == q["faq_id"]
        for q, p in zip(queries, predictions, strict=True)
        if q["faq_id"] is not None
    ]
    shown = {name: report[name] for name in SHOWN}
    outside = sum(q["faq_id"] is None for q in queries)
    if outside:
        shown |= {"auroc": dense["auroc"]["oos"], "answered_out_of_scope": report["answered"]["oos"]}
    shown = {name: round(value, 4) for name, value in shown.items()}
    return shown | {
        "dense_hit@1": round(dense["hit@1"], 4),
        "queries": report["in_scope"],
        "out_of_scope": outside,
    }, hits


def _calibrate(index: "Index", queries: Sequence[dict[str, Any]]) -> "tuple[Calibration | None, dict[str, str]]":
    """A calibration of the candidate's own, where there are enough queries and it holds on those it never saw."""
    from bot.evaluating import fit

    if len(queries) < CALIBRATION_QUERIES_MIN:
        return None, {
            "zh": f"留出的问题只有 {len(queries)} 条，沿用随产品提供的判定阈值"
            f"（重新校准需要 {CALIBRATION_QUERIES_MIN} 条）。",
            "en": f"Only {len(queries)} questions are held out, so the shipped thresholds stay "
            f"({CALIBRATION_QUERIES_MIN} are needed to fit new ones).",
        }
    found, shipped, own = fit(index, queries)
    if own["brier"] > shipped["brier"]:
        return None, {
            "zh": "重新校准没有更准，沿用随产品提供的判定阈值。",
            "en": "Fitting new thresholds made them no better, so the shipped ones stay.",
        }
    return found, {
        "zh": f"已用 {len(queries)} 条留出的问题重新校准判定（Brier {shipped['brier']:.3f} → {own['brier']:.3f}）。",
        "en": f"The decision was calibrated anew on {len(queries)} held-out questions "
        f"(Brier {shipped['brier']:.3f} → {own['brier']:.3f}).",
    }


def _judge_encoders(before: Report, after: Report, hits_before: list[bool], hits_after: list[bool]) -> dict[str, str]:
    """Better where it wins more questions than it loses by more than chance would (one standard deviation), and does
    not answer wrongly more often.
    """
    wins = sum(new and not old for old, new in zip(hits_before, hits_after, strict=True))
    losses = sum(old and not new for old, new in zip(hits_before, hits_after, strict=True))
    figures = f"{before['hit@1']:.1%} → {after['hit@1']:.1%}"
    zh = f"{before['queries']} 个测试问题里，第一条就对的比例 {figures}（改对 {wins} 个，改错 {losses} 个）"
    en = f"of {before['queries']} test questions, the first entry is right for {figures} ({wins} won, {losses} lost)"
    wrong = max(after.get(k, 0.0) - before.get(k, 0.0) for k in ("direct_wrong", "answered_out_of_scope"))
    if wins - losses >= max(1.0, math.sqrt(wins + losses)):
        if wrong > WRONG_ANSWERS_MORE_MAX:
            return verdict(
                "not_better",
                f"{zh}，但直接答错的比例多了 {wrong:.1%}，建议保持现状。",
                f"Not better: {en}, but {wrong:.1%} more are answered wrongly.",
            )
        return verdict("better", f"更好：{zh}。", f"Better: {en}.")
    if losses - wins >= max(1.0, math.sqrt(wins + losses)):
        return verdict("worse", f"更差：{zh}。", f"Worse: {en}.")
    return verdict("not_better", f"没有更好：{zh}。", f"Not better: {en}.")


def _generators(
    run_dir: Path,
    config: RunConfig,
    context: "Context",
    outcome: Outcome,
    rows: Sequence[dict[str, Any]],
    on_progress: Callable[[int, int], None],
) -> Compared:
    from finetune.generator import GeneratorOptions
    from finetune.runs import options_from

    options = options_from(GeneratorOptions, config.options)
    parent = context.adapters_dir / context.parent if context.parent else None
    loss_before = outcome.before if parent is None else None
    asked = [row for row in rows if row["entry"]][:REPLIES]
    before = _replies(
        config.base_folder, parent, rows, asked, options, loss_before, lambda n: on_progress(n, 2 * REPLIES)
    )
    after = _replies(
        config.base_folder, run_dir / "adapter", rows, asked, options, outcome.best,
        lambda n: on_progress(REPLIES + n, 2 * REPLIES),
    )  # fmt: skip
    return Compared(before, after, _judge_generators(before, after))


def _replies(
    base: Path,
    adapter: Path | None,
    rows: Sequence[dict[str, Any]],
    asked: Sequence[dict[str, Any]],
    options: Any,
    loss: float | None,
    tick: Callable[[int], None],
) -> Report:
    """Held-out loss and key facts of one model's greedy replies."""
    from finetune.evaluate import facts_score
    from finetune.generator import heldout_loss, load, reply_to_all

    model, tokenizer = load(base, adapter)
    if loss is None:
        loss = heldout_loss(model, tokenizer, rows, options)
    prompts = [row["messages"][:-1] for row in asked]
    replies = reply_to_all(
        model, tokenizer, prompts, REPLY_TOKENS_MAX, batch_size=4, on_progress=lambda done, _total: tick(done)
    )
    facts, complete = facts_score(zip(replies, [row["facts"] for row in asked], strict=True))
    return {
        "heldout_loss": round(loss, 4),
        "facts": round(facts, 4),
        "complete": round(complete, 4),
        "questions": len(asked),
    }


def _judge_generators(before: Report, after: Report) -> dict[str, str]:
    """Better where the company's own answers became more likely and no key fact went missing."""
    zh = (
        f"留出条目的损失 {before['heldout_loss']:.3f} → {after['heldout_loss']:.3f}，"
        f"{after['questions']} 个试答里说到的要点 {before['facts']:.0%} → {after['facts']:.0%}"
    )
    en = (
        f"held-out loss {before['heldout_loss']:.3f} → {after['heldout_loss']:.3f}, key facts in "
        f"{after['questions']} trial replies {before['facts']:.0%} → {after['facts']:.0%}"
    )
    facts = after["facts"] - before["facts"]
    if after["heldout_loss"] < before["heldout_loss"] and facts >= -FACTS_FEWER_MAX:
        return verdict("better", f"更好：{zh}。", f"Better: {en}.")
    if facts < -FACTS_FEWER_MAX:
        return verdict("worse", f"更差：{zh}。", f"Worse: {en}.")
    return verdict("not_better", f"没有更好：{zh}。", f"Not better: {en}.")
