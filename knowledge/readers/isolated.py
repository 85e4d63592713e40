"""Reading in a process of its own: a file that crashes or swells takes no service with it."""

import asyncio
import json
import os
import sys
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

from knowledge.errors import ReadError
from knowledge.types import Entry, Passage, Problem, ReadResult

MEMORY_BYTES_MAX = 2 * 1024**3
SECONDS_MAX = 300.0
HOME = str(Path(__file__).resolve().parents[2])
LABELS, DAYS = ("tags", "channels"), ("valid_from", "valid_until")


async def read_isolated(
    path: Path, name: str | None = None, *, seconds_max: float = SECONDS_MAX, memory_bytes_max: int = MEMORY_BYTES_MAX
) -> ReadResult:
    """What `read` returns or raises, from a child process with bounded time and memory.

    Cancelling this ends the child at once; it also ends by itself when this process is gone, whatever took it.
    Raises ReadError `timeout` or `crashed` where the child did not come to an end of its own.
    """
    name = name or path.name
    process = await _start(path, name, memory_bytes_max)
    output = process.stdout
    if output is None:
        raise RuntimeError("the reader was started without pipes")
    try:
        async with asyncio.timeout(seconds_max):
            said = await output.read()
            await process.wait()
    except TimeoutError as error:
        raise ReadError(
            "timeout",
            f"读取文件「{name}」超过 {seconds_max:.0f} 秒，已停止。",
            f"Reading {name} took more than {seconds_max:.0f} seconds and was stopped.",
        ) from error
    finally:
        await asyncio.shield(_end(process))
    return await asyncio.to_thread(_result, said, name, process.returncode)


async def _start(path: Path, name: str, memory_bytes_max: int) -> asyncio.subprocess.Process:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [HOME, os.environ.get("PYTHONPATH", "")])),
        "PYTHONIOENCODING": "utf-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    options = [f"--name={name}", "--json", "--memory-bytes", str(memory_bytes_max), "--until-input-ends"]
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "knowledge", "read", *options, "--", str(path),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env=environment,
        start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the child
    )  # fmt: skip


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if process.stdin:
        process.stdin.close()


def _result(said: bytes, name: str, code: int | None) -> ReadResult:
    try:
        found = json.loads(said)
    except ValueError:
        raise ReadError(
            "crashed",
            f"文件「{name}」无法读取：读取它的进程意外结束（代码 {code}），文件可能已损坏或过大。",
            f"{name} cannot be read: the process reading it ended with code {code}; "
            "the file may be damaged or too large.",
        ) from None
    if "error" in found:
        raise ReadError(found["error"]["code"], found["error"]["zh"], found["error"]["en"])
    return from_json(found)


def to_json(result: ReadResult) -> dict[str, Any]:
    """A result as plain JSON values; `from_json` reads it back equal."""
    entries = [
        _values(entry) | {name: day.isoformat() for name in DAYS if (day := getattr(entry, name))}
        for entry in result.entries
    ]
    passages, problems = (list(map(_values, some)) for some in (result.passages, result.problems))
    return {"entries": entries, "places": list(result.places), "passages": passages, "problems": problems}


def _values(value: Entry | Passage | Problem) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


def from_json(found: dict[str, Any]) -> ReadResult:
    return ReadResult(
        entries=tuple(_entry(entry) for entry in found["entries"]),
        places=tuple(found["places"]),
        passages=tuple(Passage(**passage) for passage in found["passages"]),
        problems=tuple(Problem(**problem) for problem in found["problems"]),
    )


def _entry(found: dict[str, Any]) -> Entry:
    lists: dict[str, Any] = {name: tuple(found[name]) for name in ("similar_questions", "negative_questions", *LABELS)}
    days = {name: found[name] and date.fromisoformat(found[name]) for name in DAYS}
    return Entry(**{**found, **lists, **days})
