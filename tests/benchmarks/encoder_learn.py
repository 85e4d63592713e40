"""What an encoder learns from conversations: `python -m tests.benchmarks.encoder_learn [--folder DIR]`.

Trains on the training half of `bench/learn` (KEFU_BENCH_DATA) exactly as `kefu train encoder --dialogs` does, and
measures the other half, dense only: the FAQ questions are the only phrasings in the index. Prints one JSON document.
"""

import argparse
import asyncio
import hashlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bot.config import Settings
from bot.importing import import_file
from bot.learning import runs
from bot.storage.database import opened
from finetune.embedding import Embedder
from finetune.evaluate import retrieval
from finetune.loading import default_dtype
from finetune.models import model_folder
from knowledge.text import plain


def trains(query: str) -> bool:
    """The contract's halves: even hashes train."""
    return int(hashlib.sha1(query.encode(), usedforsecurity=False).hexdigest()[:8], 16) % 2 == 0


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def measure(settings: Settings, entries: dict[str, list[str]], queries: list[Any], adapter: Path | None) -> Any:
    embedder = Embedder(model_folder(settings.encoder, settings.models), default_dtype(), 512)
    if adapter:
        embedder.load(adapter)
    return retrieval(embedder.vectors, entries, queries).to_json()


async def main(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    bench = Path(os.environ["KEFU_BENCH_DATA"]) / "bench" / "learn"
    settings = Settings(data=folder)
    faq, queries = read(bench / "faq.jsonl"), read(bench / "queries.jsonl")
    # The knowledge base wants answers, and the source has none: the id stands in, as in the benchmark itself.
    rows = [{"id": row["id"], "question": row["question"], "answer": f"答案 {row['id']}"} for row in faq]
    (folder / "faq.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    talks = [
        {"id": str(i), "messages": [{"role": "user", "content": query["query"], "faq_id": query["faq_id"]}]}
        for i, query in enumerate(queries)
        if trains(query["query"])
    ]
    (folder / "dialogs.jsonl").write_text("".join(json.dumps(talk) + "\n" for talk in talks))
    entries = {row["id"]: [plain(row["question"])] for row in faq}
    test = [(plain(q["query"]), q["faq_id"]) for q in queries if not trains(q["query"])]
    async with opened(settings.database) as database:
        await import_file(database, folder / "faq.jsonl", "faq.jsonl", folder / "uploads")
        run = await runs.prepare(database, settings, "encoder", options, folder / "dialogs.jsonl")
        started = time.monotonic()
        result = await runs.carry_out(run, lambda event: print(json.dumps(event), file=sys.stderr, flush=True))
        seconds = time.monotonic() - started
    return {
        "before": measure(settings, entries, test, None),
        "after": measure(settings, entries, test, folder / "adapters" / result["adapter"]),
        "run": {key: result[key] for key in ("before", "after", "verdict", "notes", "steps", "best_step", "summary")},
        "seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--options", type=json.loads, default={}, help="JSON of training options")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = arguments.folder or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        print(json.dumps(asyncio.run(main(place, arguments.options)), ensure_ascii=False, indent=1))
