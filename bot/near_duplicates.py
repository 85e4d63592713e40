"""The warnings of an import: rows that ask what an entry asks already, in other words."""

import asyncio
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from bot.import_plan import Item
from bot.importing import ImportReport
from bot.knowledge_base import KnowledgeBase
from knowledge.types import ProgressCallback


async def warned(
    report: ImportReport,
    knowledge_base: KnowledgeBase,
    on_progress: ProgressCallback | None = None,
    *,
    ignored: Collection[str] = (),
) -> ImportReport:
    """The report with a twin at every row that was, or would be, written and nearly repeats an entry by meaning.

    A twin that is itself a row of the file bears its place; in a dry run its id is null where the file gives none,
    as it has none yet. `ignored` are ids that are no twin: what a later file brought. Raises UnavailableError before
    the knowledge base is open.
    """
    rows = [item for item in report.items if item.id]
    asked = [(item.id, item.question) for item in rows]
    twins = await asyncio.to_thread(knowledge_base.twins, asked, {*report.removed, *ignored}, on_progress)
    places = {item.id: item for item in rows}
    found: dict[str, dict[str, Any]] = {}
    for item, twin in zip(rows, twins, strict=True):
        if twin is None:
            continue
        other = places.get(twin.id)
        unborn = report.dry_run and other is not None and other.status == "added" and not other.named
        shown: dict[str, Any] = {
            "id": None if unborn else twin.id,
            "question": twin.question,
            "similarity": twin.similarity,
        }
        found[item.id] = shown | ({"place": other.place} if other else {})
    items = tuple(_with(item, found.get(item.id)) for item in report.items)
    return replace(report, items=items, near_duplicates=len(found))


def _with(item: Item, twin: dict[str, Any] | None) -> Item:
    return replace(item, twin=twin) if twin else item
