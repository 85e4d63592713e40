"""飞书: the outside vectors, confirmation, groups, cards, tokens."""

import json
from pathlib import Path
from typing import Any

import pytest

from connectors.errors import ConnectorError
from connectors.feishu import wire
from tests.connectors.cases import Feishu, FeishuPlain
from tests.servers import feishu
from tests.servers.desk import CHOICES


@pytest.fixture(params=[Feishu, FeishuPlain])
async def case(request: pytest.FixtureRequest) -> Any:
    made = request.param()
    made.base = await made.outside.start()
    yield made
    await made.outside.stop()


def test_outside_vectors(bench_data: Path) -> None:
    found = json.loads((bench_data / "channels" / "feishu.json").read_text(encoding="utf-8"))["vectors"]
    for one in found:
        config, expected = one["config"], one["expect"]
        if one["kind"] == "decrypt":
            opened = wire.decrypt(config["encrypt_key"], one["input"]["encrypt"])
            assert opened.decode() == expected["plaintext"]
        elif one["kind"] == "signature":
            headers, body = one["request"]["headers"], one["request"]["body"].encode()
            assert wire.is_signed(config["encrypt_key"], headers, body) is expected["valid"]
            assert not wire.is_signed(config["encrypt_key"], headers, body + b" ")
        elif one["kind"] == "url_verify":
            body = json.dumps(one["request"]["json"]).encode()
            event = wire.open_event(body, {}, config["verification_token"], None)
            assert {"challenge": event["challenge"]} == expected["json"]
            with pytest.raises(ConnectorError):
                wire.open_event(body, {}, "another", None)
    assert len(found) == 4


async def test_the_address_is_confirmed_even_unsigned_but_only_with_the_token(desk: Any) -> None:
    for token, status in ((feishu.TOKEN, 200), ("another", 403)):
        event = {"challenge": "c-1", "token": token, "type": "url_verification"}
        headers, body = desk.outside.signed(event, sign=False)
        async with desk.http.post(desk.url + desk.case.path, headers=headers, data=body) as response:
            assert response.status == status
            if status == 200:
                assert await response.json() == {"challenge": "c-1"}


async def test_with_an_encrypt_key_nothing_else_comes_unsigned(desk: Any) -> None:
    if not desk.case.encrypted:
        pytest.skip("has no key")
    event = desk.outside.event("u1", "怎么退货", "1") | {"type": "url_verification", "challenge": "x"}
    _, body = desk.outside.signed(event, sign=False)
    async with desk.http.post(desk.url + desk.case.path, data=body) as response:
        assert response.status == 403
    plain = json.dumps(desk.outside.event("u1", "怎么退货", "2")).encode()
    async with desk.http.post(desk.url + desk.case.path, data=plain) as response:
        assert response.status == 403
    assert await desk.outside.quiet() == []


async def test_in_a_group_only_who_names_the_bot_is_answered(desk: Any) -> None:
    await desk.outside.quiet(0.3)  # it learns its own id
    await desk.say("u1", "怎么退货", group="g1")
    for number, mentions in ((50, []), (51, [{"key": "@_user_1", "id": {"open_id": "ou_else"}}])):
        event = desk.outside.event("u2", "午饭吃什么", str(number), "g1", mentions=mentions)
        headers, body = desk.outside.signed(event)
        async with desk.http.post(desk.url + desk.case.path, headers=headers, data=body) as response:
            assert response.status == 200
    await desk.outside.until(1)
    assert await desk.outside.quiet() == [("g1", "答：怎么退货")]
    assert desk.answers.said == [("u1", "g1", "怎么退货")]


async def test_a_choice_is_a_card_and_its_button_a_question(desk: Any) -> None:
    await desk.say("u1", CHOICES)
    await desk.outside.until(1)
    (sent,) = desk.outside.sent
    assert sent["msg_type"] == "interactive"
    action = json.loads(sent["content"])["elements"][1]["actions"][0]
    content = {
        "operator": {"open_id": "u1"}, "action": {"value": action["value"], "tag": "button"},
        "context": {"open_chat_id": "oc_u1", "open_message_id": "om_x"},
    }  # fmt: skip
    for _ in range(2):
        headers, body = desk.outside.signed(desk.outside.wrapped("card.action.trigger", "ev-press", content))
        async with desk.http.post(desk.url + desk.case.path, headers=headers, data=body) as response:
            assert response.status == 200
    await desk.outside.until(2)
    assert (await desk.outside.quiet())[-1] == ("oc_u1", "答：怎么退货")
    assert len(desk.outside.got) == 2


async def test_the_words_of_a_post_are_read_and_an_ended_token_is_renewed(desk: Any) -> None:
    content = {"title": "问题", "content": [[{"tag": "text", "text": "怎么"}, {"tag": "a", "text": "退货"}]]}
    event = desk.outside.event("u1", "", "60", message_type="post", content=json.dumps(content))
    desk.outside.token = "ended"
    headers, body = desk.outside.signed(event)
    async with desk.http.post(desk.url + desk.case.path, headers=headers, data=body) as response:
        assert response.status == 200
    assert await desk.outside.until(1) == [("oc_u1", "答：问题\n怎么退货")]


async def test_the_check_says_what_is_wrong(start_desk: Any) -> None:
    desk = await start_desk(app_secret="wrong")
    with pytest.raises(ConnectorError, match="app_secret"):
        await desk.hub.channel("feishu/shop").check()
    good = await start_desk()
    assert all(one.ok for one in await good.hub.channel("feishu/shop").check())
