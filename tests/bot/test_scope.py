"""When and where entries are answered: days, channels, category; at the moment of the search, without encoding."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta

import pytest
from alembic import command
from sqlalchemy import create_engine

from bot.cli import main
from bot.errors import InvalidError
from bot.filtered import filtered
from bot.knowledge_base import KnowledgeBase
from bot.storage import knowledge
from bot.storage.database import opened
from bot.storage.schema import configuration
from knowledge.types import Entry

SALE = Entry("sale", "双十一有什么优惠", "全场八折。", valid_from=date(2026, 11, 1), valid_until=date(2026, 11, 11))
APP = Entry("app", "小程序怎么绑定手机号", "在小程序的设置里绑定。", channels=("wechat",))
RETURN = Entry("return", "怎么退货", "七天内可以退。", category="售后")
SHIP = Entry("ship", "多久发货", "当天发货。", category="物流")


class Clock:
    """The time of day as a test wants it."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def __call__(self) -> datetime:
        return self.moment


@pytest.fixture
async def made(database, make_settings, use_shared_encoder):
    """A knowledge base in Shanghai with a clock to set."""
    clock = Clock(datetime(2026, 11, 11, 15, 59, 59, tzinfo=UTC))  # 23:59:59 there
    settings = make_settings(
        time_zone="Asia/Shanghai", channels=({"kind": "wechat", "name": "shop"}, {"kind": "rest", "name": "rest"})
    )
    async with database.session() as session:
        for entry in (SALE, APP, RETURN, SHIP):
            await knowledge.add_entry(session, entry)
    knowledge_base = KnowledgeBase(database, settings, clock=clock)
    await knowledge_base.open()
    yield knowledge_base, clock
    await knowledge_base.close()


async def top(knowledge_base: KnowledgeBase, query: str, **scope) -> tuple[str, list[str]]:
    found = await knowledge_base.search(query, **scope)
    return found.decision, [hit.id for hit in found.hits]


async def test_a_second_after_midnight_an_entry_is_expired(made):
    knowledge_base, clock = made
    assert (await top(knowledge_base, SALE.question))[0] == "answer"
    assert knowledge_base.entry("sale", "web") == SALE
    clock.moment += timedelta(seconds=2)
    assert knowledge_base._visibility.today() == date(2026, 11, 12)
    decision, hits = await top(knowledge_base, SALE.question)
    assert decision != "answer"
    assert "sale" not in hits
    assert knowledge_base.entry("sale", "web") is None
    assert knowledge_base.entry("sale") == SALE  # staff still see it
    clock.moment = datetime(2026, 10, 31, 15, 59, 59, tzinfo=UTC)
    assert "sale" not in (await top(knowledge_base, SALE.question))[1]
    clock.moment += timedelta(seconds=1)
    assert (await top(knowledge_base, SALE.question))[0] == "answer"


async def test_an_entry_is_answered_on_its_channels_by_kind_and_by_name(made):
    knowledge_base, _ = made
    for channel, seen in (("wechat", True), ("shop", True), ("web", False), ("rest", False), (None, True)):
        assert ("app" in (await top(knowledge_base, APP.question, channel=channel))[1]) is seen, channel
        assert (await top(knowledge_base, RETURN.question, channel=channel))[0] == "answer"


async def test_a_category_narrows_the_search(made):
    knowledge_base, _ = made
    assert (await top(knowledge_base, RETURN.question, category="物流"))[1] == ["ship"]
    assert (await top(knowledge_base, RETURN.question, category="没有的"))[1] == []


async def test_what_hides_an_entry_is_told_where_it_would_have_been_found(made, database):
    knowledge_base, clock = made
    off = Entry("off", "直播几点开始", "八点。", similar_questions=("什么时候直播",), enabled=False)
    async with database.session() as session:
        stored = await knowledge.add_entry(session, off)
    assert await knowledge_base.wait_for(stored.revision)

    async def told(query: str, **scope) -> dict[str, tuple[str, ...]]:
        found = await knowledge_base.search(query, **scope)
        return {one.entry.id: one.reasons for one in await filtered(knowledge_base, found, **scope)}

    assert await told(APP.question, channel="web") == {"app": ("channel",)}
    assert await told("绑定手机号在哪", channel="web") == {"app": ("channel",)}
    assert await told(APP.question, channel="shop") == {}
    assert await told(APP.question) == {}
    assert await told(RETURN.question, category="物流") == {"return": ("category",)}
    assert await told("什么时候直播？") == {"off": ("disabled",)}
    assert await told(RETURN.question, channel="web") == {}, "what is found needs no excuse"
    clock.moment += timedelta(days=1)
    assert await told(SALE.question) == {"sale": ("expired",)}
    clock.moment -= timedelta(days=60)
    assert await told(SALE.question, category="物流") == {"sale": ("category", "not_yet")}


async def test_the_hit_test_and_ask_name_what_was_left_out(service, capsys):
    faq = {"question": "小程序怎么绑定手机号", "answer": "在设置里", "channels": ["抖音店"]}
    entry = (await service.call("POST", "/api/faqs", "editor", json=faq))[1]
    given = {"query": faq["question"], "channel": "web"}
    status, body = await service.call("POST", "/api/search", json=given)
    assert status == 200
    (one,) = body["filtered"]
    assert (one["id"], one["reasons"], one["channels"]) == (entry["id"], ["channel"], ["抖音店"])
    assert one["score"] > 0.9
    _, body = await service.call("POST", "/api/search", json={"query": faq["question"]})
    assert (body["filtered"], body["hits"][0]["channels"]) == ([], ["抖音店"])


async def test_a_change_of_days_or_channels_holds_at_once_and_encodes_nothing(made, database, monkeypatch):
    knowledge_base, clock = made
    clock.moment += timedelta(days=1)

    async def change(entry_id: str, **values) -> None:
        async with database.session() as session:
            stored = await knowledge.update_entry(session, entry_id, values)
        assert await knowledge_base.wait_for(stored.revision)

    index = knowledge_base.served.index
    lacking = []
    follow = index.change

    def watched(*args):
        report = follow(*args)
        lacking.append(index.lacking)
        return report

    monkeypatch.setattr(index, "change", watched)
    await change("sale", valid_until=None)
    assert (await top(knowledge_base, SALE.question))[0] == "answer"
    await change("return", channels=("wechat",))
    assert "return" not in (await top(knowledge_base, RETURN.question, channel="web"))[1]
    await change("return", channels=())
    assert (await top(knowledge_base, RETURN.question, channel="web"))[0] == "answer"
    assert lacking == [0, 0, 0]


async def test_a_channel_that_nobody_knows_is_refused_with_those_there_are(service):
    faq = {"question": "怎么退货", "answer": "七天内", "channels": ["抖音店"]}
    assert (await service.call("POST", "/api/faqs", "editor", json=faq))[0] == 201
    for channel in ("web", "rest", "openai", "cli", "抖音店"):
        assert (await service.call("POST", "/api/search", json={"query": "退货", "channel": channel}))[0] == 200
    status, body = await service.call("POST", "/api/search", json={"query": "退货", "channel": "wecaht"})
    assert (status, body["error"]["code"]) == (400, "unknown_channel")
    assert body["error"]["message"] == "没有渠道 wecaht（有：cli, openai, rest, web, 抖音店）"


async def test_channels_of_the_settings_are_known_by_kind_and_by_name(made):
    knowledge_base, _ = made
    for channel in ("shop", "wechat"):
        knowledge_base.check_channel(channel)
    with pytest.raises(InvalidError):
        knowledge_base.check_channel("wecom")


def test_asking_as_on_an_unknown_channel_says_so(kefu):
    code, out, error = kefu("ask", "怎么退货", "--channel", "wecaht")
    assert (code, out) == (1, "")
    assert "没有渠道 wecaht" in error


async def test_an_uploaded_table_brings_days_and_channels(service):
    table = "编号,问题,答案,生效日期,失效日期,渠道\na,怎么退货,七天内,2026-01-01,2026/6/30,web\n"
    assert (await service.upload("faq.csv", table.encode()))["result"]["added"] == 1
    _, body = await service.call("GET", "/api/faqs/a", "viewer")
    assert (body["valid_from"], body["valid_until"], body["channels"]) == ("2026-01-01", "2026-06-30", ["web"])
    assert (await service.upload("same.csv", (table + "\n").encode()))["result"]["skipped"] == 1


async def test_over_http_an_entry_has_days_and_channels(service):
    given = {
        "id": "a", "question": "怎么退货", "answer": "七天内", "valid_from": "2020-01-01", "valid_until": "2020-12-31",
        "channels": ["web"], "category": "售后",
    }  # fmt: skip
    status, body = await service.call("POST", "/api/faqs", "editor", json=given)
    assert status == 201
    assert {name: body[name] for name in given} == given

    async def hits(**more) -> list[str]:
        _, found = await service.call("POST", "/api/search", "viewer", json={"query": "怎么退货", **more})
        return [hit["id"] for hit in found["hits"]]

    assert await hits() == []
    status, body = await service.call("PATCH", "/api/faqs/a", "editor", json={"valid_until": None})
    assert (status, body["valid_until"], body["valid_from"]) == (200, None, "2020-01-01")
    assert await hits() == ["a"]
    assert await hits(channel="web", category="售后") == ["a"]
    assert await hits(channel="rest") == []
    assert await hits(category="物流") == []
    status, body = await service.call("PATCH", "/api/faqs/a", "editor", json={"valid_until": "2019-01-01"})
    assert (status, body["error"]["code"]) == (400, "invalid_dates")
    status, body = await service.call("PATCH", "/api/faqs/a", "editor", json={"valid_until": "明天"})
    assert (status, body["error"]["details"][0]["field"]) == (400, "valid_until")
    assert "2026-01-31" in body["error"]["message"]


def test_old_databases_get_the_columns_and_keep_what_they_hold(tmp_path, capsys):
    path = tmp_path / "data" / "kefu.db"
    path.parent.mkdir()
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        command.upgrade(configuration(connection), "0001")
    engine.dispose()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "INSERT INTO entries (id, question, answer, similar_questions, negative_questions, tags, enabled, position,"
            " content_hash, revision, created_at, updated_at)"
            " VALUES ('a', '怎么退货', '七天内', '[]', '[]', '[]', 1, 0, 'h', 1, '2026-01-01', '2026-01-01')"
        )
        connection.commit()
    assert main(["export", str(tmp_path / "out.jsonl"), "--data", str(tmp_path / "data")]) == 0
    capsys.readouterr()
    (line,) = (tmp_path / "out.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line) == {"id": "a", "question": "怎么退货", "answer": "七天内"}
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT valid_from, valid_until, channels FROM entries").fetchall()
    assert found == [(None, None, "[]")]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "xlsx"])
async def test_an_export_imports_again_without_a_change(tmp_path, capsys, make_settings, use_shared_encoder, suffix):
    import asyncio

    def kefu(*arguments: str) -> str:
        assert main([*arguments, "--json", "--data", str(tmp_path / "data")]) == 0
        return capsys.readouterr().out

    file = tmp_path / "in.csv"
    file.write_text(
        "编号,问题,答案,生效日期,失效日期,渠道\n"
        'sale,双十一有什么优惠,八折,2026/11/1,2026年11月11日,"web\nwechat"\n'
        "bad,日期不对,x,2026-02-30,,\nback,前后颠倒,x,2026-02-02,2026-02-01,\n",
        "utf-8",
    )
    report = json.loads(await asyncio.to_thread(kefu, "import", str(file)))
    assert (report["added"], report["failed"]) == (1, 2)
    out = tmp_path / f"out.{suffix}"
    await asyncio.to_thread(kefu, "export", str(out))
    report = json.loads(await asyncio.to_thread(kefu, "import", str(out)))
    assert (report["added"], report["updated"], report["skipped"]) == (0, 0, 1)
    async with opened(make_settings().database) as database, database.reading() as session:
        (entry,) = await knowledge.all_entries(session)
    assert (entry.valid_from, entry.valid_until, entry.channels) == (
        date(2026, 11, 1), date(2026, 11, 11), ("web", "wechat"),
    )  # fmt: skip


async def test_few_admitted_among_many_are_found(shared_encoder):
    """A filter that leaves little must not lose it behind the many that are nearer."""
    from knowledge import shelf
    from knowledge.index import Index

    index = Index.open(None, shared_encoder)
    many = [
        Entry(f"e{n}", f"退货的第 {n} 个问题", "x", tuple(f"退货问法 {n} {k}" for k in range(3))) for n in range(60)
    ]
    index.synchronise([*many, Entry("far", "公司有食堂吗", "有")])
    before = shelf.DENSE_CANDIDATES, shelf.DENSE_CANDIDATES_MAX
    shelf.DENSE_CANDIDATES, shelf.DENSE_CANDIDATES_MAX = 4, 16
    try:
        found = index.search("怎么退货", admits=lambda id_: id_ in ("far", "e7"))
        assert [hit.id for hit in found.hits] == ["e7", "far"]
        assert index.search("公司有食堂吗", admits=lambda id_: id_ != "far").decision != "answer"
    finally:
        shelf.DENSE_CANDIDATES, shelf.DENSE_CANDIDATES_MAX = before
