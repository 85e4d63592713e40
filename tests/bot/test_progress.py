"""Progress in a real terminal: shown to who waits, and nothing left of it."""

import os
import pty
import sys
import termios
from collections.abc import Iterator
from typing import TextIO

import pytest

from bot.commands import progress


@pytest.fixture
def terminal() -> Iterator[tuple[int, TextIO]]:
    """What is written to the file is read from the number."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    with os.fdopen(slave, "w") as error:
        yield master, error
    os.close(master)


def read_until(master: int, text: str) -> str:
    seen = b""
    while text not in (decoded := seen.decode("utf-8", "ignore")):
        seen += os.read(master, 4096)
    return decoded


def test_who_waits_sees_what_for_before_anything_is_counted(terminal, monkeypatch):
    monkeypatch.setattr(progress, "SILENT_SECONDS", 0.1)
    monkeypatch.setattr(progress, "DRAWN_SECONDS", 0.05)
    master, error = terminal
    monkeypatch.setattr(sys, "stderr", error)
    with progress.bar("载入知识库") as tell:
        assert "载入知识库…" in read_until(master, "…")
        tell(3, 12)
        assert "3/12" in read_until(master, "3/12")
    error.write("END")
    error.flush()
    assert read_until(master, "END").rpartition("\r")[2] == "END", "the line is cleared"


def test_who_does_not_wait_sees_nothing(terminal, monkeypatch):
    monkeypatch.setattr(progress, "SILENT_SECONDS", 3600.0)
    master, error = terminal
    monkeypatch.setattr(sys, "stderr", error)
    with progress.bar("载入知识库") as tell:
        for number in range(50):
            tell(number, 50)
    error.write("END")
    error.flush()
    assert read_until(master, "END") == "END"


def test_elsewhere_it_is_silent(capsys, monkeypatch):
    monkeypatch.setattr(progress, "SILENT_SECONDS", 0.0)
    with progress.bar("载入知识库") as tell:
        tell(1, 2)
    assert capsys.readouterr() == ("", "")
