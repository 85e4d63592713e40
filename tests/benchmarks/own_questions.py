"""What a calibration from a company's own wordings is worth: python tests/benchmarks/own_questions.py MODEL BENCH_DATA

Before and after on customers' questions the fit never saw. The demo has similar questions of its own; other companies
are cut to size and get some of their customers' questions as similar ones, which are then not asked.
"""

import argparse
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from fit_calibration import DEMO, Memory, Queries

from bot.learning.observing import observe_own
from knowledge.calibrate import shipped
from knowledge.encoders import TransformerEncoder
from knowledge.evaluate import evaluate, read_queries
from knowledge.index import Index
from knowledge.readers import read
from knowledge.refit import refit
from knowledge.types import Encoder, Entry

COMPANIES = (
    ("learn", 156, 3), ("learn", 156, 1), ("dev", 60, 2), ("dev", 150, 2), ("dev", 500, 2), ("dev_bank", 60, 2),
    ("dev_bank", 150, 2), ("dev_bank", 400, 1),
)  # fmt: skip
ASKED_MAX, NEAR_MIN, FAR = 800, 60, 200
T = TypeVar("T")
SHOWN = ("hit@1", "direct_correct", "direct_wrong", "clarify_hit", "ece", "brier")


def company(folder: Path, size: int, similar: int, seed: int) -> tuple[list[Entry], Queries]:
    """Three quarters of `size` are entries that customers ask for; queries of entries cut away are near misses."""
    random = np.random.default_rng(seed)
    entries = list(read(folder / "faq.jsonl", for_evaluation=True).entries)
    queries = read_queries(folder / "queries.jsonl")
    by_entry: dict[str, Queries] = {}
    for query in queries:
        by_entry.setdefault(query["faq_id"], []).append(query)

    def some(items: list[T], count: int) -> list[T]:
        return [items[i] for i in random.permutation(len(items))[:count]]

    kept = some([entry for entry in entries if entry.id in by_entry], size * 3 // 4)
    kept += some([entry for entry in entries if entry.id not in by_entry], size - len(kept))
    taken: set[str] = set()
    for i, entry in enumerate(kept):
        own = by_entry.get(entry.id, [])
        texts = tuple(query["query"] for query in some(own, min(similar, max(len(own) - 1, 0))))
        kept[i] = replace(entry, similar_questions=texts)
        taken |= set(texts)
    ids = {entry.id for entry in kept}
    asked = some([q for q in queries if q["faq_id"] in ids and q["query"] not in taken], ASKED_MAX)
    gone = [q for q in queries if q["faq_id"] is not None and not {q["faq_id"], *(q.get("faq_ids") or ())} & ids]
    near = [{"query": q["query"], "faq_id": None, "type": "oos_near"} for q in gone]
    outside = [q for q in queries if q["faq_id"] is None]
    return kept, asked + some(near, max(NEAR_MIN, len(asked) // 5)) + some(outside, FAR)


def sets(data: Path) -> Iterator[tuple[str, list[Entry], Queries]]:
    demo = list(read(DEMO / "faq.jsonl").entries)
    yield "demo golden", demo, read_queries(DEMO / "golden.jsonl")
    talks = (json.loads(line) for line in (DEMO / "dialogs.jsonl").read_text("utf-8").splitlines())
    said = [message for talk in talks for message in talk["messages"] if "faq_id" in message]
    yield (
        "demo dialogs",
        demo,
        [{"query": one["content"], "faq_id": one["faq_id"], "type": "in" if one["faq_id"] else "oos"} for one in said],
    )
    for seed, (name, size, similar) in enumerate(COMPANIES):
        yield f"{name} {size}, {similar} similar", *company(data / "bench" / name, size, similar, seed)


def measure(encoder: Encoder, entries: list[Entry], queries: Queries) -> Iterator[str]:
    index = Index.open(None, encoder)
    index.synchronise(entries)
    observed = observe_own(index.search_all, entries, lambda _done, _total: None, threading.Event())
    found = refit(observed.cases, shipped(), shipped())
    yield f"cases {len(observed.cases)}, better {found.better}"
    for name, calibration in (("shipped", shipped()), ("own", found.calibration)):
        index.calibration = calibration
        report = evaluate(index, queries)[1]
        answered = {kind.removeprefix("oos_"): round(share, 3) for kind, share in report["answered"].items()}
        yield f"{name:8} " + " ".join(f"{shown} {report[shown]:.3f}" for shown in SHOWN) + f" answered {answered}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    options = parser.parse_args()
    encoder = Memory(TransformerEncoder(options.model))
    for name, entries, queries in sets(options.data):
        print(f"{name}: {len(entries)} entries, {len(queries)} queries", flush=True)
        for line in measure(encoder, entries, queries):
            print("  " + line, flush=True)


if __name__ == "__main__":
    main()
