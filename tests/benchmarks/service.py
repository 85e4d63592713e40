"""The running service: python tests/benchmarks/service.py

A real `kefu serve --demo` on a free port with the real models. Prints a Markdown table: start, memory, the latency of
direct answers for one user against the bare embedding of the same questions in this process, and `kefu --help`.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from bot import demo
from bot.config import Settings
from knowledge.encoders import TransformerEncoder

QUESTIONS = 300
ROUNDS = 5


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def post(address: str, body: dict[str, Any], token: str = "") -> dict[str, Any]:
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    request = urllib.request.Request(address, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        return dict(json.load(answer))


def start(data: Path, port: int) -> tuple[subprocess.Popen[bytes], float]:
    """The service, and the seconds until it is ready to chat."""
    began = time.perf_counter()
    environment = {**os.environ, "KEFU_MESSAGES_PER_MINUTE": "100000", "KEFU_SESSIONS_PER_MINUTE": "100000"}
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


def percentiles(values: list[float]) -> tuple[float, float]:
    ordered = sorted(values)
    return statistics.median(ordered), ordered[int(len(ordered) * 0.99)]


def ask_all(base: str, questions: list[str]) -> tuple[list[float], list[float], dict[str, int]]:
    server, whole, decisions = [], [], {}
    session = post(f"{base}/api/sessions", {})
    for question in questions:
        began = time.perf_counter()
        reply = post(f"{base}/api/sessions/{session['session_id']}/messages", {"text": question}, session["token"])
        if reply["decision"] == "answer" and not reply.get("generated"):
            whole.append((time.perf_counter() - began) * 1000)
            server.append(reply["latency_ms"])
        decisions[reply["decision"]] = decisions.get(reply["decision"], 0) + 1
    return server, whole, decisions


def main() -> None:
    entries = [json.loads(line) for line in demo.faq_path().read_text(encoding="utf-8").splitlines()]
    # A word is put before each phrasing, so that none is an exact match, which needs no embedding.
    questions = [f"请问{text}" for entry in entries if entry.get("answer") for text in entry["similar_questions"]]
    questions = questions[:: max(1, len(questions) // QUESTIONS)][:QUESTIONS]
    with tempfile.TemporaryDirectory() as folder:
        data, port = Path(folder) / "data", free_port()
        first, first_seconds = start(data, port)
        first.terminate()
        first.wait()
        process, second_seconds = start(data, port)
        base = f"http://127.0.0.1:{port}"
        try:
            ask_all(base, ["请问运费多少", "请问怎么退货"])
            server, whole, decisions = ask_all(base, questions)
            session = post(f"{base}/api/sessions", {})
            before = psutil.Process(process.pid).memory_info().rss / 2**30
            post(
                f"{base}/api/sessions/{session['session_id']}/messages",
                {"text": "会员章程什么时候修订的"},
                session["token"],
            )
            memory = psutil.Process(process.pid).memory_info().rss / 2**30
        finally:
            process.terminate()
            process.wait()
    encoder = TransformerEncoder(Settings().models / "multilingual-e5-small")
    encoder.encode(["热身"], "query")
    bare = []
    for question in questions:
        began = time.perf_counter()
        encoder.encode([f"您好{question}"], "query")  # other words: the encoder keeps what it has seen
        bare.append((time.perf_counter() - began) * 1000)
    helps = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "bot.cli", "--help"], check=True, capture_output=True)
        helps.append(time.perf_counter() - began)
    s50, s99 = percentiles(server)
    w50, w99 = percentiles(whole)
    b50, b99 = percentiles(bare)
    print("| what | figure |\n| --- | --- |")
    print(f"| first start with the demo, to ready | {first_seconds:.1f} s |")
    print(f"| second start, to ready | {second_seconds:.1f} s |")
    print(f"| memory of the service after direct answers | {before:.2f} GiB |")
    print(f"| and after a question only a document answers: the generator wrote, too | {memory:.2f} GiB |")
    print(f"| direct answer, server side, p50 / p99 ({len(server)} answers) | {s50:.1f} / {s99:.1f} ms |")
    print(f"| the same over HTTP | {w50:.1f} / {w99:.1f} ms |")
    print(f"| bare embedding of one question, p50 / p99 | {b50:.1f} / {b99:.1f} ms |")
    print(f"| server side ÷ bare embedding, p50 | {s50 / b50:.2f} |")
    print(f"| `kefu --help`, median of {ROUNDS} | {statistics.median(helps):.2f} s |")
    print(f"| decisions | {decisions} |")


if __name__ == "__main__":
    main()
