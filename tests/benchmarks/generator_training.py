"""The generator's training against TRL's SFTTrainer with peft: tokens a second with the same model, data and loss.

`python -m tests.benchmarks.generator_training --environment DIR [--examples 32] [--rounds 3]`

Builds the peer's environment once. Both train on the same examples of the demo company (the prompt with its sources as
the product writes it, the loss on the reply alone), token for token, with the same LoRA and eight examples a step, in
turn, with `--threads` each. Counted are the tokens of the examples, without padding; the clocks are those of the
training loop, loading left out, by the wall and by the processor: on a busy machine the second is the steadier. First
one step of the same eight examples: both must name the same loss. Prints a Markdown table.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.peers import Peer, environment

COMPANY = "青砾生活"
PEERS = {"TRL": False, "TRL tuned": True}
Example = tuple[list[int], list[int]]


async def rows(folder: Path) -> list[dict[str, Any]]:
    """The training rows of a run on the demo's entries, as the product writes them."""
    import bot.demo
    from bot.config import Settings
    from bot.importing import import_file
    from bot.learning import dataset
    from bot.storage.database import opened
    from finetune.data import read_jsonl

    settings = Settings(data=folder, company_name=COMPANY)
    async with opened(settings.database) as database:
        await import_file(database, bot.demo.faq_path(), "faq.jsonl", settings.data / "uploads")
        dataset.write_generator(await dataset.gather(database, None, COMPANY), folder, seed=20260101)
    return read_jsonl(folder / "train.jsonl")


def examples(model: Path, count: int) -> list[Example]:
    """Token ids and labels of `count` examples drawn from the demo's."""
    from transformers import AutoTokenizer

    from finetune.generator import GeneratorOptions, encode_rows

    with tempfile.TemporaryDirectory() as scratch:
        found = asyncio.run(rows(Path(scratch)))
    tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
    encoded, _ = encode_rows(tokenizer, found, GeneratorOptions().max_tokens)
    return random.Random(7).sample(encoded, count)


def product(model: Path, chosen: list[Example]) -> dict[str, float]:
    """One pass of the product's own loop with its default options, checkpoint included."""
    import torch

    from finetune.generator import GeneratorOptions, ReplyTask, pad_id_of, plan_for
    from finetune.loading import load_generator
    from finetune.loop import train
    from finetune.lora import add_lora

    options = GeneratorOptions(epochs=1)
    torch.manual_seed(options.seed)
    base, tokenizer = load_generator(model)
    task = ReplyTask(
        add_lora(base, options.rank, options.alpha, "CAUSAL_LM"), pad_id_of(tokenizer), chosen, [], options
    )
    losses: list[float] = []
    with tempfile.TemporaryDirectory() as scratch:
        started, worked = time.perf_counter(), time.process_time()
        train(
            task,
            plan_for(len(chosen), 0, options),
            Path(scratch),
            "",
            lambda step: losses.append(step.loss),
            lambda: False,
        )
        return {
            "seconds": time.perf_counter() - started,
            "cpu_seconds": time.process_time() - worked,
            "loss": statistics.mean(losses),
        }


def main(arguments: argparse.Namespace) -> None:
    import torch

    from finetune.generator import GeneratorOptions

    torch.set_num_threads(arguments.threads)
    options = GeneratorOptions()
    chosen = examples(arguments.generator, arguments.examples)
    tokens = sum(len(ids) for ids, _ in chosen)
    python = environment(arguments.environment, Path(__file__).with_suffix(".txt"))
    peer = Peer(python, "generator_training_peer.py", str(arguments.generator), threads=arguments.threads)

    def ask(name: str, given: list[Example]) -> dict[str, float]:
        if name == "Kefu":
            return product(arguments.generator, given)
        same = {"batch": options.batch_examples, "rank": options.rank, "alpha": options.alpha}
        return peer.ask(same | {"examples": given, "rate": options.learning_rate, "tuned": PEERS[name]})

    names = ["Kefu", *(name for name in PEERS if name in arguments.peers)]
    first = {name: round(ask(name, chosen[: options.batch_examples])["loss"], 4) for name in names}
    print(json.dumps({"first_loss": first, "tokens": tokens}), file=sys.stderr, flush=True)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(arguments.rounds):
        for name in names:
            found[name].append(ask(name, chosen))
            print(json.dumps({name: found[name][-1]}), file=sys.stderr, flush=True)
    print(f"{len(chosen)} examples, {tokens} tokens; loss of the first step: {json.dumps(first)}\n")
    print("| | tokens/s | CPU s per 1,000 tokens | Kefu ÷ it, by the wall | by the processor |")
    print("| --- | --- | --- | --- | --- |")
    for name, rounds in found.items():
        cells = [
            " · ".join(f"{tokens / one['seconds']:.0f}" for one in rounds),
            " · ".join(f"{1000 * one['cpu_seconds'] / tokens:.2f}" for one in rounds),
            *(f"{ratio(rounds, found['Kefu'], clock):.2f}" for clock in ("seconds", "cpu_seconds")),
        ]
        print(f"| {name} | {' | '.join(cells)} |")


def ratio(theirs: list[dict[str, float]], own: list[dict[str, float]], clock: str) -> float:
    """How many times faster, the median of the rounds."""
    return statistics.median(other[clock] / one[clock] for other, one in zip(theirs, own, strict=True))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environment", type=Path, required=True)
    parser.add_argument(
        "--generator", type=Path, default=Path.home() / ".cache/kefu/models/qwen2.5-coder-0.5b-instruct"
    )
    parser.add_argument("--examples", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=list(PEERS))
    main(parser.parse_args())
