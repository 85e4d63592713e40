"""`kefu channels check`: what is wrong with a configuration is said in plain words, with the next step."""

import re
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from bot.commands.channels import Channel, check_one
from bot.messaging.checking import look_at
from bot.messaging.sources import Configured
from connectors.channel import Finding
from connectors.kinds import KINDS
from tests.connectors.cases import (
    CASES,
    Case,
    Chatwoot,
    DingTalk,
    DingTalkStream,
    Feishu,
    FeishuLongConnection,
    FeishuPlain,
    Kf,
    Telegram,
    TelegramPolling,
    Webhook,
    WeChat,
    WeChatSafe,
    WeCom,
    WeComBot,
)
from tests.connectors.conftest import Desk
from tests.servers.outside import Outside

NOBODY = "http://127.0.0.1:9"  # a port on which nobody listens


def outside(**values: Any) -> Callable[[Case], dict[str, Any]]:
    """The platform's side is not as it should be."""

    def change(case: Case) -> dict[str, Any]:
        for name, value in values.items():
            assert hasattr(case.outside, name)
            setattr(case.outside, name, value)
        return {}

    return change


def ours(**values: Any) -> Callable[[Case], dict[str, Any]]:
    """A value of the table is not as it should be."""
    return lambda _case: values


WRONG: list[tuple[type[Case], Callable[[Case], dict[str, Any]], str]] = [
    (WeChat, ours(app_id="wx-wrong"), "app_id 不对.*基本配置"),
    (WeChatSafe, ours(app_secret="wrong"), "app_secret 不对.*重置"),
    (WeChat, outside(listed=False), "IP白名单"),
    (WeChat, ours(encoding_aes_key="short"), "encoding_aes_key 必须是43 个字母和数字"),
    (WeChat, ours(token=""), "缺少参数 token"),
    (WeChat, ours(token="my-token"), "token 必须是3 到 32 个字母或数字（微信的规定）"),
    (WeCom, ours(corp_id="ww-wrong"), "corp_id 不对.*我的企业"),
    (WeCom, ours(secret="wrong"), "secret 不对.*详情页"),
    (WeCom, ours(agent_id="1000009"), "不是同一个应用"),
    (WeCom, outside(trusted=False), "企业可信IP"),
    (Kf, ours(corp_id="ww-wrong"), "corp_id 不对.*我的企业"),
    (Kf, ours(secret="wrong"), "secret 不对"),
    (Kf, outside(trusted=False), "企业可信IP"),
    (Kf, outside(names=()), "没有可用的客服账号.*创建账号"),
    (WeComBot, ours(encoding_aes_key="短"), "43 个字母和数字"),
    (DingTalk, ours(client_id="wrong"), "client_id 或 client_secret 不对"),
    (DingTalk, ours(client_secret="wrong"), "client_id 或 client_secret 不对"),
    (DingTalkStream, ours(client_secret="wrong"), "client_id 或 client_secret 不对"),
    (DingTalk, ours(mode="websocket"), "http | stream"),
    (Feishu, ours(app_id="cli_wrong"), "app_id 或 app_secret 不对.*凭证与基础信息"),
    (FeishuPlain, ours(app_secret="wrong"), "app_secret 不对.*凭证与基础信息"),
    (FeishuLongConnection, ours(app_secret="wrong"), "app_secret 不对"),
    (Feishu, outside(is_bot=False), "没有启用机器人能力.*添加应用能力"),
    (Feishu, ours(verification_token=""), "缺少参数 verification_token"),
    (Telegram, ours(bot_token="999:wrong"), "bot_token 不对.*@BotFather"),
    (TelegramPolling, ours(bot_token="999:wrong"), "bot_token 不对.*@BotFather"),
    (Telegram, outside(webhook=""), "webhook 还没有指向.*setWebhook"),
    (Telegram, outside(webhook="https://x.example/webhooks/telegram/other"), "webhook 还没有指向.*setWebhook"),
    (Chatwoot, ours(api_access_token="wrong"), "api_access_token 不对.*复制"),
    (Chatwoot, ours(account_id="2"), "account_id 不对.*收件箱"),
    (Chatwoot, ours(account_id="acme"), "account_id 必须是数字"),
    (Chatwoot, lambda case: {"base_url": f"{case.base}/app/accounts/1"}, "不是 Chatwoot 的接口.*域名"),
    (Chatwoot, lambda case: {"base_url": case.base.replace("http:", "https:")}, "HTTPS 连接建立不了.*证书.*http"),
    (Chatwoot, ours(base_url=NOBODY), "连不上 127.0.0.1:9.*网络"),
    (Webhook, ours(url=NOBODY + "/replies"), "连不上 127.0.0.1:9.*网络"),
    (Webhook, ours(secret="***"), "secret 必须是Base64"),
    (Webhook, ours(url="ftp://x.example"), "http 或 https 地址"),
    (Webhook, outside(refusing=(401, {})), "HTTP 401.*检查 url 和对方的验签"),
    (Webhook, outside(refusing=(410, {})), "410.*改正 url"),
]


async def looked(case: Case, **changed: Any) -> list[Finding]:
    return await look_at(Configured(case.table() | changed, "file"))


@pytest.mark.parametrize(("kind", "change", "words"), WRONG, ids=lambda it: getattr(it, "__name__", None))
async def test_what_is_wrong_is_said_with_the_next_step(
    kind: type[Case], change: Callable[[Case], dict[str, Any]], words: str
) -> None:
    case = kind()
    case.base = await case.outside.start()
    try:
        (finding,) = await looked(case, **change(case))
    finally:
        await case.outside.stop()
    assert not finding.ok
    assert re.search(words, finding.zh), finding.zh
    assert not re.search("[\u4e00-\u9fff]", finding.en)
    secrets = [str(value) for name, value in case.table().items() if _is_secret(case.kind, name)]
    assert not [one for one in secrets if one in finding.zh + finding.en]


def _is_secret(kind: str, name: str) -> bool:
    return any(one.secret for one in KINDS[kind].parameters if one.name == name)


async def test_what_is_right_is_said_too(case: Case) -> None:
    if isinstance(case, Telegram):
        case.platform.webhook = "https://shop.example/webhooks/telegram/shop"
    (finding,) = await looked(case)
    assert finding.ok, finding.zh


async def test_the_service_at_work_is_found_on_every_channel_in_every_mode(desk: Desk) -> None:
    """Also where events come by a connection of ours and nobody calls the channel's address."""
    channel = Channel(desk.case.kind, "shop", desk.case.path, closed=True, source="file")
    async with aiohttp.ClientSession(desk.url) as session:
        found = await check_one(session, desk.url, channel)
    assert found["ok"], found["message"]


async def test_a_platform_that_cannot_be_reached_or_is_at_fault_is_told_apart(case: Case) -> None:
    if isinstance(case, WeComBot):
        pytest.skip("nothing can be asked of it")
    case.outside.refusing = (503, {})
    (finding,) = await looked(case)
    assert not finding.ok
    assert "503" in finding.zh
    case.outside.refusing = None
    await case.outside.stop()
    (finding,) = await looked(case)
    assert not finding.ok
    assert "连不上" in finding.zh
    assert "请检查" in finding.zh


class Site(Outside):
    def routes(self) -> list[web.RouteDef]:
        return [web.post("/bot", self.take)]

    async def take(self, _request: web.Request) -> web.Response:
        return web.Response()


async def test_rasas_callback_address_is_looked_at() -> None:
    site = Site()
    base = await site.start()
    try:
        for url, ok, words in (
            (f"{base}/bot", True, "没有设 token"), (f"{base}/other", False, "404.*检查路径"),
            (f"{NOBODY}/bot", False, "连不上"),
        ):  # fmt: skip
            (finding,) = await look_at(Configured({"kind": "callback", "name": "site", "url": url}, "file"))
            assert finding.ok is ok
            assert re.search(words, finding.zh), finding.zh
    finally:
        await site.stop()


def test_every_case_of_the_suite_is_among_the_wrong_ones() -> None:
    assert {kind.kind for kind in CASES} == {kind.kind for kind, _, _ in WRONG}


async def test_a_value_that_the_mode_has_no_use_for_is_said_to_do_nothing(
    start_desk: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    case = FeishuLongConnection()
    case.base = await case.outside.start()
    try:
        found = await look_at(Configured(case.table() | {"encrypt_key": "geheim"}, "file"))
    finally:
        await case.outside.stop()
    assert [one.ok for one in found] == [True] * len(found)
    assert "mode = ws 用不到 encrypt_key" in found[-1].zh
    assert "geheim" not in "".join(one.zh + one.en for one in found)


@pytest.mark.parametrize("case", [FeishuLongConnection], indirect=True)
@pytest.mark.usefixtures("case")
async def test_it_is_said_at_the_start_too(start_desk: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    await start_desk(encrypt_key="geheim")
    assert "feishu/shop: mode = ws 用不到 encrypt_key" in caplog.text
    assert "geheim" not in caplog.text
