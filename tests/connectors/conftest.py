"""The channels' service in this process, and a customer who writes to it."""

import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from bot.config import Settings
from bot.messaging.hub import HUB, Hub
from bot.storage.database import Database
from tests.connectors.cases import CASES, Case
from tests.servers.desk import Answers, make_app


class Desk:
    """A running service with one channel, and its platform."""

    def __init__(self, case: Case, server: TestServer, http: aiohttp.ClientSession, answers: Answers) -> None:
        self.case, self.server, self.http, self.answers = case, server, http, answers
        self.url = str(server.make_url("/")).rstrip("/")
        self._numbers = itertools.count(1)

    @property
    def outside(self) -> Any:
        return self.case.outside

    @property
    def hub(self) -> Hub:
        return self.server.app[HUB]

    async def say(self, user: str, text: str, id_: str = "", group: str = "") -> int:
        id_ = id_ or f"1000{next(self._numbers)}"
        return await self.case.say(self.http, self.url, user, text, id_, group=group)


@pytest.fixture(params=CASES, ids=lambda case: case.__name__.lower())
async def case(request: pytest.FixtureRequest) -> AsyncIterator[Case]:
    made: Case = request.param()
    made.base = await made.outside.start()
    yield made
    await made.outside.stop()


@pytest.fixture
async def start_desk(
    case: Case, tmp_path: Path, with_database: Callable[[Path], Path]
) -> AsyncIterator[Callable[..., Any]]:
    """Starts the service: again on the same data for each call."""
    running: list[tuple[TestServer, aiohttp.ClientSession]] = []
    with_database(tmp_path / "data")

    async def start(answers: Answers | None = None, **parameters: Any) -> Desk:
        answers = answers or Answers()
        server = TestServer(make_app(tmp_path / "data", [case.table() | parameters], answers))
        await server.start_server()
        http = aiohttp.ClientSession()
        running.append((server, http))
        return Desk(case, server, http, answers)

    yield start
    for server, http in running:
        await http.close()
        await server.close()


@pytest.fixture
async def desk(start_desk: Callable[..., Any]) -> Desk:
    return await start_desk()


@pytest.fixture
async def database(tmp_path: Path, with_database: Callable[[Path], Path]) -> AsyncIterator[Database]:
    opened = Database(f"sqlite+aiosqlite:///{with_database(tmp_path / 'data') / 'kefu.db'}")
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    return lambda **values: Settings(**{"data": tmp_path / "data", **values})
