"""The composition root: opens every resource, connects them, and closes them in reverse."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aiohttp import web

from bot import channels, control, documents, keys, middleware, turns
from bot.dialogue.actions import open_actions
from bot.dialogue.pipeline import Pipeline
from bot.dialogue.policy import Limits
from bot.engines.base import EngineError
from bot.engines.observed import ObservedEngine
from bot.generators import make_engine
from bot.handoff.desk import DESK, Desk
from bot.jobs import importing
from bot.jobs.queue import JobQueue
from bot.knowledge_base import KnowledgeBase
from bot.learning import activation_job, calibration_job, mining_job, releases, retention, training_job
from bot.learning.forgetting import forget_older
from bot.learning.releases import Releases
from bot.learning.schedule import Schedule
from bot.learning.shadow import Shadow
from bot.learning.side_by_side import SideBySide
from bot.learning.watch import Watch
from bot.metrics import METRICS
from bot.profile import PROFILE, LiveProfile
from bot.routes import ROUTES
from bot.storage import messaging
from bot.storage.database import Database
from bot.storage.revisions import Watcher
from bot.turns import TURNS

if TYPE_CHECKING:
    from bot.config import Settings

CLEAN_UP_SECONDS = 3600.0
UPLOAD_OVERHEAD_BYTES = 1024 * 1024

log = logging.getLogger("kefu.app")


def make_app(settings: "Settings") -> web.Application:
    """The whole service. It answers `/healthz` as soon as it listens, and the rest once its models are loaded."""
    app = web.Application(client_max_size=settings.upload_bytes_max + UPLOAD_OVERHEAD_BYTES)
    app[keys.SETTINGS] = settings
    parts: dict[str, bool | None] = {"knowledge": False, "generator": not settings.generator}
    app[keys.READY] = parts
    app[PROFILE] = LiveProfile(settings)
    middleware.install(app, settings)
    app.add_routes(ROUTES)
    app.add_routes(channels.channel_routes(app, settings))
    app.on_shutdown.extend([turns.hang_up, channels.hang_up, _stop_working])
    app.cleanup_ctx.extend([_storage, _models, _learning, _control, _dialogue, channels.open_messaging, _start])
    return app


async def _storage(app: web.Application) -> AsyncIterator[None]:
    database = Database(app[keys.SETTINGS].database)
    await database.open()
    app[keys.DATABASE] = database
    app[keys.WATCHER] = Watcher(database)
    app[keys.JOBS] = JobQueue(database)
    yield
    await database.close()


async def _models(app: web.Application) -> AsyncIterator[None]:
    knowledge_base = KnowledgeBase(app[keys.DATABASE], app[keys.SETTINGS], app[METRICS])
    made = make_engine(app[keys.SETTINGS], app[PROFILE])
    engine = ObservedEngine(made) if made else None
    app[keys.WATCH] = watch = Watch(
        app[keys.DATABASE], knowledge_base, SideBySide(app[keys.SETTINGS], knowledge_base, engine)
    )
    knowledge_base.on_search = watch.searched
    if engine:
        engine.on_written = watch.written
    app[keys.KNOWLEDGE_BASE], app[keys.ENGINE] = knowledge_base, engine
    yield
    if engine:
        await engine.close()
    await knowledge_base.close()


async def _learning(app: web.Application) -> AsyncIterator[None]:
    database, settings, queue = app[keys.DATABASE], app[keys.SETTINGS], app[keys.JOBS]
    app[keys.SHADOW] = shadow = Shadow(database, settings, app[keys.KNOWLEDGE_BASE], lambda: app[TURNS].under_way)
    app[keys.RELEASES] = Releases(
        database, settings, app[keys.KNOWLEDGE_BASE], app[keys.ENGINE], shadow, app[keys.WATCH]
    )
    app[keys.SCHEDULE] = Schedule(database, settings)
    importing.register(queue, database, app[keys.KNOWLEDGE_BASE], settings.data)
    activation_job.register(queue, database, settings, app[keys.RELEASES])
    training_job.register(queue, database, settings)
    calibration_job.register(queue, database, settings, app[keys.KNOWLEDGE_BASE])
    mining_job.register(queue, database, app[keys.KNOWLEDGE_BASE])
    yield
    await shadow.close()


async def _control(app: web.Application) -> AsyncIterator[None]:
    async def roll_back(asked: dict[str, Any]) -> dict[str, Any]:
        return await releases.rollback_last(app[keys.DATABASE], asked.get("kind"), "cli")

    async def activate(asked: dict[str, Any]) -> dict[str, Any]:
        name, override = str(asked.get("name")), asked.get("override") is True
        return await releases.activate_found(app[keys.DATABASE], app[keys.SETTINGS], name, "cli", override=override)

    async def where(_asked: dict[str, Any]) -> dict[str, Any]:
        return {"address": app.get(keys.LISTENING)}

    handlers: control.Handlers = {"rollback": roll_back, "activate": activate, "where": where}
    async with control.answering(app[keys.SETTINGS].data, handlers):
        yield


async def _dialogue(app: web.Application) -> AsyncIterator[None]:
    settings = app[keys.SETTINGS]
    actions = open_actions(settings)
    pipeline = Pipeline(app[keys.KNOWLEDGE_BASE], app[PROFILE], app[keys.ENGINE], actions, Limits.of(settings))
    app[DESK] = desk = Desk(app[keys.DATABASE], app[PROFILE])
    made = turns.Turns(
        app[keys.DATABASE],
        pipeline,
        desk,
        app[keys.KNOWLEDGE_BASE].wait_open,
        question_characters_max=settings.question_characters_max,
        on_answer=app[keys.SHADOW].offer,
    )
    app[keys.PIPELINE], app[TURNS] = pipeline, made
    yield
    await made.close()
    await actions.close()


async def _start(app: web.Application) -> AsyncIterator[None]:
    """Loads the models while the service already listens, then follows the database and does what waits."""
    app[keys.FAILURE] = asyncio.get_running_loop().create_future()
    app[keys.ANSWERING] = asyncio.get_running_loop().create_future()
    app[keys.LOADING] = asyncio.create_task(_load(app), name="loading")
    tasks = [
        asyncio.create_task(_clean_up(app), name="cleaning up"),
        asyncio.create_task(_load_generator(app), name="loading the generator"),
        asyncio.create_task(
            mining_job.keep_looking(app[keys.JOBS], app[keys.DATABASE], app[keys.KNOWLEDGE_BASE]), name="mining"
        ),
        asyncio.create_task(app[keys.WATCH].keep_looking(), name="watching"),
        asyncio.create_task(app[keys.SCHEDULE].keep_looking(), name="schedule"),
    ]
    if app[keys.SETTINGS].auto_calibrate:
        looking = calibration_job.keep_looking(
            app[keys.JOBS], app[keys.DATABASE], app[keys.SETTINGS], app[keys.KNOWLEDGE_BASE]
        )
        tasks.append(asyncio.create_task(looking, name="looking for labels"))
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _stop_working(app: web.Application) -> None:
    """For `app.on_shutdown`: open requests are waited for next, and some of them wait for this work."""
    loading = app[keys.LOADING]
    loading.cancel()
    # First all are told to end, then the encoding under them breaks off: to nobody that looks like a failure.
    closing = asyncio.gather(loading, app[keys.JOBS].close(), app[keys.WATCHER].close(), return_exceptions=True)
    app[keys.KNOWLEDGE_BASE].stop()
    await closing


async def _load(app: web.Application) -> None:
    knowledge_base, watcher, release = app[keys.KNOWLEDGE_BASE], app[keys.WATCHER], app[keys.RELEASES]
    try:
        await releases.discover(app[keys.DATABASE], app[keys.SETTINGS])
        await knowledge_base.open(answer_early=True)
        app[keys.READY]["knowledge"] = True
        app[keys.ANSWERING].set_result(None)
        watcher.register("knowledge", knowledge_base.refresh)
        watcher.register("settings", knowledge_base.recalibrate)
        watcher.register("settings", app[PROFILE].follow)
        watcher.register("adapters", release.follow)
        watcher.register("adapters", app[keys.SHADOW].follow)
        await watcher.start()
        await knowledge_base.refresh()  # what was written between reading the database and watching it
        await app[keys.JOBS].start()
        await app[keys.WATCH].resume()
        await release.follow()
        await app[keys.SHADOW].follow()
        log.info("everything is loaded")
    except asyncio.CancelledError:
        raise
    except Exception as problem:
        log.exception("the service cannot start")
        app[keys.FAILURE].set_result(problem)


async def _load_generator(app: web.Application) -> None:
    """Last of all: until it is loaded, replies that it would write quote their source instead."""
    engine = app[keys.ENGINE]
    if engine is None:
        return
    await asyncio.wait([app[keys.LOADING]])
    try:
        await engine.open()
        app[keys.READY]["generator"] = True
    except EngineError as problem:
        if problem.code != "engine_closed":
            app[keys.READY]["generator"] = None
            log.exception("the generator cannot be loaded")


async def _clean_up(app: web.Application) -> None:
    """Forget conversations and deleted documents older than the settings keep them."""
    database, settings = app[keys.DATABASE], app[keys.SETTINGS]
    while True:
        with suppress(Exception):  # tried again in an hour; a busy database is no reason to stop
            deleted = await forget_older(database, settings.conversation_days)
            if deleted:
                log.info("%d conversations are past their time and deleted", deleted)
        with suppress(Exception):
            await app[DESK].expire()
        with suppress(Exception):
            async with database.session() as session:
                await messaging.forget_older(session, settings.conversation_days)
        with suppress(Exception):
            await retention.tidy(database, settings)
        with suppress(Exception):
            await documents.purge(database, settings.data / "uploads", settings.trash_days)
        await asyncio.sleep(CLEAN_UP_SECONDS)
