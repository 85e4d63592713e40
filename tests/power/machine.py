"""A machine whose power can be cut: the product's own entry points in processes forked after its imports.

    python machine.py        one order (JSON) a line on standard input; answers `PID`, then `STATUS` when it ended

Forking saves the seconds of importing torch at each start; everything the product does itself (settings, database,
models, index) it does anew in each process. An order: {"run": "cli"|"worker", "args", "env", "log"} and one or none of
"cut" and "operations" (which changes of files are made in a folder, written to a file). `exact_max` is the number of
texts up to which all are compared: a low one has the inverted file built for a handful. `constants` are values of
modules by their full name, `slow` [adapter, seconds] makes an encoder late.
With `cut` [folder, n] the process kills itself -9 right before its nth change of files in that folder, with
`statement` n right before the nth thing it says to the database: these hit the same moment every time. Other moments
are hit from outside, by the clock.
"""

import gc
import importlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import knowledge.dense

CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate"}
IMPORTED = ("torch", "transformers", "peft", "faiss", "safetensors.torch", "bot.app", "bot.cli", "bot.learning.worker")


def count_changes(folder: str, cut_at: int | None, log: Path | None) -> None:
    seen = 0

    def watch(event: str, args: tuple[Any, ...]) -> None:
        nonlocal seen
        writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if not (writes or event in CHANGES) or isinstance(args[0], int):
            return
        path = os.fsdecode(os.fspath(args[0]))
        if not path.startswith(folder) or path.endswith("worker.log"):
            return
        seen += 1
        if seen == cut_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if log and path != str(log):
            with log.open("a") as file:
                file.write(f"{event} {path}\n")

    sys.addaudithook(watch)


def count_statements(cut_at: int, log: Path | None) -> None:
    """As above, for what is said to the database: each statement and each commit."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    seen = 0

    def note(*what: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == cut_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if log:
            with log.open("a") as file:
                file.write(" ".join(str(what[2] if len(what) > 1 else "COMMIT").split()) + "\n")

    event.listen(Engine, "before_cursor_execute", note)
    event.listen(Engine, "commit", note)


def slow_down(adapter: str, seconds: float) -> None:
    """The encoder with this adapter takes so long for a question, as one may that is too large for the machine."""
    import bot.knowledge_base

    load = bot.knowledge_base.load_encoder

    def slow(settings: Any, folder: Path | None = None) -> Any:
        encoder = load(settings, folder)
        if folder and folder.name == adapter:
            encode = encoder.encode

            def late(texts: Any, *rest: Any, **named: Any) -> Any:
                if len(texts) == 1:
                    time.sleep(seconds)
                return encode(texts, *rest, **named)

            encoder.encode = late
        return encoder

    bot.knowledge_base.load_encoder = slow


def become(order: dict[str, Any], stdin: int, output: int) -> int:
    """The forked process: the entry point with its own environment and output; returns the exit status."""
    for number, file in ((0, stdin), (1, output), (2, output)):
        os.dup2(file, number)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w", 1), open(2, "w", 1)  # noqa: SIM115
    os.environ.update(order["env"])
    if "cut" in order:
        count_changes(order["cut"][0], order["cut"][1], None)
    elif "operations" in order:
        count_changes(order["operations"][0], None, Path(order["operations"][1]))
    if "statement" in order or "statements" in order:
        count_statements(order.get("statement", 0), Path(order["statements"]) if "statements" in order else None)
    if "exact_max" in order:
        knowledge.dense.EXACT_MAX = order["exact_max"]
    for name, value in order.get("constants", {}).items():
        module, _, constant = name.rpartition(".")
        setattr(importlib.import_module(module), constant, value)
    if "slow" in order:
        slow_down(*order["slow"])
    if order["run"] == "worker":
        from bot.learning.worker import main
    else:
        from bot.cli import main
    return main(order["args"])


def serve_orders() -> None:
    os.nice(5)
    for name in IMPORTED:
        importlib.import_module(name)
    from bot.cli import build_parser

    build_parser()
    gc.freeze()
    threads = len(list(Path("/proc/self/task").iterdir()))
    print("ready" if threads == 1 else f"{threads} threads: forking is not safe", flush=True)
    while line := sys.stdin.readline():
        order = json.loads(line)
        (stdin, held_open), (read, output) = os.pipe(), os.pipe()
        reader = os.fork()
        if reader == 0:
            for number in (stdin, held_open, output):
                os.close(number)
            keep_log(read, order["log"])
        os.close(read)
        child = os.fork()
        if child == 0:
            os.close(held_open)
            run(order, stdin, output)
        os.close(stdin)
        os.close(output)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        os.waitpid(reader, 0)
        os.close(held_open)
        print(os.waitstatus_to_exitcode(status), flush=True)


def keep_log(read: int, path: str) -> None:
    """Writes down what a process says, in a process of its own: no limit on its files is one on its words."""
    with open(path, "ab", buffering=0) as file:  # noqa: PTH123
        while said := os.read(read, 65536):
            file.write(said)
    os._exit(0)


def run(order: dict[str, Any], stdin: int, output: int) -> None:
    """Ends as the interpreter does."""
    status = 1
    try:
        status = become(order, stdin, output)
    except SystemExit as ended:
        status = int(ended.code or 0)
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


if __name__ == "__main__":
    serve_orders()
