"""The power goes during `kefu import`: each file is in the knowledge base whole or not at all, and nothing is lost."""

import hashlib
import json
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ENTRIES = 24


def write_faq(path: Path, answers: dict[str, str]) -> Path:
    rows = [{"question": question, "answer": answer} for question, answer in answers.items()]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@dataclass(frozen=True)
class Case:
    """An import over what was there before, and what must be there after it."""

    name: str
    template: Path
    args: tuple[str, ...]
    before: Any
    after: Any
    seconds: float
    statements: list[int]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    first = {f"第{n}号锅具能不能放进洗碗机": f"{n}号可以。" for n in range(ENTRIES)}
    write_faq(folder / "first.jsonl", first)
    write_faq(folder / "second.jsonl", {f"第{n}号灯泡坏了怎么更换": f"拧下{n}号即可。" for n in range(ENTRIES)})
    changed = {question: answer + "请用低温。" for question, answer in list(first.items())[: ENTRIES // 2]}
    write_faq(folder / "changed.jsonl", changed | {"新款锅具什么时候上市": "下个月。"})
    sections = [f"## 第{n}条\n\n第{n}条规定：" + "退换货时请保留完整包装和发票。" * 20 for n in range(12)]
    (folder / "policy.md").write_text("# 售后政策\n\n" + "\n\n".join(sections), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def _filled(machine: Any, files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("template") / "data"
    machine.start(data, "import", str(files / "first.jsonl")).finish()
    return data


@pytest.fixture(params=["into nothing", "beside others", "new version", "passages"])
async def case(
    request: pytest.FixtureRequest, machine: Any, files: Path, _filled: Path, tmp_path: Path,
    stored: Callable[..., Any], copy_of: Callable[..., Any], in_step: Callable[..., Any],
) -> Case:  # fmt: skip
    template, data = tmp_path / "template", tmp_path / "whole"
    if request.param == "into nothing":
        template.mkdir()
        args = ("import", str(files / "first.jsonl"))
    else:
        copy_of(_filled, template)
        await in_step(template)  # leaves a snapshot of the index
        name = {"beside others": "second.jsonl", "new version": "changed.jsonl", "passages": "policy.md"}[request.param]
        (document,) = (await stored(template)).documents
        replaces = ("--replace", document) if request.param == "new version" else ()
        args = ("import", str(files / name), *replaces)
    before = await stored(copy_of(template, data))
    copy_of(template, data)
    running = machine.start(data, *args)
    running.finish()
    seconds, after = time.monotonic() - running.started, await stored(data)
    statements = machine.in_transaction(copy_of(template, data), *args)
    return Case(request.param, template, args, before, after, seconds, statements)


def without_ids(state: Any) -> tuple[Any, ...]:
    return state.answers, state.passages, sorted(state.documents.values()), state.imports


async def check(data: Path, case: Case, stored: Callable[..., Any]) -> bool:
    """All or nothing; whether it is all."""
    now = await stored(data)
    assert without_ids(now) in (without_ids(case.before), without_ids(case.after))
    for sha256 in now.documents.values():
        assert hashlib.sha256((data / "uploads" / sha256).read_bytes()).hexdigest() == sha256
    with closing(sqlite3.connect(data / "kefu.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    return without_ids(now) == without_ids(case.after)


@pytest.mark.slow
@pytest.mark.parametrize("points", [1, pytest.param(10, marks=pytest.mark.soak)])
async def test_each_file_is_in_as_a_whole_or_not_at_all(
    machine: Any, case: Case, points: int, tmp_path: Path, moments: Callable[..., list[float]],
    stored: Callable[..., Any], copy_of: Callable[..., Any], in_step: Callable[..., Any],
) -> None:  # fmt: skip
    """A third of the cuts by the clock, the others before a statement of the transaction, its commit, and after it."""
    gone = [question for question in case.before.answers if question not in case.after.answers]
    whole = 0
    numbers = moments(len(case.name), 2 * points, len(case.statements))
    for number in numbers:
        data = copy_of(case.template, tmp_path / "data")
        running = machine.start(data, *case.args, statement=case.statements[int(number)])
        assert running.wait()
        assert running.cut(), running.output
        whole += await check(data, case, stored)
    for moment in moments(len(case.name), points, case.seconds):
        data, seconds = copy_of(case.template, tmp_path / "data"), moment
        while not machine.start(data, *case.args).cut_after(seconds):  # it was quicker this time
            data, seconds = copy_of(case.template, data), seconds / 2
        whole += await check(data, case, stored)
        await in_step(data)
        machine.start(data, *case.args).finish()
        assert await check(data, case, stored)
        await in_step(data, gone)
    within = f"{case.seconds:.2f} s and {len(case.statements)} statements"
    print(f"{case.name}: {3 * points} cuts within {within}, {whole} after the commit")


@pytest.mark.slow
@pytest.mark.parametrize("points", [2, pytest.param(100, marks=pytest.mark.soak)])
async def test_what_was_uploaded_is_kept_whole(
    machine: Any, files: Path, tmp_path: Path, points: int, stored: Callable[..., Any]
) -> None:
    """Cut right before changes of files in the folder of uploads: temporary file, rename, and after it."""
    data, file = tmp_path / "data", files / "second.jsonl"
    changes, running = machine.changes(data, "import", str(file), within=data / "uploads")
    running.finish()
    assert len(changes) >= 3
    for number in range(1, len(changes) + 1)[:: max(1, len(changes) // points)]:
        shutil.rmtree(data)
        running = machine.start(data, "import", str(file), cut=(str(data / "uploads"), number))
        assert running.wait()
        assert running.cut(), running.output
        assert not (await stored(data)).documents
        machine.start(data, "import", str(file)).finish()
        (sha256,) = (await stored(data)).documents.values()
        assert (data / "uploads" / sha256).read_bytes() == file.read_bytes()
