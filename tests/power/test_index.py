"""The power goes while the index is written: segments, the inverted file, the manifest, and what is cleared away."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EXACT_MAX = 20
ASK = ("ask", "--json", "第3号锅具怎么保养")


def write_faq(path: Path, name: str, count: int) -> Path:
    rows = (f'{{"question": "第{n}号{name}怎么保养", "answer": "{name}{n}"}}\n' for n in range(count))
    path.write_text("".join(rows), encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("points", [3, pytest.param(60, marks=pytest.mark.soak)])
async def test_whatever_was_being_written_the_index_is_whole(
    machine: Any, tmp_path: Path, points: int, moments: Callable[..., list[float]], copy_of: Callable[..., Any],
    in_step: Callable[..., Any], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """An import doubles what is indexed: the next to open it encodes, rebuilds, swaps, saves and merges; cut there."""
    monkeypatch.setattr("knowledge.dense.EXACT_MAX", EXACT_MAX)
    template, data = tmp_path / "template", tmp_path / "data"
    machine.start(template, "import", str(write_faq(tmp_path / "first.jsonl", "锅具", 30))).finish()
    await in_step(template)
    assert list(template.glob("index/*/*.faq")), "the inverted file is there"
    machine.start(template, "import", str(write_faq(tmp_path / "second.jsonl", "灯泡", 90))).finish()
    order = {"exact_max": EXACT_MAX, "env": {"KEFU_GENERATOR": ""}}
    folder = copy_of(template, data) / "index"
    started = time.monotonic()
    changes, running = machine.changes(data, *ASK, within=folder, **order)
    seconds = time.monotonic() - started
    assert running.status == 0, running.output
    assert any(change.startswith("os.rename") and change.endswith(".part") for change in changes), changes
    await in_step(data)
    for number in moments(5, points, len(changes)):
        copy_of(template, data)
        running = machine.start(data, *ASK, cut=(str(folder), int(number) + 1), **order)
        assert running.wait()
        await in_step(data)
        assert not list(data.glob("index/*/*.part"))
    for moment in moments(6, points // 4, seconds):
        copy_of(template, data)
        machine.start(data, *ASK, **order).cut_after(moment)
        await in_step(data)
    print(f"index: {points} cuts among {len(changes)} changes of files, {points // 4} within {seconds:.2f} s")
