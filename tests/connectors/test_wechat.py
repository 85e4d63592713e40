"""微信公众号: the outside vectors, and what is its own: three attempts, holding, customer-service messages, menus."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from bot.storage.tables import OutboxRow
from connectors.crypto import MessageCrypt, is_signed, parse_xml
from connectors.errors import ConnectorError
from connectors.types import Button, Outbound
from connectors.wechat import wire
from connectors.wechat.channel import LATER
from tests.connectors.cases import WeChat, WeChatSafe
from tests.servers import wechat
from tests.servers.desk import CHOICES, SLOW


@pytest.fixture(params=[WeChat, WeChatSafe])
async def case(request: pytest.FixtureRequest) -> Any:
    made = request.param()
    made.base = await made.outside.start()
    yield made
    await made.outside.stop()


def vectors(folder: Path, name: str) -> list[dict[str, Any]]:
    return list(json.loads((folder / "channels" / f"{name}.json").read_text(encoding="utf-8"))["vectors"])


def test_outside_vectors(bench_data: Path) -> None:
    seen = set()
    for one in vectors(bench_data, "wechat_oa"):
        expected, query = one["expect"], one["request"].get("query", {})
        seen.add(one["kind"])
        if one["kind"] == "signature":
            token = one["config"]["token"]
            assert is_signed(query["signature"], token, query["timestamp"], query["nonce"]) is expected["valid"]
        elif one["kind"] == "decrypt":
            config = one["config"]
            crypt = MessageCrypt(config["token"], config["encoding_aes_key"], config["appid"])
            xml = wire.unwrap(one["request"]["body"].encode(), query, config["token"], crypt)
            assert xml.decode() == expected["plaintext"]
            assert expected["fields"].items() <= parse_xml(xml).items()
            other = MessageCrypt(config["token"], config["encoding_aes_key"], "wx-another")
            with pytest.raises(ConnectorError):
                wire.unwrap(one["request"]["body"].encode(), query, config["token"], other)
        elif one["kind"] == "parse":
            body = one["request"]["body"].encode()
            wanted = {k: v for k, v in expected.items() if k != "dedupe_key"}
            assert wanted.items() <= parse_xml(body).items()
            message = wire.parse(body)
            assert message is not None
            if "dedupe_key" in expected:
                assert (message.key, message.event) == ("FromUser123456789", "welcome")
    assert seen == {"signature", "decrypt", "parse"}


def test_what_is_encrypted_here_opens_there_and_back() -> None:
    crypt = MessageCrypt(wechat.TOKEN, wechat.AES_KEY, wechat.APP_ID)
    for length in (0, 1, 11, 12, 13, 31, 32, 33, 5000):
        text = ("退" * length).encode()
        assert wechat.decrypt(crypt.encrypt(text)) == text
        assert crypt.decrypt(wechat.encrypt(text)) == text
    for broken in ("", "AAAA", "!", wechat.encrypt(b"x")[:-4], "A" * 64):
        with pytest.raises(ConnectorError):
            crypt.decrypt(broken)


@pytest.mark.parametrize("body", [
    b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><xml/>',
    b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><xml><A>&b;</A></xml>',
    b"<xml><A>", b"", b"\xff\xfe<xml/>",
])  # fmt: skip
def test_documents_with_a_type_or_none_are_refused(body: bytes) -> None:
    with pytest.raises(ConnectorError):
        parse_xml(body)


def test_a_choice_is_a_list_in_the_callback_and_a_menu_by_customer_service() -> None:
    reply = Outbound("您想问的是？", buttons=(Button("怎么退货", "怎么退货"), Button("运费", "运费")))
    (payload,) = wire.render(reply)
    assert payload["text"] == "您想问的是？\n1. 怎么退货\n2. 运费"
    message = wire.customer_message("u", payload)
    assert message["msgtype"] == "msgmenu"
    assert [item["content"] for item in message["msgmenu"]["list"]] == ["怎么退货", "运费"]


def test_a_cdata_end_in_an_answer_does_not_end_it() -> None:
    xml = wire.passive("u", "gh", "a]]>b\x00<c>&", 1)
    assert parse_xml(xml.encode())["Content"] == "a]]>b<c>&"


async def test_the_address_is_confirmed(desk: Any) -> None:
    query = {"signature": wechat.sha1(wechat.TOKEN, "1", "n"), "timestamp": "1", "nonce": "n", "echostr": "你好123"}
    async with desk.http.get(desk.url + desk.case.path, params=query) as response:
        assert (response.status, await response.text()) == (200, "你好123")
    async with desk.http.get(desk.url + desk.case.path, params=query | {"nonce": "m"}) as response:
        assert response.status == 403


async def test_a_plain_body_is_refused_in_safe_mode(desk: Any) -> None:
    if not desk.case.safe:
        pytest.skip("plain mode")
    plain = wechat.WeChat()
    query, body = plain.wrapped(plain.text_xml("u1", "怎么退货", "1"))
    async with desk.http.post(desk.url + desk.case.path, params=query, data=body) as response:
        assert response.status == 403
    assert await desk.outside.quiet() == []


async def test_a_quick_answer_needs_no_call_to_the_platform(desk: Any) -> None:
    await desk.say("u1", "怎么退货")
    assert desk.outside.got == [("u1", "答：怎么退货")]
    assert desk.outside.calls == []


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [7.0, 12.0])
async def test_a_slow_answer_comes_within_the_three_attempts(desk: Any, seconds: float) -> None:
    desk.answers.slow_seconds = seconds
    await desk.say("u1", f"{SLOW}一点")
    assert desk.outside.got == [("u1", f"答：{SLOW}一点")]
    assert desk.outside.calls == []
    assert desk.outside.faults == []


@pytest.mark.slow
async def test_one_that_is_slower_still_is_pushed_where_that_is_allowed(desk: Any) -> None:
    desk.answers.slow_seconds = 17.0
    await desk.say("u1", f"{SLOW}一点")
    assert desk.outside.got == [("u1", LATER)]
    await desk.outside.until(2)
    assert await desk.outside.quiet() == [("u1", LATER), ("u1", f"答：{SLOW}一点")]


@pytest.mark.slow
async def test_without_customer_service_it_waits_for_the_next_message(desk: Any) -> None:
    desk.outside.verified = False
    desk.answers.slow_seconds = 16.0
    await desk.say("u1", f"{SLOW}一点")
    assert desk.outside.got == [("u1", LATER)]
    await desk.outside.quiet(4.0)
    await desk.say("u1", "好了吗")
    assert await desk.outside.quiet() == [("u1", LATER), ("u1", f"答：{SLOW}一点")]
    await desk.say("u1", "怎么退货")
    assert desk.outside.got[-1] == ("u1", "答：怎么退货")
    assert [text for _, _, text in desk.answers.said] == [f"{SLOW}一点", "怎么退货"]


@pytest.mark.slow
async def test_who_asks_for_the_answer_before_it_is_there_gets_it_and_no_other(desk: Any) -> None:
    desk.outside.verified = False
    desk.answers.slow_seconds = 18.0
    await desk.say("u1", f"{SLOW}一点")
    assert desk.outside.got == [("u1", LATER)]
    await desk.say("u1", "好了吗")
    assert await desk.outside.quiet(1.0) == [("u1", LATER), ("u1", f"答：{SLOW}一点")]
    await desk.say("u1", "运费")
    assert desk.outside.got[-1] == ("u1", "答：运费")
    assert [text for _, _, text in desk.answers.said] == [f"{SLOW}一点", "运费"]


async def until_held(desk: Any, count: int) -> None:
    waiting = select(OutboxRow.seq).where(OutboxRow.state == "held")
    async with asyncio.timeout(60):
        while True:
            async with desk.hub._store.database.reading() as session:
                if len((await session.scalars(waiting)).all()) == count:
                    return
            await asyncio.sleep(0.02)


async def test_what_waited_comes_together_as_far_as_one_message_holds_it(desk: Any) -> None:
    """Staff write several short messages, and the account can push none: one word of the customer fetches them."""
    desk.outside.verified = False
    await desk.say("u1", "怎么退货")
    said = ["您好", "请问订单号是多少", "长" * 600, "长" * 600]
    for text in said:
        await desk.hub.push("wechat/shop", "u1", text)
    await until_held(desk, len(said))
    await desk.say("u1", "好")
    await until_held(desk, 1)
    await desk.say("u1", "好")
    assert [text for _, text in await desk.outside.quiet()][1:] == [
        "\n".join([*said[:3], "（未完，回复任意文字继续）"]), said[3],
    ]  # fmt: skip
    assert [text for _, _, text in desk.answers.said] == ["怎么退货"]


async def test_an_ended_token_is_renewed_once_and_fetched_once_for_all(desk: Any) -> None:
    channel = desk.hub.channel("wechat/shop")
    for user in ("u1", "u2", "u3"):
        await desk.say(user, "怎么退货")
    assert await asyncio.gather(*(channel._client.token.get() for _ in range(5))) == ["token-1"] * 5
    desk.outside.expire()
    for user in ("u1", "u2", "u3"):
        await desk.hub.push("wechat/shop", user, "订单已发货")
    await desk.outside.until(6)
    assert desk.outside.issued == 2
    assert [text for _, text in desk.outside.got[3:]] == ["订单已发货"] * 3


async def test_a_greeting_for_who_follows_and_silence_for_who_leaves(desk: Any) -> None:
    def event(name: str, at: int) -> str:
        xml = desk.outside.text_xml("u1", "", "0", "event").replace("<MsgId>0</MsgId>", f"<Event>{name}</Event>")
        return xml.replace(xml[xml.index("<CreateTime>") : xml.index("</CreateTime>")], f"<CreateTime>{at}")

    url = desk.url + desk.case.path
    for name, at in (("subscribe", 1), ("subscribe", 1), ("unsubscribe", 2), ("VIEW", 3), ("hologram", 4)):
        assert await desk.outside.deliver(desk.http, url, "u1", event(name, at)) == 200
    assert await desk.outside.quiet() == [("u1", "欢迎光临")]


async def test_an_image_is_answered_with_a_request_for_words(desk: Any) -> None:
    xml = desk.outside.text_xml("u1", "", "7", "image")
    await desk.outside.deliver(desk.http, desk.url + desk.case.path, "u1", xml)
    ((_, text),) = await desk.outside.quiet()
    assert "文字" in text


async def test_a_menu_is_offered_once_messages_may_be_pushed(desk: Any) -> None:
    await desk.say("u1", "怎么退货")
    await desk.hub.push("wechat/shop", "u1", "您好")
    await desk.outside.until(2)
    await desk.say("u1", CHOICES)
    await desk.outside.until(3)
    assert [one["msgtype"] for one in desk.outside.shown] == ["text", "msgmenu"]


@pytest.mark.parametrize(("parameter", "value", "word"), [
    ("app_id", "wx-wrong", "AppID|app_id"), ("app_secret", "wrong", "app_secret"),
])  # fmt: skip
async def test_the_check_says_what_is_wrong(
    start_desk: Callable[..., Any], parameter: str, value: str, word: str
) -> None:
    desk = await start_desk(**{parameter: value})
    with pytest.raises(ConnectorError, match=word):
        await desk.hub.channel("wechat/shop").check()
    good = await start_desk()
    (finding,) = await good.hub.channel("wechat/shop").check()
    assert finding.ok


def test_a_plus_sign_that_became_a_space_is_understood() -> None:
    crypt = MessageCrypt(wechat.TOKEN, wechat.AES_KEY, wechat.APP_ID)
    secret = next(one for one in iter(lambda: wechat.encrypt(b"<xml/>"), None) if "+" in one)
    signature = wechat.sha1(wechat.TOKEN, "1", "n", secret)
    assert crypt.open(secret.replace("+", " "), signature, "1", "n") == b"<xml/>"
