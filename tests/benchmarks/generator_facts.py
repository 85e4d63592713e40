"""Whether the generator keeps the facts: `python -m tests.benchmarks.generator_facts [--adapter DIR | --train]`.

The demo company's 50 paraphrased questions, each with key facts. The sources are what a search with the base encoder
finds (the best three entries), the prompt is serving's, decoding is greedy; a fact counts when one of its spellings is
in the reply. Without `--adapter` and `--train` only the base model is measured. Prints one JSON document.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import bot.demo
from bot.config import Settings
from bot.dialogue.prompt import grounded_messages
from bot.importing import import_file
from bot.learning import runs
from bot.retrievers import load_encoder
from bot.storage.database import opened
from finetune.evaluate import facts_present, facts_score
from finetune.generator import load, reply_to_all
from finetune.models import model_folder
from knowledge.evaluate import build_index

SOURCES = 3
COMPANY = "青砾生活"


def questions(settings: Settings) -> list[dict[str, Any]]:
    """The paraphrases with the prompt that serving builds and whether the right entry is among the sources."""
    index = build_index(bot.demo.faq_path(), load_encoder(settings))
    entries = {row["id"]: row for row in map(json.loads, bot.demo.faq_path().read_text("utf-8").splitlines())}
    found = []
    for line in bot.demo.paraphrases_path().read_text("utf-8").splitlines():
        row = json.loads(line)
        ranked = [hit.id for hit in index.search(row["query"], 10).hits if entries[hit.id].get("answer")][:SOURCES]
        sources = [(entries[i]["question"], entries[i]["answer"]) for i in ranked]
        prompt = grounded_messages(row["query"], sources, COMPANY)
        found.append({**row, "prompt": prompt, "found": row["faq_id"] in ranked})
    return found


def measure(settings: Settings, asked: list[dict[str, Any]], adapter: Path | None) -> dict[str, Any]:
    model, tokenizer = load(model_folder(settings.generator, settings.models), adapter)
    started = time.monotonic()
    replies = reply_to_all(
        model,
        tokenizer,
        [row["prompt"] for row in asked],
        160,
        on_progress=lambda done, total: print(f"{done}/{total}", file=sys.stderr, flush=True),
    )
    facts, complete = facts_score(zip(replies, [row["key_facts"] for row in asked], strict=True))
    return {
        "facts": round(facts, 4),
        "complete": round(complete, 4),
        "characters": round(sum(map(len, replies)) / len(replies), 1),
        "seconds": round(time.monotonic() - started, 1),
        "replies": [
            {"query": row["query"], "reply": reply, "missing": len(facts) - facts_present(reply, facts)}
            for row, reply in zip(asked, replies, strict=True)
            for facts in [row["key_facts"]]
        ],
    }


async def train(settings: Settings, options: dict[str, Any]) -> dict[str, Any]:
    """A run on the demo FAQ alone, as `kefu train generator` does it; the paraphrases are no part of it."""
    async with opened(settings.database) as database:
        await import_file(database, bot.demo.faq_path(), "faq.jsonl", settings.data / "uploads")
        run = await runs.prepare(database, settings, "generator", options)
        return await runs.carry_out(run, lambda event: print(json.dumps(event), file=sys.stderr, flush=True))


def main(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    settings = Settings(data=folder, company_name=COMPANY)
    asked = questions(settings)
    document: dict[str, Any] = {
        "questions": len(asked),
        "source_found": sum(row["found"] for row in asked),
        "before": measure(settings, asked, None),
    }
    adapter = arguments.adapter
    if arguments.train:
        result = asyncio.run(train(settings, arguments.options))
        adapter = folder / "adapters" / result["adapter"]
        kept = ("before", "after", "verdict", "steps", "best_step", "seconds", "summary")
        document["run"] = {key: result[key] for key in kept}
    if adapter:
        document["after"] = measure(settings, asked, adapter)
    return document


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--options", type=json.loads, default={}, help="JSON of training options")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = given.folder or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        print(json.dumps(main(given, place), ensure_ascii=False, indent=1))
