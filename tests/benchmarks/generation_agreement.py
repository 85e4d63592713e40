"""Whether the compiled engine says what transformers says: `python -m tests.benchmarks.generation_agreement`.

The demo company's 50 paraphrased questions with serving's prompt, greedily, by the engine (8-bit weights) and by
transformers and peft (`--adapter DIR`: both with that adapter, which the engine adds to the weights). Prints how many
of the key facts each keeps, and how many replies are the same to the letter.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from bot.config import Settings
from bot.engines.local import LocalEngine
from finetune.evaluate import facts_present, facts_score
from finetune.generator import load, reply_to_all
from finetune.models import model_folder
from tests.benchmarks.generator_facts import COMPANY, questions

TOKENS_MAX = 160


async def written(folder: Path, adapter: Path | None, prompts: list[Any]) -> list[str]:
    engine = LocalEngine(folder, "base")
    await engine.use_adapter(adapter, adapter.name if adapter else None)
    replies = []
    for prompt in prompts:
        pieces = [piece.text async for piece in engine.generate(prompt, max_tokens=TOKENS_MAX)]
        replies.append("".join(pieces))
        print(f"{len(replies)}/{len(prompts)}", file=sys.stderr, flush=True)
    await engine.close()
    return replies


def main(adapter: Path | None, limit: int | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as temporary:
        settings = Settings(data=Path(temporary), company_name=COMPANY)
        asked = questions(settings)[:limit]
    folder = model_folder(settings.generator, settings.models)
    prompts = [row["prompt"] for row in asked]
    facts = [row["key_facts"] for row in asked]
    ours = asyncio.run(written(folder, adapter, prompts))
    model, tokenizer = load(folder, adapter)
    exact = reply_to_all(model, tokenizer, prompts, TOKENS_MAX)
    kept = [[facts_present(reply, wanted) for reply, wanted in zip(side, facts, strict=True)] for side in (ours, exact)]
    return {
        "questions": len(asked),
        "engine": dict(zip(("facts", "complete"), facts_score(zip(ours, facts, strict=True)), strict=True)),
        "transformers": dict(zip(("facts", "complete"), facts_score(zip(exact, facts, strict=True)), strict=True)),
        "same": sum(a.strip() == b.strip() for a, b in zip(ours, exact, strict=True)),
        "different": [
            {"query": row["query"], "engine": a, "transformers": b, "facts": [x, y, len(row["key_facts"])]}
            for row, a, b, x, y in zip(asked, ours, exact, *kept, strict=True)
            if a.strip() != b.strip()
        ],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--limit", type=int)
    given = parser.parse_args()
    print(json.dumps(main(given.adapter, given.limit), ensure_ascii=False, indent=1))
