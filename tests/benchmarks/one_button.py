"""From fifty corrected conversations to a released adapter, over the API, with the default settings.

    python -m tests.benchmarks.one_button [--threads N]

A real `kefu serve --demo` with the real encoder. The demo's fifty paraphrases come in as conversations whose entry
somebody named; then what the console's buttons do: a training is started, and what came of it is switched on, with an
override only where the gate withholds it, which is told. Prints one JSON document with seconds of each part.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from bot import demo
from tests.benchmarks.chat_while_training import call
from tests.benchmarks.service import free_port

SECONDS_MAX = 30 * 60


def bring_in(base: str, key: str) -> Any:
    """The corrected conversations, as a file of the API's."""
    rows = [json.loads(line) for line in demo.paraphrases_path().read_text(encoding="utf-8").splitlines()]
    talks = [
        {"id": f"corrected-{n}", "messages": [{"role": "user", "content": row["query"], "faq_id": row["faq_id"]}]}
        for n, row in enumerate(rows)
    ]
    text = "".join(json.dumps(talk, ensure_ascii=False) + "\n" for talk in talks)
    boundary = "corrected"
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="corrected.jsonl"\r\n'
        f"Content-Type: application/octet-stream\r\n\r\n{text}\r\n--{boundary}--\r\n"
    )
    headers = {"Authorization": f"Bearer {key}", "Content-Type": f"multipart/form-data; boundary={boundary}"}
    request = urllib.request.Request(f"{base}/api/dialogs", body.encode(), headers, method="POST")
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read())


def finished(base: str, path: str, key: str) -> Any:
    while True:
        told = call("GET", f"{base}{path}", key)
        if told["state"] not in ("queued", "running"):
            if told["state"] != "done":
                raise SystemExit(json.dumps(told, ensure_ascii=False))
            return told
        time.sleep(1)


def go(base: str, key: str) -> dict[str, Any]:
    brought = bring_in(base, key)
    started = time.perf_counter()
    job = call("POST", f"{base}/api/training-runs", key, {"kind": "encoder"})["job_id"]
    trained = finished(base, f"/api/training-runs/{job}", key)
    training = time.perf_counter() - started
    outcome = trained["verdict"]["outcome"]
    activation = {"override": outcome == "worse"}
    job = call("POST", f"{base}/api/adapters/{trained['adapter']}/activate", key, activation)["job_id"]
    finished(base, f"/api/jobs/{job}", key)
    whole = time.perf_counter() - started
    serving = call("GET", f"{base}/api/adapters", key)["serving"]["encoder"]
    told = {name: trained[name] for name in ("verdict", "before", "after", "summary", "notes")}
    seconds = {"training_and_gate": training, "switch": whole - training, "whole": whole}
    rounded = {name: round(value, 1) for name, value in seconds.items()}
    within = {"within_30_minutes": whole <= SECONDS_MAX}
    return {"brought": brought, "seconds": rounded, **within, "serving": serving, **activation, **told}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=0, help="engine_threads of the service; 0: as it decides")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data, port = Path(folder) / "data", free_port()
        environment = {**os.environ, "KEFU_GENERATOR": "", "KEFU_DATA": str(data)}
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
            found = go(base, key)
        finally:
            service.terminate()
            service.wait(60)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = round(used.ru_utime + used.ru_stime, 1)
    print(json.dumps({**found, "cpu_seconds": cpu}, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main()
