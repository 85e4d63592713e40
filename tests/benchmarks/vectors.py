"""Nearest neighbours among very many vectors: the product's store and dense index, beside a plain FAISS scan.

    python -m tests.benchmarks.vectors --counts 5000 50000 200000 1000000 [--folder DIR]

The data: the encoder's vectors of all questions of the benchmark (`KEFU_BENCH_DATA`), repeated up to the count, each
with Gaussian noise of the vectors' own spread in every dimension, normalised; the queries are made the same way. One
core. Memory and load time are those of a fresh process that opens the index and searches; no torch is in it.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from knowledge import store
from knowledge.dense import DenseIndex
from knowledge.segments import Ids
from knowledge.store import Store
from knowledge.types import Vectors

QUERIES = 1000
NEIGHBOURS = 10
CANDIDATES = 64
BLOCK = 50_000
ENCODER = "benchmark"


def questions() -> list[str]:
    """Every question of the benchmark, of customers and of entries, once."""
    from knowledge.text import plain

    found: dict[str, None] = {}
    for path in sorted((Path(os.environ["KEFU_BENCH_DATA"]) / "bench").glob("*/*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            row = json.loads(line)
            found[plain(row.get("query") or row.get("question"))] = None
    return list(found)


def base_vectors(folder: Path) -> Vectors:
    """Of the benchmark's questions; encoded once a folder."""
    path = folder / "base.npy"
    if not path.is_file():
        from finetune.models import model_folder
        from knowledge.encoders import TransformerEncoder

        models = Path(os.environ.get("KEFU_MODELS", Path.home() / ".cache" / "kefu" / "models"))
        np.save(path, TransformerEncoder(model_folder("multilingual-e5-small", models)).encode(questions()))
    found: Vectors = np.load(path)
    return found


def noisy(base: Vectors, rows: Any, seed: int) -> Vectors:
    """Those rows of the base (modulo its length) with noise of its spread, normalised; [len(rows), dimension]."""
    random = np.random.default_rng(seed)
    found = base[rows % len(base)] + random.standard_normal((len(rows), base.shape[1]), np.float32) * base.std(axis=0)
    normal: Vectors = found / np.linalg.norm(found, axis=1, keepdims=True)
    return normal


def build(folder: Path, base: Vectors, count: int) -> dict[str, float]:
    """The product's index of so many vectors, saved in `folder`; seconds."""
    made = Store(folder, ENCODER, base.shape[1])
    index = DenseIndex(made)
    for start in range(0, count, BLOCK):
        rows = np.arange(start, min(start + BLOCK, count))
        made.put([store.key(str(row), "query") for row in rows.tolist()], noisy(base, rows, seed=start + 1))
    # All at once, as a start without a saved index does after the vectors are known.
    index.add(np.arange(count))
    seconds = {}
    if index.is_outgrown:
        started = time.perf_counter()
        index.rebuild(threading.Lock(), threading.Event())
        seconds["build_s"] = time.perf_counter() - started
    started = time.perf_counter()
    made.save(files={} if index.is_exact else {"faq": index.write})
    seconds["save_s"] = time.perf_counter() - started
    made.close()
    return seconds


def timed(work: Callable[[int], Any], count: int) -> tuple[list[Any], dict[str, float]]:
    """What each call returns, and in ms the percentiles of how long it took and of the processor time in it."""
    results, waits, works = [], [], []
    for number in range(count):
        started, began = time.perf_counter(), time.thread_time()
        results.append(work(number))
        works.append((time.thread_time() - began) * 1000)
        waits.append((time.perf_counter() - started) * 1000)
    figures = {f"p{at}_ms": round(float(np.percentile(waits, at)), 3) for at in (50, 99)}
    return results, figures | {f"cpu_p{at}_ms": round(float(np.percentile(works, at)), 3) for at in (50, 99)}


def serve(folder: Path) -> dict[str, Any]:
    """What a fresh process does: open, search, add, delete. Prints its figures as JSON."""
    import faiss

    faiss.omp_set_num_threads(1)
    queries = np.load(folder / "queries.npy")
    before_mib = resident_mib()
    started, began = time.perf_counter(), time.process_time()
    opened = Store(folder / "index", ENCODER, queries.shape[1])
    index = DenseIndex(opened)
    if "faq" in opened.files:
        index.read(opened.files["faq"])
    index.add(np.arange(opened.rows))
    load_s, load_cpu_s = time.perf_counter() - started, time.process_time() - began
    loaded_mib = resident_mib()

    def nearest(number: int) -> Ids:
        ids = index.search(queries[number], CANDIDATES)
        similar = opened.view.similarities(ids, queries[number])
        return ids[np.argsort(-similar)[:NEIGHBOURS]]

    for number in range(20):
        nearest(number)
    found, search = timed(nearest, len(queries))
    np.save(folder / "found.npy", np.array(found))

    def add(number: int) -> None:
        index.add(opened.put([store.key(f"new {number}", "query")], queries[number : number + 1]))

    _, added = timed(add, 200)
    _, removed = timed(lambda number: index.remove(np.array([number])), 200)
    return {
        "load_s": load_s, "load_cpu_s": load_cpu_s,
        "before_mib": before_mib, "loaded_mib": loaded_mib, "searched_mib": resident_mib(),
        "torch": "torch" in sys.modules, "search": search, "add": added, "delete": removed, "exact": index.is_exact,
    }  # fmt: skip


def scan(vectors: Vectors, queries: Vectors) -> tuple[Ids, dict[str, float]]:
    """The peer: FAISS's flat index of the same vectors, one query at a time."""
    import faiss

    faiss.omp_set_num_threads(1)
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    part = min(len(queries), 200)
    _, figures = timed(lambda number: flat.search(queries[number : number + 1], NEIGHBOURS), part)
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    ids: Ids = flat.search(queries, NEIGHBOURS)[1]
    return ids, figures


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1024**2


def measure(home: Path, count: int) -> dict[str, Any]:
    """Every figure for one size."""
    base, folder = base_vectors(home), home / str(count)
    folder.mkdir(exist_ok=True)
    picked = np.random.default_rng(5).choice(len(base), QUERIES)
    np.save(folder / "queries.npy", noisy(base, picked, seed=0))
    figures: dict[str, Any] = {"count": count}
    if not (folder / "index" / store.MANIFEST).exists():
        figures |= build(folder / "index", base, count)
    command = [sys.executable, "-m", "tests.benchmarks.vectors", "--serve", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    figures |= json.loads(done.stdout)
    vectors = np.concatenate(
        [noisy(base, np.arange(at, min(at + BLOCK, count)), seed=at + 1) for at in range(0, count, BLOCK)]
    )
    truth, figures["flat_scan"] = scan(vectors, np.load(folder / "queries.npy"))
    found = np.load(folder / "found.npy")
    hits = sum(len(np.intersect1d(*pair)) for pair in zip(found, truth, strict=True))
    figures["recall@10"] = hits / truth.size
    figures["disk_mib"] = sum(one.stat().st_size for one in (folder / "index").iterdir()) / 1024**2
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--folder", type=Path, help="keeps the encoded questions and the indexes for the next run")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        print(json.dumps(serve(given.serve)))
        return
    with tempfile.TemporaryDirectory() as name:
        home = given.folder or Path(name)
        home.mkdir(parents=True, exist_ok=True)
        for count in given.counts:
            print(json.dumps(measure(home, count)), flush=True)


if __name__ == "__main__":
    main()
