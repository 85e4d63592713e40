"""The way to a release over HTTP, in the whole service: who may, what is shown, and what is refused."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from bot import keys
from bot.app import make_app
from bot.config import Settings
from bot.security.passwords import new_api_key, token_hash
from bot.storage import audit, people
from bot.storage.database import Database
from tests.bot.small_shop import INVOICE, RETURN, add

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("use_shared_encoder")]
Call = Callable[..., Any]


@pytest.fixture
async def call(database: Database, make_settings: Callable[..., Settings], installed: Path) -> AsyncIterator[Call]:
    tokens = {role: new_api_key() for role in ("viewer", "editor", "admin")}
    async with database.session() as session:
        for role, token in tokens.items():
            await people.add_key(session, role, role, token[:12], token_hash(token))
    await add(database, RETURN, INVOICE)
    app = make_app(make_settings(generator=""))
    async with TestClient(TestServer(app)) as client:
        await asyncio.wait_for(asyncio.shield(app[keys.ANSWERING]), 300)
        await asyncio.wait_for(asyncio.shield(app[keys.LOADING]), 300)

        async def ask(method: str, path: str, body: Any = None, role: str = "admin", token: str = "") -> Any:
            headers = {"Authorization": f"Bearer {token or tokens[role]}", "Accept-Language": "en"}
            async with client.request(method, path, json=body, headers=headers) as response:
                return response.status, await response.json() if await response.read() else None

        yield ask


async def until(call: Call, done: Callable[[Any], bool]) -> Any:
    async with asyncio.timeout(300):
        while True:
            _, told = await call("GET", "/api/releases", role="viewer")
            if done(told):
                return told
            await asyncio.sleep(0.05)


async def customer(call: Call, text: str) -> None:
    _, session = await call("POST", "/api/sessions", {})
    path = f"/api/sessions/{session['session_id']}/messages"
    status, _ = await call("POST", path, {"text": text}, token=session["token"])
    assert status == 200


async def test_from_the_shadow_to_the_release(call):
    _, told = await call("GET", "/api/releases", role="viewer")
    assert (told["shadow"], told["watching"], told["rolled_back"]) == (None, [], [])
    assert (told["schedule"]["mode"], told["schedule"]["last"]) == ("off", None)
    wanted = {"adapter": "encoder-two", "share": 1.0, "questions_max": 2}
    assert (await call("POST", "/api/shadow", wanted, "editor"))[0] == 403
    status, shadow = await call("POST", "/api/shadow", wanted)
    assert (status, shadow["adapter"], shadow["against"], shadow["asked"]) == (201, "encoder-two", None, 0)
    status, refused = await call("POST", "/api/shadow", {"adapter": "encoder-one"})
    assert (status, refused["error"]["code"]) == (409, "shadow_running")
    await until(call, lambda told: told["shadow"]["state"] == "answering")
    for text in ("东西想退掉", "怎么退货呢"):
        await customer(call, text)
    told = (await until(call, lambda told: told["shadow"]["state"] == "enough"))["shadow"]
    assert told["asked"] == 2
    path = f"/api/shadows/{told['id']}/differences"
    assert (await call("GET", path, role="viewer"))[0] == 403
    _, listed = await call("GET", path, role="editor")
    assert listed["total"] == 2 - told["same"]
    assert len(listed["items"]) == listed["total"]

    _, job = await call("POST", "/api/adapters/encoder-two/activate", {})
    told = await until(call, lambda told: told["watching"] != [])
    assert (told["watching"][0]["adapter"], told["shadow"]["state"]) == ("encoder-two", "released")
    assert told["shadow"]["ended_by"]
    assert job["job_id"]
    assert (await call("DELETE", "/api/shadow"))[0] == 404
    status, refused = await call("POST", "/api/shadow", {"adapter": "encoder-two"})
    assert (status, refused["error"]["code"]) == (409, "shadow_active")


async def test_a_candidate_is_dropped(call):
    assert (await call("POST", "/api/shadow", {"adapter": "encoder-one"}))[0] == 201
    assert (await call("DELETE", "/api/shadow", role="viewer"))[0] == 403
    assert (await call("DELETE", "/api/shadow"))[0] == 204
    told = await until(call, lambda told: told["shadow"]["state"] == "dropped")
    assert told["watching"] == []


PLAN = {"mode": "release", "interval": "night", "hours": "02:00-04:00", "examples_min": 20}


async def test_when_it_trains_by_itself_is_set(call, database):
    assert (await call("PUT", "/api/schedule", PLAN, "editor"))[0] == 403
    status, told = await call("PUT", "/api/schedule", PLAN)
    assert (status, {name: told[name] for name in PLAN}, told["fixed"]) == (200, PLAN, [])
    assert told["next_at"]
    shown = (await call("GET", "/api/releases", role="viewer"))[1]["schedule"]
    assert {name: shown[name] for name in PLAN} == PLAN
    for wrong in ({}, {"mode": "on"}, {"hours": "9-5"}, {"examples_min": 0}, {"interval": "year"}, {"day": 1}):
        status, refused = await call("PUT", "/api/schedule", {**PLAN, **wrong} if wrong else {})
        assert (status, refused["error"]["code"]) == (400, "invalid_field")
    assert {name: (await call("GET", "/api/releases"))[1]["schedule"][name] for name in PLAN} == PLAN
    async with database.reading() as session:
        (line,) = [one for one in await audit.recent(session) if one.action == "schedule.change"]
    assert line.detail == PLAN


@pytest.mark.parametrize(
    "body",
    [
        {}, {"adapter": ""}, {"adapter": "encoder-one", "share": 0}, {"adapter": "encoder-one", "share": 1.1},
        {"adapter": "encoder-one", "questions_max": 0}, {"adapter": "encoder-one", "questions_max": 10**6},
        {"adapter": "encoder-one", "shares": 0.1},
    ],
)  # fmt: skip
async def test_what_is_no_shadow(call, body):
    assert (await call("POST", "/api/shadow", body))[0] == 400


async def test_a_stranger_and_an_altered_one(call, installed):
    assert (await call("POST", "/api/shadow", {"adapter": "encoder-none"}))[0] == 404
    weights = installed / "encoder-one" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    status, refused = await call("POST", "/api/shadow", {"adapter": "encoder-one"})
    assert (status, refused["error"]["code"]) == (400, "adapter_damaged")
    assert (await call("GET", "/api/releases"))[1]["shadow"] is None
