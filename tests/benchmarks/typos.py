"""What mistyped questions find: python tests/benchmarks/typos.py MODEL_FOLDER BENCH_DATA [--queries N]

Questions of `dev` and of the demo's golden set, each mistyped in one way, asked with and without reading them in the
company's own words; and the same questions as they were, which must not suffer. The slips are made at random: a
homophone or one that sounds alike in place of a character (as frequent ones as the corpus has), a word in pinyin, all
of it in pinyin, two characters swapped, one left out. The maker and the reader share the table of sounds.
"""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fit_calibration import DEMO, Memory

from knowledge import shelf
from knowledge.encoders import TransformerEncoder
from knowledge.evaluate import evaluate, read_queries
from knowledge.index import Index
from knowledge.readers import read
from tests.benchmarks.slips import SLIPS

SHOWN = ("hit@1", "mrr@10", "direct_correct", "direct_wrong", "clarify_hit", "missed", "ece", "brier")


def compare(index: Index, queries: Sequence[dict[str, Any]]) -> None:
    corpus = Counter("".join(query["query"] for query in queries))
    for name, slip in SLIPS.items():
        random = np.random.default_rng(1)
        asked = [query | {"query": slip(query["query"], random, corpus)} for query in queries]
        for how, read_as in (("as it is", lambda *_: None), ("read     ", READ_AS)):
            shelf.read_as = read_as
            report = evaluate(index, asked)[1]
            figures = "  ".join(f"{key} {report[key]:.3f}" for key in SHOWN)
            outside = "  ".join(f"{kind} {share:.3f}" for kind, share in report["answered"].items())
            near = report["auroc"].get("oos_near")
            print(f"{name:15} {how} {figures}  answered: {outside}  auroc near {near or 0:.4f}", flush=True)


READ_AS = shelf.read_as


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--queries", type=int, default=0, help="of dev; all by default")
    options = parser.parse_args()
    encoder = Memory(TransformerEncoder(options.model))
    dev = options.data / "bench" / "dev"
    for name, faq, queries in (
        ("golden", DEMO / "faq.jsonl", read_queries(DEMO / "golden.jsonl")),
        ("dev", dev / "faq.jsonl", read_queries(dev / "queries.jsonl")),
    ):
        order = np.random.default_rng(0).permutation(len(queries))
        asked = [queries[at] for at in (order[: options.queries] if name == "dev" and options.queries else order)]
        index = Index.open(None, encoder)
        index.synchronise(read(faq, for_evaluation=True).entries)
        print(name, json.dumps(Counter(query["type"] for query in asked)))
        compare(index, asked)


if __name__ == "__main__":
    main()
