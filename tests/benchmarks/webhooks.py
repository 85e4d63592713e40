"""Webhooks under load: python tests/benchmarks/webhooks.py [--seconds 300] [--rate 100] [--fresh]

A real `kefu serve --demo` with a generic webhook channel. Messages come at a steady rate, signed, from many customers;
each latency counts from the moment the message was due, so that a late start is no excuse. Afterwards every message
must have been answered exactly once. Beside it, in the same run: a server of ten lines that writes one row to SQLite,
with the same promise to the disk, and answers. Prints a Markdown table; exits 1 where something was lost, doubled or
too slow.
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import aiohttp
import psutil

from bot import demo
from tests.connectors.process import free_port
from tests.servers import webhook

WARM_SECONDS = 5.0
PEER_SECONDS = 20.0
CUSTOMERS = 2000
P99_MS_MAX = 200.0
PEER = """
import sqlite3, sys
from aiohttp import web
db = sqlite3.connect(sys.argv[2], isolation_level=None)
db.execute("PRAGMA journal_mode=WAL"); db.execute("PRAGMA synchronous=FULL"); db.execute("CREATE TABLE inbox (body)")
async def take(request):
    db.execute("INSERT INTO inbox VALUES (?)", (await request.text(),))
    return web.Response()
app = web.Application(); app.router.add_post("/", take)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""


def questions() -> list[str]:
    """What the demo shop is asked, in other words than its entries' own."""
    entries = [json.loads(line) for line in demo.faq_path().read_text(encoding="utf-8").splitlines()]
    return [f"请问{text}" for one in entries if one.get("answer") for text in one["similar_questions"]]


async def until_ready(http: aiohttp.ClientSession, url: str, process: asyncio.subprocess.Process) -> None:
    while True:
        if process.returncode is not None:
            raise SystemExit("the service ended by itself")
        with contextlib.suppress(aiohttp.ClientError, OSError):
            async with http.get(url) as response:
                if response.status == 200:
                    return
        await asyncio.sleep(0.2)


async def steadily(http: aiohttp.ClientSession, url: str, bodies: list[tuple[str, bytes]], rate: float) -> list[float]:
    """POST each body when it is due; the milliseconds from then to its 200."""
    took: list[float] = []

    async def post(id_: str, body: bytes, due: float) -> None:
        async with http.post(url, data=body, headers=webhook.headers(body, id_)) as response:
            await response.read()
            assert response.status == 200, response.status
        took.append((time.perf_counter() - due) * 1000)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number, (id_, body) in enumerate(bodies):
            due = began + number / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            group.create_task(post(id_, body, due))
    return took


def made(count: int, mark: str, *, fresh: bool) -> list[tuple[str, bytes]]:
    """Messages with their ids; `fresh` ones are all different, so that no vector is remembered."""
    texts = questions()
    found = []
    for number in range(count):
        text = texts[number % len(texts)] + (f"（{mark}{number}）" if fresh else "")
        body = {"sender": f"c{number % CUSTOMERS}", "text": text, "message_id": f"{mark}{number}"}
        found.append((f"d-{mark}{number}", json.dumps(body).encode()))
    return found


def row(what: str, took: list[float]) -> str:
    ordered = sorted(took)
    p99 = ordered[int(len(ordered) * 0.99)]
    return f"| {what} | {statistics.median(ordered):.1f} | {p99:.1f} | {ordered[-1]:.1f} |"


async def peer(http: aiohttp.ClientSession, folder: Path, rate: float) -> list[float]:
    port = free_port()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PEER, str(port), str(folder / "peer.db"))
    try:
        url = f"http://127.0.0.1:{port}/"
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with http.post(url, data=b"{}"):
                    break
            await asyncio.sleep(0.1)
        return await steadily(http, url, made(int(rate * PEER_SECONDS), "p", fresh=False), rate)
    finally:
        process.kill()
        await process.wait()


async def main(seconds: float, rate: float, *, fresh: bool) -> int:
    receiver = webhook.Receiver()
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        data = folder / "data"
        data.mkdir()
        replies = f"{await receiver.start()}/replies"
        (data / "kefu.toml").write_text(
            f'[[channels]]\nkind = "webhook"\nname = "load"\nsecret = "{webhook.SECRET}"\nurl = "{replies}"\n'
        )
        with (folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bot.cli", "serve", "--demo", "--data", str(data), "--port", str(port),
                stdout=log, stderr=log, env={**os.environ, "KEFU_MESSAGES_PER_MINUTE": "100000"},
            )  # fmt: skip
        connector = aiohttp.TCPConnector(limit=0)
        try:
            async with aiohttp.ClientSession(connector=connector) as http:
                await until_ready(http, f"http://127.0.0.1:{port}/readyz", process)
                url = f"http://127.0.0.1:{port}/webhooks/webhook/load"
                warm = made(int(rate * WARM_SECONDS), "w", fresh=fresh)
                await steadily(http, url, warm, rate)
                await receiver.until(len(warm), 600)
                bodies = made(int(rate * seconds), "m", fresh=fresh)
                service = psutil.Process(process.pid)
                used, began = sum(service.cpu_times()[:2]), time.perf_counter()
                took = await steadily(http, url, bodies, rate)
                sent = time.perf_counter() - began
                await receiver.until(len(warm) + len(bodies), 600)
                answered = time.perf_counter() - began
                used = sum(service.cpu_times()[:2]) - used
                await receiver.quiet(2.0)
                bare = await peer(http, folder, rate)
        finally:
            process.terminate()
            await process.wait()
            await receiver.stop()
    # The fake knows a delivery again, as a real receiver does; how often it was asked to is seen in its calls.
    calls = sum(path == "/replies" for _, path, _ in receiver.calls)
    by_customer = Counter(to for to, _ in receiver.got)
    asked = Counter(json.loads(body)["sender"] for _, body in [*warm, *bodies])
    wrong = sum(((by_customer - asked) + (asked - by_customer)).values())
    p99 = sorted(took)[int(len(took) * 0.99)]
    print("| acknowledged, ms | p50 | p99 | most |\n| --- | --- | --- | --- |")
    print(row(f"Kefu, {len(took) / sent:.0f}/s for {seconds:.0f} s", took))
    print(row("one row into SQLite, nothing behind it", bare))
    print(
        f"\n{len(took)} messages; lost or doubled: {wrong}; calls with replies: {calls} for {len(receiver.got)} replies"
    )
    print(f"all answered {answered - sent:.1f} s after the last message; processor time {used / answered:.2f} cores")
    return 0 if wrong == 0 and p99 <= P99_MS_MAX else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--fresh", action="store_true", help="every question is a new one, and needs an embedding")
    given = parser.parse_args()
    sys.exit(asyncio.run(main(given.seconds, given.rate, fresh=given.fresh)))
