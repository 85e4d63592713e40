"""Ten thousand pairs uploaded to a running service: python tests/benchmarks/import_throughput.py [--pairs N]

A real `kefu serve` without a company; the time from the upload until everything can be found by its words and then has
its vector, too, beside the encoder's bare batch throughput over the same questions in a process of its own, in turn,
by the clock and by processor time (of the service and its readers, with the searches of the measurement in it). Prints
a Markdown table.
"""

import argparse
import asyncio
import csv
import io
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.service import free_port

# How exactly the end is seen. A search, and what it costs, belongs to the customers and not to the import: often enough
# for the longest wait, and each in other words, as what was asked before is remembered.
POLL_SECONDS, SEARCH_SECONDS = 0.25, 2.0
THINGS = ("订单", "发票", "优惠券", "会员卡", "快递", "退款", "尺码", "保修", "充值", "地址", "套餐", "积分")
DOINGS = ("怎么取消", "什么时候能到", "可以修改吗", "为什么失败了", "在哪里看", "要收多少钱", "能不能转给别人")
BARE = """
import json, sys, time
from bot.config import Settings
from bot.retrievers import load_encoder
texts = json.load(sys.stdin)
encoder = load_encoder(Settings())
encoder.encode(["热身", "再热身"])
started, used = time.perf_counter(), time.process_time()
encoder.encode(texts)
print(time.perf_counter() - started, time.process_time() - used)
"""


def questions(count: int) -> list[str]:
    """Different ones, of a customer's length."""
    return [
        f"{THINGS[i % 12]}{i}号{DOINGS[i % 7]}，{THINGS[i // 12 % 12]}{'还' if i % 2 else '也'}一起{DOINGS[i // 7 % 7]}"
        for i in range(count)
    ]


def bare(texts: list[str]) -> tuple[float, float]:
    """Seconds by the clock and of processors."""
    done = subprocess.run(
        [sys.executable, "-c", BARE], input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    seconds, used = map(float, done.stdout.split()[-2:])
    return seconds, used


def used_by(process: psutil.Process) -> float:
    """Processor seconds of a process and of those it has waited for."""
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


async def imported(texts: list[str], folder: Path) -> tuple[float, float, float, float]:
    """Seconds until all is found by words, until all has its vector, processor seconds, longest wait of a search."""
    data, port = folder / "data", free_port()
    environment = {**os.environ, "KEFU_GENERATOR": "", "KEFU_AUTO_CALIBRATE": "false"}
    kefu = [sys.executable, "-m", "bot.cli"]
    made = subprocess.run(  # noqa: ASYNC221 - nothing else runs yet
        [*kefu, "keys", "add", "bench", "--role", "admin", "--json", "--data", str(data)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    headers = {"Authorization": f"Bearer {json.loads(made.stdout)['key']}"}
    sheet = io.StringIO()
    csv.writer(sheet).writerows([("question", "answer"), *((text, f"答复：{text}") for text in texts)])
    form = aiohttp.FormData()
    form.add_field("file", sheet.getvalue().encode(), filename="faq.csv")
    log = (folder / "log").open("ab")
    serve = subprocess.Popen(  # noqa: ASYNC220
        [*kefu, "serve", "--data", str(data), "--port", str(port)], stdout=log, stderr=log, env=environment
    )
    base = f"http://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(3600)) as http:
            while True:
                await asyncio.sleep(0.1)
                assert serve.poll() is None, (folder / "log").read_text()
                try:
                    async with http.get(f"{base}/readyz") as answer:
                        if answer.status == 200:
                            break
                except OSError:
                    continue
            process = psutil.Process(serve.pid)
            started, used = time.perf_counter(), used_by(process)
            async with http.post(f"{base}/api/documents", data=form) as answer:
                assert answer.status < 300, await answer.text()
            longest = placed = asked = 0.0
            while True:
                if time.perf_counter() - asked >= SEARCH_SECONDS:
                    asked = time.perf_counter()
                    query = f"{int(asked - started)}号订单怎么取消"
                    async with http.post(f"{base}/api/search", json={"query": query}) as answer:
                        assert answer.status == 200
                    longest = max(longest, time.perf_counter() - asked)
                if not placed:
                    async with http.get(f"{base}/metrics") as answer:
                        units = re.search(r"^kefu_knowledge_units (\S+)", await answer.text(), re.MULTILINE)
                    if units and float(units[1]) >= len(texts):
                        placed = time.perf_counter() - started
                async with http.get(f"{base}/readyz") as answer:
                    if placed and "encoding" not in await answer.json():
                        return placed, time.perf_counter() - started, used_by(process) - used, longest
                await asyncio.sleep(POLL_SECONDS)
    finally:
        serve.terminate()
        serve.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    texts = questions(options.pairs)
    bares, imports = [bare(texts)], []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            imports.append(asyncio.run(imported(texts, Path(folder))))
        bares.append(bare(texts))
    placed, took, used, longest = (statistics.median(one) for one in zip(*imports, strict=True))
    alone, alone_used = (statistics.median(one) for one in zip(*bares, strict=True))
    clock = [
        (before[0] + after[0]) / 2 / made[1] for before, after, made in zip(bares, bares[1:], imports, strict=False)
    ]
    print("| what, median | figure |\n| --- | --- |")
    print(f"| {len(texts)} pairs, from the upload until all are found by their words | {placed:.1f} s |")
    print(f"| until all have their vectors | {took:.1f} s, {len(texts) / took:.0f}/s; {used:.1f} processor seconds |")
    print(f"| the encoder alone | {alone:.1f} s, {len(texts) / alone:.0f}/s; {alone_used:.1f} processor seconds |")
    print(
        f"| import ÷ encoder, in throughput, by the clock | {statistics.median(clock):.2f} ("
        + ", ".join(f"{one:.2f}" for one in clock)
        + ") |"
    )
    print(f"| the same by processor time | {alone_used / used:.2f} |")
    print(f"| longest wait of a search meanwhile | {longest * 1000:.0f} ms |")


if __name__ == "__main__":
    main()
