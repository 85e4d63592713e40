"""The warnings of an import: rows that answer a question otherwise than an entry that stays beside them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select

from bot.import_plan import CONFLICT, Item
from bot.importing import ImportReport
from bot.storage import knowledge
from bot.storage.database import Database
from bot.storage.tables import Document, FaqEntry
from knowledge.scope import meet
from knowledge.text import normalise
from knowledge.types import Entry


@dataclass(frozen=True, slots=True)
class _Standing:
    """An entry that is there, with what its document is called, or the row of this import that it comes from."""

    entry: Entry
    document: str | None = None
    item: Item | None = None


async def conflicting(database: Database, reports: Sequence[ImportReport]) -> list[ImportReport]:
    """The reports of one call, in its order, with a warning at every row that was, or would be, written although an
    entry answers the same question differently. Both stay; customers get the row's answer, being the newer.

    The warning names the entry, its answer and its document; in a dry run its id is null where it has none yet.
    """
    rows = [item for report in reports for item in report.items if item.entry]
    if not rows:
        return [replace(report, conflicts=0) for report in reports]
    ignored = {item.id for item in rows}.union(*(report.removed for report in reports))
    standing = await _standing(database, {normalise(item.question) for item in rows}, ignored)
    found = []
    for report in reports:
        items = [_checked(item, standing, report) if item.entry else item for item in report.items]
        warned = sum(item.warning == CONFLICT for item in items)
        found.append(replace(report, items=tuple(items), conflicts=warned))
    return found


async def _standing(database: Database, wanted: set[str], ignored: set[str]) -> dict[str, list[_Standing]]:
    """Live entries by their normalised question, of those questions; not the ignored ids."""
    async with database.reading() as session:
        live = FaqEntry.deleted_at.is_(None)
        asked = (await session.execute(select(FaqEntry.id, FaqEntry.question).where(live))).all()
        ids = await asyncio.to_thread(
            lambda: [id_ for id_, question in asked if id_ not in ignored and normalise(question) in wanted]
        )
        rows = await knowledge.entries_where(session, FaqEntry.id, ids)
        documents = await session.execute(select(Document.id, Document.name))
        names = {id_: name for id_, name in documents}  # noqa: C416 - rows are no pairs to mypy
    found: dict[str, list[_Standing]] = {}
    for row in sorted(rows, key=lambda row: (row.revision, row.position, row.id)):
        entry = knowledge.to_entry(row)
        found.setdefault(normalise(entry.question), []).append(_Standing(entry, names.get(entry.document_id or "")))
    return found


def _checked(item: Item, standing: dict[str, list[_Standing]], report: ImportReport) -> Item:
    """The row with its warning; from here on it stands, too."""
    entry = item.entry
    assert entry is not None  # noqa: S101 - rows that are written have one
    others = standing.setdefault(normalise(entry.question), [])
    others[:] = [one for one in others if one.entry.id != entry.id]
    against = [one for one in others if _differ(one.entry, entry)]
    others.append(_Standing(entry, None, item))
    return replace(item, warning=CONFLICT, twin=_shown(against, report)) if against else item


def _differ(one: Entry, other: Entry) -> bool:
    """Whether a customer could get either answer."""
    same = one.answer == other.answer or normalise(one.answer) == normalise(other.answer)
    return not (same and one.action == other.action) and meet(one, other)


def _shown(against: Sequence[_Standing], report: ImportReport) -> dict[str, Any]:
    """The newest of the entries against a row, and how many more there are."""
    newest = against[-1]
    row = newest.item
    unborn = report.dry_run and row is not None and row.status == "added" and not row.named
    shown: dict[str, Any] = {
        "id": None if unborn else newest.entry.id,
        "question": newest.entry.question,
        "answer": newest.entry.answer,
        "document_id": newest.entry.document_id,
        "document": newest.document or (row.file if row else None),
    }
    if row:
        shown["place"] = row.place
    return shown | ({"more": len(against) - 1} if len(against) > 1 else {})
