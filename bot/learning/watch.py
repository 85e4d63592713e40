"""After a switch the new model is watched; where it errs or is slow, the one before serves again, by itself.

Slow is what is slower than the model before at the same moment (`SideBySide`): a busy machine is nobody's fault.

It is on record who was rolled back, why and on which figures, and no schedule takes such an adapter again: it never
flaps. What is watched stands in the database and goes on after a restart, with the figures from before the switch.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from bot.learning import health
from bot.learning.health import Cause, Figures, Series
from bot.storage import adapters, audit, watches
from bot.storage.adapters import KINDS, Kind
from bot.storage.values import now

if TYPE_CHECKING:
    from bot.knowledge_base import KnowledgeBase
    from bot.learning.side_by_side import Paces
    from bot.storage.database import Database

LOOK_SECONDS = 30.0
WATCHED_HOURS = 24.0
# The pair before stays in memory so long: the way back is a matter of milliseconds while it is most likely wanted.
KEPT_MINUTES = 30.0
# A warning, and no reason to roll back: people are called more often than before, by so many of a hundred replies.
REPLIES_MIN, HANDOFFS_MORE, DAYS_BEFORE = 50, 0.10, 7.0

# Told the kind, the adapter in use and the one before (None: the base model): how fast both are now.
Compare = Callable[[Kind, str | None, str | None], Awaitable["Paces"]]

log = logging.getLogger("kefu.watch")


class Watch:
    """One per service. `searched` and `written` take the observations, `switched` is told of every switch."""

    def __init__(self, database: "Database", knowledge_base: "KnowledgeBase", side_by_side: Compare) -> None:
        self._database = database
        self._knowledge_base = knowledge_base
        self._side_by_side = side_by_side
        self._series: dict[Kind, Series] = {kind: Series() for kind in KINDS}
        self._serving: dict[Kind, str | None] = dict.fromkeys(KINDS)
        self._at_start: dict[Kind, str | None] = {}
        self._watched: dict[Kind, watches.Watch] = {}
        self._kept_until: datetime | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def searched(self, adapter: str | None, seconds: float | None) -> None:
        """A search by this encoder adapter took so long; None: it failed."""
        self._observe("encoder", adapter, seconds)

    def written(self, adapter: str | None, seconds: float | None) -> None:
        """A reply by this generator adapter took so long a token; None: it failed."""
        self._observe("generator", adapter, seconds)

    def _observe(self, kind: Kind, adapter: str | None, seconds: float | None) -> None:
        if adapter != self._serving[kind]:
            return  # asked of the model before, or of another by its name
        series = self._series[kind]
        series.add(seconds)
        watched = self._watched.get(kind)
        if watched is None:
            return
        cause = health.fault(kind, Figures(**watched.before), series)
        if cause or series.total >= health.REMEMBERED:
            del self._watched[kind]
            work = self._suspect(kind, watched) if cause == "latency" else self._conclude(kind, watched, cause)
            task = asyncio.create_task(work, name=f"watching {kind}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def resume(self) -> None:
        """At the start: go on watching what is active, also where the service died between activation and switch."""
        async with self._database.session() as session:
            active = await adapters.active(session)
            for kind in KINDS:
                name, last = active[kind], await watches.newest(session, kind)
                self._serving[kind] = self._at_start[kind] = name
                if last and last.outcome is None and last.adapter != name:
                    await watches.end(session, last.id, "replaced", {})
                if name is None:
                    continue
                activation = (await adapters.history(session, kind))[-1]
                if last and last.adapter == name and last.started_at >= activation.created_at:
                    self._watched |= {} if last.outcome else {kind: last}
                elif activation.reason == "activate":
                    self._watched[kind] = await watches.begin(session, kind, name, Figures().to_json())

    async def switched(self, kind: Kind, name: str | None) -> None:
        """This service answers with another model from now on. One that somebody released is watched; one that was
        gone back to has shown what it is worth. Raises nothing: the switch is made.
        """
        try:
            await self._begin(kind, name)
        except Exception:
            log.exception("%s cannot be watched", name)

    async def _begin(self, kind: Kind, name: str | None) -> None:
        if self._at_start.pop(kind, "") == name:
            return  # loaded only now, and active before the start
        before, self._series[kind] = self._series[kind].figures(), Series()
        self._serving[kind] = name
        earlier = self._watched.pop(kind, None)
        async with self._database.session() as session:
            if earlier:
                await watches.end(session, earlier.id, "replaced", {})
            released = name is not None and (await adapters.history(session, kind))[-1].reason == "activate"
            if released and name is not None:
                self._watched[kind] = await watches.begin(session, kind, name, before.to_json())
        if kind == "encoder":
            self._kept_until = now() + timedelta(minutes=KEPT_MINUTES) if released else now()
            await self.look()

    async def _suspect(self, kind: Kind, watched: watches.Watch) -> None:
        """Customers wait too long: rolled back only where the model before is faster at this very moment."""
        series = self._series[kind]
        try:
            async with self._database.reading() as session:
                before = await adapters.before(session, kind)
            paces = await self._side_by_side(kind, watched.adapter, before)
        except Exception:  # what cannot be asked now could not serve either
            log.exception("%s is slow, and cannot be compared with the model before", watched.adapter)
            paces = None
        if paces and health.slower(paces.now, paces.before):
            await self._conclude(kind, watched, "latency", paces)
            return
        if paces:
            log.warning(
                "%s is slow, and so is the model before (%.1f times): the machine is", watched.adapter, paces.ratio
            )
        series.slow_windows = 0
        if self._series[kind] is series:  # nothing was switched meanwhile
            self._watched.setdefault(kind, watched)

    async def _conclude(
        self, kind: Kind, watched: watches.Watch, cause: Cause | None, paces: "Paces | None" = None
    ) -> None:
        figures = self._series[kind].figures().to_json()
        try:
            async with self._database.session() as session:
                if (await adapters.active(session))[kind] != watched.adapter:
                    await watches.end(session, watched.id, "replaced", figures)
                elif cause is None:
                    await watches.end(session, watched.id, "passed", figures)
                else:
                    back = await adapters.rollback(session, kind, None, reason="broken")
                    await watches.end(session, watched.id, "rolled_back", figures, cause, back)
                    detail = {"kind": kind, "from": watched.adapter, "cause": cause, "before": watched.before}
                    detail |= {"side_by_side": asdict(paces)} if paces else {}
                    await audit.record(
                        session, "system", "adapters.rollback", back or "base", detail | {"after": figures}
                    )
        except Exception:  # the database may be busy; the next observation asks again
            log.exception("what was found of %s could not be written", watched.adapter)
            self._watched.setdefault(kind, watched)
            return
        if cause:
            log.error("%s is rolled back by itself (%s): %s after %s", watched.adapter, cause, figures, watched.before)

    async def look(self) -> None:
        """End what was watched long enough, and give back the memory of the pair before."""
        for kind, watched in list(self._watched.items()):
            over = now() - watched.started_at > timedelta(hours=WATCHED_HOURS)
            if over and self._watched.get(kind) is watched:
                del self._watched[kind]
                await self._conclude(kind, watched, None)
        if self._kept_until and now() >= self._kept_until:
            self._kept_until = None
            await self._knowledge_base.let_go()

    async def keep_looking(self) -> None:
        """`look` for as long as the service runs."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except Exception:
                log.exception("looking after the last switch failed")

    async def report(self) -> dict[str, Any]:
        """What is watched now, with its figures so far, and what was rolled back in the last two weeks."""
        watching = []
        async with self._database.reading() as session:
            for kind, one in self._watched.items():
                after = self._series[kind].figures().to_json()
                more = await self._more_handoffs(session, one.started_at)
                limit = health.limit_seconds(kind, Figures(**one.before))
                watching.append(one.to_json() | {"after": after, "limit_seconds": limit, "more_handoffs": more})
            back = await watches.rolled_back(session, now() - timedelta(days=14))
        return {"watching": watching, "rolled_back": [one.to_json() for one in back]}

    async def _more_handoffs(self, session: Any, since: datetime) -> dict[str, float] | None:
        """The share of replies that call a person, where it rose; a warning that a person weighs."""
        replies, calls = await watches.handed_over(session, since, now())
        earlier, called = await watches.handed_over(session, since - timedelta(days=DAYS_BEFORE), since)
        if min(replies, earlier) < REPLIES_MIN:
            return None
        before, after = called / earlier, calls / replies
        return {"before": round(before, 4), "after": round(after, 4)} if after - before > HANDOFFS_MORE else None
