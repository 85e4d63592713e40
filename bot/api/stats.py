"""The dashboard's numbers."""

from datetime import date, datetime, timedelta
from typing import Any

from aiohttp import web
from pydantic import Field

from bot import keys
from bot.api.bodies import Body, query
from bot.api.describe import describe
from bot.errors import InvalidError
from bot.security.access import requires
from bot.storage import stats
from bot.storage.stats import Period

DAYS_BY_DEFAULT = 30
DAYS_MAX = 400
COUNT = {"type": "integer"}
STATS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        **{name: {"type": "string", "format": "date"} for name in ("from", "to")},
        **dict.fromkeys(("conversations", "messages", "entries", "documents"), COUNT),
        "decisions": {"type": "object", "additionalProperties": COUNT},
        "feedback": {"type": "object", "properties": {"up": COUNT, "down": COUNT}},
        "latency_ms": {
            "type": "object",
            "properties": {name: {"type": ["integer", "null"]} for name in ("p50", "p95")},
        },
        "days": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "date": {"type": "string", "format": "date"},
                    "conversations": COUNT,
                    "messages": COUNT,
                },
            },
        },
    },
}


class StatsQuery(Body):
    """Days of this machine's time zone; the last 30 where not given."""

    first: date | None = Field(
        None, alias="from", json_schema_extra={"expects": ["日期，如 2026-01-31", "a date such as 2026-01-31"]}
    )
    last: date | None = Field(
        None, alias="to", json_schema_extra={"expects": ["日期，如 2026-01-31", "a date such as 2026-01-31"]}
    )


def period_of(wanted: StatsQuery, moment: datetime) -> Period:
    """The days asked for. Raises InvalidError where they end before they begin, or are too many."""
    last = wanted.last or moment.date()
    first = wanted.first or last - timedelta(days=DAYS_BY_DEFAULT - 1)
    if not timedelta(0) <= last - first <= timedelta(days=DAYS_MAX):
        raise InvalidError(
            "wrong_period",
            f"from 到 to 必须是 1 到 {DAYS_MAX} 天，而不是 {first} 到 {last}",
            f"from and to must span 1 to {DAYS_MAX} days, not {first} to {last}",
        )
    return Period(first, last, moment.utcoffset() or timedelta(0))


@describe("Conversations, decisions, feedback and latency of some days", query=StatsQuery, response=STATS_SCHEMA)
@requires("viewer")
async def get_stats(request: web.Request) -> web.Response:
    period = period_of(query(request, StatsQuery), datetime.now().astimezone())
    async with request.app[keys.DATABASE].reading() as session:
        return web.json_response(await stats.read(session, period))


routes = [web.get("/api/stats", get_stats)]
