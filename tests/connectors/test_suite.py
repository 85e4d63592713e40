"""The suite that every messaging channel passes, over real HTTP, with a real database behind it."""

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
import regex
from aiohttp import web

from connectors.markdown import plain
from connectors.pacing import Gate
from tests.connectors.cases import Case, Sent
from tests.connectors.conftest import Desk
from tests.servers.desk import CHOICES, LONG, long_text
from tests.servers.outside import Outside


async def test_a_question_is_answered_with_one_plain_message(desk: Desk) -> None:
    assert await desk.say("u1", "怎么退货") == 200
    await desk.outside.until(1)
    assert await desk.outside.quiet() == [(desk.case.recipient("u1"), "答：怎么退货")]


def spoiled(case: Case) -> dict[str, Sent]:
    good = case.message("u1", "怎么退货", "1")
    again = case.message("u1", "怎么退货", "1")
    wrong: dict[str, Sent] = {"nothing": Sent("POST", {}, {}, good.body)}
    if b"verify-me" in good.body:  # plain Feishu: the token inside is all there is
        return {"another token": Sent("POST", {}, {}, good.body.replace(b"verify-me", b"verify-mf"))}
    signature = next(
        (name for name in (*good.query, *good.headers) if "sign" in name.lower() or "secret" in name.lower()), None
    )
    assert signature, "the case names no signature"
    for place in (again.query, again.headers):
        if signature in place:
            value = place[signature]
            place[signature] = value[:-2] + ("AA" if value[-2:] != "AA" else "BB")
    wrong["another signature"] = again
    short = case.message("u1", "怎么退货", "1")
    for place in (short.query, short.headers):
        if signature in place:
            place[signature] = place[signature][: len(place[signature]) // 2]
    wrong["a truncated signature"] = short
    if case.signs_body:
        wrong["another body"] = Sent(good.method, good.query, good.headers, good.body[:-5] + b"12345")
        wrong["a truncated body"] = Sent(good.method, good.query, good.headers, good.body[: len(good.body) // 2])
    if case.stale_after:
        wrong["stale"] = case.message("u1", "怎么退货", "1", at=time.time() - case.stale_after - 10)
        wrong["from the future"] = case.message("u1", "怎么退货", "1", at=time.time() + case.stale_after + 10)
    return wrong


async def test_what_is_not_signed_right_is_refused_and_not_answered(desk: Desk) -> None:
    if not desk.case.signs:
        pytest.skip("takes no callbacks")
    for name, sent in spoiled(desk.case).items():
        status = await desk.case.post(desk.http, desk.url, sent)
        assert 400 <= status < 500, name
    assert await desk.outside.quiet() == []
    assert await desk.say("u1", "怎么退货") == 200
    await desk.outside.until(1)


async def test_a_wrong_clock_of_ours_is_said_in_the_log_and_by_the_check(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    case, channel = desk.case, desk.hub.channel(f"{desk.case.kind}/shop")
    if not case.signs or not case.stale_after or case.kind == "webhook":
        pytest.skip("nothing of the platform says what time it is")
    assert [one.ok for one in await channel.check()] == [True]
    monkeypatch.setattr(desk.hub, "clock", lambda: time.time() + case.stale_after + 1000)
    for _ in range(3):  # said once, not as often as it happens
        assert await case.post(desk.http, desk.url, case.message("u1", "怎么退货", "1")) == 403
    (warning,) = [one for one in caplog.records if one.levelname == "WARNING" and one.name == "kefu.messaging"]
    assert "NTP" in warning.getMessage()
    found = await channel.check()
    assert [one.ok for one in found] == [True, False]
    assert "NTP" in found[1].zh
    assert re.search("clock is .* behind|clock is .* ahead", found[1].en)
    # As late as a platform's own retries come, with a clock that is a quarter of an hour off (Chatwoot: four minutes),
    # it is taken.
    off, last = {"wechat": (900, 15), "feishu": (900, 15 + 300 + 3600 + 21_600), "dingtalk": (900, 0),
                 "chatwoot": (240, 0)}[case.kind]  # fmt: skip
    monkeypatch.setattr(desk.hub, "clock", lambda: time.time() + off)
    sent = case.message("u1", "怎么退货", "2", at=time.time() - last)
    assert await case.post(desk.http, desk.url, sent) == 200


async def test_a_body_of_ten_megabytes_is_refused(desk: Desk) -> None:
    if not desk.case.signs:
        pytest.skip("takes no callbacks")
    good = desk.case.message("u1", "怎么退货", "1")
    huge = Sent(good.method, good.query, good.headers, good.body + b" " * 10_000_000)
    assert await desk.case.post(desk.http, desk.url, huge) in (400, 401, 403, 413)
    assert await desk.outside.quiet() == []


async def test_bodies_that_are_nothing_known_do_no_harm(desk: Desk) -> None:
    if not desk.case.signs:
        pytest.skip("takes no callbacks")
    good = desk.case.message("u1", "怎么退货", "1")
    for body in (
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"[" * 100_000,
        b"<xml>",
        b"<!DOCTYPE x [<!ENTITY a 'b'>]><xml>&a;</xml>",
    ):
        status = await desk.case.post(desk.http, desk.url, Sent(good.method, good.query, good.headers, body))
        assert status < 500, body[:20]
    assert await desk.outside.quiet() == []


async def test_a_message_of_an_unknown_type_is_taken_and_does_no_harm(desk: Desk) -> None:
    sent = desk.case.strange("u1", "77")
    if sent is None:
        pytest.skip("has one type of message")
    assert await desk.case.post(desk.http, desk.url, sent) == 200
    assert await desk.say("u1", "怎么退货") == 200
    await desk.outside.until(1)
    assert "答：怎么退货" in [text for _, text in await desk.outside.quiet()]


async def test_the_same_message_five_times_and_after_a_restart_is_answered_once(start_desk: Callable[..., Any]) -> None:
    desk = await start_desk()
    statuses = await asyncio.gather(*(desk.say("u1", "怎么退货", "42") for _ in range(5)))
    assert statuses == [200] * 5
    await desk.outside.until(1)
    assert await desk.say("u1", "怎么退货", "42") == 200
    assert len(await desk.outside.quiet()) == 1
    await desk.server.close()
    desk = await start_desk()
    assert await desk.say("u1", "怎么退货", "42") == 200
    assert len(await desk.outside.quiet()) == 1
    assert await desk.say("u1", "怎么退货", "43") == 200
    await desk.outside.until(2)


async def test_a_delivery_that_is_replayed_is_not_asked_again(desk: Desk) -> None:
    assert await desk.say("u1", "怎么退货", "42") == 200
    await desk.outside.until(1)
    sent = desk.case.message("u1", "怎么退货", "42")
    for _ in range(3):  # the same bytes with the same signature
        assert await desk.case.post(desk.http, desk.url, sent) == 200
    assert len(await desk.outside.quiet()) == 1
    assert len(desk.answers.said) == 1


@pytest.mark.slow
@pytest.mark.parametrize("customers", [60, pytest.param(1000, marks=pytest.mark.soak)])
async def test_many_customers_at_once_each_get_their_own_answers(desk: Desk, customers: int) -> None:
    gate = asyncio.Semaphore(50)

    async def ask(number: int, place: int) -> None:
        async with gate:
            assert await desk.say(f"u{number}", f"问题 {place} 来自 {number}", f"9{place}{number:04}") == 200

    for place in range(2):
        await asyncio.gather(*(ask(number, place) for number in range(customers)))
    await desk.outside.until(2 * customers, 120)
    for number in range(customers):
        to = desk.outside.to(desk.case.recipient(f"u{number}"))
        assert to == [f"答：问题 {place} 来自 {number}" for place in range(2)]
    by_user: dict[str, list[str]] = {}
    for user, _, text in desk.answers.said:
        by_user.setdefault(user, []).append(text)
    assert len(by_user) == customers
    assert all(len(said) == 2 and len({text.split("来自")[1] for text in said}) == 1 for said in by_user.values())


def squeezed(text: str) -> str:
    return "".join(text.split())


async def at_once(_gate: Gate, _recipient: str) -> None:
    """Pacing has its own tests."""


async def test_a_very_long_answer_is_split_where_a_reader_would_pause(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Gate, "admit", at_once)
    assert await desk.say("u1", LONG) == 200
    wanted = {squeezed(plain(long_text())[0]), squeezed(long_text())}
    reading = asyncio.create_task(desk.case.read_on(desk, "u1"))
    await desk.outside.until_true(lambda texts: squeezed(desk.case.joined(texts)) in wanted, 120)
    reading.cancel()
    texts = [text for _, text in await desk.outside.quiet()]
    assert max(map(desk.case.measure, texts)) <= desk.case.limit
    link = "https://shop.example.com/help/returns?order=" + "8" * 60 + "&lang=zh"
    assert sum(text.count(link) for text in texts) == long_text().count(link)
    family = "👨‍👩‍👧‍👦"
    assert sum(regex.findall(r"\X", text).count(family) for text in texts) == long_text().count(family)
    lines = {line for text in texts for line in text.splitlines() if line.startswith("print(")}
    assert lines <= {f"print('第 {n} 行')" for n in range(30)}


async def test_choices_are_offered_and_can_be_typed(desk: Desk) -> None:
    assert await desk.say("u1", CHOICES) == 200
    await desk.outside.until(1)
    shown = json.dumps([text for _, text in await desk.outside.quiet()], ensure_ascii=False)
    bodies = json.dumps(getattr(desk.outside, "bodies", []), ensure_ascii=False)
    assert "怎么退货" in shown + bodies
    assert "运费谁出" in shown + bodies


async def test_one_customer_in_a_group_and_alone_is_two_conversations(desk: Desk) -> None:
    if not desk.case.has_groups:
        pytest.skip("has no groups")
    assert await desk.say("u1", "私下说的话") == 200
    assert await desk.say("u1", "群里说的话", group="g1") == 200
    await desk.outside.until(2)
    assert desk.outside.to(desk.case.recipient("u1")) == ["答：私下说的话"]
    assert [text.removeprefix("@u1 ") for text in desk.outside.to(desk.case.recipient("u1", "g1"))] == [
        "答：群里说的话"
    ]
    assert len({user for user, _, _ in desk.answers.said}) == 1
    assert sorted(group != "" for _, group, _ in desk.answers.said) == [False, True]


async def test_a_slow_platform_gets_every_message_once(desk: Desk) -> None:
    desk.outside.slow_seconds = 0.3
    for number in range(5):
        assert await desk.say(f"u{number}", "怎么退货") == 200
    await desk.outside.until(5)
    assert len(await desk.outside.quiet(1.0)) == 5


@pytest.mark.slow
async def test_a_platform_that_fails_at_random_gets_every_message(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.outside.failing = 0.2
    monkeypatch.setattr(type(desk.hub.channel(f"{desk.case.kind}/shop")), "schedule", (0.05,) * 12)
    for number in range(60):
        assert await desk.say(f"u{number}", f"问题 {number}") == 200
    await desk.outside.until_true(lambda texts: len(set(texts)) >= 60, 120)
    desk.outside.failing = 0.0
    got = await desk.outside.quiet(1.0)
    assert len({text for _, text in got}) == 60
    # The stand-in fails before it delivers, so that nothing may come twice.
    assert len(got) == 60


async def test_while_the_platform_refuses_the_token_answers_wait_and_then_go_out_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    if desk.case.refusal is None:
        pytest.skip("answers without a token")
    monkeypatch.setattr(type(desk.hub.channel(f"{desk.case.kind}/shop")), "schedule", (0.2,) * 60)
    assert await desk.say("u1", "怎么退货") == 200
    await desk.outside.until(1)
    desk.outside.refusing, begun = desk.case.refusal, len(desk.outside.calls)
    assert await desk.say("u1", "运费谁出") == 200
    if len(await desk.outside.quiet(1.0)) == 1:  # a quick answer within the callback needs no token
        assert len(desk.outside.calls) > begun
    desk.outside.refusing = None
    await desk.outside.until(2)
    to = desk.case.recipient("u1")
    assert await desk.outside.quiet() == [(to, "答：怎么退货"), (to, "答：运费谁出")]


class Trap(Outside):
    """Somebody else's server."""

    def routes(self) -> list[web.RouteDef]:
        return [web.route("*", "/{any:.*}", self.caught)]

    async def caught(self, _request: web.Request) -> web.Response:
        return web.Response()


async def test_a_link_in_a_message_is_never_called(desk: Desk) -> None:
    trap = Trap()
    try:
        link = await trap.start() + "/steal?me=1"
        said = f"看看 {link} ![图]({link}) [说明]({link})"
        assert await desk.say("u1", said) == 200
        await desk.outside.until(1)
        await desk.outside.quiet()
        assert trap.calls == []
    finally:
        await trap.stop()


async def test_a_failure_of_the_answer_is_tried_again(desk: Desk) -> None:
    desk.answers.failures = 1
    assert await desk.say("u1", "怎么退货") == 200
    await desk.outside.until(1)
    assert await desk.outside.quiet() == [(desk.case.recipient("u1"), "答：怎么退货")]


async def test_logs_hold_neither_secrets_nor_what_was_said(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    desk.outside.failing = 0.5
    for number in range(6):
        await desk.say(f"u{number}", "我的手机号是 13800138000")
    if desk.case.signs:
        await desk.case.post(desk.http, desk.url, Sent("POST", {}, {}, b"13800138000"))
    await desk.outside.quiet(1.5)
    secrets = [
        str(value) for name, value in desk.case.table().items()
        if any(word in name for word in ("secret", "token", "key", "password"))
    ]  # fmt: skip
    ours = "\n".join(
        record.getMessage() + str(record.exc_info) for record in caplog.records if record.name.startswith("kefu")
    )
    assert "13800138000" not in ours
    assert not [one for one in secrets if one and one in ours]
