"""The warnings of an import: rows that ask what an entry asks already, in other words."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bot.import_plan import NEAR_DUPLICATE, Item
from bot.importing import ImportReport
from bot.knowledge_base import KnowledgeBase
from knowledge.types import ProgressCallback


async def warned(
    reports: Sequence[ImportReport], knowledge_base: KnowledgeBase, on_progress: ProgressCallback | None = None
) -> list[ImportReport]:
    """The reports of one call, in its order, with a twin at every row that was, or would be, written and nearly repeats
    an entry by meaning; what has another warning keeps it.

    A twin that is itself a row of the call bears its place, and its file where that is another; in a dry run its id is
    null where the file gives none, as it has none yet. Raises UnavailableError before the knowledge base is open.
    """
    last = {item.id: item for report in reports for item in report.items if item.id}
    rows = [item for report in reports for item in report.items if last.get(item.id) is item]
    removed = {id_ for report in reports for id_ in report.removed}
    asked = [item.entry for item in rows if item.entry]
    twins = await asyncio.to_thread(knowledge_base.twins, asked, removed, on_progress)
    dry_run = any(report.dry_run for report in reports)
    found: dict[str, dict[str, Any]] = {}
    for item, twin in zip(rows, twins, strict=True):
        if twin is None or item.warning:
            continue
        other = last.get(twin.id)
        unborn = dry_run and other is not None and other.status == "added" and not other.named
        shown: dict[str, Any] = {
            "id": None if unborn else twin.id,
            "question": twin.question,
            "similarity": twin.similarity,
        }
        if other:
            shown |= {"place": other.place} | ({"file": other.file} if other.file != item.file else {})
        found[item.id] = shown
    return [_with(report, last, found) for report in reports]


def _with(report: ImportReport, last: dict[str, Item], found: dict[str, dict[str, Any]]) -> ImportReport:
    items = [
        replace(item, warning=NEAR_DUPLICATE, twin=found[item.id])
        if item.id in found and last[item.id] is item
        else item
        for item in report.items
    ]
    return replace(report, items=tuple(items), near_duplicates=sum(item.warning == NEAR_DUPLICATE for item in items))
