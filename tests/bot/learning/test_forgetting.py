"""A customer is forgotten: in the store, the queue, the data sets, the files of runs; runs that saw them are marked."""

import asyncio
import json
import shutil

import pytest
from sqlalchemy import func, select

from bot.learning import dataset, runs
from bot.learning.forgetting import scrub
from bot.learning.mining import mine
from bot.storage import conversations, data_sets, decisions, exchange, messaging
from bot.storage.conversations import Opening
from bot.storage.decisions import Label, source_of
from bot.storage.exchange import Incoming
from bot.storage.review_tables import ReviewDecisionRow, ReviewItemRow, ReviewQuestionRow
from bot.storage.tables import AuditRow, ConversationRow, MessageRow, OutboxRow
from finetune.data import read_jsonl
from finetune.runs import run_data_hash

from .conversing import Say, talk

ENTRIES = [
    {"id": "return", "question": "怎么退货", "answer": "七天内可以退。", "similar_questions": ["我想退掉", "能退吗"]},
    {"id": "invoice", "question": "发票怎么开", "answer": "在订单里申请。", "similar_questions": ["能开票吗"]},
]


async def nothing(_done, _total):
    pass


async def count(database, table) -> int:
    async with database.reading() as session:
        return await session.scalar(select(func.count()).select_from(table)) or 0


@pytest.fixture
async def shop(service):
    for entry in ENTRIES:
        assert (await service.call("POST", "/api/faqs", json=entry))[0] == 201
    return service


async def decide_all(shop, **given):
    items = (await shop.call("GET", "/api/review", "editor"))[1]["items"]
    for item in items:
        body = {"action": "entry", "faq_id": "return", "revision": item["revision"], **given}
        status, answer = await shop.call("POST", f"/api/review/{item['id']}", "editor", json=body)
        assert status == 200, answer
    return items


async def prepared(shop, kind="encoder"):
    """A run's data as `kefu train` prepares it, without the base model that the tests of training have."""
    material = await dataset.gather(shop.database)
    folder = runs.runs_dir(shop.settings) / f"{kind}-20260101-000000"
    folder.mkdir(parents=True)
    write = dataset.write_encoder if kind == "encoder" else dataset.write_generator
    summary = write(material, folder, 7)
    async with shop.database.session() as session:
        sources = dataset.labels(material).sources
        version = await data_sets.record(session, folder.name, run_data_hash(folder), kind, summary.train, sources)
    return folder, version


async def forget(shop, conversation_id, role="editor", **more):
    return await shop.call("DELETE", f"/api/sessions/{conversation_id}", role, **more)


async def test_a_visitor_leaves_the_reports_of_adapters_too(shop):
    mine_ = await talk(shop.database, Say("寄回去行不行呢亲", thumb="down"))
    home = shop.settings.data / "adapters" / "encoder-1"
    run = runs.runs_dir(shop.settings) / "encoder-2" / "adapter"
    row = {"set": "own", "text": "寄回去行不行呢亲", "change": "worse", "source": source_of(mine_.id)}
    for folder in (home, run):
        folder.mkdir(parents=True)
        rows = [row, {**row, "text": "别人的话", "source": "other"}, {**row, "text": "自带的题", "source": None}]
        (folder / "questions.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    assert (await forget(shop, mine_.id))[0] == 200
    for folder in (home, run):
        assert [one["text"] for one in read_jsonl(folder / "questions.jsonl")] == ["别人的话", "自带的题"]


@pytest.mark.parametrize("kind", ["encoder", "generator"])
async def test_everything_of_a_visitor_goes_and_what_learnt_from_it_is_marked(shop, kind):
    mine_ = await talk(shop.database, Say("寄回去行不行呢亲", thumb="down"))
    theirs = await talk(shop.database, "不合适可以寄回吗")
    await mine(shop.database, shop.knowledge_base, nothing)
    await decide_all(shop)
    waiting = await talk(shop.database, Say("你们门店在哪条路"))
    await mine(shop.database, shop.knowledge_base, nothing)
    folder, version = await prepared(shop, kind)
    assert any(row.get("source") == source_of(mine_.id) for row in read_jsonl(folder / "train.jsonl"))

    status, done = await forget(shop, mine_.id)
    assert (status, done) == (200, {"conversations": 1, "labels": 1, "runs": [folder.name]})
    everything = "".join(path.read_text("utf-8") for path in folder.glob("*.jsonl"))
    assert "寄回去行不行" not in everything
    assert "不合适可以寄回吗" in everything
    async with shop.database.reading() as session:
        assert [one.source for one in await decisions.labels(session)] == [source_of(theirs.id)]
        assert await data_sets.marked_runs(session) == {folder.name}
        assert (await data_sets.of_run(session, folder.name)).version == version
        for table in (MessageRow.text, ReviewQuestionRow.text, ReviewItemRow.question, ReviewDecisionRow.question):
            assert not [text for text in await session.scalars(select(table)) if "寄回去行不行" in text]
        (deed,) = await session.scalars(select(AuditRow).where(AuditRow.action == "visitor.forget"))
    assert mine_.id not in json.dumps([deed.target, deed.detail])
    assert {one.text for one in dataset.labels(await dataset.gather(shop.database)).examples} == {"不合适可以寄回吗"}

    await forget(shop, waiting.id)
    assert (await shop.call("GET", "/api/review", "editor"))[1]["items"] == []
    assert await count(shop.database, ReviewQuestionRow) == 1
    assert (await forget(shop, mine_.id))[0] == 404


@pytest.mark.parametrize("action", ["ignore", "negative", "out_of_scope"])
async def test_a_decision_keeps_no_words_of_who_is_forgotten(shop, action):
    gone = await talk(shop.database, "寄回去行不行呢亲")
    await mine(shop.database, shop.knowledge_base, nothing)
    await decide_all(shop, action=action)
    await forget(shop, gone.id)
    (made,) = (await shop.call("GET", "/api/review?state=decided", "editor"))[1]["items"]
    assert (made["action"], made["question"]) == (action, "")


@pytest.mark.parametrize("forgotten", [0, 1])
async def test_of_two_customers_decided_together_only_the_words_of_one_are_forgotten(shop, forgotten):
    both = [await talk(shop.database, "保修期多久"), await talk(shop.database, "保修期是多久")]
    await mine(shop.database, shop.knowledge_base, nothing)
    (item,) = await decide_all(shop)
    words = [one["text"] for one in sorted(item["examples"], key=lambda one: one["asked_at"])]
    named = words.index(item["question"])
    await forget(shop, both[forgotten].id)
    (made,) = (await shop.call("GET", "/api/review?state=decided", "editor"))[1]["items"]
    assert (made["question"], made["labels"]) == ("" if named == forgotten else item["question"], 1)


async def test_the_visitors_own_token_is_enough_and_anothers_is_not(shop):
    mine_, theirs = await talk(shop.database, "甲在哪"), await talk(shop.database, "乙在哪")
    other = {"Authorization": f"Bearer {theirs.token}"}
    assert (await forget(shop, mine_.id, None, headers=other))[0] == 401
    for role in ("agent", "viewer", "api"):
        assert (await forget(shop, mine_.id, role))[0] == 403
    assert await count(shop.database, ConversationRow) == 2
    status, _ = await forget(shop, mine_.id, None, headers={"Authorization": f"Bearer {mine_.token}"})
    assert (status, await count(shop.database, ConversationRow)) == (200, 1)


async def test_what_was_learnt_outlives_the_conversation_and_can_still_be_forgotten(shop):
    gone = await talk(shop.database, "寄回去行不行呢亲")
    await mine(shop.database, shop.knowledge_base, nothing)
    await decide_all(shop)
    async with shop.database.session() as session:
        await conversations.delete_all(session, [gone.id])
    assert [one.text for one in dataset.labels(await dataset.gather(shop.database)).examples] == ["寄回去行不行呢亲"]
    assert (await forget(shop, gone.id, "agent"))[0] == 403
    assert (await forget(shop, gone.id))[1] == {"conversations": 0, "labels": 1, "runs": []}
    assert dataset.labels(await dataset.gather(shop.database)).examples == ()
    assert (await forget(shop, gone.id))[0] == 404


async def test_all_that_a_channels_customer_said_goes_with_what_is_on_its_way(shop):
    async with shop.database.session() as session:
        openings = [Opening("wechat", "shop", user, group) for user, group in (("u1", ""), ("u1", "g"), ("u2", ""))]
        said = [Incoming(id_, "在吗", opening=opening) for id_, opening in zip("abc", openings, strict=True)]
        kept = [await session.run_sync(lambda plain, one=one: exchange.keep(plain.connection(), one)) for one in said]
        *groups, other = [one.conversation for one in kept]
        for one in (*groups, other):
            await messaging.send(session, [messaging.Outgoing("wechat/a", one.id, {}, {"text": "在的"})])
    status, done = await forget(shop, groups[0].id)
    assert (status, done["conversations"]) == (200, 2)
    async with shop.database.reading() as session:
        assert [one.id for one in await session.scalars(select(ConversationRow))] == [other.id]
    assert await count(shop.database, OutboxRow) == 1


async def test_the_same_decisions_make_the_same_data_set_and_undoing_them_another(shop, tmp_path):
    await talk(shop.database, "寄回去行不行呢亲", "发票抬头能改吗")
    await talk(shop.database, "不合适可以寄回吗")
    await mine(shop.database, shop.knowledge_base, nothing)

    async def hashed(name):
        (tmp_path / name).mkdir()
        dataset.write_encoder(await dataset.gather(shop.database), tmp_path / name, 7)
        return run_data_hash(tmp_path / name)

    none = await hashed("none")
    await decide_all(shop)
    first = await hashed("first")
    assert first == await hashed("again") != none
    decided = (await shop.call("GET", "/api/review?state=decided", "editor"))[1]["items"]
    for one in decided:
        body = {"action": "undo", "revision": one["revision"]}
        assert (await shop.call("POST", f"/api/review/{one['id']}", "editor", json=body))[0] == 200
    assert await hashed("undone") == none
    await decide_all(shop)
    assert await hashed("redone") == first
    async with shop.database.session() as session:
        versions = [await data_sets.record(session, f"run-{n}", data, "encoder", 1, ["s"]) for n, data in
                    enumerate((first, none, first))]  # fmt: skip
    assert versions == [1, 2, 1]


def test_scrubbing_leaves_other_lines_and_folders_alone(tmp_path):
    (tmp_path / "run").mkdir()
    file = tmp_path / "run" / "train.jsonl"
    file.write_text('{"text": "a", "source": "x"}\n{"text": "b", "source": "y"}\n{"text": "c"}\n')
    assert scrub(tmp_path, {"x"}) == 1
    assert [row["text"] for row in read_jsonl(file)] == ["b", "c"]
    before = file.stat().st_mtime_ns
    assert scrub(tmp_path, {"x"}) == 0
    assert file.stat().st_mtime_ns == before
    assert scrub(tmp_path / "nowhere", {"x"}) == 0
    assert scrub(tmp_path, {"y"}, {"run"}) == 0
    assert file.stat().st_mtime_ns == before


async def test_of_many_deleted_at_once_no_words_stay_in_a_file(shop):
    """Also in a folder that is not on record yet; a run that never saw them is not even read."""
    words = [f"寄回第{n}件行不行" for n in "一二三四五六七八"]
    async with shop.database.session() as session:
        ids = [(await conversations.open_visitor(session))[0].id for _ in words]
        said = [Label(source_of(id_), word, "return") for id_, word in zip(ids, words, strict=True)]
        await decisions.record(session, "i", "entry", "", "user:a", "return", None, said)
    folder, _ = await prepared(shop)
    home = runs.runs_dir(shop.settings)
    shutil.copytree(folder, home / "unrecorded")
    (home / "elsewhere").mkdir()
    (home / "elsewhere" / "train.jsonl").write_text("no JSON: whoever reads it fails")
    async with shop.database.session() as session:
        await data_sets.record(session, "elsewhere", "other", "encoder", 1, ["somebody"])
    done = await asyncio.gather(*[forget(shop, id_) for id_ in ids])
    assert [status for status, _ in done] == [200] * len(ids)
    assert all(answer["runs"] == [folder.name] for _, answer in done)
    left = "".join(path.read_text("utf-8") for path in home.glob("*/*.jsonl"))
    assert not [word for word in words if word in left]


async def test_who_is_forgotten_while_a_run_is_prepared_is_not_in_its_files(shop, encoder_folder, monkeypatch):
    gone = await talk(shop.database, "寄回去行不行呢亲")
    await mine(shop.database, shop.knowledge_base, nothing)
    await decide_all(shop)
    gather, begun = dataset.gather, []

    async def gather_and_forget(*given):
        material = await gather(*given)
        begun.append(asyncio.create_task(forget(shop, gone.id)))
        await asyncio.wait(begun, timeout=1)
        return material

    monkeypatch.setattr(dataset, "gather", gather_and_forget)
    settings = shop.settings.model_copy(update={"encoder": str(encoder_folder)})
    run = await runs.prepare(shop.database, settings, "encoder")
    status, done = await begun[0]
    assert (status, done["labels"], done["runs"]) == (200, 1, [run.name])
    assert not [path for path in run.folder.iterdir() if "寄回去行不行" in path.read_text("utf-8")]
    async with shop.database.reading() as session:
        assert await data_sets.marked_runs(session) == {run.name}


async def test_labels_of_a_conversation_stay_on_one_side(shop, tmp_path):
    """Many conversations of two questions each: none of them is both trained on and held out."""
    words = ["甲乙丙丁戊己庚辛壬癸"[n % 10] + "子丑寅卯辰巳午未申酉戌亥"[n % 12] for n in range(60)]
    async with shop.database.session() as session:
        for word in words:
            source = source_of(word)
            said = [Label(source, f"{word}寄回行吗", "return"), Label(source, f"发票写{word}行吗", "invoice")]
            await decisions.record(session, word, "entry", "", "user:a", "return", None, said)
    material = await dataset.gather(shop.database)
    dataset.write_encoder(material, tmp_path, 7)
    sides = [
        {row["source"] for row in read_jsonl(tmp_path / f"{name}.jsonl") if "source" in row}
        for name in ("train", "heldout")
    ]
    assert len(sides[1]) >= 4
    assert not sides[0] & sides[1]
    assert sides[0] | sides[1] == {source_of(word) for word in words}
