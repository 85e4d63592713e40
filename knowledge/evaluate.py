"""How well an index answers labelled queries: the metrics of the product's public benchmark, query by query.

queries: {"query", "faq_id": id | None, "type": "in" | "oos_…", "faq_ids"?: [every id that counts as a hit]}
predictions: {"query", "ranked": [id…], "score", "probability", "decision", "options": [id…]}, in the same order
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from knowledge.errors import KnowledgeError
from knowledge.index import Index
from knowledge.readers import read
from knowledge.types import Encoder, ProgressCallback, Reranker

Query = Mapping[str, Any]
Prediction = Mapping[str, Any]
RANKED = 10
CALIBRATION_BINS = 15
QUERIES_PER_STEP = 256


def read_queries(path: Path) -> list[dict[str, Any]]:
    """The labelled queries of a JSON Lines file. Raises KnowledgeError naming the line that is not one."""
    found = []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise KnowledgeError("queries", f"无法读取 {path}：{error}", f"{path} cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            query = json.loads(line)
            if not isinstance(query["query"], str) or "faq_id" not in query:
                raise ValueError("query and faq_id are needed")
        except (ValueError, KeyError, TypeError) as error:
            raise KnowledgeError(
                "queries",
                f"{path} 第 {number} 行不是一条标注的问题（需要 query 和 faq_id）：{error}",
                f"{path} line {number} is no labelled query (query and faq_id are needed): {error}",
            ) from error
        query.setdefault("type", "in" if query["faq_id"] is not None else "oos")
        found.append(query)
    return found


def build_index(
    faq: Path, encoder: Encoder, reranker: Reranker | None = None, *, on_progress: ProgressCallback | None = None
) -> Index:
    """An index in memory over the entries of a file alone: answers may be missing, duplicates stay.

    Raises KnowledgeError where the file cannot be read or a row of it cannot be used.
    """
    found = read(faq, for_evaluation=True)
    if found.problems:
        first = found.problems[0]
        raise KnowledgeError(
            "faq",
            f"{faq} {first.place}不能用于评估：{first.reason}。",
            f"{faq} {first.place} cannot be used in an evaluation: {first.reason}.",
        )
    index = Index.open(None, encoder, reranker=reranker)
    index.synchronise(
        [entry if entry.id else replace(entry, id=str(n)) for n, entry in enumerate(found.entries, start=1)],
        on_progress,
    )
    return index


def evaluate(
    index: Index, queries: Sequence[Query], *, dense_only: bool = False, on_progress: ProgressCallback | None = None
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(predictions, report) of searching every query; the report is that of `score`."""
    predictions = []
    for start in range(0, len(queries), QUERIES_PER_STEP):
        part = [query["query"] for query in queries[start : start + QUERIES_PER_STEP]]
        predictions += [
            {
                "query": found.query,
                "ranked": [hit.id for hit in found.hits],
                "score": found.score,
                "probability": found.probability,
                "decision": found.decision,
                "options": list(found.options),
            }
            for found in index.search_all(part, RANKED, dense_only=dense_only)
        ]
        if on_progress is not None:
            on_progress(len(predictions), len(queries))
    return predictions, score(queries, predictions)


def score(queries: Sequence[Query], predictions: Sequence[Prediction]) -> dict[str, Any]:
    """The report: hit@1, hit@3, mrr@10 and the shares of decisions over in-scope queries; AUROC and the share answered
    by type of out-of-scope query; ece and brier where every prediction has a probability.

    Raises KnowledgeError where the predictions are not for these queries in this order, or a score is not finite.
    """
    if [query["query"] for query in queries] != [guess["query"] for guess in predictions]:
        raise KnowledgeError(
            "predictions",
            "预测与问题不是同一组、同一顺序。",
            "The predictions are not for these queries, in this order.",
        )
    count = {"direct_correct": 0, "direct_wrong": 0, "clarify_hit": 0, "missed": 0}
    hit1 = hit3 = reciprocal = 0.0
    inside: list[float] = []
    outside: dict[str, list[float]] = {}
    answered: dict[str, list[bool]] = {}
    for query, guess in zip(queries, predictions, strict=True):
        if not math.isfinite(guess["score"]):
            raise KnowledgeError(
                "score", f"{guess['query']!r} 的分数不是有限的数。", f"The score of {guess['query']!r} is not finite."
            )
        gold = _gold(query)
        if gold is None:
            outside.setdefault(query["type"], []).append(guess["score"])
            answered.setdefault(query["type"], []).append(guess["decision"] == "answer")
            continue
        inside.append(guess["score"])
        place = next((i for i, id_ in enumerate(guess["ranked"][:RANKED]) if id_ in gold), None)
        hit1 += place == 0
        hit3 += place is not None and place < 3
        reciprocal += 0 if place is None else 1 / (place + 1)
        count[_outcome(guess, gold, place)] += 1
    in_scope = len(inside) or 1
    return {
        "queries": len(queries),
        "in_scope": len(inside),
        "hit@1": hit1 / in_scope,
        "hit@3": hit3 / in_scope,
        "mrr@10": reciprocal / in_scope,
        **{name: value / in_scope for name, value in count.items()},
        "auroc": {kind: auroc(inside, scores) for kind, scores in sorted(outside.items())},
        "answered": {kind: sum(flags) / len(flags) for kind, flags in sorted(answered.items())},
        **_calibration(queries, predictions),
    }


def auroc(inside: Sequence[float], outside: Sequence[float]) -> float | None:
    """Probability that an in-scope score exceeds an out-of-scope one; ties count half. None where a side is empty."""
    if not inside or not outside:
        return None
    ordered = sorted([(value, 1) for value in inside] + [(value, 0) for value in outside])
    ranks, i = 0.0, 0
    while i < len(ordered):
        j = i
        while j < len(ordered) and ordered[j][0] == ordered[i][0]:
            j += 1
        ranks += sum(label for _, label in ordered[i:j]) * (i + j + 1) / 2
        i = j
    return (ranks - len(inside) * (len(inside) + 1) / 2) / (len(inside) * len(outside))


def is_right(query: Query, guess: Prediction) -> bool:
    """Whether the first entry ranked answers the query; never for one that is out of scope."""
    gold = _gold(query)
    return bool(gold and guess["ranked"] and guess["ranked"][0] in gold)


def _gold(query: Query) -> set[str] | None:
    return None if query["faq_id"] is None else set(query.get("faq_ids") or [query["faq_id"]])


def _outcome(guess: Prediction, gold: set[str], place: int | None) -> str:
    if guess["decision"] == "answer":
        return "direct_correct" if place == 0 else "direct_wrong"
    if guess["decision"] == "clarify" and gold & set(guess.get("options", [])[:3]):
        return "clarify_hit"
    return "missed"


def _calibration(queries: Sequence[Query], predictions: Sequence[Prediction]) -> dict[str, float]:
    """Expected calibration error over bins of equal size, and the Brier score."""
    if not predictions or not all("probability" in guess for guess in predictions):
        return {}
    chances = [
        (guess["probability"], is_right(query, guess)) for query, guess in zip(queries, predictions, strict=True)
    ]
    ordered, total, error = sorted(chances), len(chances), 0.0
    for i in range(CALIBRATION_BINS):
        part = ordered[total * i // CALIBRATION_BINS : total * (i + 1) // CALIBRATION_BINS]
        if part:
            error += abs(sum(chance for chance, _ in part) - sum(right for _, right in part)) / total
    return {"ece": error, "brier": sum((chance - right) ** 2 for chance, right in chances) / total}
