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
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = Path(__file__).with_name("langchain_faiss.txt")
BLOCK = 20
WARM_UP = 20


class Peer:
    """The other side, in a process of its own environment."""

    def __init__(self, python: Path, model: Path, dtype: str, threads: int) -> None:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads)}
        command = [str(python), str(Path(__file__).with_name("langchain_peer.py")), str(model), dtype, str(threads)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
        )
        self.answer()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the peer ended with {self.process.wait()}")
        return dict(json.loads(line))

    def order(self, **order: Any) -> dict[str, Any]:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self.answer()


class Product:
    """This side, with the same three orders."""

    def __init__(self, settings: Any) -> None:
        from bot.knowledge_base import load_encoder
        from knowledge.index import Index

        self.index = Index.open(None, load_encoder(settings))

    def order(
        self, index: list[list[str]] | None = None, ask: str | None = None, rank: list[str] | None = None
    ) -> dict[str, Any]:
        from knowledge.types import Entry

        started = time.perf_counter()
        if index is not None:
            self.index.synchronise([Entry(id_, text, "") for id_, text in index])
            return {"seconds": time.perf_counter() - started}
        if ask is not None:
            found = self.index.search(ask)
            milliseconds = (time.perf_counter() - started) * 1000
            return {"ranked": [hit.id for hit in found.hits], "milliseconds": milliseconds}
        return {"ranked": [[hit.id for hit in one.hits] for one in self.index.search_all(rank or [])]}


def environment(folder: Path) -> Path:
    """The peer's Python, installed where it is not there yet."""
    python = folder / "bin" / "python"
    done = folder / "installed"
    wanted = REQUIREMENTS.read_text()
    if not done.is_file() or done.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints-cpu.txt")]
        subprocess.run([*install, "torch"], check=True)
        subprocess.run([*install, "-r", str(REQUIREMENTS)], check=True)
        done.write_text(wanted)
    return python


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
    sys.path.insert(0, str(ROOT))
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
    python = environment(options.environment)
    sides: dict[str, Any] = {"Kefu": Product(settings)}
    for dtype in options.formats:
        sides[f"LangChain + FAISS, {dtype}"] = Peer(python, model, dtype, options.threads)
    rows = [[one["id"], one["question"]] for one in faq]
    seconds = {}
    for name, side in sides.items():
        seconds[name] = side.order(index=rows)["seconds"]
        print(f"{name}: indexed in {seconds[name]:.1f} s", file=sys.stderr)
    timed = inside[:: max(1, len(inside) // options.questions)][: options.questions]
    waits: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        for number in range(WARM_UP):
            side.order(ask=f"热身 {number}")
    for start in range(0, len(timed), BLOCK):
        for name, side in sides.items():
            waits[name] += [side.order(ask=one["query"])["milliseconds"] for one in timed[start : start + BLOCK]]
    for name, found in waits.items():
        print(f"{name}: one question {statistics.median(found):.1f} ms", file=sys.stderr)
    gold = [one["faq_id"] for one in inside]
    print("| | hit@1 | MRR@10 | index, s | one question p50, ms | p95 |\n| --- | --- | --- | --- | --- | --- |")
    ours = statistics.median(waits["Kefu"])
    for name, side in sides.items():
        hit, mrr = quality(side.order(rank=[one["query"] for one in inside])["ranked"], gold)
        p50, p95 = statistics.median(waits[name]), statistics.quantiles(waits[name], n=20)[18]
        print(f"| {name} | {hit:.3f} | {mrr:.3f} | {seconds[name]:.1f} | {p50:.1f} ({p50 / ours:.2f} ×) | {p95:.1f} |")
    print(f"\n{len(faq)} entries, {len(inside)} questions, {len(timed)} timed, {options.threads} threads")


if __name__ == "__main__":
    main()
