"""The channels' API and commands: set up in the console, checked, written to first, and what was not delivered."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from bot import keys, middleware
from bot.api import channels
from bot.app import make_app
from bot.cli import main
from bot.commands import serve
from bot.config import load_settings
from bot.messaging import hub
from bot.messaging.sources import Configured
from bot.messaging.store import Store
from bot.metrics import METRICS, Metrics
from bot.security.passwords import new_api_key, token_hash
from bot.storage import passing, people
from bot.storage.database import Database
from connectors.errors import ConnectorError
from tests.servers import telegram, webhook
from tests.servers.desk import Answers


@pytest.fixture
async def receiver() -> AsyncIterator[webhook.Receiver]:
    made = webhook.Receiver()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def platform() -> AsyncIterator[telegram.Telegram]:
    made = telegram.Telegram()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def service(make_settings: Callable[..., Any]) -> AsyncIterator[Any]:
    settings = make_settings()
    app = web.Application()
    app[keys.SETTINGS] = settings
    middleware.install(app, settings)
    app.add_routes([*channels.routes, *hub.routes()])
    tokens: dict[str, str] = {}

    async def resources(app: web.Application) -> AsyncIterator[None]:
        app[keys.DATABASE] = database = Database(settings.database)
        await database.open()
        app[hub.HUB] = made = hub.Hub(Store(database, app[METRICS]), Answers())
        await made.open([])
        for role in ("viewer", "agent", "admin"):
            tokens[role] = new_api_key()
            async with database.session() as session:
                await people.add_key(session, role, role, tokens[role][:12], token_hash(tokens[role]))
        yield
        await made.close()
        await database.close()

    app.cleanup_ctx.append(resources)
    client = TestClient(TestServer(app))
    await client.start_server()

    async def call(method: str, path: str, role: str = "admin", **options: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {tokens[role]}"}
        async with client.request(method, path, headers=headers, **options) as response:
            text = await response.text()
            return response.status, json.loads(text) if text else None

    call.client, call.app = client, app  # type: ignore[attr-defined]
    yield call
    await client.close()


def address(server: Any, path: str = "") -> str:
    return str(server.server.make_url(path or "/")).rstrip("/")


async def test_a_channel_of_the_console_works_at_once_and_shows_no_secret(
    service: Any, platform: telegram.Telegram
) -> None:
    parameters = {"bot_token": telegram.BOT_TOKEN, "secret_token": telegram.SECRET_TOKEN, "api_base": address(platform)}
    path = "/api/channels/telegram/shop"
    status, body = await service("PUT", path, json={"parameters": parameters})
    assert (status, body["ok"]) == (200, False)
    assert "setWebhook" in body["messages"][0]
    platform.webhook = "https://example.com/webhooks/telegram/shop"
    assert (await service("POST", f"{path}/check"))[1]["ok"]
    status, body = await service("GET", "/api/channels", role="viewer")
    assert telegram.BOT_TOKEN not in json.dumps(body)
    assert body["items"][0]["parameters"]["bot_token"] == "********"
    assert (body["items"][0]["running"], body["items"][0]["source"]) == (True, "console")
    headers = {"X-Telegram-Bot-Api-Secret-Token": telegram.SECRET_TOKEN}
    update = platform.update("u1", "在吗", "1")
    async with service.client.post("/webhooks/telegram/shop", json=update, headers=headers) as response:
        assert response.status == 200
    assert (await platform.until(1))[0][1] == "答：在吗"
    assert (await service("DELETE", path))[0] == 204
    async with service.client.post("/webhooks/telegram/shop", json={}, headers=headers) as response:
        assert response.status == 404


async def test_what_a_removed_channel_had_not_delivered_is_said_and_can_be_sent_when_it_is_back(
    service: Any, receiver: webhook.Receiver
) -> None:
    path, parameters = "/api/channels/webhook/crm", {"secret": webhook.SECRET, "url": address(receiver, "/replies")}
    receiver.refusing = (500, {})
    assert (await service("PUT", path, json={"parameters": parameters}))[0] == 200
    status, body = await service("POST", f"{path}/messages", "agent", json={"user": "u1", "text": "您的订单已发货"})
    assert status == 202
    assert (await service("DELETE", path))[0] == 204

    async def dead(reason: str) -> bool:
        items = (await service("GET", "/api/deliveries", "agent"))[1]["items"]
        return [one["id"] for one in items if reason in one["error"]["message"]] == body["items"]

    assert await dead("渠道 webhook/crm 已经删除")
    # Sent again while it is still gone, it does not wait for ever without a word.
    assert (await service("POST", "/api/deliveries/resend", "agent", json={"ids": body["items"]}))[0] == 200
    async with asyncio.timeout(60):
        while not await dead("已经删除"):  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.05)
    receiver.refusing = None
    assert (await service("PUT", path, json={"parameters": parameters}))[0] == 200
    assert (await service("POST", "/api/deliveries/resend", "agent", json={"ids": body["items"]}))[0] == 200
    assert await receiver.until(1) == [("u1", "您的订单已发货")]


async def test_socketio_is_open_again_when_its_channel_is_removed(service: Any) -> None:
    path = "/api/channels/socketio/socketio"
    assert (await service("PUT", path, json={"parameters": {"token": "st"}}))[0] == 200
    assert (await service("DELETE", path))[0] == 204
    assert service.app[hub.HUB].channel("socketio/socketio").parameters["token"] is None
    assert (await service("DELETE", path))[0] == 404


async def test_what_is_wrong_is_refused_by_name_and_roles_are_kept(service: Any) -> None:
    status, body = await service("PUT", "/api/channels/telegram/shop", json={"parameters": {"token": "x"}})
    assert status == 400
    assert body["error"]["details"]["field"] == "token"
    given = {"app_id": "wx", "app_secret": "s", "token": "my_token"}
    status, body = await service("PUT", "/api/channels/wechat/shop", json={"parameters": given})
    assert (status, body["error"]["details"]["field"]) == (400, "token")
    assert "3 到 32 个字母或数字" in body["error"]["message"]
    assert (await service("PUT", "/api/channels/telegram/shop", "agent", json={"parameters": {}}))[0] == 403
    assert (await service("GET", "/api/deliveries", "viewer"))[0] == 403
    assert (await service("POST", "/api/channels/telegram/none/check"))[0] == 404
    status, body = await service("GET", "/api/channels/kinds", "viewer")
    assert {"wechat", "feishu", "webhook"} <= {one["kind"] for one in body["items"]}


async def test_what_is_left_out_stays_and_what_is_emptied_goes(service: Any) -> None:
    path = "/api/channels/feishu/bot"
    first = {
        "app_id": "cli",
        "app_secret": "s1",
        "verification_token": "v",
        "encrypt_key": "e",
        "api_base": "http://127.0.0.1:1",
    }

    async def shown() -> dict[str, Any]:
        (one,) = (await service("GET", "/api/channels", role="viewer"))[1]["items"]
        return dict(one["parameters"])

    assert (await service("PUT", path, json={"parameters": first}))[0] == 200
    await service("PUT", path, json={"parameters": {"app_id": "cli2", "app_secret": "", "encrypt_key": ""}})
    kept = await shown()
    assert (kept["app_id"], kept["app_secret"], kept["encrypt_key"]) == ("cli2", "********", "********")
    assert kept["api_base"] == "http://127.0.0.1:1"
    await service("PUT", path, json={"parameters": {"encrypt_key": None}})
    assert "encrypt_key" not in await shown()
    status, body = await service("PUT", path, json={"parameters": {"verification_token": None}})
    assert (status, body["error"]["details"]["field"]) == (400, "verification_token")
    changed = {"mode": "ws", "verification_token": None}
    assert (await service("PUT", path, json={"parameters": changed}))[0] == 200
    assert (await shown())["mode"] == "ws"
    status, body = await service("PUT", "/api/channels/feishu/%E9%A3%9E", json={"parameters": first})
    assert (status, body["error"]["details"]["field"]) == (400, "name")


async def test_the_kinds_say_where_each_value_is_found(service: Any) -> None:
    status, body = await service("GET", "/api/channels/kinds", "viewer")
    assert status == 200
    for kind in body["items"]:
        assert all(one["where"] for one in kind["parameters"]), kind["kind"]
        assert kind["path"] == "/socket.io/" or kind["path"] == f"/webhooks/{kind['kind']}/NAME"
        modes = next((one["choices"] for one in kind["parameters"] if one["name"] == "mode"), [])
        assert {one["mode"] for one in kind["parameters"]} <= {"", *modes}
        assert kind["opens"] in ("", *modes)


async def test_writing_first_and_what_was_not_delivered(service: Any, receiver: webhook.Receiver) -> None:
    parameters = {"secret": webhook.SECRET, "url": address(receiver, "/replies")}
    status, body = await service("PUT", "/api/channels/webhook/crm", json={"parameters": parameters})
    assert (status, body["ok"]) == (200, True)

    async def gone(_request: web.Request) -> web.Response:
        return web.Response(status=410)

    receiver.troubles.append(gone)
    path = "/api/channels/webhook/crm/messages"
    status, body = await service("POST", path, "agent", json={"user": "u1", "text": "您的订单已发货"})
    assert status == 202
    (id_,) = body["items"]
    async with asyncio.timeout(240):
        while not (items := (await service("GET", "/api/deliveries", "agent"))[1]["items"]):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    (letter,) = items
    assert (letter["id"], letter["state"]) == (id_, "dead")
    assert "410" in letter["error"]["message"]
    await service("PUT", "/api/channels/webhook/crm", json={"parameters": {}})  # begun anew, it asks the receiver again
    assert (await service("POST", "/api/deliveries/resend", "agent", json={"ids": [id_]}))[1] == {"items": [id_]}
    assert await receiver.until(1) == [("u1", "您的订单已发货")]
    assert (await service("POST", "/api/deliveries/drop", "agent", json={"ids": [id_]}))[1] == {"items": []}


async def test_a_saved_channel_that_lacks_something_stops_no_other(make_settings: Callable[..., Any]) -> None:
    settings = make_settings()
    settings.data.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database)
    await database.open()
    old = {"kind": "telegram", "name": "old", "bot_token": "1:x", "mode": "webhook"}
    good = {"kind": "webhook", "name": "crm", "secret": webhook.SECRET, "url": "http://127.0.0.1:1"}
    made = hub.Hub(Store(database, Metrics()), Answers())
    await made.open([Configured(old, "console"), Configured(good, "console")])
    assert (made.has("telegram/old"), made.has("webhook/crm")) == (False, True)
    await made.close()
    with pytest.raises(ConnectorError, match="secret_token"):
        await hub.Hub(Store(database, Metrics()), Answers()).open([Configured(old, "file")])
    await database.close()


def test_commands_list_and_check_every_channel(bare_kefu: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("SHOP_TOKEN", "123:geheim")
    monkeypatch.setenv("KEFU_PORT", "1")
    (tmp_path / "data" / "kefu.toml").write_text(
        '[[channels]]\nkind = "telegram"\nname = "shop"\nbot_token = "env:SHOP_TOKEN"\nsecret_token = "s"\n'
        'api_base = "http://127.0.0.1:1"\n'
    )
    code, out, _ = bare_kefu("channels", "list", "--json")
    assert code == 0
    assert {(one["kind"], one["path"], one["source"]) for one in json.loads(out)} >= {
        ("telegram", "/webhooks/telegram/shop", "file")
    }
    code, out, _ = bare_kefu("channels", "check", "--json")
    found = {one["kind"]: one for one in json.loads(out)}
    assert code == 1
    assert "kefu serve" in found["telegram"]["message"]
    assert "连不上 127.0.0.1:1" in found["telegram"]["message"]
    assert "geheim" not in out


def test_commands_resend_and_drop(bare_kefu: Any, tmp_path: Any) -> None:
    async def given_up() -> list[str]:
        database = Database(f"sqlite+aiosqlite:///{tmp_path / 'data' / 'kefu.db'}")
        await database.open()
        error = {"code": "x", "message": "不通", "message_en": "away"}

        def give_up(connection: Any) -> list[str]:
            made = passing.send(connection, [passing.Outgoing("webhook/crm", r, {}, {"t": r}) for r in "abc"])
            for one in made:
                passing.not_sent(connection, one.id, "dead", error, 0.0, uncertain=False)
            return [one.id for one in made]

        ids = await database.write(give_up)
        await database.close()
        return ids

    first, second, third = asyncio.run(given_up())
    code, out, _ = bare_kefu("channels", "undelivered", "--json")
    assert (code, {one["id"] for one in json.loads(out)}) == (0, {third, second, first})
    assert bare_kefu("channels", "undelivered")[1].count("不通") == 3
    assert bare_kefu("channels", "resend", first, "--json")[1] == json.dumps({"ids": [first]})
    assert bare_kefu("channels", "drop", first)[0] == 1  # it is on its way again
    assert bare_kefu("channels", "resend")[0] == 2
    assert set(json.loads(bare_kefu("channels", "drop", "--all", "--json")[1])["ids"]) == {third, second}
    assert bare_kefu("channels", "undelivered")[1] == "没有。"


@pytest.mark.usefixtures("use_shared_encoder")
async def test_the_check_asks_the_service_where_it_listens(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """It runs on a port that no setting names, and nobody logs that it is looked at."""
    data = tmp_path / "data"
    data.mkdir()
    for name, value in (("PORT", "1"), ("GENERATOR", ""), ("AUTO_CALIBRATE", "false")):
        monkeypatch.setenv(f"KEFU_{name}", value)
    (data / "kefu.toml").write_text('[[channels]]\nkind = "wechat"\nname = "shop"\napp_id = "wx"\napp_secret = "s"\n'
                                    'token = "word"\napi_base = "http://127.0.0.1:1"\n')  # fmt: skip
    settings = load_settings({"data": data})
    await serve.prepare(settings)
    with serve.listen("0.0.0.0", 0) as listening:  # noqa: S104 - what a shop sets; the loopback address is looked at
        app = make_app(settings)
        app[keys.LISTENING] = address = serve.own_address(listening)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.SockSite(runner, listening).start()
        try:
            code = await asyncio.to_thread(main, ["channels", "check", "--json", "--data", str(data)])
        finally:
            await runner.cleanup()
    found = {one["kind"]: one for one in json.loads(capsys.readouterr().out)}
    assert address in found["wechat"]["message"]
    assert (code, found["wechat"]["ok"]) == (1, False)  # its platform is away
    assert {kind for kind, one in found.items() if one["ok"]} == {"rest", "openai", "socketio"}
    assert [one.getMessage() for one in caplog.records if one.levelname in ("WARNING", "ERROR")] == []
