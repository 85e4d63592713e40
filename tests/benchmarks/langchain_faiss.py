"""Side by side with LangChain + FAISS and the same encoder: python tests/benchmarks/langchain_faiss.py

Builds the peer's environment once (`--environment DIR`), then lets both index the entries of `bench/dev` (in the folder
KEFU_BENCH_DATA) and answer the same questions on the same machine, in turn, block by block; each with `--threads`.
Prints a Markdown table: hit@1 and MRR@10 over every question that has an answer, seconds of indexing, and the p50 and
p95 of one question end to end, its embedding included. The ratio is what carries over to other machines.

The peer gets the prefix the encoder was trained with on both sides, unit vectors and an exact inner product, as the
product has; and both of the number formats it could run with (`--formats`): float32, its default, and bfloat16.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.peers import Peer, environment

REQUIREMENTS = Path(__file__).with_name("langchain_faiss.txt")
BLOCK = 20
WARM_UP = 20


class Product:
    """This side, with the same three orders."""

    def __init__(self, settings: Any) -> None:
        from bot.retrievers import load_encoder
        from knowledge.index import Index

        self.index = Index.open(None, load_encoder(settings))

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        from knowledge.types import Entry

        started = time.perf_counter()
        if "index" in order:
            self.index.synchronise([Entry(id_, text, "") for id_, text in order["index"]])
            return {"seconds": time.perf_counter() - started}
        if "ask" in order:
            found = self.index.search(order["ask"])
            milliseconds = (time.perf_counter() - started) * 1000
            return {"ranked": [hit.id for hit in found.hits], "milliseconds": milliseconds}
        return {"ranked": [[hit.id for hit in one.hits] for one in self.index.search_all(order["rank"])]}


def quality(ranked: list[list[str]], gold: list[str]) -> tuple[float, float]:
    """hit@1 and MRR@10."""
    places = [ids.index(id_) + 1 if id_ in ids else 0 for ids, id_ in zip(ranked, gold, strict=True)]
    return sum(place == 1 for place in places) / len(gold), sum(1 / place for place in places if place) / len(gold)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", type=Path, default=Path(tempfile.gettempdir()) / "kefu-langchain")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--formats", nargs="+", default=["float32", "bfloat16"], help="of the peer")
    parser.add_argument("--questions", type=int, default=400, help="how many of them are timed")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    from bot.config import Settings
    from finetune.models import model_folder

    settings = Settings(engine_threads=options.threads)
    model = model_folder(settings.encoder, settings.models)
    bench = Path(os.environ["KEFU_BENCH_DATA"]) / "bench" / "dev"
    faq, queries = (
        [json.loads(line) for line in (bench / name).read_text(encoding="utf-8").splitlines()]
        for name in ("faq.jsonl", "queries.jsonl")
    )
    inside = [one for one in queries if one["faq_id"]]
    python = environment(options.environment, REQUIREMENTS)
    sides: dict[str, Any] = {"Kefu": Product(settings)}
    for dtype in options.formats:
        sides[f"LangChain + FAISS, {dtype}"] = Peer(
            python, "langchain_peer.py", str(model), dtype, str(options.threads), threads=options.threads
        )
    rows = [[one["id"], one["question"]] for one in faq]
    seconds = {}
    for name, side in sides.items():
        seconds[name] = side.ask({"index": rows})["seconds"]
        print(f"{name}: indexed in {seconds[name]:.1f} s", file=sys.stderr)
    timed = inside[:: max(1, len(inside) // options.questions)][: options.questions]
    waits: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        for number in range(WARM_UP):
            side.ask({"ask": f"热身 {number}"})
    for start in range(0, len(timed), BLOCK):
        for name, side in sides.items():
            waits[name] += [side.ask({"ask": one["query"]})["milliseconds"] for one in timed[start : start + BLOCK]]
    for name, found in waits.items():
        print(f"{name}: one question {statistics.median(found):.1f} ms", file=sys.stderr)
    gold = [one["faq_id"] for one in inside]
    print("| | hit@1 | MRR@10 | index, s | one question p50, ms | p95 |\n| --- | --- | --- | --- | --- | --- |")
    ours = statistics.median(waits["Kefu"])
    for name, side in sides.items():
        hit, mrr = quality(side.ask({"rank": [one["query"] for one in inside]})["ranked"], gold)
        p50, p95 = statistics.median(waits[name]), statistics.quantiles(waits[name], n=20)[18]
        print(f"| {name} | {hit:.3f} | {mrr:.3f} | {seconds[name]:.1f} | {p50:.1f} ({p50 / ours:.2f} ×) | {p95:.1f} |")
    print(f"\n{len(faq)} entries, {len(inside)} questions, {len(timed)} timed, {options.threads} threads")


if __name__ == "__main__":
    main()
