"""What a training costs the customers who chat meanwhile.

    python -m tests.benchmarks.chat_while_training [--questions 150] [--rounds 2] [--threads N]

A real `kefu serve --demo` with the real models. Each round asks the demo's paraphrases one after another, a tenth of a
second between them, without a training, then while an encoder training is in its steps (started over the API, and
stopped afterwards), and once more without: the ratio is of the 95th percentiles in this run. Prints one JSON document.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from bot import demo
from tests.benchmarks.service import free_port

PAUSE_SECONDS = 0.1


def call(method: str, address: str, token: str, body: Any = None) -> Any:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    data = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(urllib.request.Request(address, data, headers, method=method)) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def chat(base: str, questions: list[str]) -> list[float]:
    """Milliseconds of each reply, as the customer waits for it; every question in a conversation of its own."""
    taken = []
    for question in questions:
        session = call("POST", f"{base}/api/sessions", "", {})
        path = f"{base}/api/sessions/{session['session_id']}/messages"
        started = time.perf_counter()
        call("POST", path, session["token"], {"text": question})
        taken.append((time.perf_counter() - started) * 1000)
        time.sleep(PAUSE_SECONDS)
    return taken


def spread(taken: list[float]) -> dict[str, float]:
    ordered = sorted(taken)
    return {
        "p50": round(statistics.median(ordered), 1),
        "p95": round(ordered[int(0.95 * (len(ordered) - 1))], 1),
        "max": round(ordered[-1], 1),
    }


def train(base: str, key: str) -> str:
    """An encoder training, in its steps; its job."""
    job: str = call("POST", f"{base}/api/training-runs", key, {"kind": "encoder", "options": {"epochs": 200}})["job_id"]
    while True:
        told = call("GET", f"{base}/api/training-runs/{job}", key)
        if told["state"] not in ("queued", "running"):
            raise SystemExit(json.dumps(told, ensure_ascii=False))
        if told["extra"].get("step", 0) >= 2:
            return job
        time.sleep(0.5)


def stop(base: str, key: str, job: str) -> int:
    """Ends it; the steps it came to."""
    call("POST", f"{base}/api/jobs/{job}/cancel", key, {})
    while (told := call("GET", f"{base}/api/training-runs/{job}", key))["state"] == "running":
        time.sleep(0.5)
    return int(told["extra"].get("step", 0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=0, help="engine_threads of the service; 0: as it decides")
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in demo.paraphrases_path().read_text(encoding="utf-8").splitlines()]
    asked = [row["query"] for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        data, port = Path(folder) / "data", free_port()
        environment = {
            **os.environ, "KEFU_MESSAGES_PER_MINUTE": "100000", "KEFU_SESSIONS_PER_MINUTE": "100000",
            "KEFU_GENERATOR": "", "KEFU_DATA": str(data),
        }  # fmt: skip
        if arguments.threads:
            environment["KEFU_ENGINE_THREADS"] = str(arguments.threads)
        command = [sys.executable, "-m", "bot.cli"]
        made = subprocess.run(
            [*command, "keys", "add", "bench", "--role", "admin", "--json"], env=environment, check=True,
            capture_output=True, text=True,
        )  # fmt: skip
        key, base = json.loads(made.stdout)["key"], f"http://127.0.0.1:{port}"
        with (Path(folder) / "log").open("w") as log:
            service = subprocess.Popen(
                [*command, "serve", "--demo", "--port", str(port)], env=environment, stdout=log, stderr=log
            )
        try:
            while True:
                time.sleep(0.2)
                try:
                    urllib.request.urlopen(f"{base}/readyz").close()
                    break
                except OSError:
                    continue
            quiet: list[float] = []
            training: list[float] = []
            steps = place = 0
            per_round = arguments.questions

            def next_questions() -> list[str]:
                nonlocal place
                place += per_round
                return [f"{asked[number % len(asked)]}，{number}" for number in range(place - per_round, place)]

            chat(base, next_questions()[:20])
            for _ in range(arguments.rounds):
                quiet += chat(base, next_questions())
                job = train(base, key)
                training += chat(base, next_questions())
                steps += stop(base, key, job)
                quiet += chat(base, next_questions())
        finally:
            service.terminate()
            service.wait(60)
    found = {"quiet": spread(quiet), "training": spread(training)}
    ratio = {name: round(found["training"][name] / found["quiet"][name], 2) for name in ("p50", "p95")}
    print(
        json.dumps({"questions": len(training), "steps": steps, "threads": arguments.threads, **found, "ratio": ratio})
    )


if __name__ == "__main__":
    main()
