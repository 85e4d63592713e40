"""A visitor's thumb on a reply."""

from typing import Literal

from aiohttp import web
from pydantic import Field

from bot import keys
from bot.api.bodies import Body, read
from bot.api.describe import describe
from bot.errors import NotFoundError, UnauthorizedError
from bot.security.access import bearer
from bot.storage import conversations


class FeedbackBody(Body):
    """`rating` null takes the thumb back."""

    rating: Literal["up", "down"] | None
    comment: str | None = Field(None, max_length=2000)


@describe(
    "Rate a reply",
    body=FeedbackBody,
    response={"type": "object", "properties": {"id": {"type": "string"}, "feedback": {"type": "string"}}},
)
async def rate(request: web.Request) -> web.Response:
    given = await read(request, FeedbackBody)
    message_id = request.match_info["id"]
    not_found = NotFoundError("message_not_found", "没有这条回复", "There is no such reply")
    async with request.app[keys.DATABASE].session() as session:
        owner = await conversations.conversation_of(session, message_id)
        if owner is None:
            raise not_found
        # The token is the only key to a conversation, and so to the thumbs on its replies.
        if await conversations.find_visitor(session, owner, bearer(request) or "") is None:
            raise UnauthorizedError("bad_token", "会话令牌不对", "The token is not this conversation's")
        if not await conversations.set_feedback(session, owner, message_id, given.rating, given.comment):
            raise not_found
    return web.json_response({"id": message_id, "feedback": given.rating})


routes = [web.post("/api/messages/{id}/feedback", rate)]
