"""Fits the calibration that ships: python tests/benchmarks/fit_calibration.py MODEL_FOLDER BENCH_DATA [--write]

Sources, so that the figures hold for knowledge bases of any size and of different care: the public question set `dev`
whole and cut to 60..1,500 entries, where the entries cut away turn their queries into near misses; and the demo
company's own wordings held out (30 %), with one entry in seven taken away altogether; and six small companies of a
dozen entries each, and of `shops.txt` six more, whose customers also ask what differs from an entry by one word. The
golden set and `shops_held_out.txt` are not used. How well it holds for a small company is measured on each by a fit on
the others.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from knowledge.calibrate import SHIPPED_FILE, Calibration, Floats, fit, fit_logistic
from knowledge.encoders import TransformerEncoder
from knowledge.evaluate import evaluate, read_queries
from knowledge.index import Index
from knowledge.rank import FEATURES
from knowledge.readers import read
from knowledge.types import Encoder, Entry, ProgressCallback, TextKind, Vectors

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.shops import TUNED, Shop, shops

DEMO = Path(__file__).parents[2] / "bot" / "demo"
SMALL = Path(__file__).parent / "small_companies.txt"
WEIGHT_WHOLE, WEIGHT_CUT, WEIGHT_DEMO, WEIGHT_SMALL = 2000, 100, 100, 60
# Near misses are rare in `dev` and frequent with customers; in the small companies they are half of all questions.
NEAR_WHOLE, NEAR_SMALL = 4.0, 0.5
ANSWER_THRESHOLD, CLARIFY_THRESHOLD = 0.63, 0.09
Queries = list[dict[str, Any]]


class Memory:
    """An encoder that encodes every text once, over many indexes."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder, self.id, self.dimension = encoder, encoder.id, encoder.dimension
        self._known: dict[tuple[str, str], Vectors] = {}

    def encode(
        self, texts: Sequence[str], kind: TextKind = "query", on_progress: ProgressCallback | None = None
    ) -> Vectors:
        new = [text for text in dict.fromkeys(texts) if (kind, text) not in self._known]
        if new:
            vectors = self.encoder.encode(new, kind, on_progress)
            self._known.update(zip(((kind, text) for text in new), vectors, strict=True))
        return np.stack([self._known[kind, text] for text in texts])


def cut(entries: list[Entry], gold: set[str], queries: Queries, size: int, seed: int) -> tuple[list[Entry], Queries]:
    """Half gold entries and half others; a fifth as many near misses as in-scope queries; half as many from outside."""
    random = np.random.default_rng(seed)
    inside = [entry for entry in entries if entry.id in gold]
    others = [entry for entry in entries if entry.id not in gold]
    half = min(size // 2, len(inside))
    kept = [inside[i] for i in random.permutation(len(inside))[:half]]
    kept += [others[i] for i in random.permutation(len(others))[: size - half]]
    ids = {entry.id for entry in kept}
    asked = [query for query in queries if query["faq_id"] in ids]
    missed = [{**query, "faq_id": None, "type": "oos_near"} for query in queries if query["faq_id"] not in (None, *ids)]
    outside = [query for query in queries if query["faq_id"] is None]
    near = [missed[i] for i in random.permutation(len(missed))[: max(30, len(asked) // 5)]]
    far = [outside[i] for i in random.permutation(len(outside))[: max(60, len(asked) // 2)]]
    return kept, asked + near + far


def hold_out(entries: list[Entry], outside: Queries, seed: int) -> tuple[list[Entry], Queries]:
    """Three tenths of the wordings become queries; one entry in seven is gone and its wordings are near misses."""
    random = np.random.default_rng(seed)
    gone = {entries[i].id for i in random.permutation(len(entries))[: len(entries) // 7]}
    kept: list[Entry] = []
    queries: Queries = []
    for entry in entries:
        if entry.id in gone:
            queries += [{"query": text, "faq_id": None, "type": "oos_near"} for text in entry.phrasings[:3]]
            continue
        asked = {text for text in entry.similar_questions if random.random() < 0.3}
        queries += [{"query": text, "faq_id": entry.id, "type": "in"} for text in sorted(asked)]
        similar = tuple(text for text in entry.similar_questions if text not in asked)
        kept.append(Entry(entry.id, entry.question, entry.answer, similar, entry.negative_questions))
    far = [outside[i] for i in random.permutation(len(outside))[:60]]
    return kept, queries + far


def small_companies() -> dict[str, tuple[list[Entry], Queries]]:
    """By name: those of the file, with lines `# name`, `question = answer`, ` + asked so`, ` - has no entry`; and the
    shops that are tuned on.
    """
    found: dict[str, tuple[list[Entry], Queries]] = {}
    entries: list[Entry] = []
    queries: Queries = []
    for line in SMALL.read_text("utf-8").splitlines():
        if line.startswith("# "):
            entries, queries = found.setdefault(line[2:], ([], []))
        elif line.startswith(" + "):
            queries.append({"query": line[3:], "faq_id": entries[-1].id, "type": "in"})
        elif line.startswith(" - "):
            queries.append({"query": line[3:], "faq_id": None, "type": "oos_near"})
        elif line:
            question, answer = line.split(" = ", 1)
            entries.append(Entry(str(len(entries)), question, answer))
    return found | {name: _as_queries(shop) for name, shop in shops(TUNED).items()}


def _as_queries(shop: Shop) -> tuple[list[Entry], Queries]:
    """What a bare word may mean is left out: not the calibration decides on that."""
    asked = [{"query": text, "faq_id": id_, "type": "in"} for text, id_ in (*shop.asked, *shop.twins)]
    return shop.entries, [*asked, *({"query": text, "faq_id": None, "type": "oos_near"} for text in shop.near)]


def is_even(query: str) -> bool:
    """Which half a question belongs to."""
    return int(hashlib.sha1(query.encode(), usedforsecurity=False).hexdigest()[:8], 16) % 2 == 0


def far(name: str, companies: dict[str, tuple[list[Entry], Queries]], outside: Queries) -> Queries:
    """What has nothing to do with a company: some of what is asked of the others, and sixty from elsewhere."""
    random = np.random.default_rng(len(name))
    others = [query["query"] for other, (_, asked) in companies.items() if other != name for query in asked]
    return [
        *(outside[i] for i in random.permutation(len(outside))[:60]),
        *({"query": others[i], "faq_id": None, "type": "oos_other_cs"} for i in random.permutation(len(others))[:130]),
    ]


@dataclass(frozen=True, slots=True)
class Seen:
    """Results of one source: features [queries, FEATURES], whether the top entry was right, each one's weight, and its
    weight for the direction of the fit, where near misses count more.
    """

    features: Floats
    right: Floats
    weights: Floats
    leaning: Floats


def observe(encoder: Encoder, entries: list[Entry], queries: Queries, weight: float, near: float = 1.0) -> Seen:
    """Of the queries whose wording is not itself in the index; `weight` is all of them, `near` that of a near miss."""
    index = Index.open(None, encoder)
    index.synchronise(entries)
    rows = [
        (found.features, float(found.hits[0].id == query["faq_id"]), near if query["type"] == "oos_near" else 1.0)
        for query, found in zip(queries, index.search_all([query["query"] for query in queries]), strict=True)
        if found.hits and not found.features[FEATURES.index("exact")]
    ]
    features, right, leaning = (np.array(column) for column in zip(*rows, strict=True))
    each = weight / len(rows)
    return Seen(features, right, np.minimum(leaning, 1.0) * each, leaning * each)


def fitted(sources: Sequence[Seen]) -> Calibration:
    """Its direction is fitted with near misses counting more, so that they rank lower; its scale and intercept with
    every query as often as it comes, so that its probabilities are true.
    """
    features = np.concatenate([seen.features for seen in sources])
    right = np.concatenate([seen.right for seen in sources])
    weights, leaning = (np.concatenate([getattr(seen, name) for seen in sources]) for name in ("weights", "leaning"))
    found = fit_logistic(features, right, start=np.zeros(len(FEATURES) + 1), strength=1e-3, weights=leaning)
    logits = features @ found[:-1] + found[-1]
    scale, shift = fit_logistic(logits[:, None], right, start=np.zeros(2), strength=1e-3, weights=weights)
    coefficients = tuple((found[:-1] * scale).round(4).tolist())
    intercept = float(round(found[-1] * scale + shift, 4))
    return Calibration(coefficients, intercept, ANSWER_THRESHOLD, CLARIFY_THRESHOLD)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--write", action="store_true", help=f"replace {SHIPPED_FILE}")
    options = parser.parse_args()
    encoder = Memory(TransformerEncoder(options.model))
    faq, queries = options.data / "bench/dev/faq.jsonl", read_queries(options.data / "bench/dev/queries.jsonl")
    entries = list(read(faq, for_evaluation=True).entries)
    gold = {json.loads(line)["id"] for line in faq.read_text("utf-8").splitlines() if '"gold"' in line}
    demo = list(read(DEMO / "faq.jsonl").entries)
    outside = [query for query in queries if query["type"] in ("oos_open", "oos_chat")]

    sources = [observe(encoder, entries, queries, WEIGHT_WHOLE, NEAR_WHOLE)]
    for seed, size in enumerate((1500, 500, 500, 150, 150, 150, 60, 60, 60)):
        sources.append(observe(encoder, *cut(entries, gold, queries, size, seed), WEIGHT_CUT))
    sources += [observe(encoder, *hold_out(demo, outside, seed), WEIGHT_DEMO) for seed in range(5)]
    companies = small_companies()
    small = {
        name: observe(encoder, own, [*asked, *far(name, companies, outside)], WEIGHT_SMALL, NEAR_SMALL)
        for name, (own, asked) in companies.items()
    }
    calibration = fitted([*sources, *small.values()])
    print(calibration.to_json())
    if options.write:
        SHIPPED_FILE.write_text(calibration.to_json() + "\n", encoding="utf-8")

    for name, (own, questions) in companies.items():
        others = fitted([*sources, *(seen for other, seen in small.items() if other != name)])
        index = Index.open(None, encoder, others)
        index.synchronise(own)
        asked = [*questions, *far(name, companies, outside)]
        print(name, "by the others:", json.dumps(evaluate(index, asked)[1]))
    half = [query for query in queries if is_even(query["query"])]
    by_half = fitted([observe(encoder, entries, half, WEIGHT_WHOLE, NEAR_WHOLE), *sources[1:], *small.values()])
    index = Index.open(None, encoder, by_half)
    index.synchronise(entries)
    rest = [query for query in queries if not is_even(query["query"])]
    print("dev, the other half:", json.dumps(evaluate(index, rest)[1]))
    found = index.search_all([query["query"] for query in half])
    gold_ids = [None if query["faq_id"] is None else query.get("faq_ids") or [query["faq_id"]] for query in half]
    index.calibration = fit(found, gold_ids, by_half)
    print("dev, the other half, after `kefu calibrate` on the first:", json.dumps(evaluate(index, rest)[1]))
    golden = read_queries(DEMO / "golden.jsonl")
    for name, held, asked in (("dev", entries, queries), ("demo golden", demo, golden)):
        index = Index.open(None, encoder, calibration)
        index.synchronise(held)
        print(name, json.dumps(evaluate(index, asked)[1], indent=1))


if __name__ == "__main__":
    main()
