"""Training by itself in quiet hours: takes the turn, follows its training, and releases what the gate found better.

Every step is written in the database before the next: a service that is killed anywhere goes on where it was, and of
two services on one database one takes the turn.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy.ext.asyncio import AsyncSession

from bot.errors import ConfigError
from bot.learning import plan as plans
from bot.learning import releases, training_job
from bot.learning.nights import Hours, Night, next_turn, nights
from bot.learning.plan import Plan
from bot.storage import adapters, audit, jobs, schedule, watches
from bot.storage.jobs import Job
from bot.storage.schedule import Turn
from bot.storage.values import now
from bot.zone import company_zone

if TYPE_CHECKING:
    from bot.config import Settings
    from bot.storage.database import Database

LOOK_SECONDS = 30.0
# What reviewed questions teach. The generator learns from answers and documents, and takes hours: by hand.
KIND = "encoder"
OPTIONS: dict[str, Any] = {}  # the defaults, which need no tuning
# So many messages of customers within so many minutes: they need the machine.
BUSY_QUESTIONS, BUSY_MINUTES = 20, 10
ACTOR = "schedule"
Clock = Callable[[], datetime]

log = logging.getLogger("kefu.schedule")


class _NotNowError(Exception):
    """What was to be released is not to be any more; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Schedule:
    """One per service; `keep_looking` for as long as it runs. `clock` gives the time, with its zone."""

    def __init__(self, database: "Database", settings: "Settings", clock: Clock = lambda: datetime.now(UTC)) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self._zone = company_zone(settings)
        # Why a turn that could be taken is not, for the moment: busy or training.
        self.waits_for: str | None = None
        self._hindered: tuple[datetime, str, str, int] | None = None

    async def keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except Exception:  # the database may be busy; the next look will do
                log.exception("looking at the schedule failed")

    async def look(self) -> None:
        """One look: end the turn whose training is over, or take the next one where it is time."""
        plan = await self._plan()
        async with self._database.reading() as session:
            last = await schedule.newest(session, self.coming(plan).slot(plan.interval))
        if last and last.state == "training":
            await self._follow(plan, last)
        elif plan.mode != "off":
            await self._begin(plan, last)

    async def _plan(self) -> Plan:
        """What is planned, as of now: the console may have changed it, in another service even."""
        try:
            return await asyncio.to_thread(plans.read, self._settings)
        except ConfigError as error:
            log.warning("%s", error.en)
            return plans.laid_down(self._settings)

    def coming(self, plan: Plan) -> Night:
        """The quiet hours that last or come next, whether or not their turn is taken."""
        return nights(Hours.parse(plan.hours), self._zone, self._clock())[0]

    def next_night(self, plan: Plan, taken: str | None) -> Night:
        """When the next turn can be taken, after the newest that was."""
        return next_turn(Hours.parse(plan.hours), self._zone, plan.interval, self._clock(), taken)

    async def _begin(self, plan: Plan, last: Turn | None) -> None:
        self.waits_for = None
        await self._close_night(plan)
        night = self.next_night(plan, last.slot if last else None)
        if self._clock() < night.start:
            return
        slot = night.slot(plan.interval)
        async with self._database.reading() as session:
            examples = await schedule.new_examples(session, KIND)
            hindrance = await self._hindrance(session)
        if examples < plan.examples_min:
            await self._skip(slot, "too_few", examples)
        elif hindrance:
            self.waits_for = hindrance
            self._hindered = (night.end, slot, hindrance, examples)
        else:
            await self._take(slot, examples)

    async def _take(self, slot: str, examples: int) -> None:
        """The turn and its job in one transaction: neither is without the other."""
        async with self._database.session() as session:
            if not await schedule.take(session, slot, "training", examples):
                return
            job = await jobs.add(session, training_job.KIND, {"kind": KIND, "options": OPTIONS, "actor": ACTOR}, None)
            await schedule.assign(session, slot, job.id)
            await audit.record(session, ACTOR, "training.start", KIND, {"options": {}, "new_examples": examples})
        log.info("schedule %s: training on %d new examples", slot, examples)

    async def _skip(self, slot: str, reason: str, examples: int) -> None:
        async with self._database.session() as session:
            if await schedule.take(session, slot, "skipped", examples, reason):
                log.info("schedule %s: skipped (%s), %d new examples", slot, reason, examples)

    async def _close_night(self, plan: Plan) -> None:
        """A night that went by without a quiet moment is gone; a week has other nights."""
        if self._hindered is None or self._clock() < self._hindered[0]:
            return
        (_, slot, reason, examples), self._hindered = self._hindered, None
        if plan.interval == "night":
            await self._skip(slot, reason, examples)

    async def _hindrance(self, session: AsyncSession) -> str | None:
        """Why not now: customers ask much, or somebody trains."""
        if any(not job.finished for job in await jobs.newest(session, (training_job.KIND,), 10)):
            return "training"
        if await asyncio.to_thread(self._trains_elsewhere):
            return "training"
        return "busy" if await self._busy(session) else None

    def _trains_elsewhere(self) -> bool:
        from bot.learning.runs import runs_dir
        from bot.learning.worker import is_busy

        return is_busy(runs_dir(self._settings))

    async def _busy(self, session: AsyncSession) -> bool:
        asked = await schedule.questions_since(session, now() - timedelta(minutes=BUSY_MINUTES))
        return asked >= BUSY_QUESTIONS

    async def _follow(self, plan: Plan, turn: Turn) -> None:
        """The turn's training is over, or gone: what comes of it."""
        async with self._database.reading() as session:
            job = await jobs.get(session, turn.job_id or "")
            busy = await self._busy(session)
        self.waits_for = None
        if job and not job.finished:
            return
        if job is None or job.state != "done":
            state = "cancelled" if job and job.state == "cancelled" else "failed"
            await self._end(turn, state, (job.error or {}).get("code") if job else "job_gone")
            return
        name = str((job.result or {})["adapter"])
        reason = _no_release(plan, job)
        if reason:
            await self._end(turn, "kept", reason, name)
        elif busy:
            self.waits_for = "busy"  # a switch reads everything anew
        else:
            await self._release(turn, name)

    async def _release(self, turn: Turn, name: str) -> None:
        async def still_right(session: AsyncSession) -> None:
            """In the transaction that activates it: what it was compared with serves, and it never proved bad."""
            adapter = await adapters.get(session, name)
            if adapter.manifest.get("parent") != (await adapters.active(session))[KIND]:
                raise _NotNowError("other_active")
            if await watches.proved_bad(session, name):
                raise _NotNowError("proved_bad")
            if not await schedule.end(session, turn.slot, "released", None, name):
                raise _NotNowError("taken")

        try:
            await releases.activate(self._database, self._settings, name, ACTOR, within=still_right)
            log.info("schedule %s: %s is better and is released", turn.slot, name)
        except _NotNowError as objection:
            await self._end(turn, "kept", objection.reason, name)
        except Exception as problem:
            log.exception("schedule %s: %s cannot be released", turn.slot, name)
            await self._end(turn, "failed", getattr(problem, "code", "internal"), name)

    async def _end(self, turn: Turn, state: str, reason: str | None, adapter: str | None = None) -> None:
        async with self._database.session() as session:
            await schedule.end(session, turn.slot, state, reason, adapter)

    async def report(self) -> dict[str, Any]:
        """What is planned, when, and what came of the last turn, as the API shows it."""
        plan = await self._plan()
        async with self._database.reading() as session:
            last = await schedule.newest(session, self.coming(plan).slot(plan.interval))
            examples = await schedule.new_examples(session, KIND)
        night = self.next_night(plan, last.slot if last else None)
        return {
            **plan.model_dump(mode="json"),
            "fixed": plans.fixed(self._settings),
            "new_examples": examples,
            "next_at": _utc(night.start) if plan.mode != "off" else None,
            "waits_for": self.waits_for,
            "last": last.to_json() if last else None,
        }


def _no_release(plan: Plan, job: Job) -> str | None:
    outcome = (job.result or {}).get("verdict", {}).get("outcome")
    if outcome != "better":
        return str(outcome or "unknown")
    return None if plan.mode == "release" else "train_only"


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
