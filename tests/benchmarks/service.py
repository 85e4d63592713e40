"""The running service: python tests/benchmarks/service.py

A real `kefu serve --demo` on a free port with the real models, and beside it, in this process, the same encoder on
questions of the same length. Prints a Markdown table: starts, `kefu --help`, the latency of direct answers for one user
with a bare embedding after each (so that both see the same machine), how many direct answers a second `--users` at once
get against the encoder's batch throughput, and the memory once the generator has written, too. This side's share of the
processor counts against the service.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from bot import demo
from bot.config import Settings
from knowledge.encoders import TransformerEncoder

QUESTIONS = 300
ROUNDS = 5
DIRECT_MS, DIRECT_P99_MS, SHARE_MIN = 10, 40, 0.35
# Before a phrasing each makes another text of it: none is an exact match, or known to the encoder, which would both
# spare the embedding.
LEADS = ("请问", "问一下", "想问", "你好", "麻烦问下", "帮我看看", "我想知道", "咨询下", "老板", "打扰了")
ONLY_IN_A_DOCUMENT = "会员章程什么时候修订的"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(data: Path, port: int) -> tuple[subprocess.Popen[bytes], float]:
    """The service, and the seconds until it is ready to chat."""
    began = time.perf_counter()
    environment = {**os.environ, "KEFU_MESSAGES_PER_MINUTE": "1000000", "KEFU_SESSIONS_PER_MINUTE": "100000"}
    log = (data.parent / "log").open("ab")
    command = [sys.executable, "-m", "bot.cli", "serve", "--demo", "--data", str(data), "--port", str(port)]
    process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    while True:
        time.sleep(0.05)
        if process.poll() is not None:
            raise SystemExit((data.parent / "log").read_text())
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz").close()
        except OSError:
            continue
        return process, time.perf_counter() - began


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """The median and the 99th percentile."""
    ordered = sorted(values)
    return statistics.median(ordered), ordered[int(len(ordered) * 0.99)]


class Visitor:
    """A visitor's conversation over a connection that stays open, as a browser's does."""

    def __init__(self, client: aiohttp.ClientSession, base: str) -> None:
        self._client, self._base = client, base
        self._path, self._headers = "", {}  # type: tuple[str, dict[str, str]]

    async def begin(self) -> "Visitor":
        async with self._client.post(f"{self._base}/api/sessions", json={}) as answer:
            session = await answer.json()
        self._path = f"{self._base}/api/sessions/{session['session_id']}/messages"
        self._headers = {"Authorization": f"Bearer {session['token']}"}
        return self

    async def ask(self, text: str) -> dict[str, Any]:
        async with self._client.post(self._path, json={"text": text}, headers=self._headers) as answer:
            return dict(await answer.json())


async def one_user(base: str, questions: Sequence[str], encoder: TransformerEncoder) -> dict[str, list[float]]:
    """Milliseconds of each direct answer, and of a bare embedding right after it, in turn."""
    found: dict[str, list[float]] = {"server": [], "whole": [], "bare": []}
    async with aiohttp.ClientSession() as client:
        visitor = await Visitor(client, base).begin()
        for warm in ("请问运费多少", "请问怎么退货"):
            await visitor.ask(warm)
        for question in questions:
            began = time.perf_counter()
            reply = await visitor.ask(f"请问{question}")
            whole = (time.perf_counter() - began) * 1000
            began = time.perf_counter()
            encoder.encode([f"您好{question}"], "query")
            bare = (time.perf_counter() - began) * 1000
            if reply["decision"] == "answer" and not reply.get("generated"):
                for name, value in (("server", reply["latency_ms"]), ("whole", whole), ("bare", bare)):
                    found[name].append(float(value))
    return found


async def many_users(base: str, texts: Iterator[str], users: int, seconds: float) -> tuple[float, Counter[str]]:
    """Direct answers a second while `users` ask one question after another, and the decisions."""
    decisions: Counter[str] = Counter()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        visitors = [await Visitor(client, base).begin() for _ in range(users)]
        until = time.perf_counter() + seconds

        async def talk(visitor: Visitor) -> None:
            while time.perf_counter() < until:
                reply = await visitor.ask(next(texts))
                decisions[reply["decision"]] += 1

        began = time.perf_counter()
        await asyncio.gather(*map(talk, visitors))
        return decisions["answer"] / (time.perf_counter() - began), decisions


def batches(encoder: TransformerEncoder, texts: Sequence[str]) -> float:
    """Texts a second that the encoder does in batches."""
    began = time.perf_counter()
    encoder.encode(texts, "query")
    return len(texts) / (time.perf_counter() - began)


def helps() -> float:
    """Seconds that `kefu --help` takes, the median of some."""
    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "bot.cli", "--help"], check=True, capture_output=True)
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def processor_ms(process: subprocess.Popen[bytes]) -> float:
    """Processor time that the service has taken so far, on all cores together."""
    taken = psutil.Process(process.pid).cpu_times()
    return float(taken.user + taken.system) * 1000


def gibibytes(process: subprocess.Popen[bytes]) -> float:
    return float(psutil.Process(process.pid).memory_info().rss / 2**30)


async def generate(base: str) -> str:
    """One reply that the generator writes: its decision."""
    async with aiohttp.ClientSession() as client:
        visitor = await Visitor(client, base).begin()
        return str((await visitor.ask(ONLY_IN_A_DOCUMENT))["decision"])


async def measure(base: str, process: subprocess.Popen[bytes], options: argparse.Namespace) -> list[tuple[str, str]]:
    """The table's rows about the running service."""
    entries = [json.loads(line) for line in demo.faq_path().read_text(encoding="utf-8").splitlines()]
    phrasings = [text for entry in entries if entry.get("answer") for text in entry["similar_questions"]]
    questions = phrasings[:: max(1, len(phrasings) // QUESTIONS)][:QUESTIONS]
    texts = [f"{lead}{text}" for lead in LEADS[1:] for text in phrasings]
    encoder = TransformerEncoder(Settings().models / "multilingual-e5-small")
    encoder.encode(["热身"], "query")
    taken = [processor_ms(process)]
    alone = await one_user(base, questions, encoder)
    taken.append(processor_ms(process))
    direct = gibibytes(process)
    began = time.process_time()
    fast = [batches(encoder, texts[: options.batch])]
    batch_ms = (time.process_time() - began) * 1000 / options.batch
    taken.append(processor_ms(process))
    rate, decisions = await many_users(base, cycle(texts), options.users, options.seconds)
    taken.append(processor_ms(process))
    fast.append(batches(encoder, texts[-options.batch :]))
    decision = await generate(base)
    (server50, server99), (whole50, whole99), (bare50, bare99) = (percentiles(alone[n]) for n in alone)
    batched = statistics.mean(fast)
    each, beside = (taken[1] - taken[0]) / len(questions), (taken[3] - taken[2]) / max(decisions.total(), 1)
    return [
        (
            f"direct answer, server side, p50 / p99 ({len(alone['whole'])} answers)",
            f"{server50:.1f} / {server99:.1f} ms",
        ),
        ("the same over HTTP, with commits to disk", f"{whole50:.1f} / {whole99:.1f} ms"),
        ("bare embedding of one question in turn with it", f"{bare50:.1f} / {bare99:.1f} ms"),
        (
            f"over HTTP − bare, p50 / p99 (wanted ≤ {DIRECT_MS} / {DIRECT_P99_MS})",
            f"{whole50 - bare50:+.1f} / {whole99 - bare99:+.1f} ms",
        ),
        (f"direct answers a second, {options.users} users", f"{rate:.1f} ({dict(decisions)})"),
        ("the encoder's batches, before and after", " · ".join(f"{one:.1f}/s" for one in fast)),
        (
            f"processor time of an answer: one user; {options.users} users; a text in a batch",
            f"{each:.1f} · {beside:.1f} · {batch_ms:.1f} ms",
        ),
        (f"answers ÷ batches (wanted ≥ {SHARE_MIN})", f"{rate / batched:.2f}"),
        ("memory (RSS) after the direct answers of one user", f"{direct:.2f} GiB"),
        (f"and with everything loaded: the generator wrote, too ({decision})", f"{gibibytes(process):.2f} GiB"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long these ask")
    parser.add_argument("--batch", type=int, default=1024, help="texts of a measurement of the encoder's batches")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data, port = Path(folder) / "data", free_port()
        first, first_seconds = start(data, port)
        first.terminate()
        first.wait()
        process, second_seconds = start(data, port)
        try:
            rows = asyncio.run(measure(f"http://127.0.0.1:{port}", process, options))
        finally:
            process.terminate()
            process.wait()
    print("| what | figure |\n| --- | --- |")
    print(f"| first start with the demo, to ready | {first_seconds:.1f} s |")
    print(f"| second start, to ready | {second_seconds:.1f} s |")
    for what, figure in rows:
        print(f"| {what} | {figure} |")
    print(f"| `kefu --help`, median of {ROUNDS} | {helps():.2f} s |")


if __name__ == "__main__":
    main()
