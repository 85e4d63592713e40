"""The encoder's training against sentence-transformers' trainer: pairs a second with the same model and LoRA.

`python -m tests.benchmarks.encoder_training --environment DIR [--pairs 480]`
`python -m tests.benchmarks.encoder_training --whole 1500 --epochs 3`: one run of the product alone, timed.

Builds the peer's environment once. Both train on the same pairs of `bench/learn` (in the folder KEFU_BENCH_DATA) in
batches of 48, in turn, with `--threads` each; the peer in float32, its default, and in bfloat16. The product trains
twice: by its defaults, where a step holds hard negatives, out-of-scope and everyday texts beside the pairs, seven texts
for two of the peer's; and on the pairs alone, as the peer does. Prints a Markdown table.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.peers import Peer, environment

BATCH = 48
PRODUCT = {"Kefu": {}, "Kefu, the pairs alone": {"hard_negatives": 0, "out_of_scope": 0}}  # type: dict[str, dict[str, int]]


def material(count: int) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """(entries, labelled queries) of which each query makes one pair with its entry's question."""
    bench = Path(os.environ["KEFU_BENCH_DATA"]) / "bench" / "learn"
    rows = [json.loads(line) for line in (bench / "faq.jsonl").read_text().splitlines()]
    queries = [json.loads(line) for line in (bench / "queries.jsonl").read_text().splitlines()]
    inside = [{"text": q["query"], "entry": q["faq_id"]} for q in queries if q["faq_id"]][:count]
    return [{"id": row["id"], "phrasings": [row["question"]]} for row in rows], inside


class Product:
    """Whole runs of the product: its clock counts loading the model and mining too, the peer's the steps alone."""

    def __init__(self, folder: Path, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.folder = folder

    def train(
        self, entries: list[dict[str, Any]], labelled: list[dict[str, str]], epochs: int = 1, **options: int
    ) -> tuple[int, float]:
        """(pairs, seconds) of a run, loading the model and mining of hard negatives included."""
        from finetune import encoder
        from finetune.atomic import write_lines
        from finetune.runs import RunConfig

        with tempfile.TemporaryDirectory() as scratch:
            run = Path(scratch)
            write_lines(run / "entries.jsonl", entries)
            write_lines(run / "train.jsonl", labelled)
            write_lines(run / "heldout.jsonl", [])
            told = {"epochs": epochs, "batch_pairs": BATCH, **options}
            RunConfig("encoder", self.folder.name, self.folder, "", told).write(run)
            started = time.perf_counter()
            pairs = 0

            def count(_report: Any) -> None:
                nonlocal pairs
                pairs += BATCH

            encoder.train(run, count)
            return pairs, time.perf_counter() - started


def whole(arguments: argparse.Namespace) -> None:
    """One run of the size that the issue names; with CPU seconds, which a busy machine changes less."""
    entries, labelled = material(arguments.whole)
    if len(labelled) < arguments.whole:
        raise SystemExit(f"there are only {len(labelled)} labelled questions")
    started = time.process_time()
    pairs, seconds = Product(arguments.encoder, arguments.threads).train(entries, labelled, arguments.epochs)
    told = {"pairs": pairs, "epochs": arguments.epochs, "seconds": round(seconds, 1)}
    print(json.dumps(told | {"cpu_seconds": round(time.process_time() - started, 1), "threads": arguments.threads}))


def main(arguments: argparse.Namespace) -> None:
    entries, labelled = material(arguments.pairs)
    question = {row["id"]: row["phrasings"][0] for row in entries}
    pairs = [[row["text"], question[row["entry"]]] for row in labelled]
    python = environment(arguments.environment, Path(__file__).with_suffix(".txt"))
    peer = Peer(python, "encoder_training_peer.py", str(arguments.encoder), threads=arguments.threads)
    product = Product(arguments.encoder, arguments.threads)
    rates: dict[str, list[float]] = {}
    for _ in range(arguments.rounds):
        for name, options in PRODUCT.items():
            done, seconds = product.train(entries, labelled, **options)
            rates.setdefault(name, []).append(done / seconds)
        for bf16 in (False, True):
            asked = {"pairs": pairs, "epochs": 1, "batch": BATCH, "bf16": bf16}
            name = f"sentence-transformers {'bf16' if bf16 else 'float32'}"
            rates.setdefault(name, []).append(len(pairs) / peer.ask(asked)["seconds"])
        print(json.dumps(rates), file=sys.stderr, flush=True)
    print(f"| | pairs/s | {' | '.join(f'{name} ÷ it' for name in PRODUCT)} |\n| --- | --- | --- | --- |")
    for name, found in rates.items():
        ratios = (
            " · ".join(f"{own / other:.1f}" for own, other in zip(rates[ours], found, strict=True)) for ours in PRODUCT
        )
        print(f"| {name} | {' · '.join(f'{rate:.1f}' for rate in found)} | {' | '.join(ratios)} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environment", type=Path)
    parser.add_argument("--whole", type=int, help="one run of the product with so many labelled questions")
    parser.add_argument("--epochs", type=int, default=3, help="of --whole")
    parser.add_argument("--encoder", type=Path, default=Path.home() / ".cache/kefu/models/multilingual-e5-small")
    parser.add_argument("--pairs", type=int, default=480)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    if not given.whole and not given.environment:
        parser.error("--environment or --whole is needed")
    whole(given) if given.whole else main(given)
