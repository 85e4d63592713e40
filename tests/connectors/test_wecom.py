"""企业微信, 微信客服 and 智能机器人: the outside vectors, and what each has of its own."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from connectors.crypto import MessageCrypt, parse_xml
from connectors.errors import ConnectorError
from connectors.types import Outbound
from connectors.wecom import kf_wire, wire
from tests.connectors.cases import Case, Kf, WeCom, WeComBot
from tests.servers import wechat, wecom
from tests.servers.desk import CHOICES, HUMAN, SLOW


@pytest.fixture
async def case(request: pytest.FixtureRequest) -> Any:
    made: Case = request.param()
    made.base = await made.outside.start()
    yield made
    await made.outside.stop()


application = pytest.mark.parametrize("case", [WeCom], indirect=True, ids=["wecom"])
kf = pytest.mark.parametrize("case", [Kf], indirect=True, ids=["kf"])
bot = pytest.mark.parametrize("case", [WeComBot], indirect=True, ids=["bot"])


def test_outside_vectors(bench_data: Path) -> None:
    kinds = set()
    for one in json.loads((bench_data / "channels" / "wecom.json").read_text(encoding="utf-8"))["vectors"]:
        config, expected, kind = one["config"], one["expect"], one["kind"]
        kinds.add(kind)
        crypt = MessageCrypt(config["token"], config["encoding_aes_key"], config["corpid"])
        if kind == "url_verify":
            if expected["valid"]:
                assert wire.confirm(one["request"]["query"], crypt).decode() == expected["plaintext"]
            else:
                with pytest.raises(ConnectorError):
                    wire.confirm(one["request"]["query"], crypt)
        elif kind == "decrypt":
            xml = wire.unwrap(one["request"]["body"].encode(), one["request"]["query"], crypt)
            assert xml.decode() == expected["plaintext"]
            assert expected["fields"].items() <= parse_xml(xml).items()
        elif kind == "encrypt":
            given = one["input"]
            encrypted = crypt.encrypt(given["plaintext"].encode(), given["random16"].encode())
            assert encrypted == expected["encrypt"]
            assert crypt.sign(encrypted, given["timestamp"], given["nonce"]) == expected["msg_signature"]
    assert kinds == {"url_verify", "decrypt", "encrypt"}


def test_outside_vectors_of_kf(bench_data: Path) -> None:
    vectors = json.loads((bench_data / "channels" / "wecom_kf.json").read_text(encoding="utf-8"))["vectors"]
    page, gate = vectors
    found = kf_wire.items(page["response"])
    assert [one.key for one in found] == page["expect"]["handled_msgids"]
    assert kf_wire.MEANINGS[gate["response"]["errcode"]][2] == "dropped"


@pytest.mark.parametrize("case", [WeCom, Kf, WeComBot], indirect=True)
async def test_the_address_is_confirmed_with_exactly_the_decrypted_bytes(desk: Any) -> None:
    receiver = "" if desk.case.kind == "wecom_bot" else wecom.CORP_ID
    query, body = wecom.wrapped("1616140317555161061", receiver, as_json=True)
    query["echostr"] = json.loads(body)["encrypt"]
    async with desk.http.get(desk.url + desk.case.path, params=query) as response:
        assert (response.status, await response.read()) == (200, b"1616140317555161061")
    async with desk.http.get(desk.url + desk.case.path, params=query | {"nonce": "x"}) as response:
        assert response.status == 403


@application
async def test_a_member_who_left_gets_no_more_attempts(desk: Any) -> None:
    await desk.hub.push("wecom/shop", "gone", "您好")
    await desk.outside.until_called("/cgi-bin/message/send")
    await desk.outside.quiet(2.0)
    assert [place for _, place, _ in desk.outside.calls].count("/cgi-bin/message/send") == 1


@application
async def test_an_answer_that_is_tried_again_may_be_dropped_as_the_same(desk: Any) -> None:
    async def after(request: Any) -> Any:
        """The message arrives; its acknowledgement does not."""
        if request.path.endswith("message/send"):
            await desk.outside.message_send(request)
            request.transport.close()
            return web.Response()
        desk.outside.troubles.append(after)
        return None

    desk.outside.troubles.append(after)
    await desk.say("u1", "怎么退货")
    await desk.outside.until(1)
    assert await desk.outside.quiet(2.5) == [("u1", "答：怎么退货")]
    assert ["enable_duplicate_check" in one for one in desk.outside.sent] == [False, True]


@application
async def test_the_same_question_twice_is_answered_twice(desk: Any) -> None:
    await desk.say("u1", "怎么退货")
    await desk.say("u1", "怎么退货")
    assert await desk.outside.until(2) == [("u1", "答：怎么退货")] * 2


@kf
async def test_every_message_of_a_batch_over_many_pages_is_answered_once(desk: Any) -> None:
    desk.outside.page = 2
    for number in range(7):
        desk.outside.wrote(f"u{number}", f"问题 {number}", f"m{number}")
    desk.outside.wrote("u9", "系统消息", "sys", origin=4)
    desk.outside.wrote("u9", "同事说的", "colleague", origin=5)
    for _ in range(3):
        await desk.case.post(desk.http, desk.url, desk.case.message("", "", ""))
    await desk.outside.until(7)
    assert sorted(await desk.outside.quiet()) == sorted((f"u{n}", f"答：问题 {n}") for n in range(7))


@kf
async def test_the_cursor_outlives_the_process_and_what_came_meanwhile_is_fetched(start_desk: Any) -> None:
    desk = await start_desk()
    await desk.say("u1", "第一句")
    await desk.outside.until(1)
    await desk.server.close()
    desk.outside.wrote("u2", "停机时说的", "while-away")
    desk.outside.cursors.clear()
    desk = await start_desk()
    await desk.outside.until(2)
    assert await desk.outside.quiet() == [("u1", "答：第一句"), ("u2", "答：停机时说的")]
    assert desk.outside.cursors[0] == "1"


@kf
async def test_the_first_page_ever_does_not_answer_what_is_days_old(desk: Any) -> None:
    desk.outside.wrote("old", "前天的问题", "m-old", at=time.time() - 2 * 86_400)
    await desk.say("u1", "现在的问题")
    await desk.outside.until(1)
    assert await desk.outside.quiet() == [("u1", "答：现在的问题")]


@kf
async def test_no_page_of_the_first_time_answers_what_is_old_not_even_after_a_restart(start_desk: Any) -> None:
    desk = await start_desk()
    desk.outside.page = 2
    for number in range(5):
        desk.outside.wrote(f"old{number}", "前天的问题", f"m-old{number}", at=time.time() - 2 * 86_400)
    desk.outside.wrote("u1", "现在的问题", "m-new")
    pages = iter(range(3))

    async def only_two(request: web.Request) -> web.Response | None:
        desk.outside.troubles.append(only_two)
        return web.Response(status=503) if request.path.endswith("sync_msg") and next(pages, None) is None else None

    desk.outside.troubles.append(only_two)
    await desk.case.post(desk.http, desk.url, desk.case.message("", "", ""))
    await desk.outside.quiet(1.0)
    await desk.server.close()
    desk.outside.troubles.clear()
    desk = await start_desk()
    assert await desk.outside.until(1) == [("u1", "答：现在的问题")]
    assert await desk.outside.quiet() == [("u1", "答：现在的问题")]


@kf
async def test_what_could_not_be_fetched_while_its_token_was_good_is_fetched_without(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.wecom.kf.LOOK_AGAIN_SECONDS", 0.05)
    monkeypatch.setattr("connectors.wecom.kf.WITHOUT_TOKEN_SECONDS", 0.05)
    desk.outside.refusing = (503, {})
    await desk.say("u1", "在吗")
    await desk.outside.until_called("/cgi-bin/gettoken")
    desk.outside.sync_token = "a newer one"
    desk.outside.refusing = None
    assert await desk.outside.quiet() == []
    desk.hub.clock = lambda: time.time() + 601
    assert await desk.outside.until(1) == [("u1", "答：在吗")]


@kf
async def test_a_handoff_moves_the_session_and_the_bot_keeps_silent(desk: Any) -> None:
    await desk.say("u1", HUMAN)
    await desk.outside.until(1)
    await desk.outside.quiet(1.0)
    assert desk.outside.state == {"u1": 2}
    await desk.say("u1", "在吗")
    assert len(await desk.outside.quiet(1.0)) == 1
    ended = {"event_type": "session_status_change", "change_type": 3, "external_userid": "u1", "open_kfid": wecom.KFID}
    desk.outside.state["u1"] = 0
    desk.outside.wrote("u1", "", "e1", origin=4, msgtype="event", event=ended)
    await desk.say("u1", "怎么退货")
    await desk.outside.until(2)
    assert desk.outside.got[-1] == ("u1", "答：怎么退货")


@kf
async def test_a_session_that_a_person_has_is_left_alone_without_retries(desk: Any) -> None:
    desk.outside.state["u1"] = 3
    await desk.say("u1", "怎么退货")
    await desk.outside.until_called("/cgi-bin/kf/send_msg")
    assert await desk.outside.quiet(2.5) == []
    assert [place for _, place, _ in desk.outside.calls].count("/cgi-bin/kf/send_msg") == 1


@kf
async def test_who_comes_in_is_welcomed_with_the_code(desk: Any) -> None:
    desk.outside.codes["c1"] = "u1"
    entered = {"event_type": "enter_session", "welcome_code": "c1", "external_userid": "u1", "open_kfid": wecom.KFID}
    desk.outside.wrote("u1", "", "e1", origin=4, msgtype="event", event=entered)
    await desk.case.post(desk.http, desk.url, desk.case.message("", "", ""))
    assert await desk.outside.until(1) == [("u1", "欢迎光临")]


@kf
async def test_a_choice_is_a_menu(desk: Any) -> None:
    await desk.say("u1", CHOICES)
    await desk.outside.until(1)
    assert desk.outside.sent[0]["msgtype"] == "msgmenu"


@bot
async def test_a_slow_answer_is_streamed_as_it_is_written(desk: Any) -> None:
    desk.answers.slow_seconds = 6.0
    shown: list[str] = []
    asking = asyncio.create_task(desk.say("u1", f"{SLOW}一点", "m1"))
    while not asking.done():
        await asyncio.sleep(0.3)
        shown += [text for text in desk.outside.streams.values() if text not in shown]
    assert shown[0] in ("答", "答：")
    assert await desk.outside.quiet() == [("u1", f"答：{SLOW}一点")]


@bot
async def test_who_opens_the_chat_is_welcomed_with_a_text(desk: Any) -> None:
    opened = {"msgid": "e1", "msgtype": "event", "chattype": "single", "from": {"userid": "u1"},
              "event": {"eventtype": "enter_chat"}}  # fmt: skip
    query, body = wecom.wrapped(json.dumps(opened), "", as_json=True)
    async with desk.http.post(desk.url + desk.case.path, params=query, data=body) as response:
        sealed = await response.json()
    assert json.loads(wechat.decrypt(sealed["encrypt"], "")) == {"msgtype": "text", "text": {"content": "欢迎光临"}}


@bot
async def test_an_answer_that_wecom_did_not_hear_is_told_again_after_a_restart(start_desk: Any) -> None:
    async def asked(desk: Any, message: dict[str, Any]) -> dict[str, Any]:
        query, body = wecom.wrapped(json.dumps(message), "", as_json=True)
        async with desk.http.post(desk.url + desk.case.path, params=query, data=body) as response:
            sealed = await response.json()
        stream: dict[str, Any] = json.loads(wechat.decrypt(sealed["encrypt"], ""))["stream"]
        return stream

    desk = await start_desk()
    answered = {"id": "m1", "finish": True, "content": "答：在吗"}
    assert await asked(desk, json.loads(desk.outside.question("u1", "在吗", "m1"))) == answered
    await desk.server.close()
    again = {"from": {"userid": "u1"}, "msgid": "m2", "msgtype": "stream", "stream": {"id": "m1"}}
    assert await asked(await start_desk(), again) == answered


@bot
async def test_an_attackers_response_url_is_never_called(desk: Any) -> None:
    channel = desk.hub.channel("wecom_bot/shop")
    for url in ("http://169.254.169.254/latest", "https://qyapi.weixin.qq.com.evil.example/x",
                "https://qyapi.weixin.qq.com@evil.example/", "http://qyapi.weixin.qq.com/x", "file:///etc/passwd",
                "https://qyapi.weixin.qq.com\\@evil.example/"):  # fmt: skip
        assert not channel._platform.owns(url), url
    assert channel._platform.owns("https://qyapi.weixin.qq.com/cgi-bin/aibot/response?response_code=c")


def test_a_handoff_ends_with_the_transfer() -> None:
    assert kf_wire.render(Outbound("请稍候", decision="handoff")) == [{"text": "请稍候"}, {"transfer": 2}]
