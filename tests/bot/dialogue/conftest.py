"""A small shop behind the real service: real database, encoder and index; generation and actions as each test wants."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from bot import channels, keys, middleware, profile, turns
from bot.api import channels as channels_api
from bot.api import chat_ws, desk, feedback, sessions
from bot.config import Settings
from bot.dialogue.actions import Actions, open_actions
from bot.dialogue.pipeline import Pipeline
from bot.dialogue.policy import Limits
from bot.engines.base import Piece
from bot.handoff.desk import DESK, Desk
from bot.importing import import_file
from bot.knowledge_base import KnowledgeBase
from bot.metrics import METRICS
from bot.security.passwords import new_api_key, token_hash
from bot.storage import people
from bot.storage.database import Database
from bot.turns import Turns
from tests.bot.dialogue.staff import Staff, staff_of

ROUTES = [*sessions.routes, *chat_ws.routes, *feedback.routes, *profile.routes, *desk.routes, *channels_api.routes]

FAQ: list[dict[str, Any]] = [
    {
        "id": "return-how",
        "question": "怎么申请退货",
        "answer": "在「我的订单」里点**申请退货**，审核通过后寄回。",
        "similar_questions": ["我想退货", "买的东西不想要了怎么退", "退货流程是什么"],
    },
    {"id": "return-freight", "question": "退货运费谁出", "answer": "无理由退货由买家承担，质量问题由我们承担。"},
    {"id": "return-time", "question": "退款多久到账", "answer": "收到退货后 **3 个工作日内**原路退回。"},
    {"id": "return-limit", "question": "超过七天还能退货吗", "answer": "超过 7 天不能无理由退货。"},
    {"id": "exchange-how", "question": "怎么申请换货", "answer": "在「我的订单」里点申请换货。"},
    {"id": "invoice", "question": "怎么开发票", "answer": "在订单详情点「申请发票」，电子发票 24 小时内开出。"},
    {"id": "cod", "question": "可以货到付款吗", "answer": "暂不支持货到付款。"},
    {"id": "member", "question": "会员有什么权益", "answer": "积分、生日券和专属折扣。"},
    {"id": "order-status", "question": "我的订单到哪了", "action": "action_order", "similar_questions": ["查物流"]},
    {"id": "breaks", "question": "帮我检测一下网络线路", "action": "action_breaks"},
]
POLICY = """# 露营用品使用手册

## 一、帐篷

帐篷 HW-6021 可抗 6 级风，超过 6 级请收起。帐内严禁生火。

## 二、露营灯

露营灯 DG-4402 长期不用时，每 3 个月充电一次，建议保持一半电量。

## 三、净水器

净水器的滤芯每 6 个月或 1200 升更换一次，冬天低于 0 度的地方请取下滤芯放在室内，结冰会使滤芯破裂。
"""
PROFILE = {
    "company_name": {"zh": "小山露营", "en": "Hill Camping"},
    "assistant_name": "阿山",
    "handoff": {"zh": "人工客服：400-000-0001。", "en": "Call 400-000-0001."},
    "suggestions": ["怎么申请退货"],
}


@pytest.fixture(scope="session")
def shop_folder(tmp_path_factory: pytest.TempPathFactory, shared_encoder: Any) -> Path:
    """A data folder with the shop's knowledge and its saved index, to be copied by each test."""
    import bot.knowledge_base

    home = tmp_path_factory.mktemp("shop")
    (home / "profile.json").write_text(json.dumps(PROFILE, ensure_ascii=False), encoding="utf-8")
    faq, policy = home / "faq.jsonl", home / "手册.md"
    faq.write_text("\n".join(json.dumps(one, ensure_ascii=False) for one in FAQ), encoding="utf-8")
    policy.write_text(POLICY, encoding="utf-8")

    async def build() -> None:
        settings = Settings(data=home)
        database = Database(settings.database)
        await database.open()
        for path in (faq, policy):
            await import_file(database, path, path.name, home / "uploads", actor="test")
        knowledge_base = KnowledgeBase(database, settings)
        await knowledge_base.open()
        await knowledge_base.close()
        await database.close()

    load = bot.knowledge_base.load_encoder
    bot.knowledge_base.load_encoder = lambda *_: shared_encoder
    try:
        asyncio.run(build())
    finally:
        bot.knowledge_base.load_encoder = load
    return home


class Scripted:
    """Stands at the engine's border: writes the given pieces, a pause before each, or fails as asked."""

    name = "scripted"
    active_adapter = None
    adapters = ("shop-style",)
    loaded = ()

    def __init__(self, *pieces: str, pause_seconds: float = 0.0, error: Exception | None = None) -> None:
        self.pieces, self.pause_seconds, self.error = pieces, pause_seconds, error
        self.asked: list[tuple[list[dict[str, str]], str | None]] = []
        self.written = 0
        self.closed_early = False

    async def open(self) -> None: ...

    async def generate(self, messages: Any, *, max_tokens: int = 200, model: str | None = None, user: str = "") -> Any:
        self.asked.append((list(messages), model))
        done = False
        try:
            for piece in self.pieces:
                await asyncio.sleep(self.pause_seconds)
                self.written += 1
                yield Piece(piece)
            if self.error:
                raise self.error
            done = True
            yield Piece("", finished=True, prompt_tokens=11, completion_tokens=len(self.pieces))
        finally:
            self.closed_early = not done

    async def use_adapter(self, folder: Path | None, name: str | None) -> None: ...

    async def load(self, name: str) -> None: ...

    async def unload(self, name: str) -> None: ...

    async def close(self) -> None: ...


@pytest.fixture
def scripted() -> type[Scripted]:
    return Scripted


class Talk:
    """The running service, and what a visitor's program does with it."""

    def __init__(self, client: TestClient, app: web.Application, api_key: str) -> None:
        self.client = client
        self.app = app
        self.api_key = api_key
        self.database: Database = app[keys.DATABASE]
        self.turns: Turns = app[turns.TURNS]
        self.url = str(client.make_url("/")).rstrip("/")
        self.desk: Desk = app[DESK]

    async def begin(self, **headers: str) -> "Visitor":
        async with self.client.post("/api/sessions", json={}, headers=headers) as response:
            assert response.status == 201, await response.text()
            body = await response.json()
        return Visitor(self, body["session_id"], body["token"])


class Visitor:
    """One visitor with one conversation."""

    def __init__(self, talk: Talk, session_id: str, token: str) -> None:
        self.talk, self.id, self.token = talk, session_id, token
        self.headers = {"Authorization": f"Bearer {token}"}
        self.path = f"/api/sessions/{session_id}/messages"

    async def post(self, text: str, client_id: str | None = None, **headers: str) -> tuple[int, Any]:
        body = {"text": text, **({"client_id": client_id} if client_id else {})}
        async with self.talk.client.post(self.path, json=body, headers=self.headers | headers) as response:
            return response.status, await response.json()

    async def say(self, text: str, client_id: str | None = None, **headers: str) -> dict[str, Any]:
        status, body = await self.post(text, client_id, **headers)
        assert status == 200, body
        return dict(body)

    async def history(self, **query: str) -> list[dict[str, Any]]:
        async with self.talk.client.get(self.path, params=query, headers=self.headers) as response:
            assert response.status == 200, await response.text()
            return list((await response.json())["items"])


@pytest.fixture
async def talk_with(tmp_path: Path, shop_folder: Path, use_shared_encoder: None) -> AsyncIterator[Callable[..., Any]]:
    """Starts the service on a copy of the shop: `await talk_with(engine=…, actions=…, limits=…, **settings)`."""
    running: list[TestClient] = []

    async def start(
        engine: Any = None, actions: Actions | None = None, limits: Limits | None = None, **values: Any
    ) -> Talk:
        home = tmp_path / f"data{len(running)}"
        shutil.copytree(shop_folder, home)
        settings = Settings(**{"data": home, **values})
        app = web.Application()
        app[keys.SETTINGS], app[keys.READY], app[keys.ENGINE] = settings, {"knowledge": True}, engine
        app[profile.PROFILE] = profile.LiveProfile(settings)
        middleware.install(app, settings)
        app.add_routes(ROUTES)
        app.add_routes(channels.channel_routes(app, settings))
        app.on_shutdown.append(turns.hang_up)
        api_key = new_api_key()

        async def resources(app: web.Application) -> AsyncIterator[None]:
            app[keys.DATABASE] = database = Database(settings.database)
            await database.open()
            app[keys.KNOWLEDGE_BASE] = knowledge_base = KnowledgeBase(database, settings, app[METRICS])
            await knowledge_base.open()
            known = actions or open_actions(settings)
            app[keys.PIPELINE] = pipeline = Pipeline(
                knowledge_base, app[profile.PROFILE], engine, known, limits or Limits.of(settings)
            )
            app[DESK] = Desk(database, app[profile.PROFILE])
            app[turns.TURNS] = Turns(
                database,
                pipeline,
                app[DESK],
                knowledge_base.wait_open,
                question_characters_max=settings.question_characters_max,
            )
            async with database.session() as session:
                await people.add_key(session, "till", "api", api_key[:12], token_hash(api_key))
            yield
            await app[turns.TURNS].close()
            await known.close()
            await knowledge_base.close()
            await database.close()

        app.cleanup_ctx.extend([resources, channels.open_messaging])
        client = TestClient(TestServer(app))
        await client.start_server()
        running.append(client)
        return Talk(client, app, api_key)

    yield start
    for client in running:
        await client.close()


@pytest.fixture
async def talk(talk_with: Callable[..., Any]) -> Talk:
    """The service without generation."""
    return await talk_with()


@pytest.fixture
async def staff(talk: Talk) -> Staff:
    """Ann and Bob, agents of that service."""
    return await staff_of(talk)
