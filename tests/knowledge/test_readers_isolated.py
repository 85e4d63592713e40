"""Reading in a process of its own: what it returns, what stops it, and that none is left behind."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from knowledge.errors import ReadError
from knowledge.readers import read, read_isolated

LINES = "问题,答案\n怎么退货,七天内无理由退货，运费由我们承担。\n"
READER = """
import asyncio, sys
from pathlib import Path
from knowledge.readers import read_isolated
asyncio.run(read_isolated(Path(sys.argv[1])))
"""


@pytest.fixture
def endless(tmp_path: Path) -> Iterator[tuple[Path, Callable[[], psutil.Process]]]:
    """A file that whoever reads it never comes to the end of, and a way to wait for the process that reads it."""
    path, held = tmp_path / "endless.csv", []
    os.mkfifo(path)

    def reader() -> psutil.Process:
        end = time.monotonic() + 60
        while True:
            try:
                held.append(os.open(path, os.O_WRONLY | os.O_NONBLOCK))  # fails until somebody reads
                break
            except OSError:
                assert time.monotonic() < end
                time.sleep(0.02)
        (found,) = [
            one for one in psutil.process_iter(["cmdline"]) if {"read", str(path)} <= set(one.info["cmdline"] or [])
        ]
        return found

    yield path, reader
    for number in held:
        os.close(number)


async def test_the_same_as_without(tmp_path: Path) -> None:
    path = tmp_path / "-faq.csv"
    path.write_text(LINES, encoding="utf-8")
    assert await read_isolated(path, "表.csv") == read(path, "表.csv")
    path.write_bytes(b"%PDF-1.7")
    with pytest.raises(ReadError) as caught:
        await read_isolated(path, "--手册.pdf")
    assert caught.value.code == "malformed"
    assert "--手册.pdf" in str(caught.value)


async def test_a_child_that_runs_out_of_memory_or_time_is_one_failed_file(
    tmp_path: Path, endless: tuple[Path, Callable[[], psutil.Process]]
) -> None:
    others = set(psutil.Process().children(recursive=True))
    path = tmp_path / "faq.csv"
    path.write_text(LINES * 2000, encoding="utf-8")
    with pytest.raises(ReadError) as caught:
        await read_isolated(path, memory_bytes_max=30 * 1024 * 1024)
    assert caught.value.code == "crashed"
    with pytest.raises(ReadError) as caught:
        await read_isolated(endless[0], seconds_max=0.01)
    assert caught.value.code == "timeout"
    assert set(psutil.Process().children(recursive=True)) <= others


async def test_cancelled_it_ends_the_child(endless: tuple[Path, Callable[[], psutil.Process]]) -> None:
    path, reader = endless
    reading = asyncio.create_task(read_isolated(path))
    child = await asyncio.to_thread(reader)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert not child.is_running()


def test_a_child_does_not_outlive_its_parent(endless: tuple[Path, Callable[[], psutil.Process]]) -> None:
    path, reader = endless
    with subprocess.Popen([sys.executable, "-c", READER, str(path)]) as parent:
        child = reader()
        parent.kill()
    gone, _ = psutil.wait_procs([child], 60)
    assert gone == [child]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopping_the_import_command_leaves_no_process_and_writes_nothing(
    endless: tuple[Path, Callable[[], psutil.Process]], tmp_path: Path, number: signal.Signals
) -> None:
    path, reader = endless
    command = [sys.executable, "-m", "bot.cli", "import", str(path), "--data", str(tmp_path / "data")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as importing:
        child = reader()
        importing.send_signal(number)
        out, error = importing.communicate(timeout=60)
    assert out == ""
    assert "Traceback" not in error
    if number == signal.SIGINT:
        assert (importing.returncode, "Interrupted." in error or "已中断。" in error) == (130, True)
    gone, _ = psutil.wait_procs([child], 60)
    assert gone == [child]
    assert not list((tmp_path / "data" / "uploads").glob("*"))
