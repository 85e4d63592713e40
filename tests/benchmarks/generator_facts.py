"""Whether the generator keeps the facts.

`python -m tests.benchmarks.generator_facts [--train | --folder DIR --adapter NAME]`

The whole demo company, entries and documents, and its 50 paraphrased questions, each with key facts; a fact counts
when one of its spellings is in the reply. Measured are

- `written`: what the model itself writes, greedily, for serving's prompt with the best three entries, or for the ten
  questions about documents the excerpts of passages, that a search with the base encoder finds; figures, codes and
  addresses that its sources do not have are counted beside;
- `told`: what a customer is told by the pipeline that serves, which answers, writes, quotes or asks back.

Without `--adapter` and `--train` only the base model is measured. Prints one JSON document.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bot.demo
from bot.config import Settings
from bot.demo_company import load_demo
from bot.dialogue.excerpts import excerpts
from bot.dialogue.pipeline import Pipeline
from bot.dialogue.policy import PASSAGE_DISTANCE, Limits, passage_source
from bot.dialogue.prompt import grounded_messages
from bot.dialogue.types import Turn
from bot.generators import make_engine
from bot.knowledge_base import KnowledgeBase
from bot.learning import process, runs
from bot.learning.generator_exam import Task, unsupported
from bot.profile import LiveProfile
from bot.storage.database import Database, opened
from finetune.evaluate import facts_present, facts_score
from finetune.generator import load, reply_to_all
from finetune.models import model_folder

SOURCES = 3
REPLY_TOKENS_MAX = 160


@dataclass(frozen=True, slots=True)
class Asked:
    """A paraphrase, its key facts (each a list of spellings), and what was found for it: titles and texts."""

    query: str
    facts: list[list[str]]
    sources: tuple[tuple[str, str], ...]

    @property
    def found(self) -> bool:
        """Whether the sources hold every fact."""
        return facts_present(" ".join(text for _, text in self.sources), self.facts) == len(self.facts)


async def ask(knowledge: KnowledgeBase) -> list[Asked]:
    rows = [json.loads(line) for line in bot.demo.paraphrases_path().read_text("utf-8").splitlines()]
    return [Asked(row["query"], row["key_facts"], await sources_for(knowledge, row)) for row in rows]


async def sources_for(knowledge: KnowledgeBase, row: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    result = await knowledge.search(row["query"])
    if row["faq_id"]:
        entries = [one for hit in result.hits if (one := knowledge.entry(hit.id)) and one.answer.strip()]
        return tuple((one.question, one.answer) for one in entries[:SOURCES])
    near = [hit for hit in result.passages if hit.score >= result.passages[0].score - PASSAGE_DISTANCE]
    found = [passage_source(one, hit) for hit in near[: Limits().passages_max] if (one := knowledge.passage(hit.id))]
    return tuple((one.title, one.quote) for one in await excerpts(row["query"], found, knowledge.alike))


def progress(done: int, total: int) -> None:
    print(f"{done}/{total}", file=sys.stderr, flush=True)


def written(settings: Settings, asked: Sequence[Asked], company: str, adapter: Path | None) -> dict[str, Any]:
    """What the model writes; one that nobody has taught is shown examples first, as in serving."""
    model, tokenizer = load(model_folder(settings.generator, settings.models), adapter)
    started = time.monotonic()
    prompts = [grounded_messages(one.query, one.sources, company, examples=adapter is None) for one in asked]
    replies = reply_to_all(model, tokenizer, prompts, REPLY_TOKENS_MAX, on_progress=progress)
    strange = [
        unsupported(Task("grounded", one.query, (*prompt,)), reply)
        for one, prompt, reply in zip(asked, prompts, replies, strict=True)
    ]
    return {"unsupported": sum(map(bool, strange)), "seconds": round(time.monotonic() - started, 1)} | figures(
        asked, replies
    )


async def told(settings: Settings, database: Database, asked: Sequence[Asked], adapter: Path | None) -> dict[str, Any]:
    """What the pipeline says to each of the questions, as the first of a conversation."""
    knowledge, profile = KnowledgeBase(database, settings), LiveProfile(settings)
    engine = make_engine(settings, profile)
    assert engine, "the generator is switched off"
    await knowledge.open()
    try:
        await engine.use_adapter(adapter, adapter and adapter.name)
        pipeline = Pipeline(knowledge, profile, engine, None, Limits.of(settings))
        answers = [await pipeline.answer(Turn(f"q{number}", one.query)) for number, one in enumerate(asked)]
    finally:
        await engine.close()
        await knowledge.close()
    return {"decisions": dict(Counter(one.decision for one in answers))} | figures(asked, [one.text for one in answers])


def figures(asked: Sequence[Asked], replies: Sequence[str]) -> dict[str, Any]:
    facts, complete = facts_score(zip(replies, [one.facts for one in asked], strict=True))
    found = [(reply, one.facts) for reply, one in zip(replies, asked, strict=True) if one.found]
    return {
        "facts": round(facts, 4),
        "facts_where_sources_have_them": round(facts_score(found)[0], 4),
        "complete": round(complete, 4),
        "characters": round(sum(map(len, replies)) / len(replies), 1),
        "replies": [
            {"query": one.query, "reply": reply, "missing": len(one.facts) - facts_present(reply, one.facts)}
            for one, reply in zip(asked, replies, strict=True)
        ],
    }


async def train(settings: Settings, database: Database, options: dict[str, Any]) -> dict[str, Any]:
    """A run on the demo's entries, as `kefu train generator` does it; the paraphrases are no part of it."""
    run = await runs.prepare(database, settings, "generator", options)
    return await process.carry_out(run, lambda event: print(json.dumps(event), file=sys.stderr, flush=True))


async def main(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    settings = Settings(data=folder, auto_calibrate=False)
    async with opened(settings.database) as database:
        await load_demo(database, settings)
        company = LiveProfile(settings).now().zh.company
        knowledge = KnowledgeBase(database, settings)
        await knowledge.open()
        asked = await ask(knowledge)
        await knowledge.close()

        async def measure(adapter: Path | None) -> dict[str, Any]:
            model = await asyncio.to_thread(written, settings, asked, company, adapter)
            return {"written": model, "told": await told(settings, database, asked, adapter)}

        document: dict[str, Any] = {"questions": len(asked), "sources_have_the_facts": sum(one.found for one in asked)}
        document["before"] = await measure(None)
        adapter = folder / "adapters" / arguments.adapter if arguments.adapter else None
        if arguments.train:
            result = await train(settings, database, arguments.options)
            adapter = folder / "adapters" / result["adapter"]
            kept = ("before", "after", "verdict", "steps", "best_step", "seconds", "summary")
            document["run"] = {key: result[key] for key in kept}
        if adapter:
            document["after"] = await measure(adapter)
    return document


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", metavar="NAME", help="one that an earlier run left in --folder")
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--options", type=json.loads, default={}, help="JSON of training options")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = given.folder or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        print(json.dumps(asyncio.run(main(given, place)), ensure_ascii=False, indent=1))
