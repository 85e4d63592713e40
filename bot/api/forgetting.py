"""A customer is forgotten: by themselves, with their conversation's token, or by staff."""

from typing import Any

from aiohttp import web

from bot import keys
from bot.api.describe import describe
from bot.errors import NotFoundError
from bot.learning.forgetting import forget
from bot.security.access import authorise, bearer
from bot.storage import conversations, decisions
from bot.turns import TURNS

FORGOTTEN_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "conversations": {"type": "integer"},
        "labels": {"type": "integer", "description": "reviewed questions that are learnt from no more"},
        "runs": {"type": "array", "items": {"type": "string"}, "description": "runs that have learnt from them"},
    },
}


@describe(
    "Delete a customer's data for good: with the conversation's token, or as an editor (then all of that customer's)",
    response=FORGOTTEN_SCHEMA,
)
async def remove(request: web.Request) -> web.Response:
    id_, database = request.match_info["id"], request.app[keys.DATABASE]
    async with database.reading() as session:
        own = await conversations.find_visitor(session, id_, bearer(request) or "") is not None
        known = own or await conversations.exists(session, id_)
        known = known or await decisions.knows(session, decisions.source_of(id_))
        owned = [one for one, *_ in await conversations.of_same_visitor(session, id_)]
    actor = "visitor" if own else (await authorise(request, "editor")).actor
    if not known:
        raise NotFoundError("session_not_found", "会话不存在或已删除", "There is no such conversation")
    if TURNS in request.app:
        for run in [run for one in {id_, *owned} for run in request.app[TURNS].running(one)]:
            if run.task is not None:
                run.task.cancel()
    done = await forget(database, request.app[keys.SETTINGS], id_, actor)
    return web.json_response(done.to_json())


routes = [web.delete("/api/sessions/{id}", remove)]
