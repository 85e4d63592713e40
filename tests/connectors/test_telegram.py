"""Telegram, Chatwoot, the generic webhook and Rasa's callback channel: outside vectors and what each has of its own."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from connectors.chatwoot import wire as chatwoot_wire
from connectors.errors import ConnectorError
from connectors.registry import validate
from connectors.telegram import wire
from connectors.types import Button, Outbound
from connectors.webhook import wire as webhook_wire
from connectors.webhook.channel import GONE_SECONDS
from tests.connectors.cases import Chatwoot, Telegram, TelegramPolling, Webhook
from tests.servers import chatwoot, telegram
from tests.servers.desk import CHOICES, HUMAN


@pytest.fixture
async def case(request: pytest.FixtureRequest) -> Any:
    made = request.param()
    made.base = await made.outside.start()
    yield made
    await made.outside.stop()


def on(*cases: Any) -> Any:
    return pytest.mark.parametrize("case", cases, indirect=True, ids=[one.__name__.lower() for one in cases])


def vectors(folder: Path, name: str) -> dict[str, Any]:
    found = json.loads((folder / "channels" / f"{name}.json").read_text(encoding="utf-8"))["vectors"]
    return {one["id"]: one for one in found}


@on(Telegram)
async def test_outside_vectors_of_telegram(desk: Any, bench_data: Path) -> None:
    known = vectors(bench_data, "telegram")
    missing = known["missing-secret"]
    async with desk.http.post(desk.url + desk.case.path, json=missing["request"]["json"]) as response:
        assert response.status == missing["expect"]["status"]
    split = known["split-4096"]
    made = wire.render(Outbound(split["input"]["text"] * split["input"]["repeat"]))
    assert len(made) == split["expect"]["messages"]
    assert max(len(one["text"]) for one in made) <= split["expect"]["max_chars_each"]
    limited = known["429"]

    class Answer:
        status, json = limited["response"]["status"], limited["response"]["json"]

    with pytest.raises(ConnectorError) as caught:
        wire.check(Answer)
    assert caught.value.retry_after == limited["expect"]["wait_s"]


@on(Telegram)
async def test_a_limit_is_waited_for_and_then_it_is_sent_once(desk: Any) -> None:
    desk.outside.limited = 1
    await desk.say("u1", "怎么退货")
    await desk.outside.until(1)
    assert await desk.outside.quiet() == [(desk.case.recipient("u1"), "答：怎么退货")]
    assert desk.outside.methods.count("sendMessage") == 2


@on(Telegram)
async def test_who_blocked_the_bot_is_not_tried_again(desk: Any) -> None:
    desk.outside.blocked.add(telegram.number("u402"))
    await desk.say("u402", "怎么退货")
    await desk.outside.until_called(f"/bot{telegram.BOT_TOKEN}/sendMessage")
    await desk.outside.quiet(2.0)
    assert desk.outside.methods.count("sendMessage") == 1


@on(Telegram)
async def test_buttons_come_back_as_questions(desk: Any) -> None:
    await desk.say("u1", CHOICES)
    await desk.outside.until(1)
    data = desk.outside.sent[0]["reply_markup"]["inline_keyboard"][0][0]["callback_data"]
    pressed = {"id": "cb", "from": {"id": 2}, "message": {"message_id": 1, "chat": {"id": 2, "type": "private"}},
               "data": data}  # fmt: skip
    body = json.dumps({"update_id": 900, "callback_query": pressed})
    headers = {"X-Telegram-Bot-Api-Secret-Token": telegram.SECRET_TOKEN}
    async with desk.http.post(desk.url + desk.case.path, data=body, headers=headers) as response:
        assert response.status == 200
    await desk.outside.until(2)
    assert desk.outside.got[-1] == ("2", "答：怎么退货")
    assert "answerCallbackQuery" in desk.outside.methods


def test_a_long_choice_is_pressed_by_its_number() -> None:
    (made,) = wire.render(Outbound("哪一个？", buttons=(Button("短", "短"), Button("长" * 40, "长" * 40))))
    assert [row[0]["callback_data"] for row in made["reply_markup"]["inline_keyboard"]] == ["短", "2"]


@on(Telegram)
async def test_in_a_group_only_what_is_meant_for_the_bot(desk: Any) -> None:
    await desk.outside.quiet(0.3)  # it learns its name
    await desk.say("u1", "怎么退货", group="g5")
    update = desk.outside.update("u2", "", "77", "g5")
    update["message"]["text"] = "午饭吃什么"
    headers = {"X-Telegram-Bot-Api-Secret-Token": telegram.SECRET_TOKEN}
    async with desk.http.post(desk.url + desk.case.path, json=update, headers=headers) as response:
        assert response.status == 200
    await desk.outside.until(1)
    assert await desk.outside.quiet() == [(desk.case.recipient("u1", "g5"), "答：怎么退货")]
    assert desk.outside.sent[0]["reply_parameters"]["message_id"] == 7


@pytest.mark.parametrize(("text", "name", "named"), [
    ("@Shop_Bot 怎么退货", "shop_bot", True),
    ("请@shop_bot看一下", "shop_bot", True),
    ("@shop_bot2 怎么退货", "shop_bot", False),
    ("@shop_bot 怎么退货", "", True),  # just after a start: whoever it names, Telegram may never say it again
    ("怎么退货", "", False),
])  # fmt: skip
def test_whom_a_group_message_names(text: str, name: str, named: bool) -> None:
    update = telegram.Telegram().update("u1", "", "5", "g1")
    update["message"]["text"] = text
    message = wire.parse(update, name)
    assert message is not None
    assert message.named == named
    assert not (named and name) or "bot" not in message.text.lower()


@on(TelegramPolling)
async def test_polling_goes_on_where_it_was(start_desk: Any) -> None:
    desk = await start_desk()
    for number in range(3):
        await desk.say("u1", f"问题 {number}", str(100 + number))
    await desk.outside.until(3)
    await desk.outside.quiet(0.5)
    await desk.server.close()
    await desk.say("u1", "停机时说的", "103")
    desk = await start_desk()
    await desk.outside.until(4)
    assert [text for _, text in await desk.outside.quiet()] == [
        "答：问题 0",
        "答：问题 1",
        "答：问题 2",
        "答：停机时说的",
    ]


def test_outside_vectors_of_webhooks(bench_data: Path) -> None:
    for one in vectors(bench_data, "webhook_standard").values():
        if one["kind"] == "config":
            for secret in one["cases"]:
                with pytest.raises(ConnectorError):
                    validate({"kind": "webhook", "name": "w", "url": "https://a.example", "secret": secret})
            continue
        config = one["config"]
        key = webhook_wire.key_of(config["secret"])
        sent = [one["request"]["headers"]] if "request" in one else []
        body = one.get("request", {}).get("body", '{"test": 2432232314}').encode()
        if "cases" in one:
            good = vectors(bench_data, "webhook_standard")["sign"]["request"]["headers"]
            sent = [{name: value for name, value in good.items() if name != missing} for missing in one["cases"]]
        for headers in sent:
            if one["expect"]["valid"]:
                assert webhook_wire.verify(key, headers, body, one["clock_s"]) == headers["webhook-id"]
            else:
                with pytest.raises(ConnectorError):
                    webhook_wire.verify(key, headers, body, one.get("clock_s", 1614265330))


@on(Webhook)
async def test_a_receiver_that_is_gone_is_asked_no_more(desk: Any) -> None:
    async def gone(_request: web.Request) -> web.Response:
        return web.Response(status=410)

    desk.outside.troubles.append(gone)
    await desk.say("u1", "怎么退货")
    await desk.outside.until_called("/replies")
    await desk.outside.quiet(1.0)
    await desk.say("u1", "运费")
    await desk.outside.quiet(1.0)
    assert len(desk.outside.calls) == 1
    channel = desk.hub.channel("webhook/shop")
    channel._gone_until -= GONE_SECONDS  # an hour later
    await desk.say("u1", "怎么退货")
    await desk.outside.until(1)


@on(Webhook)
async def test_customers_whose_messages_are_numbered_alike_are_each_answered(desk: Any) -> None:
    for user in ("u1", "u2", "u1"):
        assert await desk.say(user, "怎么退货", "1") == 200
    await desk.outside.until(2)
    assert sorted(await desk.outside.quiet()) == [("u1", "答：怎么退货"), ("u2", "答：怎么退货")]
    assert [one["data"]["in_reply_to"] for one in desk.outside.bodies] == ["1", "1"]


@on(Webhook)
async def test_what_a_reply_holds(desk: Any) -> None:
    await desk.say("u1", CHOICES, "m-7")
    await desk.outside.until(1)
    (body,) = desk.outside.bodies
    assert body["type"] == "message"
    assert body["data"] | {"decision": ""} == {
        "recipient": "u1", "text": "您想问的是下面哪一个？", "suggestions": ["怎么退货", "运费谁出"],
        "in_reply_to": "m-7", "decision": "",
    }  # fmt: skip


def test_outside_vectors_of_chatwoot(bench_data: Path) -> None:
    known = vectors(bench_data, "chatwoot")
    good = known["signature"]
    headers, body = good["request"]["headers"], good["request"]["body"].encode()
    assert chatwoot_wire.is_signed(good["config"]["secret"], headers, body)
    assert not chatwoot_wire.is_signed("another", headers, body)
    assert not chatwoot_wire.is_signed(good["config"]["secret"], headers, body + b" ")
    for one in known["ignore-rules"]["cases"]:
        event = json.loads(body)
        for path, value in one["set"].items():
            *parents, name = path.split(".")
            place = event
            for parent in parents:
                place = place[parent]
            place[name] = value
        assert (chatwoot_wire.parse(event, "1") is not None) is one["reply"], one
        assert chatwoot_wire.parse(event, "2") is None


@on(Chatwoot)
async def test_a_handoff_opens_the_conversation(desk: Any) -> None:
    await desk.say("u1", HUMAN)
    await desk.outside.until(1)
    await desk.outside.until_called(f"/api/v1/accounts/1/conversations/{chatwoot.conversation_of('u1')}/toggle_status")
    await desk.outside.quiet(0.5)
    number = chatwoot.conversation_of("u1")
    assert desk.outside.status == {number: "open"}
    await desk.say("u1", "还在吗")
    assert len(await desk.outside.quiet()) == 1


@on(Chatwoot)
async def test_a_server_before_signatures_carries_the_secret_in_the_address(desk: Any) -> None:
    body = json.dumps(desk.outside.event("u1", "怎么退货", "5")).encode()
    for secret, status in (("wrong", 401), (chatwoot.SECRET, 200)):
        async with desk.http.post(desk.url + desk.case.path, params={"secret": secret}, data=body) as response:
            assert response.status == status
    await desk.outside.until(1)


@on(Webhook)
async def test_rasas_callback_channel(start_desk: Any, case: Any) -> None:
    got: list[Any] = []

    async def take(request: web.Request) -> web.Response:
        got.append(await request.json())
        return web.Response()

    app = web.Application()
    app.add_routes([web.post("/bot", take)])
    receiver = TestServer(app)
    await receiver.start_server()
    desk = await start_desk()
    from bot.messaging.sources import Configured

    url = str(receiver.make_url("/bot"))
    desk.hub.add(Configured({"kind": "callback", "name": "site", "url": url, "token": "t"}, "console"))
    for place, token, status in (("webhook", "", 401), ("webhook", "t", 200), ("site", "t", 200)):
        async with desk.http.post(
            f"{desk.url}/webhooks/callback/{place}", params={"token": token}, json={"sender": "u1", "message": "a\n\nb"}
        ) as response:
            assert response.status == status
            if status == 200:
                assert await response.text() == "success"
    async with asyncio.timeout(60):
        while len(got) < 4:  # noqa: ASYNC110 - the receiver is a list
            await asyncio.sleep(0.05)
    assert got == [{"recipient_id": "u1", "text": "答：a"}, {"recipient_id": "u1", "text": "b"}] * 2
    await receiver.close()


def test_a_secret_that_is_none_is_refused_at_the_start() -> None:
    assert webhook_wire.key_of("whsec_" + base64.b64encode(b"key").decode()) == b"key"
    for secret in ("whsec_", "", "***"):
        with pytest.raises(ConnectorError):
            webhook_wire.key_of(secret)
