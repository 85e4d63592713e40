"""The core without any platform: cutting text, pacing, tokens, parameters, dead letters, writing first, secrets."""

import asyncio
import json
import stat
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import regex
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from bot.errors import ConfigError, InvalidError, NotFoundError
from bot.messaging import sources
from bot.messaging.sources import Configured
from bot.security.vault import Vault
from bot.storage import letters, messaging, passing
from bot.storage.database import Database
from bot.storage.passing import Outgoing
from bot.storage.tables import InboxRow, OutboxRow
from connectors.calls import Platform, retry_after
from connectors.delivery import Pump
from connectors.dingtalk.client import DingTalkClient
from connectors.errors import ConnectorError, DeliveryError
from connectors.kinds import KINDS
from connectors.markdown import pieces, plain
from connectors.pacing import Gate, Pace, Rate
from connectors.registry import validate
from connectors.text import in_bytes, in_utf16, split
from connectors.tokens import AccessToken
from connectors.types import Conversation, Delivery, Inbound, Location, Media
from connectors.wechat.client import WeChatClient
from tests.connectors.cases import Feishu, Telegram, Webhook, WeChat
from tests.servers.outside import Outside


@pytest.mark.parametrize(("markdown", "text"), [
    ("在「我的订单」里点**申请退货**。", "在「我的订单」里点申请退货。"),
    ("价格 3-5 元，型号 A_B_C，1.5 倍。", "价格 3-5 元，型号 A_B_C，1.5 倍。"),
    ("流程：\n1. 甲\n2. 乙\n谢谢", "流程：\n1. 甲\n2. 乙\n谢谢"),
    ("第一段\n第二行\n\n第二段", "第一段\n第二行\n\n第二段"),
    ("# 标题\n\n正文", "标题\n\n正文"),
    ("见[说明](https://a.example/b?c=1&d=2)。", "见说明（https://a.example/b?c=1&d=2）。"),
    ("see [docs](https://a.example)", "see docs (https://a.example)"),
    ("<https://a.example/x>", "https://a.example/x"),
    ("- 一\n- 二\n  - 三", "• 一\n• 二\n  • 三"),
    ("| 地区 | 运费 |\n| --- | --- |\n| 华东 | 8 |", "地区 | 运费\n华东 | 8"),
    ("```py\nx = 1\n\ny = **2**\n```", "x = 1\n\ny = **2**"),
    ("> 引用\n> 第二行", "引用\n第二行"),
    ("<b>不是网页</b>", "<b>不是网页</b>"),
    ("![图](https://a.example/i.png)", "图 https://a.example/i.png"),
    ("", ""),
])  # fmt: skip
def test_markdown_becomes_plain_text(markdown: str, text: str) -> None:
    assert plain(markdown)[0] == text


@given(st.text(alphabet="退货。，\n ab👨\u200d👩e\u0301🇨🇳", max_size=400), st.integers(40, 90))
@settings(max_examples=150, deadline=None)
def test_cutting_loses_nothing_and_cuts_no_character(text: str, limit: int) -> None:
    made = split(text, limit, in_bytes)
    assert "".join("".join(made).split()) == "".join(text.split())
    longest = max((in_bytes(one) for one in regex.findall(r"\X", text)), default=0)
    assert all(in_bytes(one) <= max(limit, longest) for one in made)
    whole = regex.findall(r"\X", "".join(text.split()))
    assert regex.findall(r"\X", "".join("".join(made).split())) == whole


def test_a_cut_is_where_a_reader_would_pause() -> None:
    text = "第一段第一句。第一段第二句。\n\n" + "第二段很长，" * 10 + "结束。"
    assert split(text, 24)[0] == "第一段第一句。第一段第二句。"
    link = "https://example.com/" + "a" * 30
    assert any(link in one for one in split("字" * 25 + link + "字" * 25, 60))
    code = "说明\n\n```\n" + "一行代码\n" * 6 + "```\n\n" + "后文" * 30
    assert any("\n".join(["一行代码"] * 6) in one for one in pieces(code, 60))
    assert [in_utf16(one) for one in split("😀" * 10, 4, in_utf16)] == [4] * 5


async def test_the_gate_keeps_the_pace() -> None:
    now, slept = [0.0], []

    async def sleep(seconds: float) -> None:
        slept.append(round(seconds, 3))

    gate = Gate(Pace(everyone=Rate(100, 1.0), each=Rate(2, 10.0)), lambda: now[0], sleep)
    for _ in range(4):
        await gate.admit("u1")
    await gate.admit("u2")
    assert slept == [5.0, 10.0]
    now[0] = 100.0
    gate.close(30.0)
    await gate.admit("u3")
    assert slept[-1] == 30.0


async def test_a_token_is_fetched_once_renewed_early_and_kept_while_the_platform_is_away() -> None:
    now, fetched, failing = [0.0], [], [False]

    async def fetch(refused: bool) -> tuple[str, float]:
        await asyncio.sleep(0)
        if failing[0]:
            raise DeliveryError("unreachable", "不通", "away")
        fetched.append(refused)
        return f"t{len(fetched)}", 7200.0

    token = AccessToken(fetch, lambda: now[0])
    assert await asyncio.gather(*(token.get() for _ in range(9))) == ["t1"] * 9
    now[0] = 6800.0
    assert await token.get() == "t1"
    now[0] = 6950.0
    failing[0] = True
    assert await token.get() == "t1"
    failing[0] = False
    now[0] = 6990.0
    assert await token.get() == "t2"
    assert await asyncio.gather(*(token.instead_of("t2") for _ in range(5))) == ["t3"] * 5
    assert fetched == [False, False, True]


def test_retries_grow_and_never_come_before_the_platforms_word() -> None:
    class Some:
        id, schedule, pace = "x/y", (1.0, 10.0), Pace()

    low, high = (Pump(Some(), None, chance=lambda c=c: c) for c in (0.0, 1.0))  # type: ignore[arg-type]
    error = DeliveryError("x", "", "")
    first, second = Delivery("1", "r", {}, {}), Delivery("1", "r", {}, {}, attempts=1)
    assert (low.again_in(first, error), high.again_in(first, error)) == (0.75, 1.25)
    assert (low.again_in(second, error), high.again_in(second, error)) == (7.5, 12.5)
    assert low.again_in(first, DeliveryError("x", "", "", retry_after=60.0)) == 60.0
    assert low.again_in(Delivery("1", "r", {}, {}, attempts=2), error) is None
    assert retry_after({"retry-after": "7"}) == 7.0
    assert retry_after({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}) is None


WECHAT = {"kind": "wechat", "app_id": "a", "app_secret": "s", "token": "word"}


@pytest.mark.parametrize(("table", "field", "word"), [
    ({"kind": "fax"}, "kind", "fax"),
    (WECHAT | {"encoding_key": "x"}, "encoding_key", "encoding_aes_key"),
    ({"kind": "wechat", "app_id": "a", "token": "t"}, "app_secret", "AppSecret"),
    (WECHAT | {"token": "kurz-geheim"}, "token", "3 到 32 个字母或数字"),
    (WECHAT | {"token": "ab"}, "token", "3 到 32"),
    (WECHAT | {"token": "a" * 33}, "token", "3 到 32"),
    (WECHAT | {"token": "词词词"}, "token", "3 到 32"),
    (WECHAT | {"encoding_aes_key": "kurz-geheim"}, "encoding_aes_key", "43"),
    ({"kind": "dingtalk", "client_id": "a", "client_secret": "s", "mode": "pigeon"}, "mode", "pigeon"),
    ({"kind": "telegram", "bot_token": "s", "secret_token": "t", "api_base": "ftp://x"}, "api_base", "ftp"),
    ({"kind": "webhook", "secret": "whsec_", "url": "https://a.example"}, "secret", "Base64"),
    ({"kind": "chatwoot", "base_url": "http://c", "account_id": "x1", "api_access_token": "t"}, "account_id", "x1"),
])  # fmt: skip
def test_a_wrong_parameter_is_named_with_what_was_expected(table: dict[str, Any], field: str, word: str) -> None:
    with pytest.raises(ConnectorError) as caught:
        validate({"name": "shop", **table})
    assert caught.value.field == field
    assert word in caught.value.zh
    assert "kurz-geheim" not in caught.value.zh + caught.value.en


def test_every_kind_can_be_made_and_defaults_are_filled_in() -> None:
    assert validate({"kind": "dingtalk", "client_id": 123, "client_secret": "s"}) == {
        "client_id": "123", "client_secret": "s", "mode": "http", "card_template_id": None, "card_key": None,
        "api_base": None,
    }  # fmt: skip
    from bot.messaging.checking import Detached
    from connectors import registry

    given = {"encoding_aes_key": "A" * 43, "url": "https://a.example", "base_url": "https://a.example",
             "account_id": "1", "secret": "c2VjcmV0", "token": "word"}  # fmt: skip
    for kind in KINDS.values():
        if kind.made_by:
            table = {one.name: given.get(one.name, "x") for one in kind.parameters if not one.choices}
            channel = registry.make({**table, "kind": kind.kind, "name": "n"}, Detached(None))  # type: ignore[arg-type]
            assert channel.id == f"{kind.kind}/n"


def test_an_inbound_comes_back_from_the_database_as_it_was() -> None:
    inbound = Inbound(
        Conversation("shop", "u", "wechat", "g"), "字", "m", media=Media("image", "id"),
        location=Location(1.0, 2.0, "家"), pressed=True, reply_to={"a": 1},
    )  # fmt: skip
    assert Inbound.from_json(json.loads(json.dumps(inbound.to_json()))) == inbound


async def test_addresses_of_others_are_never_called() -> None:
    async with aiohttp.ClientSession() as http:
        platform = Platform(http, "https://api.example.com", ("a.example.com", ".b.example.com"))
        for url in ("https://a.example.com/x", "https://x.b.example.com:443/", "https://api.example.com/y"):
            assert platform.owns(url)
        for url in ("http://a.example.com/", "https://a.example.com:8443/", "https://a.example.com.evil.example/",
                    "https://user@a.example.com/", "https://evil.example#a.example.com", "//a.example.com/", "https://[",
                    "https://b.example.com/", "gopher://a.example.com/"):  # fmt: skip
            assert not platform.owns(url), url
            with pytest.raises(DeliveryError) as caught:
                await platform.call("POST", url if url[0] != "/" else "https:" + url.replace("a.", "evil."))
            assert caught.value.outcome == "dead"


class Gateway(Outside):
    """A proxy that is in the way: an answer of its own, without the platform's `errcode`."""

    def routes(self) -> list[web.RouteDef]:
        return [web.route("*", "/{any:.*}", self.answer)]

    async def answer(self, request: web.Request) -> web.Response:
        if request.path == "/cgi-bin/stable_token":
            return web.json_response({"access_token": "t", "expires_in": 7200})
        return web.json_response({"message": "denied"}, status=403)


async def test_an_answer_without_the_platforms_code_is_no_success() -> None:
    gateway = Gateway()
    base = await gateway.start()
    try:
        async with aiohttp.ClientSession() as http:
            wechat = WeChatClient(Platform(http, base), "wx", "s", time.time)
            dingtalk = DingTalkClient(Platform(http, base), "id", "s", time.time)
            address = {"webhook": f"{base}/robot/sendBySession", "until_ms": (time.time() + 999) * 1000, "group": ""}
            for call in (wechat.send("u", {"text": "a"}), dingtalk.send(address, "a")):
                with pytest.raises(DeliveryError) as caught:
                    await call
                assert (caught.value.code, caught.value.outcome) == ("http_403", "retry")
    finally:
        await gateway.stop()


@pytest.fixture
async def case(request: pytest.FixtureRequest) -> Any:
    made = getattr(request, "param", Webhook)()
    made.base = await made.outside.start()
    yield made
    await made.outside.stop()


async def test_what_is_given_up_can_be_seen_and_sent_again(
    start_desk: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = await start_desk()
    monkeypatch.setattr(type(desk.hub.channel("webhook/shop")), "schedule", (0.05, 0.05))
    desk.outside.failing = 1.0
    await desk.say("u1", "怎么退货")
    database = desk.hub._store.database

    async def dead() -> list[letters.Letter]:
        async with database.reading() as session:
            return await letters.letters(session)

    async with asyncio.timeout(60):
        while not (found := await dead()):  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.05)
    (letter,) = found
    assert (letter.channel, letter.attempts) == ("webhook/shop", 3)
    assert letter.error is not None
    assert "重试" in letter.error["message"] or "连不上" in letter.error["message"]
    desk.outside.failing = 0.0
    async with database.session() as session:  # as another process does: nobody wakes the pump
        assert await messaging.resend(session, [letter.id, "no-such"]) == [letter.id]
    assert await desk.outside.until(1) == [("u1", "答：怎么退货")]
    assert await dead() == []

    async def sent() -> int:
        async with database.reading() as session:
            return (await messaging.counts(session))["webhook/shop"].get("sent", 0)

    async with asyncio.timeout(60):  # the platform has it a moment before the outbox knows
        while await sent() != 1:  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.05)


async def test_what_is_done_leaves_no_words_behind(desk: Any) -> None:
    await desk.say("u1", "我的手机号是 13800138000")
    await desk.outside.until(1)
    await desk.outside.quiet()
    async with desk.hub._store.database.reading() as session:
        rows = [str(vars(row)) for table in (InboxRow, OutboxRow) for row in await session.scalars(select(table))]
    assert rows
    assert "13800138000" not in "".join(rows)


@pytest.mark.parametrize("case", [Webhook, Telegram, Feishu], indirect=True)
async def test_what_is_written_first_answers_no_message(desk: Any) -> None:
    """A platform shows an answer beside its question; the program behind a webhook looks for the question's id."""

    def answering() -> list[Any]:
        if desk.case.kind == "webhook":
            return [one["data"]["in_reply_to"] for one in desk.outside.bodies]
        if desk.case.kind == "telegram":
            return [one.get("reply_parameters", {}).get("message_id") for one in desk.outside.sent]
        return [path.split("/")[-2] for _, path, _ in desk.outside.calls if path.endswith("/reply")]

    group = "g5" if desk.case.has_groups else ""
    await desk.outside.quiet(0.3)  # it learns its name
    await desk.say("u1", "怎么退货", "1001", group=group)
    await desk.outside.until(1)
    answers = answering()
    assert len(answers) == 1
    assert answers != [None]
    who, where = ("u1", group) if desk.case.kind != "telegram" else map(desk.case.recipient, ("u1", group))
    await desk.hub.push(f"{desk.case.kind}/shop", who, "您的订单已发货", where)
    assert (await desk.outside.until(2))[1][1] == "您的订单已发货"
    assert [one for one in answering() if one] == answers


@pytest.mark.parametrize("case", [WeChat], indirect=True)
async def test_writing_first_keeps_to_the_platforms_window(desk: Any) -> None:
    with pytest.raises(NotFoundError):
        await desk.hub.push("wechat/shop", "never-wrote", "您好")
    with pytest.raises(NotFoundError):
        await desk.hub.push("wechat/none", "u1", "您好")
    await desk.say("u1", "怎么退货")
    for number in range(4):
        await desk.hub.push("wechat/shop", "u1", f"通知 {number}")
    with pytest.raises(InvalidError, match="最多允许 5 条"):
        await desk.hub.push("wechat/shop", "u1", "再来一条")
    await desk.outside.until(5)


async def test_secrets_of_the_console_lie_encrypted(database: Database, tmp_path: Path, make_settings: Any) -> None:
    settings, vault = make_settings(), Vault(tmp_path)
    table = {"kind": "telegram", "name": "shop", "bot_token": "123:very-secret", "secret_token": "also-secret"}
    await sources.store(database, vault, settings, table)
    (found,) = await sources.in_console(database, vault)
    assert found.table == table
    await sources.store(database, vault, settings, {"kind": "telegram", "name": "shop", "mode": "polling"})
    (found,) = await sources.in_console(database, vault)
    assert (found.table["bot_token"], found.table["mode"]) == ("123:very-secret", "polling")
    key = tmp_path / "secret.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    await database.close()
    raw = b"".join(path.read_bytes() for path in (tmp_path / "data").glob("kefu.db*"))
    assert b"very-secret" not in raw
    assert b"also-secret" not in raw


async def test_another_key_opens_nothing_and_says_so(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    sealed = Vault(first).seal({"token": "t"}, "wechat/shop")
    assert Vault(first).unseal(sealed, "wechat/shop") == {"token": "t"}
    for vault, data, owner in (
        (Vault(second), sealed, "wechat/shop"), (Vault(first), sealed, "wechat/other"),
        (Vault(first), sealed[:-1], "wechat/shop"), (Vault(first), b"", "wechat/shop"),
    ):  # fmt: skip
        with pytest.raises(ConfigError):
            vault.unseal(data, owner)


async def test_what_waits_for_a_channel_that_is_gone_is_given_up_and_nothing_else(database: Database) -> None:
    def given(connection: Any) -> dict[str, str]:
        made = passing.send(connection, [Outgoing(f"webhook/{one}", one, {}, {"t": one}) for one in "abcd"])
        passing.claim(connection, "webhook/b", 1)
        passing.not_sent(connection, made[2].id, "held", {}, 0.0, uncertain=False)
        return {one.id: one.recipient for one in made}

    ids = await database.write(given)
    kept = ["webhook/d"]
    assert await database.read(lambda it: passing.homeless(it, kept))
    assert sorted(await database.write(lambda it: passing.bury(it, kept))) == ["a", "b", "c"]
    assert not await database.read(lambda it: passing.homeless(it, kept))
    async with database.reading() as session:
        dead = {ids[one.id]: one for one in await letters.letters(session)}
    assert {name: one.uncertain for name, one in dead.items()} == {"a": 0, "b": 1, "c": 0}
    assert [one.error and one.error["message_en"] for one in dead.values() if one.recipient == "a"] == [
        "The channel webhook/a was removed: add it again by the same name, then resend"
    ]


async def test_a_channel_in_file_and_console_is_refused() -> None:
    one = Configured({"kind": "telegram", "name": "shop"}, "file")
    with pytest.raises(ConfigError, match="telegram/shop"):
        sources.merged([one], [Configured(one.table, "console")])


def test_every_kind_has_a_page_and_a_sample_that_is_right() -> None:
    docs = Path(__file__).parents[2] / "docs" / "channels"
    sample = tomllib.loads((docs / "kefu.sample.toml").read_text(encoding="utf-8"))["channels"]
    stand_in = {"encoding_aes_key": "A" * 43, "secret": "c2VjcmV0", "token": "word"}
    for table in sample:
        filled = {
            name: stand_in.get(name, "x") if str(value).startswith("env:") else value for name, value in table.items()
        }
        validate(filled)
        page = "rasa" if table["kind"] in ("callback", "socketio") else table["kind"]
        assert (docs / f"{page}.md").is_file()
    assert {one["kind"] for one in sample} == {kind for kind, one in KINDS.items() if one.made_by}
