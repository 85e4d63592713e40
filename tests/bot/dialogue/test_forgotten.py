"""A customer is forgotten while they are being answered."""

import asyncio
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from bot import keys, middleware, turns
from bot.api import forgetting
from bot.security.passwords import new_api_key, token_hash
from bot.storage import people
from bot.storage.conversations import Opening

from .test_sessions import CAMPING, GROUNDED


async def test_turns_of_all_of_a_customers_conversations_end(talk_with: Any, scripted: Any) -> None:
    talk = await talk_with(scripted(GROUNDED, pause_seconds=30))
    key = new_api_key()
    async with talk.database.session() as session:
        await people.add_key(session, "lily", "editor", key[:12], token_hash(key))
    openings = [Opening("plain", "shop", user, group) for user, group in (("u1", ""), ("u1", "g"), ("u2", ""))]
    mine, group, other = [
        await talk.turns.submit(turns.Asked(id_, CAMPING, opening=opening))
        for id_, opening in zip("abc", openings, strict=True)
    ]
    app = web.Application()
    for known in (keys.DATABASE, keys.SETTINGS, turns.TURNS):
        app[known] = talk.app[known]
    middleware.install(app, talk.app[keys.SETTINGS])
    app.add_routes(forgetting.routes)
    async with TestClient(TestServer(app)) as client, asyncio.timeout(20):
        bearer = {"Authorization": f"Bearer {key}"}
        async with client.delete("/api/sessions/a", headers=bearer) as response:
            assert (response.status, (await response.json())["conversations"]) == (200, 2)
        for run in (mine, group):
            ended = await run.result()
            assert ended is not None
            assert ended.error is turns.STOPPED
    assert not other.finished
    assert talk.turns.running("c") == [other]
    await other.abandon()
