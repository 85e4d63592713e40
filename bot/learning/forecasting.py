"""What a training would take, before anybody presses the button: tried for a few seconds, on a copy of the data."""

import asyncio
import shutil
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from bot.learning import releases, runs
from bot.learning.process import Event, carry_out
from bot.storage.adapters import Kind

if TYPE_CHECKING:
    from bot.config import Settings
    from bot.storage.database import Database


PREFIX = ".forecast-"
# No trial takes so long: what is older was left by a process that was killed.
ABANDONED_SECONDS = 3600.0


async def forecast(
    database: "Database",
    settings: "Settings",
    kind: Kind,
    options: dict[str, Any] | None = None,
    dialogs: Path | None = None,
    cancelled: asyncio.Event | None = None,
) -> dict[str, Any]:
    """What `prepare` and `carry_out` would take now: {"kind", "examples", "steps", "seconds", "memory_bytes",
    "comparison_seconds", "memory_available_bytes"}; `seconds` is of the training alone. Nothing is learnt, and nothing
    is left behind.

    Raises what they raise.
    """
    from psutil import virtual_memory

    runs.check(settings, kind, options or {})
    home = runs.runs_dir(settings)
    home.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=PREFIX, dir=home) as temporary:
        fresh = Path(temporary)
        async with runs.data_held(settings):
            await asyncio.to_thread(_clear, home)
            material = await runs.gather(database, settings, dialogs)
            base = releases.base_folder(settings, kind)
            filled = await asyncio.to_thread(runs.fill, fresh, settings, kind, options or {}, base, None, material, {})
        trial = runs.Prepared("", fresh, resumed=False, summary=filled[1])
        available = virtual_memory().available
        found = await carry_out(trial, _ignore, cancelled, "--forecast")
    return {"kind": kind, "examples": trial.summary["train"], **found, "memory_available_bytes": available}


def _clear(home: Path) -> None:
    for folder in home.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another process is just done with it
            if time.time() - folder.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(folder)


def _ignore(_event: Event) -> None:
    """Its end alone tells anything."""
