"""A small real service: database, live knowledge base with the real encoder, job queue, and the routes of `bot.api`."""

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

import bot.knowledge_base
from bot import keys, middleware
from bot.api import auth, company, documents, faqs, forgetting, health, jobs, openapi, review, search, stats
from bot.cli import main
from bot.config import Settings
from bot.jobs import importing
from bot.jobs.queue import JobQueue
from bot.knowledge_base import KnowledgeBase
from bot.learning import mining_job
from bot.metrics import METRICS
from bot.profile import PROFILE, LiveProfile
from bot.security.passwords import new_api_key, token_hash
from bot.storage import people
from bot.storage.database import Database
from bot.storage.revisions import Watcher

ROUTES = [
    route
    for module in (auth, company, documents, faqs, forgetting, health, jobs, openapi, review, search, stats)
    for route in module.routes
]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the machine that runs the tests are not theirs; where models and outside data lie is."""
    for name in [one for one in os.environ if one.startswith("KEFU_")]:
        if name not in ("KEFU_MODELS", "KEFU_BENCH_DATA"):
            monkeypatch.delenv(name)


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    def make(**values: Any) -> Settings:
        models = {"models": Path(os.environ["KEFU_MODELS"])} if os.environ.get("KEFU_MODELS") else {}
        return Settings(**{"data": tmp_path / "data", **models, **values})

    return make


@pytest.fixture
async def database(tmp_path: Path, with_database: Callable[[Path], Path]) -> AsyncIterator[Database]:
    opened = Database(f"sqlite+aiosqlite:///{with_database(tmp_path / 'data') / 'kefu.db'}")
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def use_shared_encoder(shared_encoder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The base encoder comes from the session; one with an adapter is still loaded anew."""
    load = bot.knowledge_base.load_encoder
    monkeypatch.setattr(
        bot.knowledge_base,
        "load_encoder",
        lambda settings, folder=None: load(settings, folder) if folder else shared_encoder,
    )


@pytest.fixture
async def make_knowledge_base(
    database: Database, make_settings: Callable[..., Settings]
) -> AsyncIterator[Callable[..., Any]]:
    made: list[KnowledgeBase] = []

    async def make(**values: Any) -> KnowledgeBase:
        knowledge_base = KnowledgeBase(database, make_settings(**values))
        await knowledge_base.open()
        made.append(knowledge_base)
        return knowledge_base

    yield make
    for knowledge_base in made:
        if knowledge_base.ready:
            await knowledge_base.close()


class Service:
    """A running service and what stands behind it."""

    def __init__(self, client: TestClient, app: web.Application, tokens: dict[str, str]) -> None:
        self.client = client
        self.database = app[keys.DATABASE]
        self.knowledge_base = app[keys.KNOWLEDGE_BASE]
        self.profile = app[PROFILE]
        self.jobs = app[keys.JOBS]
        self.settings = app[keys.SETTINGS]
        self.tokens = tokens

    async def call(self, method: str, path: str, role: str | None = "admin", **options: Any) -> tuple[int, Any]:
        """Status and JSON (None for an empty body) of one request."""
        headers = dict(options.pop("headers", {}))
        if role:
            headers["Authorization"] = f"Bearer {self.tokens[role]}"
        async with self.client.request(method, path, headers=headers, **options) as response:
            body = await response.read()
            return response.status, await response.json() if body else None

    async def upload(self, name: str, content: bytes, **fields: str) -> dict[str, Any]:
        """Upload a file and wait for its job."""
        from aiohttp import FormData

        form = FormData()
        for field, value in fields.items():
            form.add_field(field, value)
        form.add_field("file", content, filename=name)
        status, body = await self.call("POST", "/api/documents", "editor", data=form)
        assert status == 202, body
        return (await self.jobs.wait(body["job_id"])).to_json()


@pytest.fixture
async def start_service(
    make_settings: Callable[..., Settings], use_shared_encoder: None, with_database: Callable[[Path], Path]
) -> AsyncIterator[Callable[..., Any]]:
    running: list[TestClient] = []

    async def start(**values: Any) -> Service:
        settings = make_settings(**values)
        with_database(settings.data)
        app = web.Application()
        app[keys.SETTINGS], app[keys.READY] = settings, {"knowledge": False}
        app[PROFILE] = LiveProfile(settings)
        middleware.install(app, settings)
        app.add_routes(ROUTES)
        tokens: dict[str, str] = {}

        async def resources(app: web.Application) -> AsyncIterator[None]:
            opened = Database(settings.database)
            await opened.open()
            app[keys.DATABASE], app[keys.WATCHER] = opened, Watcher(opened)
            app[keys.KNOWLEDGE_BASE] = knowledge_base = KnowledgeBase(opened, settings, app[METRICS])
            app[keys.JOBS] = queue = JobQueue(opened)
            importing.register(queue, opened, knowledge_base, settings.data)
            mining_job.register(queue, opened, knowledge_base)
            app[keys.WATCHER].register("knowledge", knowledge_base.refresh)
            app[keys.WATCHER].register("settings", knowledge_base.recalibrate)
            app[keys.WATCHER].register("settings", app[PROFILE].follow)
            await app[keys.WATCHER].start()
            await knowledge_base.open()
            app[keys.READY]["knowledge"] = True
            await queue.start()
            for role in ("viewer", "agent", "editor", "admin", "api"):
                tokens[role] = new_api_key()
                async with opened.session() as session:
                    await people.add_key(session, role, role, tokens[role][:12], token_hash(tokens[role]))
            yield
            await queue.close()
            await app[keys.WATCHER].close()
            await knowledge_base.close()
            await opened.close()

        app.cleanup_ctx.append(resources)
        client = TestClient(TestServer(app))
        await client.start_server()
        running.append(client)
        return Service(client, app, tokens)

    yield start
    for client in running:
        await client.close()


@pytest.fixture
async def service(start_service: Callable[..., Any]) -> Service:
    return await start_service()


@pytest.fixture
def bare_kefu(tmp_path, capsys):
    """Runs a command on its own data folder: exit code, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments, "--data", str(tmp_path / "data")])
        out, error = capsys.readouterr()
        return code, out.strip(), error.strip()

    return run


@pytest.fixture
def kefu(bare_kefu, use_shared_encoder):
    """The same; only loading the encoder again is saved."""
    return bare_kefu
