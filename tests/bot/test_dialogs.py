"""Conversations in and out of a real database."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot.dialogs import export_dialogs, import_dialogs
from bot.storage import training
from bot.storage.database import Database, opened
from finetune.errors import FinetuneError

NATIVE = {
    "id": "c1",
    "messages": [
        {"role": "user", "content": "东西坏了谁出运费", "faq_id": "return-freight"},
        {"role": "assistant", "content": "由商家承担。"},
        {"role": "user", "content": "你们老板是谁", "faq_id": None},
    ],
}
SHAREGPT = {"id": "c2", "conversations": [{"from": "human", "value": "在吗"}, {"from": "gpt", "value": "在的"}]}


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with opened(f"sqlite+aiosqlite:///{tmp_path / 'kefu.db'}") as found:
        yield found


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


async def test_import_twice_changes_nothing_and_export_round_trips(database: Database, tmp_path: Path) -> None:
    file = lines(tmp_path / "dialogs.jsonl", NATIVE, SHAREGPT)
    first = await import_dialogs(database, file, file.name)
    assert (first.added, first.messages, first.labelled, first.unknown) == (2, 5, 2, 1)
    again = await import_dialogs(database, file, file.name)
    assert (again.added, again.updated, again.skipped) == (0, 0, 2)
    out = tmp_path / "out.jsonl"
    assert await export_dialogs(database, out) == 2
    written = {row["id"]: row for row in map(json.loads, out.read_text(encoding="utf-8").splitlines())}
    assert written["c1"] == NATIVE
    assert written["c2"]["messages"][1] == {"role": "assistant", "content": "在的"}
    back = await import_dialogs(database, out, out.name)
    assert (back.added, back.updated, back.skipped) == (0, 0, 2)


async def test_a_corrected_conversation_replaces_the_old_one(database: Database, tmp_path: Path) -> None:
    await import_dialogs(database, lines(tmp_path / "a.jsonl", NATIVE), "a.jsonl")
    corrected = {**NATIVE, "messages": [{"role": "user", "content": "东西坏了谁出运费", "faq_id": "freight"}]}
    report = await import_dialogs(database, lines(tmp_path / "b.jsonl", corrected), "b.jsonl")
    assert report.updated == 1
    async with database.reading() as session:
        found = [one async for one in training.conversations(session)]
        counts = await training.counts(session)
    assert [message.faq_id for message in found[0].messages] == ["freight"]
    assert counts == training.Counts(1, 1, 1)


async def test_bad_lines_are_named_and_good_ones_kept(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "mixed.jsonl"
    file.write_text(json.dumps(NATIVE, ensure_ascii=False) + '\n{"id": 7}\nnot json\n', encoding="utf-8")
    report = await import_dialogs(database, file, file.name)
    assert (report.added, report.failed) == (1, 2)
    assert [problem["line"] for problem in report.problems] == [2, 3]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00binary", b"not json\n", b"[]"])
async def test_a_file_without_conversations_is_refused(database: Database, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_bytes(content)
    with pytest.raises(FinetuneError, match=r"bad\.jsonl"):
        await import_dialogs(database, file, file.name)
    async with database.reading() as session:
        assert (await training.counts(session)).conversations == 0


async def test_a_thousand_real_conversations(database: Database, bench_data: Path, tmp_path: Path) -> None:
    source = bench_data / "dialogs" / "jddc.jsonl"
    report = await import_dialogs(database, source, source.name)
    assert report.added == len(source.read_text(encoding="utf-8").splitlines()) == 994
    out = tmp_path / "out.jsonl"
    assert await export_dialogs(database, out) == 994
    assert (await import_dialogs(database, out, out.name)).skipped == 994


ANSWERED = {
    "id": "a1",
    "messages": [
        {"role": "user", "content": "我是王小明，电话13812345678，东西坏了谁出运费", "faq_id": "return-freight"},
        {"role": "assistant", "content": "由商家承担。"},
    ],
}


@pytest.mark.parametrize("form", ["sharegpt", "alpaca"])
async def test_what_is_written_to_train_on_has_no_personal_data_and_comes_back(
    database: Database, tmp_path: Path, form: Any
) -> None:
    await import_dialogs(database, lines(tmp_path / "a.jsonl", ANSWERED, SHAREGPT), "a.jsonl")
    out = tmp_path / "out.json"
    assert await export_dialogs(database, out, form) == 2
    text = out.read_text(encoding="utf-8")
    assert "13812345678" not in text
    assert "[电话]" in text
    back = await import_dialogs(database, out, out.name)
    assert (back.conversations, back.failed, back.labelled) == (2, 0, 1)


async def test_llamafactorys_folder_is_written_and_read(database: Database, tmp_path: Path) -> None:
    await import_dialogs(database, lines(tmp_path / "a.jsonl", ANSWERED, SHAREGPT), "a.jsonl")
    folder = tmp_path / "llamafactory"
    assert await export_dialogs(database, folder, "llamafactory") == 2
    info = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
    assert {name: (one["file_name"], one["formatting"]) for name, one in info.items()} == {
        "kefu_sharegpt": ("kefu_sharegpt.json", "sharegpt"),
        "kefu_alpaca": ("kefu_alpaca.json", "alpaca"),
    }
    report = await import_dialogs(database, folder / "dataset_info.json", "dataset_info.json")
    assert (report.conversations, report.failed) == (4, 0)
