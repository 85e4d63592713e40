"""Two encoders sit the same papers: the company's questions and the product's frozen ones, each with its own index."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot import calibrations
from bot.learning import exams
from bot.learning.bootstrap import paired_auroc, paired_mean
from bot.learning.papers import Paper, Question, set_paper
from bot.learning.report import GENERAL_TOLERANCE, Compared, Figure, Set, judge
from finetune import memory
from finetune.forecast import timed
from finetune.runs import RunConfig

if TYPE_CHECKING:
    from bot.learning.runs import Context
    from knowledge.calibrate import Calibration
    from knowledge.index import Index
    from knowledge.types import Entry, Reranker

CALIBRATION_QUERIES_MIN = 60
# The shipped coefficients were fitted on the base model: they weigh less for one that was trained.
PRIOR_RESULTS = 100.0
EVERYDAY_STEP = 3
SAMPLE_ENTRIES, SAMPLE_QUESTIONS = 200, 40
# What decides.
MAIN, COMPANY = ("hit@1", "mrr@10"), ("company", "own", "golden")
SHOWN = ("hit@1", "hit@3", "mrr@10", "direct_correct", "direct_wrong", "clarify_hit")
Prediction = dict[str, Any]
Report = dict[str, Any]


@dataclass(slots=True)
class Answers:
    """One encoder's predictions in the order of the paper, of the general set (the right entry, the dense prediction),
    its report, and what there is to know about it."""

    predictions: list[Prediction]
    general: list[tuple[str, Prediction]]
    report: Report
    notes: tuple[dict[str, str], ...] = ()


def compare(run_dir: Path, config: RunConfig, context: "Context", on_progress: Callable[[int, int], None]) -> Compared:
    """Examines the encoder in use and the candidate; writes the candidate's `calibration.json`.

    A candidate that is better on the company's own questions and worse elsewhere is tried again with a part of what it
    has learnt, see `strengths`. One from elsewhere is measured as it is.
    """
    paper = set_paper(run_dir)
    parent = context.adapters_dir / context.parent if context.parent else None
    each = 2 * len(paper.questions) + len(exams.general()[1])
    done, total = 0, 2 * each

    def tick(count: int) -> None:
        nonlocal done
        done += count
        on_progress(min(done, total), total)

    reranker = _reranker(context)
    in_use = calibrations.read((parent or context.adapters_dir.parent) / "calibration.json", context.models)
    with _index(config, parent, paper.entries, reranker) as index:
        index.calibration = _limits(in_use, context)
        before = examine(index, paper, tick)
        outside = _outside(index)
    if parent:  # held against the base model, or a little could be lost with every release
        with _index(config, None, (), None) as index:
            before.general = _general(index)

    def sit(folder: Path) -> Answers:
        nonlocal total
        total = max(total, done + each)
        return _candidate(folder, config, context, paper, reranker, outside, tick)

    found = compared(paper, before, sit(run_dir / "adapter"))
    main = [figure for figure in found.figures if figure.name in MAIN and figure.set in COMPANY]
    gains = found.verdict["outcome"] == "worse" and any(figure.outcome == "better" for figure in main)
    if context.imported or not gains:
        return found
    from bot.learning.strengths import in_part

    return in_part(run_dir, paper, before, sit, found)


def expected_seconds(run_dir: Path, config: RunConfig, context: "Context") -> float:
    """What `compare` will take, tried on a part of the entries and of the questions."""
    from knowledge.evaluate import evaluate

    paper = set_paper(run_dir)
    entries, asked = exams.general()
    some = paper.entries[:: max(1, len(paper.entries) // SAMPLE_ENTRIES)]
    questions = paper.questions[:: max(1, len(paper.questions) // SAMPLE_QUESTIONS)]
    with _index(config, None, some[:1], _reranker(context)) as index:
        encoding, _ = timed(lambda: index.synchronise(some))
        searching, _ = timed(lambda: evaluate(index, questions))
    texts = sum(len(one.phrasings) for one in paper.entries) + len(entries)
    searched = 2 * len(paper.questions) + len(asked) + len(_everyday())  # twice: with and without their words
    texts_tried = max(1, sum(len(one.phrasings) for one in some))
    return 2 * (encoding * texts / texts_tried + searching * searched / len(questions))


def compared(paper: Paper, before: Answers, after: Answers) -> Compared:
    """What two encoders' answers to a paper come to."""
    figures, main = figures_of(paper, before, after)
    changed = tuple(_changed(paper, before, after))
    won, lost = _won_and_lost(paper, before, after)
    return Compared(
        before.report, after.report, judge([*main, *figures], main, won, lost), (*main, *figures), changed,
        len(paper.questions) - len(changed), paper.left_out, after.notes,
    )  # fmt: skip


def _candidate(
    folder: Path,
    config: RunConfig,
    context: "Context",
    paper: Paper,
    reranker: "Reranker | None",
    outside: Sequence[Question],
    tick: Callable[[int], None],
) -> Answers:
    """What one candidate answers, decided by a calibration of its own where there can be one."""
    from finetune.atomic import write_bytes

    with _index(config, folder, paper.entries, reranker) as index:
        index.calibration = shipped = _limits(index.calibration, context)
        found, note = _calibrate(index, paper, outside)
        if found:
            found = calibrations.fitted_for(found, context.models)
            write_bytes(folder / "calibration.json", found.to_json().encode())
            index.calibration = _limits(found, context)
        after = examine(index, paper, tick)
        if found:
            for at, prediction in _crossed(index, paper, outside, shipped, context):
                after.predictions[at] = prediction
            after.report = _report(index, paper, after.predictions)
    after.notes = (note,)
    return after


def _limits(calibration: "Calibration", context: "Context") -> "Calibration":
    return calibration.with_thresholds(context.answer_threshold, context.clarify_threshold)


def _reranker(context: "Context") -> "Reranker | None":
    from knowledge.rerankers import TransformerReranker

    return TransformerReranker(Path(context.reranker)) if context.reranker else None


@contextmanager
def _index(
    config: RunConfig, adapter: Path | None, entries: "Sequence[Entry]", reranker: "Reranker | None"
) -> "Iterator[Index]":
    from knowledge.encoders import TransformerEncoder
    from knowledge.index import Index

    index = Index.open(None, TransformerEncoder(config.base_folder, adapter), reranker=reranker)
    try:
        index.synchronise(entries)
        yield index
    finally:
        index.close()
        memory.give_back()


def examine(index: "Index", paper: Paper, tick: Callable[[int], None]) -> Answers:
    """Every question through the whole decision, and the general set by the encoder alone."""
    from knowledge.evaluate import evaluate

    predictions, _ = evaluate(index, paper.questions)
    tick(len(paper.questions))
    report = _report(index, paper, predictions)
    tick(len(paper.questions))
    general = _general(index)
    tick(len(general))
    return Answers(predictions, general, report)


def _report(index: "Index", paper: Paper, predictions: Sequence[Prediction]) -> Report:
    """The figures of the company's own questions, as `kefu train` prints them."""
    from knowledge.evaluate import evaluate, score

    own = paper.of("own", "golden", "out_of_scope")
    asked = [paper.questions[at] for at in own]
    whole = score(asked, [predictions[at] for at in own])
    _, dense = evaluate(index, asked, dense_only=True)
    shown = {name: whole[name] for name in SHOWN} if whole["in_scope"] else {}
    outside = whole["answered"].get("oos_out_of_scope")
    if outside is not None:
        shown |= {"answered_out_of_scope": outside}
        shown |= {"auroc": whole["auroc"]["oos_out_of_scope"]} if whole["in_scope"] else {}
    if whole["in_scope"]:
        shown |= {"dense_hit@1": dense["hit@1"]}
    shown = {name: round(value, 4) for name, value in shown.items()}
    return shown | {"queries": whole["in_scope"], "out_of_scope": len(asked) - whole["in_scope"]}


def _general(index: "Index") -> list[tuple[str, Prediction]]:
    from knowledge.evaluate import evaluate
    from knowledge.index import Index
    from knowledge.types import Entry

    entries, asked = exams.general()
    other = Index.open(None, index.encoder)
    try:
        other.synchronise(Entry(id_, question) for id_, question in entries.items())
        queries = [{"query": text, "faq_id": id_, "type": "in"} for text, id_ in asked]
        predictions, _ = evaluate(other, queries, dense_only=True)
        return [(id_, prediction) for (_, id_), prediction in zip(asked, predictions, strict=True)]
    finally:
        other.close()


def _outside(index: "Index") -> list[Question]:
    """Everyday talk that the encoder in use neither answers nor asks back about: what a calibration is to tell from
    the company's questions. A candidate may have learnt from it; the frozen papers hold none of it.
    """
    talk = _everyday()
    found = zip(talk, index.search_all(talk), strict=True)
    return [{"query": text, "faq_id": None, "type": "oos_everyday"} for text, one in found if one.decision == "none"]


def _everyday() -> list[str]:
    from finetune.smalltalk import OUT_OF_SCOPE, everyday

    return [*OUT_OF_SCOPE, *list(everyday())[::EVERYDAY_STEP]]


def _calibrate(
    index: "Index", paper: Paper, outside: Sequence[Question]
) -> "tuple[Calibration | None, dict[str, str]]":
    """A calibration of the candidate's own, where there are enough queries and it holds on those it never saw."""
    from bot.evaluating import fit

    labelled = [paper.questions[at] for at in _labelled(paper)]
    if len(labelled) < CALIBRATION_QUERIES_MIN:
        return None, {
            "zh": f"留出的问题只有 {len(labelled)} 条，沿用随产品提供的判定阈值"
            f"（重新校准需要 {CALIBRATION_QUERIES_MIN} 条）。",
            "en": f"Only {len(labelled)} questions are held out, so the shipped thresholds stay "
            f"({CALIBRATION_QUERIES_MIN} are needed to fit new ones).",
        }
    found, shipped, own = fit(index, [*labelled, *outside], strength=PRIOR_RESULTS)
    if own["brier"] > shipped["brier"]:
        return None, {
            "zh": "重新校准没有更准，沿用随产品提供的判定阈值。",
            "en": "Fitting new thresholds made them no better, so the shipped ones stay.",
        }
    return found, {
        "zh": f"已用 {len(labelled)} 条留出的问题和 {len(outside)} 句日常的话重新校准判定"
        f"（Brier {shipped['brier']:.3f} → {own['brier']:.3f}）。",
        "en": f"The decision was calibrated anew on {len(labelled)} held-out questions and {len(outside)} everyday "
        f"ones (Brier {shipped['brier']:.3f} → {own['brier']:.3f}).",
    }


def _labelled(paper: Paper) -> list[int]:
    """The held-out questions, which alone may be fitted on: the golden set stays unseen."""
    return [at for at in paper.of("own", "out_of_scope") if not paper.questions[at].get("golden")]


def _crossed(
    index: "Index", paper: Paper, outside: Sequence[Question], prior: "Calibration", context: "Context"
) -> Iterator[tuple[int, Prediction]]:
    """Each half of the held-out questions, decided by a calibration that was fitted on the other half."""
    from bot.evaluating import fitted, halves
    from knowledge.evaluate import evaluate

    whole = index.calibration
    first, second = halves([*({**paper.questions[at], "at": at} for at in _labelled(paper)), *outside])
    try:
        for part, other in ((first, second), (second, first)):
            index.calibration = prior
            index.calibration = _limits(fitted(index, other, PRIOR_RESULTS), context)
            judged = [query for query in part if "at" in query]
            predictions, _ = evaluate(index, judged)
            yield from zip([query["at"] for query in judged], predictions, strict=True)
    finally:
        index.calibration = whole


def figures_of(paper: Paper, before: Answers, after: Answers) -> tuple[list[Figure], list[Figure]]:
    """(all other figures, those that decide): better is what is better on the company's own questions."""
    sets: tuple[Set, ...] = ("own", "golden")
    present = [named for named in sets if paper.of(named)]
    whole: Set = "company" if len(present) > 1 else (present or ["own"])[0]
    main = _rates(paper, before, after, whole, MAIN, *present) if present else []
    figures = _rates(paper, before, after, whole, ("direct_correct", "direct_wrong"), *present) if present else []
    if len(present) > 1:
        figures += [one for named in present for one in _rates(paper, before, after, named, ("hit@1",), named)]
    inside = paper.of("own", "golden")
    outside_sets: tuple[Set, ...] = ("out_of_scope", "open")
    for named in outside_sets:
        if (outside := paper.of(named)) and inside:
            scores = [
                [side.predictions[at]["score"] for at in part] for side in (before, after) for part in (inside, outside)
            ]
            figures.append(Figure(named, "auroc", len(outside), paired_auroc(*scores)))
    answered: tuple[Set, ...] = ("out_of_scope", "open", "safety")
    figures += [one for named in answered for one in _rates(paper, before, after, named, ("answered",), named)]
    for name in ("hit@1", "mrr@10"):
        values = [[_value(name, {"faq_id": id_}, found) for id_, found in side.general] for side in (before, after)]
        figures.append(Figure("general", name, len(before.general), paired_mean(*values), GENERAL_TOLERANCE))
    return figures, main


def _rates(paper: Paper, before: Answers, after: Answers, shown: Set, names: Sequence[str], *sets: Set) -> list[Figure]:
    places = paper.of(*sets)
    if not places:
        return []
    sides = (before, after)
    return [
        Figure(
            shown,
            name,
            len(places),
            paired_mean(
                *[[_value(name, paper.questions[at], side.predictions[at]) for at in places] for side in sides]
            ),
        )
        for name in names
    ]


def _gold(question: Question) -> list[str]:
    """Every entry that answers the question; none for one that is out of scope."""
    return [] if question["faq_id"] is None else list(question.get("faq_ids") or [question["faq_id"]])


def _value(name: str, question: Question, prediction: Prediction) -> float:
    ranked, gold = prediction["ranked"], _gold(question)
    answered, first = prediction["decision"] == "answer", bool(ranked) and ranked[0] in gold
    match name:
        case "hit@1":
            return float(first)
        case "mrr@10":
            return max((1 / place for place, id_ in enumerate(ranked, 1) if id_ in gold), default=0.0)
        case "direct_correct":
            return float(answered and first)
        case "direct_wrong":
            return float(answered and not first)
    return float(answered)


def _worth(question: Question, prediction: Prediction) -> tuple[int, bool]:
    """How good a prediction is for the customer: answered, offered, missed, misled; then whether it is ranked first."""
    gold = _gold(question)
    answered = prediction["decision"] == "answer"
    if not gold:
        return (0 if answered else 1), False
    first = bool(prediction["ranked"]) and prediction["ranked"][0] in gold
    if answered:
        return (3 if first else 0), first
    offered = prediction["decision"] == "clarify" and bool({*gold} & {*prediction["options"][:3]})
    return (2 if offered else 1), first


def _changed(paper: Paper, before: Answers, after: Answers) -> Iterator[dict[str, Any]]:
    """The questions that got better or worse, the company's first, the largest changes first."""
    titles = {entry.id: entry.question for entry in paper.entries}
    found = []
    for at, question in enumerate(paper.questions):
        old, new = before.predictions[at], after.predictions[at]
        was, is_now = _worth(question, old), _worth(question, new)
        if was == is_now:
            continue
        shown = {"set": question["set"], "text": question["query"], "entry": titles.get(question["faq_id"])}
        if "source" in question:
            shown["source"] = question["source"]
        sides = {
            side: {"entry": titles.get((p["ranked"] or [""])[0]), "decision": p["decision"], **_place(question, p)}
            for side, p in (("before", old), ("after", new))
        }
        found.append((abs(is_now[0] - was[0]), {**shown, **sides, "change": "better" if is_now > was else "worse"}))
    found.sort(key=lambda one: -one[0])
    yield from (row for _, row in found)


def _place(question: Question, prediction: Prediction) -> dict[str, int | None]:
    """{"place"}: where the right entry stands, from 1; None where it is not among the first. {} where none is right."""
    gold = _gold(question)
    return {"place": next((n for n, id_ in enumerate(prediction["ranked"], 1) if id_ in gold), None)} if gold else {}


def _won_and_lost(paper: Paper, before: Answers, after: Answers) -> tuple[int, int]:
    pairs = [
        (
            _value("hit@1", paper.questions[at], before.predictions[at]),
            _value("hit@1", paper.questions[at], after.predictions[at]),
        )
        for at in paper.of("own", "golden")
    ]
    return sum(new > old for old, new in pairs), sum(new < old for old, new in pairs)
