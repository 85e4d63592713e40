"""The review over HTTP: a real service, its database and knowledge base, and two reviewers at once."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys

import pytest
from sqlalchemy import select

from bot.api.review import REPLY_CHARACTERS_MAX, excerpt
from bot.dialogs import export_dialogs
from bot.learning import dataset
from bot.learning.mining import mine
from bot.security.passwords import new_api_key, token_hash
from bot.storage import audit, decisions, people
from bot.storage.review_tables import ReviewDecisionRow, ReviewItemRow, ReviewLabelRow

from .conversing import Say, talk, talks

WARRANTY = ["保修期多久", "保修期是多久", "请问保修期多久"]
RETURN = {"id": "return", "question": "怎么退货", "answer": "七天内可以退。", "similar_questions": ["我想退掉"]}


async def nothing(_done, _total):
    pass


@pytest.fixture
async def shop(service):
    status, _ = await service.call("POST", "/api/faqs", json=RETURN)
    assert status == 201
    return service


async def mined(service):
    await mine(service.database, service.knowledge_base, nothing)


async def queue(service, role="editor"):
    status, body = await service.call("GET", "/api/review", role)
    assert status == 200, body
    return body["items"]


async def decide(service, item, action, role="editor", **more):
    body = {"action": action, "revision": item["revision"], **more}
    return await service.call("POST", f"/api/review/{item['id']}", role, json=body)


async def another_editor(service):
    service.tokens["lily"] = new_api_key()
    async with service.database.session() as session:
        token = service.tokens["lily"]
        await people.add_key(session, "lily", "editor", token[:12], token_hash(token))


async def found(service, text):
    return (await service.call("POST", "/api/search", json={"query": text}))[1]


async def test_an_empty_queue_is_no_error(shop):
    status, body = await shop.call("GET", "/api/review", "editor")
    assert (status, body["items"], body["totals"]["open"]) == (200, [], 0)
    status, body = await shop.call("GET", "/api/review?state=decided", "editor")
    assert (status, body["items"]) == (200, [])


async def test_editors_only(shop):
    for role, status in (("agent", 403), ("viewer", 403), ("api", 403), (None, 401)):
        assert (await shop.call("GET", "/api/review", role))[0] == status
        assert (await shop.call("POST", "/api/review/x", role, json={"action": "ignore"}))[0] == status


async def test_a_look_finds_what_waits(shop):
    await talks(shop.database, WARRANTY)
    status, body = await shop.call("POST", "/api/review", "editor")
    assert status == 202
    job = await shop.jobs.wait(body["job_id"])
    assert (job.state, job.result["found"]) == ("done", 3)
    assert len(await queue(shop)) == 1


async def test_an_item_says_what_a_reviewer_needs(shop):
    await talk(shop.database, Say("衣服不合身想寄回去行吗", people=("您好", "可以的，七天内寄回，电话13812345678")))
    await talks(shop.database, WARRANTY)
    await mined(shop)
    by_count = await queue(shop)
    assert [item["count"] for item in by_count] == [3, 1]
    item = by_count[1]
    assert item["draft"] == "可以的，七天内寄回，电话[电话]"
    assert item["signals"] == {"person_answered": 1}
    assert item["candidates"][0]["faq_id"] == "return"
    assert 0 <= item["probability"] <= 1
    assert item["examples"][0]["text"] == "衣服不合身想寄回去行吗"
    assert (item["week"], item["week_before"]) == (1, 0)


def test_of_a_long_reply_no_piece_of_a_number_is_shown():
    assert excerpt("好的，请打13812345678") == "好的，请打[电话]"
    assert excerpt("好" * 5000) == "好" * REPLY_CHARACTERS_MAX
    assert excerpt("") == ""
    for shift in range(20):  # numbers shorten when masked, so that the place of the cut is among what is shown
        shown = excerpt("好" * shift + "电话13812345678，" * 200)
        assert 100 < len(shown) <= REPLY_CHARACTERS_MAX
        assert not any(character.isdigit() for character in shown)


async def test_a_new_entry_answers_at_once_and_undo_takes_it_back(shop):
    await talks(shop.database, WARRANTY)
    await mined(shop)
    (item,) = await queue(shop)
    entry = {"question": "保修期多久", "answer": "两年。"}
    status, done = await decide(shop, item, "new", entry=entry)
    assert (status, done["state"], done["labels"]) == (200, "done", 3)
    hit = (await found(shop, "保修期多久"))["hits"][0]
    assert (hit["id"], hit["text"]) == (done["faq_id"], "两年。")
    assert await queue(shop) == []
    (kept,) = (await shop.call("GET", "/api/review?state=decided", "editor"))[1]["items"]
    assert (kept["action"], kept["faq_id"], kept["entry"]) == ("new", done["faq_id"], "保修期多久")
    status, undone = await shop.call(
        "POST", f"/api/review/{item['id']}", "editor", json={"action": "undo", "revision": done["revision"]}
    )
    assert (status, undone["state"]) == (200, "open")
    assert done["faq_id"] not in [one["id"] for one in (await found(shop, "保修期多久"))["hits"]]
    (kept,) = (await shop.call("GET", "/api/review?state=decided", "editor"))[1]["items"]
    assert (kept["faq_id"], kept["entry"]) == (done["faq_id"], None)  # the entry is gone again
    (again,) = await queue(shop)
    assert again["revision"] == undone["revision"]
    async with shop.database.reading() as session:
        assert await decisions.labels(session) == []
        deeds = [one.action for one in await audit.recent(session, 2)]
        (kept,) = await session.scalars(select(ReviewDecisionRow))
    assert deeds == ["review.undo", "review.new"]
    assert (kept.actor, kept.undone_by) == ("key:editor", "key:editor")


@pytest.mark.parametrize(("action", "field"), [("similar", "similar_questions"), ("negative", "negative_questions")])
async def test_similar_and_negative_questions_change_the_entry(shop, action, field):
    await talks(shop.database, ["寄回去行不行"])
    await mined(shop)
    (item,) = await queue(shop)
    status, done = await decide(shop, item, action, faq_id="return", question="寄回去行不行呀")
    assert (status, done["faq_id"]) == (200, "return")
    assert done["labels"] == (1 if action == "similar" else 0)
    entry = (await shop.call("GET", "/api/faqs/return"))[1]
    assert entry[field] == [*RETURN.get(field, []), "寄回去行不行呀"]
    assert shop.knowledge_base.revision >= entry["revision"]
    # An edit in between is kept when the decision is taken back.
    await shop.call("PATCH", "/api/faqs/return", json={"answer": "十天内可以退。"})
    body = {"action": "undo", "revision": done["revision"]}
    assert (await shop.call("POST", f"/api/review/{item['id']}", "editor", json=body))[0] == 200
    entry = (await shop.call("GET", "/api/faqs/return"))[1]
    assert (entry[field], entry["answer"]) == (RETURN.get(field, []), "十天内可以退。")


async def test_a_new_entry_that_was_edited_since_is_not_thrown_away(shop):
    await talk(shop.database, WARRANTY[0])
    await mined(shop)
    (item,) = await queue(shop)
    _, done = await decide(shop, item, "new", entry={"question": "保修期多久", "answer": "两年。"})
    await shop.call("PATCH", f"/api/faqs/{done['faq_id']}", json={"answer": "三年。"})
    body = {"action": "undo", "revision": done["revision"]}
    status, refused = await shop.call("POST", f"/api/review/{item['id']}", "editor", json=body)
    assert (status, refused["error"]["code"]) == (409, "entry_changed")
    assert (await shop.call("GET", f"/api/faqs/{done['faq_id']}"))[1]["answer"] == "三年。"
    assert await queue(shop) == []


async def test_of_two_reviewers_at_once_one_wins_and_the_other_is_told_who(shop):
    await another_editor(shop)
    await talks(shop.database, WARRANTY)
    await mined(shop)
    (item,) = await queue(shop)
    both = await asyncio.gather(
        decide(shop, item, "out_of_scope"),
        decide(shop, item, "new", "lily", entry={"question": "保修期多久", "answer": "两年。"}),
    )
    assert sorted(status for status, _ in both) == [200, 409]
    (lost,) = [body for status, body in both if status == 409]
    assert lost["error"]["code"] == "already_decided"
    assert lost["error"]["details"]["by"] in ("editor", "lily")
    assert lost["error"]["details"]["by"] in lost["error"]["message"]
    async with shop.database.reading() as session:
        made = list(await session.scalars(select(ReviewDecisionRow)))
    entries = (await shop.call("GET", "/api/faqs"))[1]["total"]
    assert len(made) == 1
    assert entries == (2 if made[0].action == "new" else 1)


async def test_what_a_colleague_holds_is_not_offered_nor_decided(shop):
    await another_editor(shop)
    await talks(shop.database, [WARRANTY[0], "可以到店自提吗"])
    await mined(shop)
    first, second = await queue(shop)
    assert (await decide(shop, first, "claim"))[0] == 200
    assert [item["id"] for item in await queue(shop, "lily")] == [second["id"]]
    assert len(await queue(shop)) == 2
    status, body = await decide(shop, first, "ignore", "lily")
    assert (status, body["error"]["code"]) == (409, "claimed")
    assert "editor" in body["error"]["message"]
    assert (await decide(shop, first, "claim", "lily"))[0] == 409
    assert (await decide(shop, first, "ignore"))[0] == 200


async def test_an_undo_of_what_moved_is_refused(shop):
    await talk(shop.database, WARRANTY[0])
    await mined(shop)
    (item,) = await queue(shop)
    assert (await decide(shop, item, "undo"))[1]["error"]["code"] == "nothing_to_undo"
    await decide(shop, item, "ignore")
    status, body = await decide(shop, item, "undo")  # with the revision from before
    assert (status, body["error"]["code"]) == (409, "conflict")


async def test_what_the_reviewer_struck_out_goes_back_into_the_queue(shop):
    await talks(shop.database, WARRANTY)
    await mined(shop)
    (item,) = await queue(shop)
    shown = [one["id"] for one in item["examples"]]
    status, done = await decide(shop, item, "entry", faq_id="return", questions=shown[:2], shown=shown)
    assert (status, done["labels"]) == (200, 2)
    (left,) = await queue(shop)
    assert left["id"] != item["id"]
    assert [one["id"] for one in left["examples"]] == shown[2:]


async def test_what_the_reviewer_struck_out_may_be_deleted_by_then(shop):
    gone, *_ = await talks(shop.database, WARRANTY)
    await mined(shop)
    (item,) = await queue(shop)
    shown = [one["id"] for one in item["examples"]]
    held = [one["id"] for one in item["examples"] if one["session_id"] != gone.id]
    assert (await shop.call("DELETE", f"/api/sessions/{gone.id}", "editor"))[0] == 200
    status, done = await decide(shop, item, "entry", faq_id="return", questions=held, shown=shown)
    assert (status, done["labels"]) == (200, 2)
    assert await queue(shop) == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"action": "entry"}, 400, "no_faq_id"),
        ({"action": "similar", "faq_id": "gone"}, 404, "faq_not_found"),
        ({"action": "new"}, 400, "no_entry"),
        ({"action": "new", "entry": {"question": "x"}}, 400, "no_answer"),
        ({"action": "new", "entry": {"question": "x", "answer": "y", "id": "return"}}, 409, "faq_exists"),
        ({"action": "dance"}, 400, "invalid_field"),
        ({"action": "ignore", "questions": ["nobody's"]}, 400, "no_questions"),
        ({"action": "ignore", "revision": 7}, 409, "conflict"),
        ({"action": "ignore", "question": "长" * 5000}, 400, "invalid_field"),
    ],
)
async def test_a_decision_that_cannot_be_changes_nothing(shop, body, status, code):
    await talk(shop.database, WARRANTY[0])
    await mined(shop)
    (item,) = await queue(shop)
    got, answer = await decide(shop, item, **body)
    assert (got, answer["error"]["code"]) == (status, code)
    (still,) = await queue(shop)
    assert (still["state"], still["revision"]) == ("open", item["revision"])
    assert (await shop.call("GET", "/api/faqs"))[1]["total"] == 1
    async with shop.database.reading() as session:
        assert (await session.scalars(select(ReviewDecisionRow))).all() == []


async def test_an_unknown_item_and_a_huge_body(shop):
    assert (await shop.call("POST", "/api/review/nothing", "editor", json={"action": "ignore"}))[0] == 404
    body = json.dumps({"action": "new", "entry": {"question": "x", "answer": "长" * 2_000_000}})
    huge = io.BytesIO(body.encode())
    assert (await shop.call("POST", "/api/review/nothing", "editor", data=huge))[0] == 413


async def test_decisions_are_what_is_learnt_and_counted(shop, tmp_path):
    await talks(shop.database, [*WARRANTY, "寄回去行不行"])
    await mined(shop)
    warranty, back = await queue(shop)
    await decide(shop, warranty, "out_of_scope")
    await decide(shop, back, "entry", faq_id="return")
    material = await dataset.gather(shop.database)
    learnt = {(one.text, one.entry, one.reviewed) for one in dataset.labels(material).examples}
    assert learnt == {(text, None, True) for text in WARRANTY} | {("寄回去行不行", "return", True)}
    status, body = await shop.call("GET", "/api/review?state=decided", "editor")
    assert status == 200
    assert [(one["action"], one["labels"], one["by"]) for one in body["items"]] == [
        ("entry", 1, "editor"),
        ("out_of_scope", 3, "editor"),
    ]


KILLED = """
import asyncio, os, signal, sys
from bot.learning.review import Choice, decide
from bot.storage.database import opened
from knowledge.types import Entry
async def main(url, item, when):
    async with opened(url) as database:
        async with database.session() as session:
            entry = Entry("fresh", "保修期多久", "两年。")
            await decide(session, item, Choice("new", 0, entry=entry), "user:a")
            if when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_kill_in_a_decision_leaves_all_of_it_or_nothing(shop, when):
    await talk(shop.database, WARRANTY[0])
    await mined(shop)
    (item,) = await queue(shop)
    arguments = [sys.executable, "-c", KILLED, shop.settings.database, item["id"], when]
    died = await asyncio.to_thread(subprocess.run, arguments, env=os.environ, capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    async with shop.database.reading() as session:
        made = len((await session.scalars(select(ReviewDecisionRow))).all())
        labels = len((await session.scalars(select(ReviewLabelRow))).all())
        state = await session.scalar(select(ReviewItemRow.state))
    status, _ = await shop.call("GET", "/api/faqs/fresh")
    expected = (0, 0, "open", 404) if when == "before" else (1, 1, "done", 200)
    assert (made, labels, state, status) == expected
    if when == "after":  # another process decided; the service follows by itself
        for _ in range(50):
            if (await found(shop, "保修期多久"))["hits"][0]["id"] == "fresh":
                return
            await asyncio.sleep(0.1)
        pytest.fail("the running service did not follow the decision")


async def test_reviewed_questions_are_exported_with_their_answers(shop, tmp_path):
    await talks(shop.database, ["寄回去行不行"])
    await mined(shop)
    (item,) = await queue(shop)
    await decide(shop, item, "entry", faq_id="return")
    assert await export_dialogs(shop.database, tmp_path / "out.json", "sharegpt") == 1
    (row,) = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert [(one["from"], one["value"]) for one in row["conversations"]] == [
        ("human", "寄回去行不行"),
        ("gpt", "七天内可以退。"),
    ]
