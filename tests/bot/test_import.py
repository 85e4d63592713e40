"""Imports: what is added, updated, skipped, failed and removed; and that a killed one leaves all or nothing."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest

from bot.errors import NotFoundError
from bot.import_plan import Known, Row, decide
from bot.importing import ImportReport, import_file
from bot.storage import documents, knowledge
from bot.storage.database import Database, opened
from knowledge.errors import ReadError
from knowledge.types import Entry, Problem


def lines(*entries: dict) -> bytes:
    return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries).encode()


def faq(question: str, answer: str = "答", **more: object) -> dict:
    return {"question": question, "answer": answer, **more}


@pytest.fixture
def bring(database: Database, tmp_path: Path):
    async def run(content: bytes, name: str = "faq.jsonl", **options: object) -> ImportReport:
        file = tmp_path / "incoming" / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        return await import_file(database, file, name, tmp_path / "uploads", **options)

    return run


@pytest.fixture
def live(database: Database):
    async def read() -> dict[str, Entry]:
        async with database.reading() as session:
            return {entry.question: entry for entry in await knowledge.all_entries(session)}

    return read


def counts(report: ImportReport) -> tuple[int, ...]:
    return tuple(report.counts[name] for name in ("added", "updated", "skipped", "failed"))


async def test_the_same_file_again_changes_nothing(bring, live, tmp_path):
    content = lines(faq("怎么退货", similar_questions=["我要退"], tags=["a"]), faq("怎么开票", id="invoice"))
    first = await bring(content)
    assert counts(first) == (2, 0, 0, 0)
    before = await live()
    second = await bring(content)
    assert counts(second) == (0, 0, 2, 0)
    assert (second.document_id, second.revision) == (first.document_id, 0)
    assert await live() == before
    assert before["怎么开票"].id == "invoice"
    assert [path.read_bytes() for path in (tmp_path / "uploads").iterdir()] == [content]


async def test_the_same_id_with_other_content_updates(bring, live):
    await bring(lines(faq("怎么退货", id="a")))
    report = await bring(lines(faq("怎么退货", "新的答案", id="a"), faq("别的", id="b")), "second.jsonl")
    assert counts(report) == (1, 1, 0, 0)
    assert (await live())["怎么退货"].answer == "新的答案"


async def test_a_duplicate_without_id_is_skipped_within_and_across_files(bring, live):
    await bring(lines(faq("怎么退货？", "七天内。")))
    report = await bring(lines(faq(" 怎么退货 ", "七天内"), faq("新问题"), faq("新问题!")), "second.jsonl")
    assert counts(report) == (1, 0, 2, 0)
    assert {item.reason for item in report.items if item.status == "skipped"} == {"duplicate"}
    assert len(await live()) == 2


async def test_bad_rows_fail_with_place_and_reason_and_cost_no_good_one(bring, live):
    content = (
        lines(faq("好的")) + b"{not json}\n" + lines(faq("没有答案", ""), faq("", "没有问题"), faq("也好", id="x"))
    )
    report = await bring(content)
    assert counts(report) == (2, 0, 0, 3)
    failed = {item.reason: item for item in report.items if item.status == "failed"}
    assert set(failed) == {"malformed", "no_answer", "no_question"}
    assert "3" in failed["no_answer"].place
    assert failed["no_answer"].question == "没有答案"
    assert set(await live()) == {"好的", "也好"}


async def test_a_file_with_nothing_new_makes_no_document(bring, database, tmp_path):
    await bring(lines(faq("怎么退货")))
    report = await bring(lines(faq("怎么退货"), faq("x", "")), "other.jsonl")
    assert (counts(report), report.document_id) == ((0, 0, 1, 1), None)
    async with database.reading() as session:
        assert (await documents.list_documents(session))[1] == 1
    assert len(list((tmp_path / "uploads").iterdir())) == 1


async def test_a_second_file_of_the_same_name_is_another_document(bring, live):
    first = await bring(lines(faq("甲")))
    second = await bring(lines(faq("乙")))
    assert first.document_id != second.document_id
    assert set(await live()) == {"甲", "乙"}


async def test_replace_removes_what_is_gone_and_keeps_ids(bring, live):
    first = await bring(lines(faq("留下"), faq("改答案"), faq("删掉"), faq("带号", id="n")))
    other = await bring(lines(faq("别的文件")), "other.jsonl")
    before = await live()
    report = await bring(
        lines(faq("留下"), faq("改答案", "新"), faq("带号", "新", id="n"), faq("新增")), replaces=first.document_id
    )
    assert (counts(report), report.removed) == ((1, 2, 1, 0), (before["删掉"].id,))
    after = await live()
    assert set(after) == {"留下", "改答案", "带号", "新增", "别的文件"}
    assert after["改答案"].id == before["改答案"].id
    assert {one.document_id for one in after.values()} == {first.document_id, other.document_id}


async def test_replacing_an_unknown_document_is_refused(bring, live):
    with pytest.raises(NotFoundError, match="nothing"):
        await bring(lines(faq("甲")), replaces="nothing")
    assert await live() == {}


async def test_dry_run_says_the_same_and_changes_nothing(bring, live, tmp_path):
    first = await bring(lines(faq("甲"), faq("乙")))
    content = lines(faq("甲"), faq("丙"), faq("x", ""))
    report = await bring(content, dry_run=True, replaces=first.document_id)
    assert (counts(report), len(report.removed), report.dry_run) == ((1, 0, 1, 1), 1, True)
    assert report.to_json()["dry_run"] is True
    assert set(await live()) == {"甲", "乙"}
    assert len(list((tmp_path / "uploads").iterdir())) == 1


async def test_a_deleted_entry_comes_back(bring, live, database):
    report = await bring(lines(faq("甲", id="a")))
    async with database.session() as session:
        await documents.remove_document(session, report.document_id)
    assert await live() == {}
    again = await bring(lines(faq("甲", id="a")))
    assert counts(again) == (1, 0, 0, 0)
    assert (await live())["甲"].document_id == again.document_id != report.document_id


async def test_passages_are_stored_changed_and_removed(bring, database):
    text = "# 配送\n\n## 时效\n\n一般三天送达。\n\n## 费用\n\n满九十九元包邮。\n"
    report = await bring(text.encode(), "配送.md")
    assert report.passages >= 1
    assert report.counts["added"] == 0

    async def passages() -> dict[str, str]:
        async with database.reading() as session:
            changes = await knowledge.changes_since(session, 0)
        return {unit.id: unit.text for unit in changes.upserts}

    before = await passages()
    assert "三天" in "".join(before.values())
    again = await bring(text.encode(), "配送.md")
    assert again.revision == 0
    report = await bring(text.replace("三天", "两天").encode(), "配送.md", replaces=report.document_id)
    after = await passages()
    assert set(after) == set(before)
    assert "两天" in "".join(after.values())
    report = await bring("只有一段。".encode(), "配送.md", replaces=report.document_id)
    assert list((await passages()).values()) == ["只有一段。"]


HANDBOOK = "# 配送\n\n## 时效\n\n一般三天送达，偏远地区要五到七天，节假日顺延，请您留意物流信息的更新。\n"


async def test_a_preview_of_a_new_version_names_what_it_would_remove(bring, live):
    stored = await bring(lines(faq("怎么退货", "七天内"), faq("怎么换货", "联系客服"), faq("包邮吗", "包")))
    for dry_run in (True, False):
        report = await bring(lines(faq("包邮吗", "包")), "新版.jsonl", replaces=stored.document_id, dry_run=dry_run)
        assert {(one.kind, one.title, one.text) for one in report.gone} == {
            ("faq", "怎么退货", "七天内"),
            ("faq", "怎么换货", "联系客服"),
        }
        said = report.to_json()
        assert (said["removed"], said["passages_removed"]) == (2, 0)
        assert {one["title"] for one in said["removals"]} == {"怎么退货", "怎么换货"}
        assert len(await live()) == (3 if dry_run else 1)
    text = HANDBOOK + "\n## 费用\n\n满九十九元包邮。\n\n## 售后\n\n七天内可以退。\n"
    stored = await bring(text.encode(), "配送.md")
    shorter = text.replace(HANDBOOK, "# 配送\n")
    report = await bring(shorter.encode(), "配送.md", replaces=stored.document_id, dry_run=True)
    assert [(one.kind, one.title) for one in report.gone] == [("passage", "配送 / 时效")], "the others only move up"
    assert report.to_json()["passages_removed"] == 1


async def test_a_new_version_that_keeps_nothing_says_so(bring):
    rows = lines(faq("怎么退货", "七天内"), faq("包邮吗", "包"))
    stored = await bring(rows, "问答.jsonl")
    for name, content, nothing_kept in (
        ("更正.jsonl", lines(faq("包邮吗", "不包")), False),
        ("别的.jsonl", lines(faq("怎么开门", "推")), True),
        ("配送.md", HANDBOOK.encode(), True),
        ("问答.jsonl", rows, False),
    ):
        report = await bring(content, name, replaces=stored.document_id, dry_run=True)
        assert (report.nothing_kept, report.to_json().get("nothing_kept", False)) == (nothing_kept, nothing_kept), name
    report = await bring(lines(faq("怎么开门", "推")), "别的.jsonl", replaces=stored.document_id)
    assert report.nothing_kept
    assert len(report.gone) == 2
    assert not (await bring(lines(faq("在吗", "在")), "新的.jsonl")).nothing_kept
    prose = await bring(HANDBOOK.encode(), "配送.md")
    other = await bring("# 保养\n\n用软布擦拭，不要泡水。\n".encode(), "保养.md", replaces=prose.document_id)
    assert other.nothing_kept


async def test_a_passage_that_another_document_has_is_skipped_and_its_twin_named(bring, database):
    await bring(HANDBOOK.encode(), "配送.md")

    async def passages() -> list[tuple[str, str]]:
        async with database.reading() as session:
            changes = await knowledge.changes_since(session, 0)
        return sorted((unit.title, unit.text) for unit in changes.upserts)

    before = await passages()
    more = HANDBOOK.replace("配送", "物流") + "\n## 费用\n\n满九十九元包邮。\n"
    for dry_run in (True, False):
        report = await bring(more.encode(), "物流.md", dry_run=dry_run)
        (one,) = report.to_json()["passage_duplicates"]
        assert (one["title"], one["twin"]["title"], one["twin"]["document"]) == (
            "物流 / 时效",
            "配送 / 时效",
            "配送.md",
        )
        assert one["text"].startswith("一般三天送达")
        assert (report.passages, report.to_json()["passages_skipped"]) == (1, 1)
    assert await passages() == sorted([*before, ("物流 / 费用", "满九十九元包邮。")])
    assert not (await bring(more.encode(), "物流.md")).changes
    assert not (await bring(HANDBOOK.encode(), "配送.md")).changes, "its own are none of another"
    report = await bring(HANDBOOK.encode() + b"\n", "第三份.md")
    assert (report.document_id, report.changes, report.passages) == (None, False, 0)
    report = await bring("# 运费\n\n## 费用\n\n满九十九元包邮。\n".encode(), "运费.md")
    assert not report.passages_repeated, "so few words may say another thing under another heading"
    text = HANDBOOK.replace("三天", "四天")
    first = await bring(text.encode(), "甲.md", dry_run=True)
    again = await bring(text.encode() + b"\n", "乙.md", dry_run=True, earlier=[first])
    assert [one.document for one in again.passages_repeated] == ["甲.md"]


async def test_a_preview_says_whether_anything_would_change(bring):
    text = "# 年假\n\n工作满一年有五天年假，当年没有休完可以顺延到次年三月。\n".encode()
    rows = lines(faq("怎么退货"))
    for content, name in ((text, "手册.md"), (rows, "faq.jsonl")):
        assert (await bring(content, name, dry_run=True)).changes
        stored = await bring(content, name)
        assert stored.changes
        assert not (await bring(content, name, dry_run=True)).changes, "all of it is there by now"
        assert not (await bring(content, name)).changes
        shorter = await bring("只有一段。".encode(), "新版.md", replaces=stored.document_id, dry_run=True)
        assert shorter.changes
    assert not (await bring(lines(faq("没有答案", "")), dry_run=True)).changes


async def test_gb18030_is_read(bring, live):
    await bring("问题,答案\n怎么退货？,七天内可以退货。\n".encode("gb18030"), "faq.csv")
    assert (await live())["怎么退货？"].answer == "七天内可以退货。"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty"),
        (b"  \n \n", "empty"),
        (b"\x00\x01\x02\xff\xfe" * 500, "binary"),
        (b"%PDF-1.7 ...", "malformed"),
        (b"PK\x03\x04 broken", "malformed"),
    ],
)
async def test_files_that_cannot_be_read_are_one_sentence(bring, live, tmp_path, content, code):
    with pytest.raises(ReadError) as caught:
        await bring(content, "upload.bin")
    assert caught.value.code == code
    assert caught.value.zh
    assert caught.value.en
    assert await live() == {}
    assert not (tmp_path / "uploads").exists()


async def test_a_file_of_a_hundred_megabytes_is_refused(bring, tmp_path):
    with pytest.raises(ReadError) as caught:
        await bring(b"x" * (100 * 1024 * 1024 + 1), "big.txt")
    assert caught.value.code == "too_large"


async def test_two_imports_at_once_both_arrive(database, tmp_path, live):
    async def one(number: int) -> ImportReport:
        file = tmp_path / f"{number}.jsonl"
        file.write_bytes(lines(*(faq(f"问题{number}-{n}") for n in range(50)), faq("共同的")))
        return await import_file(database, file, file.name, tmp_path / "uploads")

    reports = await asyncio.gather(*(one(number) for number in range(4)))
    assert sum(report.counts["added"] for report in reports) == 201
    assert len(await live()) == 201


@pytest.mark.slow
async def test_ten_thousand_rows(database, tmp_path, live):
    file = tmp_path / "big.jsonl"
    file.write_bytes(lines(*(faq(f"商品{n}怎么保养", f"用{n}号清洁剂") for n in range(10_000))))
    report = await import_file(database, file, file.name, tmp_path / "uploads")
    assert counts(report) == (10_000, 0, 0, 0)
    document = report.to_json(items_max=100)
    assert (len(document["items"]), document["items_omitted"]) == (100, 9_900)
    assert len(await live()) == 10_000


def test_the_plan_prefers_named_rows_over_questions():
    replaced = {"a": Known(Entry("a", "问", "旧"), "h0")}
    rows = [Row(Entry("", "问", "新"), "1", "h1"), Row(Entry("a", "问", "带号"), "2", "h2")]
    plan = decide("f", rows, [Problem("3", "duplicate", "x")], {}, {}, replaced)
    assert [entry.id for entry, _ in plan.updated] == ["a"]
    assert len(plan.added) == 1
    assert plan.removed == {}
    assert [item.status for item in plan.items] == ["added", "updated", "skipped"]


IMPORTER = """
import asyncio, sys
from pathlib import Path
from bot.importing import import_file
from bot.storage.database import Database
async def main():
    database = Database(sys.argv[1])
    await database.open()
    print("go", flush=True)
    await import_file(database, Path(sys.argv[2]), "faq.jsonl", Path(sys.argv[3]))
    print("done", flush=True)
    await database.close()
asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("delay_ms", [0, 30, 60, 100, 160])
async def test_killed_at_any_moment_it_is_all_or_nothing(tmp_path, delay_ms):
    await _kill_during_import(tmp_path, delay_ms)


@pytest.mark.soak
@pytest.mark.parametrize("delay_ms", range(0, 500, 10))
async def test_killed_at_many_moments_it_is_all_or_nothing(tmp_path, delay_ms):
    await _kill_during_import(tmp_path, delay_ms)


async def _kill_during_import(tmp_path: Path, delay_ms: int) -> None:
    file, path = tmp_path / "faq.jsonl", tmp_path / "kefu.db"
    file.write_bytes(lines(*(faq(f"商品{n}怎么保养", f"用{n}号清洁剂") for n in range(600))))
    url, uploads = f"sqlite+aiosqlite:///{path}", tmp_path / "uploads"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", IMPORTER, url, str(file), str(uploads), stdout=subprocess.PIPE, env=one_thread()
    )
    assert await process.stdout.readline() == b"go\n"
    await asyncio.sleep(delay_ms / 1000)
    with suppress(ProcessLookupError):
        process.kill()
    await process.communicate()
    with closing(sqlite3.connect(path)) as connection:
        found = (
            connection.execute("SELECT count(*) FROM entries").fetchone()[0],
            connection.execute("SELECT count(*) FROM documents").fetchone()[0],
        )
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert found in ((0, 0), (600, 1))
    kept = [one for one in uploads.glob("*") if one.suffix != ".part"]
    assert all(one.read_bytes() == file.read_bytes() for one in kept)
    async with opened(url) as database:  # and it goes on from there
        report = await import_file(database, file, file.name, uploads)
    assert report.counts["added"] + report.counts["skipped"] == 600
    assert report.document_id


def one_thread() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}
