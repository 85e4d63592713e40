"""Loads the demo company into an empty installation, once."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from bot import demo, uploads
from bot.importing import import_file
from bot.storage.database import Database
from bot.storage.tables import Blob, FaqEntry
from bot.storage.values import iso, now

if TYPE_CHECKING:
    from bot.config import Settings

MARKER = "demo"


async def load_demo(database: Database, settings: "Settings") -> bool:
    """Bring in the demo's entries, documents, profile, actions and order database.

    Returns whether anything was loaded: not where it was once before (deleting an entry must last), nor where the
    company already has entries of its own. Killed in the middle, it goes on at the next start.
    """
    async with database.reading() as session:
        marked = await session.get(Blob, MARKER)
        entries = await session.scalar(select(func.count()).select_from(FaqEntry))
    if marked and marked.value != b"begun":
        return False
    if not marked and entries:
        await _mark(database, b"not wanted")
        return False
    await _mark(database, b"begun")
    await asyncio.to_thread(_copy_files, settings)
    for path in (demo.faq_path(), *demo.documents()):
        await import_file(database, path, path.name, settings.data / "uploads", actor="demo")
    await _mark(database, str(iso(now())).encode())
    return True


async def _mark(database: Database, value: bytes) -> None:
    async with database.session() as session:
        await session.merge(Blob(name=MARKER, value=value))


def _copy_files(settings: "Settings") -> None:
    _copy(demo.profile_path(), settings.data / "profile.json")
    _copy(demo.golden_path(), settings.data / "golden.jsonl")
    for action in sorted(demo.actions_folder().iterdir()):
        if action.suffix in (".py", ".yml"):
            _copy(action, settings.actions / action.name)
    demo.create_shop_database(settings.data / "shop.db")


def _copy(source: Path, target: Path) -> None:
    """What is there already stays."""
    if not target.exists():
        uploads.write_whole(target, source.read_bytes())
