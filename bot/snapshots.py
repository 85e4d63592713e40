"""The index on disk: where each encoder's snapshot lies, and writing it."""

import logging
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from knowledge.index import Index

SNAPSHOTS_KEPT = 2
log = logging.getLogger("kefu.knowledge_base")


def snapshot_folder(data: Path, encoder_id: str, in_use: Collection[str] = ()) -> Path:
    """One snapshot an encoder, so that going back to the last one needs no encoding; the oldest are removed, but none
    of an encoder that is `in_use`.
    """
    home = data / "index"
    mine = home / encoder_id[:16]
    held = {mine.name, *(one[:16] for one in in_use)}
    others = [one for one in home.glob("*") if one.is_dir() and one.name not in held] if home.is_dir() else []
    for old in sorted(others, key=lambda one: one.stat().st_mtime, reverse=True)[SNAPSHOTS_KEPT - 1 :]:
        shutil.rmtree(old, ignore_errors=True)
    return mine


def save(index: "Index") -> None:
    """The snapshot only saves time at the next start, so a full disk must not stop the service."""
    try:
        index.save()
    except Exception:
        log.exception("the snapshot of the index could not be written; it will be rebuilt from the database")
