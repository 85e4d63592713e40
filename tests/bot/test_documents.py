"""The life of a document: replaced, deleted, restored, downloaded, purged; over HTTP and in the terminal."""

import asyncio
import json
import os
import time
from datetime import timedelta
from email.message import Message
from pathlib import Path

import pytest
from aiohttp import web
from sqlalchemy import func, select, update

from bot import documents as life
from bot import keys, uploads
from bot.api.documents import attachment
from bot.app import _clean_up
from bot.cli import main
from bot.errors import ConflictError, NotFoundError
from bot.importing import import_file
from bot.storage import audit, documents, knowledge
from bot.storage.tables import Document, FaqEntry, PassageRow
from bot.storage.values import now

FAQ = {"question": "怎么退货", "answer": "七天内可以无理由退货。"}
MARKDOWN = "# 配送\n\n## 时效\n\n一般三天送达。\n\n## 费用\n\n满九十九元包邮。\n"


def lines(*entries: dict) -> bytes:
    return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries).encode()


@pytest.fixture
def bring(database, tmp_path):
    async def run(content: bytes, name: str = "faq.jsonl", **options):
        file = tmp_path / "incoming" / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        return await import_file(database, file, name, tmp_path / "uploads", **options)

    return run


@pytest.fixture
def live(database):
    """Everything an index would be told of, by id."""

    async def read() -> dict:
        async with database.reading() as session:
            return {unit.id: unit for unit in (await knowledge.changes_since(session, 0)).upserts}

    return read


async def age(database, document_id: str, days: int) -> None:
    """As if it had been deleted so many days ago."""
    moment = now() - timedelta(days=days)
    async with database.session() as session:
        for table, key in (
            (Document, Document.id),
            (FaqEntry, FaqEntry.document_id),
            (PassageRow, PassageRow.document_id),
        ):
            await session.execute(update(table).where(key == document_id).values(deleted_at=moment))


async def test_restoring_brings_back_the_same_with_the_same_ids(database, bring, live, tmp_path):
    report = await bring(lines(FAQ, {"question": "乙", "answer": "答"}, {"question": "丙", "answer": "答", "id": "c"}))
    text = await bring(MARKDOWN.encode(), "配送.md")
    before = await live()
    by_hand = next(id_ for id_, unit in before.items() if getattr(unit, "question", "") == "乙")
    async with database.session() as session:
        await knowledge.remove_entry(session, by_hand)
    kept = {id_: unit for id_, unit in before.items() if id_ != by_hand}
    for one in (report, text):
        document, revision = await life.delete(database, one.document_id, "test")
        assert document.deleted_at is not None
        assert revision
    assert await live() == {}
    assert len([path for path in (tmp_path / "uploads").iterdir() if path.is_file()]) == 2
    async with database.reading() as session:
        assert (await documents.list_documents(session))[1] == 0
        trash, total = await documents.list_documents(session, deleted=True)
    assert total == 2
    assert {one.name: (one.entries, one.passages) for one in trash}["faq.jsonl"] == (2, 0)
    for one in (report, text):
        document, _ = await life.restore(database, one.document_id, "test")
        assert document.deleted_at is None
    assert await live() == kept
    async with database.reading() as session:
        deeds = [(one.action, one.actor) for one in await audit.recent(session)]
    assert deeds.count(("documents.delete", "test")) == deeds.count(("documents.restore", "test")) == 2


async def test_followers_hear_of_a_restored_document(database, bring):
    report = await bring(lines(FAQ))
    await life.delete(database, report.document_id, "test")
    async with database.reading() as session:
        seen = await knowledge.changes_since(session, 0)
    assert seen.upserts == ()
    await life.restore(database, report.document_id, "test")
    async with database.reading() as session:
        changes = await knowledge.changes_since(session, seen.revision)
    assert [unit.question for unit in changes.upserts] == ["怎么退货"]


async def test_what_cannot_be_restored_says_why(database, bring):
    report = await bring(lines(FAQ))
    with pytest.raises(ConflictError) as caught:
        await life.restore(database, report.document_id, "test")
    assert caught.value.code == "document_live"
    with pytest.raises(NotFoundError):
        await life.restore(database, "nothing", "test")
    await life.delete(database, report.document_id, "test")
    with pytest.raises(NotFoundError):
        await life.delete(database, report.document_id, "test")
    again = await bring(lines(FAQ))
    assert again.document_id != report.document_id
    with pytest.raises(ConflictError) as caught:
        await life.restore(database, report.document_id, "test")
    assert (caught.value.code, caught.value.details) == ("document_present", {"document_id": again.document_id})


async def test_an_entry_that_another_file_brought_since_stays_with_it(database, bring, live):
    first = await bring(lines({**FAQ, "id": "a"}, {"question": "乙", "answer": "答", "id": "b"}))
    await life.delete(database, first.document_id, "test")
    other = await bring(lines({"question": "怎么退货", "answer": "新的答案", "id": "a"}), "other.jsonl")
    document, _ = await life.restore(database, first.document_id, "test")
    assert document.entries == 1
    found = await live()
    assert {id_: unit.document_id for id_, unit in found.items()} == {"a": other.document_id, "b": first.document_id}
    assert found["a"].answer == "新的答案"


async def test_the_trash_is_emptied_when_its_time_is_over_and_not_before(database, bring, live, tmp_path):
    folder = tmp_path / "uploads"
    old, young = await bring(lines(FAQ), "old.jsonl"), await bring(MARKDOWN.encode(), "young.md")
    stays = await bring(lines({"question": "留下", "answer": "答"}), "stays.jsonl")
    for report in (old, young):
        await life.delete(database, report.document_id, "test")
    await age(database, old.document_id, 31)
    await age(database, young.document_id, 29)
    for path in folder.iterdir():
        os.utime(path, (time.time() - 7200,) * 2)
    assert await life.purge(database, folder, 30) == 1
    assert {path.read_bytes() for path in folder.iterdir()} == {
        MARKDOWN.encode(), lines({"question": "留下", "answer": "答"}),
    }  # fmt: skip
    with pytest.raises(NotFoundError):
        await life.restore(database, old.document_id, "test")
    async with database.reading() as session:
        rows = await session.scalar(select(func.count()).where(FaqEntry.document_id == old.document_id))
    assert rows == 0
    await life.restore(database, young.document_id, "test")
    assert {unit.document_id for unit in (await live()).values()} == {young.document_id, stays.document_id}
    assert await life.purge(database, folder, 30) == 0


async def test_the_service_empties_the_trash_by_itself(database, bring, make_settings, tmp_path):
    settings = make_settings(trash_days=2)
    report = await bring(lines(FAQ))
    await life.delete(database, report.document_id, "test")
    await age(database, report.document_id, 3)
    app = web.Application()
    app[keys.DATABASE], app[keys.SETTINGS] = database, settings
    cleaning = asyncio.create_task(_clean_up(app))
    try:
        async with asyncio.timeout(20):
            while True:
                async with database.reading() as session:
                    if not (await documents.list_documents(session, deleted=True))[1]:
                        break
                await asyncio.sleep(0.05)
    finally:
        cleaning.cancel()
        await asyncio.gather(cleaning, return_exceptions=True)
    async with database.reading() as session:
        assert "documents.purge" in [one.action for one in await audit.recent(session)]


async def test_the_file_of_a_version_before_goes_in_time_and_one_being_imported_does_not(database, bring, tmp_path):
    folder = tmp_path / "uploads"
    first = await bring(lines(FAQ))
    await bring(lines({**FAQ, "answer": "新"}), replaces=first.document_id)
    assert len(list(folder.iterdir())) == 2
    assert await uploads.release_unneeded(database, folder) == 0  # young
    for path in folder.iterdir():
        os.utime(path, (time.time() - 7200,) * 2)
    source = tmp_path / "again"
    source.write_bytes(lines(FAQ))
    uploads.keep(folder, source, uploads.sha256_of(source))  # an import of the old bytes begins
    assert await uploads.release_unneeded(database, folder) == 0
    os.utime(folder / uploads.sha256_of(source), (time.time() - 7200,) * 2)
    assert await uploads.release_unneeded(database, folder) == 1
    _, path = await life.original(database, folder, first.document_id)
    assert path.read_bytes() == lines({**FAQ, "answer": "新"})


async def test_a_new_version_of_prose_changes_and_removes_in_one_revision(database, bring, live):
    first = await bring(MARKDOWN.encode(), "配送.md")
    again = await bring(MARKDOWN.encode(), "另一个名字.md")
    assert (again.document_id, again.revision) == (first.document_id, 0)
    before = await live()
    second = await bring(
        MARKDOWN.replace("三天", "两天").split("## 费用")[0].encode(), "配送.md", replaces=first.document_id
    )
    after = await live()
    text = "".join(unit.text for unit in after.values())
    assert "两天" in text
    assert "九十九" not in text
    assert set(after) <= set(before)
    async with database.reading() as session:
        changes = await knowledge.changes_since(session, second.revision - 1)
        (document,), _ = await documents.list_documents(session)
    assert changes.revision == second.revision
    assert document.passages == len(after)
    same_name = await bring("一段别的。".encode(), "配送.md")
    assert same_name.document_id != first.document_id
    assert set(after) < set(await live())


@pytest.mark.parametrize("name", ["问题 表.xlsx", 'a"b\\c%41;.csv', "plain.txt", "\udcff坏.txt", "é'*.md"])
def test_a_download_bears_its_name_whatever_it_is(name):
    header = attachment(name)
    assert header.isascii()
    assert "\n" not in header
    message = Message()
    message["Content-Disposition"] = header
    assert message.get_content_disposition() == "attachment"
    encoded = header.rsplit("filename*=UTF-8''", 1)[1]
    from urllib.parse import unquote

    assert unquote(encoded) == name.encode("utf-8", "replace").decode()
    assert '"' not in header.split('filename="')[1].split('"; filename*')[0]


async def search(service, query: str) -> str:
    return (await service.call("POST", "/api/search", "viewer", json={"query": query}))[1]["decision"]


async def test_over_http_delete_list_download_restore(service):
    content = lines(FAQ)
    job = await service.upload("FAQ 表.jsonl", content)
    path = f"/api/documents/{job['result']['document_id']}"
    assert await search(service, "怎么退货") == "answer"
    assert (await service.call("DELETE", path, "viewer"))[0] == 403
    assert (await service.call("POST", f"{path}/restore", "viewer"))[0] == 403
    assert (await service.call("DELETE", path, "editor"))[0] == 204
    assert await search(service, "怎么退货") == "none"
    assert (await service.call("GET", path))[0] == 404
    (gone,) = (await service.call("GET", "/api/documents?deleted=true", "viewer"))[1]["items"]
    assert (gone["name"], gone["entries"]) == ("FAQ 表.jsonl", 1)
    assert gone["deleted_at"] < gone["purged_at"]
    for _ in range(2):  # from the trash, and live again
        headers = {"Authorization": f"Bearer {service.tokens['viewer']}"}
        async with service.client.get(f"{path}/file", headers=headers) as response:
            assert response.status == 200
            assert await response.read() == content
            assert response.headers["Content-Type"] == "application/octet-stream"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.content_disposition.type == "attachment"
            assert response.content_disposition.filename == "FAQ 表.jsonl"
        status, body = await service.call("POST", f"{path}/restore", "editor")
        if status == 409:
            assert body["error"]["code"] == "document_live"
    assert await search(service, "怎么退货") == "answer"
    assert (await service.call("GET", "/api/documents?deleted=true"))[1] == {"items": [], "total": 0}
    assert (await service.call("GET", f"{path}/file", None))[0] == 401
    assert (await service.call("GET", "/api/documents/nothing/file"))[0] == 404


async def test_an_original_that_is_lost_is_said(service):
    job = await service.upload("a.jsonl", lines(FAQ))
    for file in (service.settings.data / "uploads").iterdir():
        if file.is_file():
            file.unlink()
    status, body = await service.call("GET", f"/api/documents/{job['result']['document_id']}/file")
    assert (status, body["error"]["code"]) == (404, "original_missing")


def test_in_the_terminal(tmp_path, capsys, monkeypatch, use_shared_encoder):
    def kefu(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments, "--data", str(tmp_path / "data")])
        out, error = capsys.readouterr()
        return code, out.strip(), error.strip()

    file = tmp_path / "问答.jsonl"
    file.write_bytes(lines(FAQ))
    document_id = json.loads(kefu("import", "--json", str(file))[1])["documents"][0]["document_id"]
    (listed,) = json.loads(kefu("documents", "list", "--json")[1])
    assert (listed["id"], listed["name"], listed["entries"]) == (document_id, "问答.jsonl", 1)
    assert kefu("documents", "delete", document_id)[0] == 0
    assert json.loads(kefu("documents", "list", "--json")[1]) == []
    assert document_id in kefu("documents", "list", "--deleted")[1]
    assert json.loads(kefu("documents", "restore", "--json", document_id)[1])["deleted_at"] is None
    target = tmp_path / "back.jsonl"
    assert kefu("documents", "download", document_id, str(target))[0] == 0
    assert target.read_bytes() == file.read_bytes()
    monkeypatch.chdir(tmp_path)
    code, out, error = kefu("documents", "download", document_id)
    assert (code, out) == (1, "")  # it would overwrite the file that is there
    assert "问答.jsonl" in error
    file.unlink()
    assert kefu("documents", "download", document_id)[0] == 0
    assert Path("问答.jsonl").read_bytes() == target.read_bytes()
    code, _, error = kefu("documents", "delete", "nothing")
    assert code == 1
    assert "nothing" in error
