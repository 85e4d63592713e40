"""Entries, documents, the hit test and jobs over real HTTP, on the real encoder."""

import asyncio
import io
import json
import os

import psutil
import pytest

from bot.jobs.importing import KIND

FAQ = {"question": "怎么退货", "answer": "七天内可以无理由退货。", "similar_questions": ["我想退掉买的东西"]}


def lines(*entries: dict) -> bytes:
    return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries).encode()


async def decision(service, query: str) -> tuple[str, list[str]]:
    status, body = await service.call("POST", "/api/search", "viewer", json={"query": query})
    assert status == 200, body
    return body["decision"], [hit["id"] for hit in body["hits"]]


async def test_an_entry_is_searchable_at_once_changed_and_deleted(service):
    assert await decision(service, "怎么退货") == ("none", [])
    status, faq = await service.call("POST", "/api/faqs", "editor", json=FAQ)
    assert status == 201
    assert await decision(service, "怎么退货") == ("answer", [faq["id"]])
    status, changed = await service.call(
        "PATCH", f"/api/faqs/{faq['id']}", "editor", json={"question": "保修多久", "similar_questions": []}
    )
    assert (status, changed["answer"]) == (200, FAQ["answer"])
    assert changed["revision"] > faq["revision"]
    assert (await decision(service, "保修多久"))[0] == "answer"
    assert (await decision(service, "怎么退货"))[0] != "answer"
    status, _ = await service.call("PATCH", f"/api/faqs/{faq['id']}", "editor", json={"enabled": False})
    assert await decision(service, "保修多久") == ("none", [])
    status, body = await service.call("DELETE", f"/api/faqs/{faq['id']}", "editor")
    assert (status, body) == (204, None)
    status, body = await service.call("GET", f"/api/faqs/{faq['id']}", "editor")
    assert (status, body["error"]["code"]) == (404, "faq_not_found")


async def test_the_hit_test_shows_every_score(service):
    await service.call("POST", "/api/faqs", json=FAQ | {"id": "return"})
    _, body = await service.call("POST", "/api/search", json={"query": "买的东西想退掉", "k": 3})
    hit = body["hits"][0]
    assert set(hit) == {"id", "kind", "title", "phrasing", "text", "dense", "lexical", "score"}
    assert (hit["kind"], hit["title"], hit["text"]) == ("faq", FAQ["question"], FAQ["answer"])
    assert hit["phrasing"] == "我想退掉买的东西"
    assert 0.8 < hit["dense"] < 1
    assert 0 <= body["thresholds"]["clarify"] <= body["thresholds"]["answer"] <= 1
    assert 0 <= body["probability"] <= 1


async def test_lists_are_paged_and_filtered(service):
    for number in range(5):
        await service.call(
            "POST", "/api/faqs", json={"question": f"问题{number}", "answer": "答", "category": f"类{number % 2}"}
        )
    _, body = await service.call("GET", "/api/faqs?limit=2&offset=1", "viewer")
    assert (len(body["items"]), body["total"]) == (2, 5)
    assert body["categories"] == [{"name": "类0", "count": 3}, {"name": "类1", "count": 2}]
    _, body = await service.call("GET", "/api/faqs?q=问题3", "viewer")
    assert [item["question"] for item in body["items"]] == ["问题3"]
    _, body = await service.call("GET", "/api/faqs?category=类1", "viewer")
    assert body["total"] == 2
    status, body = await service.call("GET", "/api/faqs?limit=0", "viewer")
    assert (status, body["error"]["code"]) == (400, "invalid_field")


async def test_two_editors_at_once_the_second_is_told(service):
    _, faq = await service.call("POST", "/api/faqs", json=FAQ)
    path = f"/api/faqs/{faq['id']}"
    results = await asyncio.gather(
        *(
            service.call("PATCH", path, "editor", json={"answer": f"答案{n}", "revision": faq["revision"]})
            for n in range(5)
        )
    )
    assert sorted(status for status, _ in results) == [200, 409, 409, 409, 409]
    won = next(body for status, body in results if status == 200)
    lost = next(body for status, body in results if status == 409)
    assert (lost["error"]["code"], lost["error"]["details"]) == ("conflict", {"revision": won["revision"]})
    _, now = await service.call("GET", path, "viewer")
    assert now["answer"] == won["answer"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"question": ""}, "question"),
        ({"question": "   ", "answer": "x"}, None),
        ({"question": "q"}, None),
        ({"answer": "a"}, "question"),
        ({"question": "q", "answer": "a", "tags": "x"}, "tags"),
        ({"question": "q", "answer": "a", "colour": 1}, "colour"),
        ({"question": "q" * 100_000, "answer": "a"}, "question"),
        ({"question": "q", "answer": "a", "enabled": "perhaps"}, "enabled"),
    ],
)
async def test_bad_entries_are_refused_by_field(service, body, field):
    status, answer = await service.call("POST", "/api/faqs", "editor", json=body)
    assert status == 400
    if field:
        assert answer["error"]["details"][0]["field"] == field
        assert field in answer["error"]["message"]
    assert (await service.call("GET", "/api/faqs"))[1]["total"] == 0


async def test_an_id_in_use_is_a_conflict_and_a_patch_may_not_empty_an_entry(service):
    await service.call("POST", "/api/faqs", json=FAQ | {"id": "a"})
    status, body = await service.call("POST", "/api/faqs", json=FAQ | {"id": "a"})
    assert (status, body["error"]["code"]) == (409, "faq_exists")
    status, body = await service.call("PATCH", "/api/faqs/a", json={"answer": ""})
    assert (status, body["error"]["code"]) == (400, "no_answer")
    assert (await service.call("GET", "/api/faqs/a"))[1]["answer"] == FAQ["answer"]
    status, _ = await service.call("PATCH", "/api/faqs/a", json={"answer": "", "action": "action_x"})
    assert status == 200


async def test_upload_search_delete_restart(start_service):
    service = await start_service()
    job = await service.upload(
        "FAQ 表.jsonl", lines(FAQ, {"question": "怎么开发票", "answer": "下单时选。"}, {"question": "x"})
    )
    result = job["result"]
    assert job["state"] == "done"
    assert [result[name] for name in ("added", "updated", "skipped", "failed")] == [2, 0, 0, 1]
    assert result["items"][-1] | {"place": ""} == {
        "file": "FAQ 表.jsonl", "place": "", "status": "failed", "reason": "no_answer", "question": "x",
    }  # fmt: skip
    assert (await decision(service, "怎么退货"))[0] == "answer"
    _, documents = await service.call("GET", "/api/documents", "viewer")
    (document,) = documents["items"]
    assert (document["name"], document["entries"], document["passages"]) == ("FAQ 表.jsonl", 2, 0)
    assert not list((service.settings.data / "uploads" / "incoming").iterdir())
    again = await service.upload("同样.jsonl", (service.settings.data / "uploads" / result_file(service)).read_bytes())
    assert [again["result"][name] for name in ("added", "updated", "skipped", "failed")] == [0, 0, 2, 1]
    await service.client.close()

    service = await start_service()
    assert (await decision(service, "怎么退货"))[0] == "answer"
    status, _ = await service.call("DELETE", f"/api/documents/{document['id']}", "editor")
    assert status == 204
    assert await decision(service, "怎么退货") == ("none", [])
    assert (await service.call("GET", "/api/documents"))[1] == {"items": [], "total": 0}
    assert [path for path in (service.settings.data / "uploads").iterdir() if path.is_file()]  # it can be restored
    status, _ = await service.call("DELETE", f"/api/documents/{document['id']}", "editor")
    assert status == 404
    await service.client.close()
    assert await decision(await start_service(), "怎么退货") == ("none", [])


def result_file(service) -> str:
    (file,) = [path for path in (service.settings.data / "uploads").iterdir() if path.is_file()]
    return file.name


async def test_the_preview_and_the_report_warn_of_near_duplicates(service):
    await service.call("POST", "/api/faqs", json={"id": "hours", "question": "你们几点上班", "answer": "九点"})
    content = lines(
        {"question": "你们是几点上班的", "answer": "九点整"}, {"question": "月球上可以种土豆吗", "answer": "不行"}
    )
    for dry_run in ("1", "0"):
        result = (await service.upload("a.jsonl", content, dry_run=dry_run))["result"]
        assert (result["added"], result["near_duplicates"]) == (2, 1)
        warned = [item for item in result["items"] if item.get("warning")]
        assert [(item["warning"], item["twin"]["id"], item["status"]) for item in warned] == [
            ("near_duplicate", "hours", "added")
        ]
        assert warned == result["items"][:1]
    again = (await service.upload("a.jsonl", content))["result"]
    assert (again["skipped"], again["near_duplicates"]) == (2, 0)


async def test_dry_run_and_replace(service):
    first = await service.upload("a.jsonl", lines(FAQ, {"question": "旧的", "answer": "旧"}))
    document_id = first["result"]["document_id"]
    new = lines(FAQ, {"question": "新的", "answer": "新"})
    dry = await service.upload("a.jsonl", new, dry_run="1", replace=document_id)
    assert [dry["result"][name] for name in ("added", "skipped", "removed", "dry_run")] == [1, 1, 1, True]
    assert (await service.call("GET", "/api/faqs?q=旧的"))[1]["total"] == 1
    await service.upload("a.jsonl", new, replace=document_id)
    assert (await service.call("GET", "/api/faqs?q=旧的"))[1]["total"] == 0
    assert (await service.call("GET", "/api/documents"))[1]["total"] == 1


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [("a.rtf", b"{\\rtf1", "unsupported"), ("a.csv", b"\x00\xff\x01\x02" * 99, "binary"), ("a.txt", b" ", "empty")],
)
async def test_files_that_cannot_be_read_fail_the_job_with_a_sentence(service, name, content, code, caplog):
    job = await service.upload(name, content)
    (said,) = [record for record in caplog.records if job["id"] in record.getMessage()]
    assert (said.levelname, said.exc_info) == ("WARNING", None)
    assert name in said.getMessage()
    assert (job["state"], job["error"]["code"]) == ("failed", code)
    status, shown = await service.call("GET", f"/api/jobs/{job['id']}", headers={"Accept-Language": "en"})
    assert status == 200
    assert name in shown["error"]["message"]
    assert "message_en" not in shown["error"]
    assert shown["error"]["message"].isascii()
    assert not [path for path in (service.settings.data / "uploads").rglob("*") if path.is_file()]


async def test_a_row_of_characters_that_are_none_is_reported_and_its_job_can_be_followed(service):
    rows = json.dumps({"question": "\ud800坏代理", "answer": "\udfff"}) + "\n" + json.dumps(FAQ)
    job = await service.upload("a.jsonl", rows.encode())
    assert [job["result"][name] for name in ("added", "failed")] == [1, 1]
    assert [(one["reason"], one["question"]) for one in job["result"]["items"] if one["status"] == "failed"] == [
        ("malformed", "")
    ]
    headers = {"Authorization": f"Bearer {service.tokens['viewer']}"}
    async with service.client.get(f"/api/jobs/{job['id']}/events", headers=headers) as response:
        assert "malformed" in (await response.read()).decode()


async def test_uploads_over_the_limit_or_without_a_file(start_service):
    from aiohttp import FormData

    service = await start_service(upload_bytes_max=1024 * 1024)
    form = FormData()
    form.add_field("file", io.BytesIO(b"x" * (1024 * 1024 + 1)), filename="big.txt")
    status, body = await service.call("POST", "/api/documents", data=form)
    assert (status, body["error"]["code"]) == (413, "file_too_large")
    form = FormData()
    form.add_field("other", b"x", filename="x")
    assert (await service.call("POST", "/api/documents", data=form))[1]["error"]["code"] == "no_file"
    assert (await service.call("POST", "/api/documents", json={}))[1]["error"]["code"] == "not_multipart"
    status, body = await service.call(
        "POST", "/api/documents", data=b"--x\r\nbroken", headers={"Content-Type": "multipart/form-data; boundary=y"}
    )
    assert status == 400
    form = FormData()
    form.add_field("replace", "nothing")
    form.add_field("file", b"x", filename="x")
    assert (await service.call("POST", "/api/documents", data=form))[0] == 404
    assert not [path for path in (service.settings.data / "uploads").rglob("*") if path.is_file()]


async def test_a_hostile_file_name_is_only_a_name(service):
    job = await service.upload("..\\..\\/etc/passwd\u2028.jsonl", lines(FAQ))
    assert job["state"] == "done"
    (document,) = (await service.call("GET", "/api/documents"))[1]["items"]
    assert "/" not in document["name"]
    assert "\\" not in document["name"]


async def test_progress_arrives_as_events(service):
    from aiohttp import FormData

    form = FormData()
    form.add_field("file", lines(*({"question": f"问题{n}", "answer": "答"} for n in range(40))), filename="a.jsonl")
    _, body = await service.call("POST", "/api/documents", data=form)
    async with service.client.get(
        f"/api/jobs/{body['job_id']}/events", headers={"Authorization": f"Bearer {service.tokens['viewer']}"}
    ) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        text = (await response.read()).decode()
    events = [block.split("\n") for block in text.strip().split("\n\n") if not block.startswith(":")]
    assert [event[0] for event in events[-1:]] == ["event: done"]
    assert {event[0] for event in events[:-1]} == {"event: progress"}
    assert json.loads(events[-1][1].removeprefix("data: "))["result"]["added"] == 40
    assert (await service.call("GET", "/api/jobs/nothing/events"))[0] == 404
    status, listed = await service.call("GET", "/api/jobs?kind=import", "viewer")
    assert [job["id"] for job in listed["items"]] == [body["job_id"]]
    assert "params" not in listed["items"][0]
    assert (await service.call("POST", f"/api/jobs/{body['job_id']}/cancel", "viewer"))[0] == 403
    status, job = await service.call("POST", f"/api/jobs/{body['job_id']}/cancel", "editor")
    assert (status, job["state"]) == (200, "done")


async def test_cancelling_an_import_ends_the_process_that_reads_the_file(service, tmp_path):
    endless = tmp_path / "endless.csv"  # whoever reads it waits for what never comes
    os.mkfifo(endless)
    before = set(psutil.Process().children(recursive=True))
    job_id = await service.jobs.submit(KIND, {"path": str(endless), "name": "常见问题.csv", "replaces": None})
    end = asyncio.get_running_loop().time() + 240
    while not (readers := [one for one in set(psutil.Process().children()) - before if str(endless) in one.cmdline()]):
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.05)
    status, _ = await service.call("POST", f"/api/jobs/{job_id}/cancel", "editor")
    assert status == 200
    job = await service.jobs.wait(job_id)
    assert (job.state, job.result, job.error) == ("cancelled", None, None)
    assert not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in readers)
    assert not endless.exists(), "what was uploaded is not kept"
    assert (await service.call("GET", "/api/documents"))[1]["total"] == 0
    assert (await service.upload("next.jsonl", lines(FAQ)))["state"] == "done", "the lane is free again"


async def test_a_question_over_the_limit_is_refused_and_a_hundred_thousand_characters_too(start_service):
    service = await start_service(question_characters_max=100)
    for length in (101, 100_000, 100_001):
        status, body = await service.call("POST", "/api/search", json={"query": "问" * length})
        assert (status, body["error"]["code"]) == (400, "question_too_long")
        assert f"{length} 个字，超过了 100 个字的上限" in body["error"]["message"]
