"""Old adapters are removed: not what is served, nor what a rollback would bring back, nor what somebody pinned."""

import asyncio
import logging
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from bot.storage import adapters, audit
from bot.storage.adapters import KINDS, Activation, Adapter

if TYPE_CHECKING:
    from bot.config import Settings
    from bot.storage.database import Database

STEPS_BACK = 2
log = logging.getLogger("kefu.retention")


def spare(
    found: Sequence[Adapter], switches: Sequence[Activation], pinned: Collection[str], keep: int
) -> list[Adapter]:
    """Which of one kind's adapters (newest first) may go; `switches` are all of that kind, oldest first.

    Kept are the `keep` newest, the active one with its parent, what the next two rollbacks bring back, and the pinned.
    """
    there = {one.name: one for one in found}
    stack = adapters.steps(switches, set(there))[-1 - STEPS_BACK :]
    needed = {name for name in stack if name} | set(pinned) | {one.name for one in found[:keep]}
    if (active := stack[-1]) in there and active:
        needed.add(str(there[active].manifest.get("parent")))
    return [one for one in found if one.name not in needed]


async def tidy(database: "Database", settings: "Settings") -> list[str]:
    """Remove what the setting `adapters_kept` leaves no place for; returns the names.

    What is registered goes first: a process that dies in between leaves a folder that the next one takes away.
    """
    from finetune import registry
    from finetune.errors import FinetuneError

    gone: list[str] = []
    async with database.session() as session:
        found, pinned = await adapters.installed(session), await adapters.pinned(session)
        for kind in KINDS:
            mine = [one for one in found if one.kind == kind]
            for one in spare(mine, await adapters.history(session, kind), pinned, settings.adapters_kept):
                await adapters.remove(session, one.name)
                await audit.record(session, "system", "adapters.remove", one.name, {"kept": settings.adapters_kept})
                gone.append(one.name)
    home = settings.data / "adapters"
    for name in gone:
        try:
            await asyncio.to_thread(registry.remove, home, name)
        except (FinetuneError, OSError) as problem:
            log.warning("adapters/%s: %s", name, problem)
    return gone
