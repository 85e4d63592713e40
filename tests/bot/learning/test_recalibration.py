"""Reviewed conversations make a better calibration by themselves, in the service as it runs."""

import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot import calibrations, health_checks
from bot.config import Settings
from bot.dialogs import import_dialogs
from bot.jobs.queue import JobQueue
from bot.knowledge_base import KnowledgeBase
from bot.learning import calibration_job, recalibration
from bot.learning.observing import OUTSIDE_SHARE, observe_own
from bot.learning.recalibration import CASES_MIN, may_use_own_questions, recalibrate
from bot.storage import audit
from bot.storage.database import Database
from finetune.data import Labelled
from finetune.smalltalk import OUT_OF_SCOPE
from knowledge.calibrate import shipped
from knowledge.rank import FEATURES
from knowledge.refit import DIRECT_WRONG_MAX
from knowledge.types import Entry

pytestmark = pytest.mark.usefixtures("use_shared_encoder")
# As customers put it around the same question: all are in words near an entry, so that the top is nearly always right.
AROUND = (
    "{}啊",
    "请问一下{}",
    "你好想问{}",
    "{}麻烦说下",
    "在吗{}",
    "{}呢亲",
    "急急急{}",
    "那个{}来着",
    "{}谢谢了",
    "我想知道{}",
)
ELSEWHERE = (
    "今天天气怎么样", "讲个笑话", "你喜欢吃什么", "股票会涨吗", "附近有电影院吗", "帮我写一首诗",
    "世界杯谁赢了", "感冒了吃什么药", "推荐一部小说", "明天放假吗", "北京到上海多远", "怎么学英语",
)  # fmt: skip
Add = Callable[[list[dict[str, Any]]], Awaitable[None]]


def conversation(number: int, text: str, entry: str | None, **more: Any) -> dict[str, Any]:
    return {"id": f"c{number}", "messages": [{"role": "user", "content": text, "faq_id": entry, **more}]}


@pytest.fixture
def reviewed(shop: list[Entry]) -> list[dict[str, Any]]:
    asked = [(form.format(text), one.id) for one in shop for text in one.phrasings for form in AROUND]
    return [conversation(i, *row) for i, row in enumerate([*asked, *((text, None) for text in ELSEWHERE)])]


@pytest.fixture
async def knowledge_base(
    database: Database, make_settings: Callable[..., Settings], add_faq: Add, shop: list[Entry]
) -> AsyncIterator[KnowledgeBase]:
    await add_faq(
        [
            {"id": one.id, "question": one.question, "answer": one.answer, "similar_questions": one.similar_questions}
            for one in shop
        ]
    )
    opened = KnowledgeBase(database, make_settings())
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def bring(database: Database, tmp_path: Path) -> Callable[[list[dict[str, Any]]], Awaitable[None]]:
    async def add(rows: list[dict[str, Any]]) -> None:
        file = tmp_path / "talks.jsonl"
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
        await import_dialogs(database, file, "talks.jsonl")

    return add


def quietly(_done: int, _total: int) -> None:
    return


async def test_a_shy_service_cures_itself_and_can_go_back(
    database: Database, knowledge_base: KnowledgeBase, make_settings: Callable[..., Settings], reviewed: Any, bring: Add
) -> None:
    await bring(reviewed)
    settings = make_settings()
    file = calibrations.calibration_file(settings)
    shy = replace(shipped(), intercept=shipped().intercept - 9)
    calibrations.save(file, shy, {})
    await knowledge_base.recalibrate()
    before = await knowledge_base.search("急急急收到的不合适想换一个")
    queue = JobQueue(database)
    calibration_job.register(queue, database, settings, knowledge_base)
    await queue.start()
    job_id = await calibration_job.look(queue, database, make_settings(), knowledge_base)
    assert job_id
    report = (await queue.wait(job_id)).result
    assert report
    assert report["outcome"] == "refitted", report
    assert report["labels"] > CASES_MIN
    assert report["after"]["brier"] < report["before"]["brier"]
    assert report["hidden"] + report["outside"] >= OUTSIDE_SHARE * report["labels"] * 0.9
    assert report["after"]["direct_correct"] > report["before"]["direct_correct"]
    assert report["after"]["direct_wrong"] <= DIRECT_WRONG_MAX
    after = await knowledge_base.search("急急急收到的不合适想换一个")
    assert after.features == before.features
    assert after.probability > before.probability
    # Nothing new was reviewed: no second look.
    assert await calibration_job.look(queue, database, make_settings(), knowledge_base) is None
    await queue.close()
    (finding,) = health_checks.calibration(settings)
    assert f"{report['labels']} 个人工核对过的问题" in finding.text
    async with database.reading() as session:
        assert (await audit.recent(session, 1))[0].action == "calibration.refit"
    calibrations.roll_back(file)
    await knowledge_base.recalibrate()
    assert knowledge_base.calibration == shy


async def test_labels_come_in_steps(
    database: Database, knowledge_base: KnowledgeBase, make_settings: Callable[..., Settings], reviewed: Any, bring: Add
) -> None:
    queue = JobQueue(database)  # not started: what is submitted waits
    await bring(reviewed[: CASES_MIN - 1])
    assert await calibration_job.look(queue, database, make_settings(), knowledge_base) is None
    await bring(reviewed[: CASES_MIN + 1])
    first = await calibration_job.look(queue, database, make_settings(), knowledge_base)
    assert first
    await bring(reviewed)
    assert await calibration_job.look(queue, database, make_settings(), knowledge_base) is None  # it waits already
    await queue.cancel(first)
    more = len(reviewed) - (CASES_MIN + 1)
    again = await calibration_job.look(queue, database, make_settings(), knowledge_base)
    assert (again is not None) == (more >= calibration_job.LABELS_NEW)


async def test_what_is_not_counted(
    database: Database, knowledge_base: KnowledgeBase, make_settings: Callable[..., Settings], reviewed: Any, bring: Add
) -> None:
    same = [conversation(i, "请问一下怎么退货", "return") for i in range(CASES_MIN)]
    exact = [conversation(1000 + i, "怎么退货", "return") for i in range(CASES_MIN)]
    await bring(same + exact)
    report = await recalibrate(database, make_settings(), knowledge_base, quietly, threading.Event())
    assert report["outcome"] == "too_few"
    calibrations.save(calibrations.calibration_file(make_settings()), shipped(), {"source": "queries"})
    report = await recalibrate(database, make_settings(), knowledge_base, quietly, threading.Event())
    assert (report["outcome"], report["source"], report["labels"]) == ("too_few", "reviewed", 1)
    labels = [
        Labelled("甲", "return", "1"),
        Labelled("乙", "gone", "2"),
        Labelled("丙", "return", "3", reviewed=False),
        Labelled("丁", None, "4"),
        Labelled("学过的", "return", "5"),
    ]
    chosen = recalibration.choose(labels, frozenset({"学过的"}), knowledge_base)
    assert {one.text for one in chosen} == {"甲", "丁"}
    assert recalibration.choose(labels, None, knowledge_base) == ()


async def test_what_an_adapter_was_trained_on_proves_nothing(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings()
    assert recalibration._trained_on(settings, None) == frozenset()
    assert recalibration._trained_on(settings, "encoder-1") is None
    run = settings.data / "runs" / "encoder-1"
    run.mkdir(parents=True)
    (run / "train.jsonl").write_text('{"text": "Ａ 怎么退？", "entry": "x"}\n', "utf-8")
    assert recalibration._trained_on(settings, "encoder-1") == {"a怎么退"}


async def test_it_stops_when_asked(
    database: Database, knowledge_base: KnowledgeBase, make_settings: Callable[..., Settings], reviewed: Any, bring: Add
) -> None:
    await bring(reviewed)
    queue = JobQueue(database)
    calibration_job.register(queue, database, make_settings(), knowledge_base)
    job_id = await calibration_job.look(queue, database, make_settings(), knowledge_base)
    assert job_id
    await queue.start()
    async for job in queue.events(job_id):
        if job.done:
            await queue.cancel(job_id)
    assert (await queue.get(job_id)).state == "cancelled"
    await queue.close()
    assert not calibrations.calibration_file(make_settings()).exists()


async def test_own_wordings_are_asked_while_they_are_held_out(knowledge_base: KnowledgeBase, shop: list[Entry]) -> None:
    several = [text for one in shop if one.similar_questions for text in one.phrasings]
    found = observe_own(knowledge_base.look_up, shop, quietly, threading.Event())
    inside = [case for case in found.cases if case.inside]
    assert len(inside) == len(several)
    assert {case.group for case in inside} == {one.id for one in shop if one.similar_questions}
    assert all(case.features[FEATURES.index("exact")] == 0 for case in found.cases)
    assert found.outside > 0.9 * len(OUT_OF_SCOPE)
    assert found.hidden == int(len(inside) / 4)
    held, whole = (
        knowledge_base.look_up(["我要退货"], held_out=held_out)[0].hits[0] for held_out in (["return"], ["exchange"])
    )
    assert (whole.phrasing, whole.score) == ("我要退货", 1.0)
    assert held.phrasing != "我要退货"


async def test_a_new_knowledge_base_is_fitted_on_its_own_wordings(
    database: Database, make_settings: Callable[..., Settings], add_faq: Add, shop: list[Entry]
) -> None:
    await add_faq(
        [
            {"id": one.id, "question": one.question, "answer": one.answer,
             "similar_questions": [form.format(one.question) for form in AROUND[:-1]] + list(one.similar_questions)}
            for one in shop
        ]
    )  # fmt: skip
    knowledge_base = KnowledgeBase(database, settings := make_settings())
    file = calibrations.calibration_file(settings)
    calibrations.save(file, replace(shipped(), intercept=shipped().intercept - 9), {"source": "own_questions"})
    await knowledge_base.open()
    assert knowledge_base.wordings == len(shop) * len(AROUND) + sum(len(one.similar_questions) for one in shop)
    queue = JobQueue(database)
    assert await calibration_job.look(queue, database, settings, knowledge_base) is None  # too few wordings
    calibration_job.register(queue, database, settings, knowledge_base)
    await add_faq(
        [{"question": "有实体店吗", "answer": "没有", "similar_questions": [f"第{i}个店在哪" for i in range(30)]}]
    )
    await knowledge_base.refresh()
    job_id = await calibration_job.look(queue, database, settings, knowledge_base)
    assert job_id
    await queue.start()
    report = (await queue.wait(job_id)).result
    await queue.close()
    assert report
    assert (report["outcome"], report["source"]) == ("refitted", "own_questions"), report
    assert knowledge_base.calibration.intercept > shipped().intercept - 9
    (finding,) = health_checks.calibration(settings)
    assert "知识库自己的问法" in finding.text
    await knowledge_base.close()
    assert not may_use_own_questions(settings, "encoder-1")
    calibrations.save(file, shipped(), {"source": "reviewed"})
    assert not may_use_own_questions(settings, None)
