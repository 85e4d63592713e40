"""How long the way back takes: `kefu adapters rollback`, and until the running service answers with the model before.

    python -m tests.benchmarks.rollback [--entries 2000]

The peer in the same run is what the switch forward takes on a warm snapshot, and a command that does nothing
(`kefu --help`). Prints one JSON document.
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp

from bot.cli import main as kefu
from bot.config import Settings
from finetune import registry
from finetune.models import model_checksum, model_folder
from finetune.signing import Signer

ROUNDS = 5


def make_adapter(home: Path, settings: Settings) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    base = model_folder(settings.encoder, settings.models)
    torch.manual_seed(1)
    model = AutoModel.from_pretrained(base, add_pooling_layer=False)
    config = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(model, config).save_pretrained(home.parent / "made")
    (home.parent / "made" / "README.md").unlink(missing_ok=True)
    manifest = registry.Manifest(
        name="encoder-one", kind="encoder", base_model=base.name, base_checksum=model_checksum(base), data_hash="",
        examples=0, config={}, metrics={}, verdict={"outcome": "unknown", "zh": "", "en": ""},
        created_at="2026-01-01T00:00:00Z", seconds=0.0,
    )  # fmt: skip
    registry.install(home.parent / "made", home, replace(manifest), Signer(home.parent))


def run(data: Path, *arguments: str) -> float:
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "bot.cli", *arguments], check=True, stdout=subprocess.DEVNULL,
        env={**os.environ, "KEFU_DATA": str(data), "KEFU_GENERATOR": ""},
    )  # fmt: skip
    return time.perf_counter() - started


async def served(base: str, key: str, name: str | None) -> None:
    """Until the service answers with this adapter, looked at every 10 ms."""
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as http:
        while True:
            async with http.get(f"{base}/api/adapters") as response:
                told = await response.json()
            if told["serving"]["encoder"] == name and told["switching"] is None:
                return
            await asyncio.sleep(0.01)


def rounds(data: Path, base: str, key: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in ("help", "activate", "forward", "rollback", "back")}
    for _ in range(ROUNDS):
        found["help"].append(run(data, "--help"))
        for command, until, name in (("activate", "forward", "encoder-one"), ("rollback", "back", None)):
            started = time.perf_counter()
            found[command].append(run(data, "adapters", command, *([name] if name else [])))
            asyncio.run(served(base, key, name))
            found[until].append(time.perf_counter() - started)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=2000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        settings = Settings(data=data, generator="")
        make_adapter(data / "adapters", settings)
        rows = ({"question": f"第{n}号商品怎么保养", "answer": f"{n}"} for n in range(arguments.entries))
        faq = Path(folder) / "faq.jsonl"
        faq.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        kefu(["import", str(faq), "--data", str(data)])
        made = subprocess.run(
            [sys.executable, "-m", "bot.cli", "keys", "add", "bench", "--role", "admin", "--json", "--data", str(data)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        key = json.loads(made.stdout)["key"]
        environment = {**os.environ, "KEFU_DATA": str(data), "KEFU_GENERATOR": "", "KEFU_PORT": "0"}
        log = Path(folder) / "log"
        with log.open("w") as out:
            service = subprocess.Popen(
                [sys.executable, "-m", "bot.cli", "serve"], env=environment, stdout=out, stderr=out
            )
        try:
            while (
                not (found := re.search(r"(http://[\d.:]+)/chat", log.read_text())) or "已就绪" not in log.read_text()
            ):
                time.sleep(0.2)
            taken: dict[str, Any] = rounds(data, found[1], key)
        finally:
            service.terminate()
            service.wait(30)
    first = taken["forward"][0]
    shown = {name: round(median(times), 3) for name, times in taken.items()}
    print(json.dumps({"entries": arguments.entries, "first_switch": round(first, 3), "median": shown, "all": taken}))


if __name__ == "__main__":
    main()
