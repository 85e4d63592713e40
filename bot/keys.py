"""What handlers need, by typed key."""

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections import OrderedDict

    from bot.config import Settings
    from bot.dialogue.pipeline import Pipeline
    from bot.engines.base import Engine
    from bot.jobs.queue import JobQueue
    from bot.knowledge_base import KnowledgeBase
    from bot.learning.releases import Releases
    from bot.learning.schedule import Schedule
    from bot.learning.shadow import Shadow
    from bot.learning.watch import Watch
    from bot.security.access import Principal
    from bot.storage.database import Database
    from bot.storage.revisions import Watcher

SETTINGS: "web.AppKey[Settings]" = web.AppKey("settings")
DATABASE: "web.AppKey[Database]" = web.AppKey("database")
WATCHER: "web.AppKey[Watcher]" = web.AppKey("watcher")
KNOWLEDGE_BASE: "web.AppKey[KnowledgeBase]" = web.AppKey("knowledge_base")
ENGINE: "web.AppKey[Engine | None]" = web.AppKey("engine")
RELEASES: "web.AppKey[Releases]" = web.AppKey("releases")
SHADOW: "web.AppKey[Shadow]" = web.AppKey("shadow")
WATCH: "web.AppKey[Watch]" = web.AppKey("watch")
SCHEDULE: "web.AppKey[Schedule]" = web.AppKey("schedule")
JOBS: "web.AppKey[JobQueue]" = web.AppKey("jobs")
# The hashes of visitors' tokens that were right, by conversation; those used longest ago are forgotten first.
KNOWN_TOKENS: "web.AppKey[OrderedDict[str, str]]" = web.AppKey("known_tokens")
PIPELINE: "web.AppKey[Pipeline]" = web.AppKey("pipeline")
# Loading the models, beside the first requests.
LOADING: "web.AppKey[asyncio.Task[None]]" = web.AppKey("loading")
# Done where the service cannot be made ready, with what was wrong.
FAILURE: "web.AppKey[asyncio.Future[Exception]]" = web.AppKey("failure")
# What is loaded by now, by part; with `knowledge` messages are answered.
READY: web.AppKey[dict[str, bool | None]] = web.AppKey("ready", dict)
# Done when messages are answered.
ANSWERING: "web.AppKey[asyncio.Future[None]]" = web.AppKey("answering")
# Where the service listens, as an address that this machine can call; set by `kefu serve`.
LISTENING: web.AppKey[str] = web.AppKey("listening", str)

PERSON: "web.RequestKey[Principal]" = web.RequestKey("person")
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
