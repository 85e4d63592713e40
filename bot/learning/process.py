"""The process that carries a run out: started, listened to, ended in good order."""

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from bot.learning.runs import Context, Prepared
from finetune.errors import FinetuneError

# How a run ends that the same command takes up again.
GOES_ON = ("training_stopped", "training_busy", "write_failed")
STOP_SECONDS_MAX = 60.0
Event = dict[str, Any]


async def carry_out(
    run: Prepared, on_event: Callable[[Event], None], cancelled: asyncio.Event | None = None, *flags: str
) -> dict[str, Any]:
    """Runs the worker to its end and returns its result; each event it tells is passed on. `flags` are the worker's.

    Where `cancelled` is set, or this task is cancelled, the worker writes a checkpoint and ends.

    Raises:
        FinetuneError: what the worker says, `training_stopped` when it was asked to stop, or `training_died`.
    """
    process = await _start(run.folder, *flags)
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise RuntimeError("the worker was started without pipes")
    last: Event = {}
    watching = asyncio.create_task(_close_when(cancelled, stdin)) if cancelled else None
    try:
        async for line in stdout:
            with suppress(ValueError):
                last = json.loads(line)
                on_event(last)
        await process.wait()
    finally:
        if watching:
            watching.cancel()
        await asyncio.shield(_end(process))
    if last.get("event") == "result":
        result: dict[str, Any] = last["result"]
        return result
    if last.get("event") == "error":
        if last["code"] not in GOES_ON and Context.read(run.folder).imported:
            await asyncio.to_thread(shutil.rmtree, run.folder, ignore_errors=True)  # it will never load
        raise FinetuneError(last["code"], last["zh"], last["en"])
    raise died(process.returncode or 0, run.folder / "worker.log")


def died(code: int, log: Path) -> FinetuneError:
    """What to say of a worker that ended without a word, by its exit status; below 0 is the signal that ended it."""
    if code == -signal.SIGKILL:  # nobody else is likely to: the log holds nothing of it
        return FinetuneError(
            "training_died",
            "训练进程被系统强行结束，多半是内存不够；进度已保存。腾出一些内存，重新开始训练就接着做。",
            "The system killed the training process, most likely for lack of memory. Its progress is kept: free some "
            "memory and start the training again to go on.",
        )
    return FinetuneError(
        "training_died",
        f"训练进程意外结束（代码 {code}），进度已保存，重新开始即可继续。详情见 {log}。",
        f"The training process ended unexpectedly (code {code}); start again to resume. See {log}.",
    )


async def _start(folder: Path, *flags: str) -> asyncio.subprocess.Process:
    import bot

    path = [str(Path(bot.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    # Waiting threads must sleep: the service answers on the same cores.
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path)), "OMP_WAIT_POLICY": "PASSIVE"}
    with (folder / "worker.log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bot.learning.worker",
            f"--owner={os.getpid()}",
            *flags,
            str(folder),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env=env,
            limit=2**20,
            start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the worker in good order
        )


async def _close_when(cancelled: asyncio.Event, stdin: asyncio.StreamWriter) -> None:
    await cancelled.wait()
    stdin.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Closing its standard input asks the worker to save and stop; after a while it is ended."""
    if process.stdin:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS_MAX)
    except TimeoutError:
        process.kill()
        await process.wait()
