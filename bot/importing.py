"""From a file to rows: everything of one file in one transaction, so that a crash leaves all of it or nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot import uploads
from bot.import_plan import Item, Known, Plan, Row, decide
from bot.passage_plan import Gone, PassagePlan, Repeated, plan_passages, write_passages
from bot.storage import audit, documents, knowledge, revisions
from bot.storage.database import Database
from bot.storage.knowledge import chunks, content_hash, to_columns, to_entry
from bot.storage.tables import Document, FaqEntry
from bot.storage.values import new_id, now
from knowledge.types import Entry, Passage, ProgressCallback, ReadResult

ITEMS_MAX = 2000
PROGRESS_ROWS = 200


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did, or would do. `items` are question-answer rows; passages are counted, without those that
    another document has. `gone` is what the document's new version lacks; with `nothing_kept` that is all there was, as
    where somebody gave the wrong file. `passages_brought` are, in a dry run, those
    that would be new. `revision` is what it wrote, or 0; `changes` says whether it wrote, or would write, anything.
    `conflicts` and `near_duplicates` count items with that warning, None where nobody looked.
    """

    items: tuple[Item, ...] = ()
    file: str = ""
    passages: int = 0
    passages_repeated: tuple[Repeated, ...] = ()
    passages_brought: tuple[Passage, ...] = ()
    gone: tuple[Gone, ...] = ()
    nothing_kept: bool = False
    document_id: str | None = None
    revision: int = 0
    changes: bool = False
    dry_run: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    conflicts: int | None = None
    near_duplicates: int | None = None

    @property
    def removed(self) -> tuple[str, ...]:
        """Ids of the entries that are gone."""
        return tuple(one.id for one in self.gone if one.kind == "faq")

    @property
    def nothing_usable(self) -> bool:
        """Whether there were rows and every one of them failed."""
        used = sum(self.counts.values()) - self.counts["failed"] + self.passages + len(self.passages_repeated)
        return self.counts["failed"] > 0 and not used

    def to_json(self, items_max: int | None = None) -> dict[str, Any]:
        """The contract's document. With `items_max`, failures and warnings come first; the rest is cut and counted."""
        items = list(self.items)
        if items_max is not None and len(items) > items_max:
            order = {"failed": 0, "updated": 1, "skipped": 2, "added": 3}
            items = sorted(items, key=lambda item: 0.5 if item.warning else order[item.status])[:items_max]
        result: dict[str, Any] = dict(self.counts)
        result |= {"passages": self.passages, "removed": len(self.removed), "document_id": self.document_id}
        result |= {
            "passages_removed": len(self.gone) - len(self.removed),
            "passages_skipped": len(self.passages_repeated),
        }
        result["changes"] = self.changes
        for name in ("conflicts", "near_duplicates"):
            if (number := getattr(self, name)) is not None:
                result[name] = number
        for name in ("dry_run", "nothing_kept"):
            if getattr(self, name):
                result[name] = True
        result["items"] = [item.to_json() for item in items]
        if len(items) < len(self.items):
            result["items_omitted"] = len(self.items) - len(items)
        # The first ones, as many as items at most; what is beyond is counted above.
        result["removals"] = [one.to_json() for one in self.gone[:items_max]]
        result["passage_duplicates"] = [one.to_json() for one in self.passages_repeated[:items_max]]
        return result


def count(items: Sequence[Item]) -> dict[str, int]:
    """Rows by status."""
    return {
        status: sum(item.status == status for item in items) for status in ("added", "updated", "skipped", "failed")
    }


@dataclass(frozen=True, slots=True)
class _Source:
    """A file that was read: nothing of the database yet."""

    name: str
    sha256: str
    size_bytes: int
    content: ReadResult
    rows: tuple[Row, ...]


async def _read(path: Path, name: str, on_progress: ProgressCallback, *, isolated: bool) -> _Source:
    from knowledge.readers import read, read_isolated

    content = await (read_isolated(path, name) if isolated else asyncio.to_thread(read, path, name))
    return await asyncio.to_thread(_source, path, name, content, on_progress)


def _source(path: Path, name: str, content: ReadResult, on_progress: ProgressCallback) -> _Source:
    rows = []
    for entry, place in zip(content.entries, content.places, strict=True):
        rows.append(Row(entry, place, content_hash(entry.question, entry.answer)))
        if len(rows) % PROGRESS_ROWS == 0:
            on_progress(len(rows), len(content.entries))
    return _Source(name, uploads.sha256_of(path), path.stat().st_size, content, tuple(rows))


def _quiet(done: int, total: int, note: str = "") -> None:
    """For callers that show no progress."""


async def import_file(
    database: Database,
    path: Path,
    name: str,
    uploads_folder: Path,
    *,
    replaces: str | None = None,
    dry_run: bool = False,
    isolated: bool = False,
    actor: str = "system",
    created_by: str | None = None,
    on_progress: ProgressCallback = _quiet,
    earlier: Sequence[ImportReport] = (),
    on_stored: Callable[[AsyncSession, ImportReport], Awaitable[None]] | None = None,
) -> ImportReport:
    """Bring a file's entries and passages into the database.

    Args:
        name: what the file is called by its owner.
        replaces: id of the document this is the new version of; what the file no longer has is removed.
        dry_run: say what would happen, and change nothing.
        earlier: in a dry run, what the files before this one in the same call would have brought.
        isolated: read in a process of its own, so that a hostile file takes nothing with it, and cancelling ends it.
        on_stored: hears, within the transaction that writes, what it has written.

    Raises the errors of `knowledge.readers` where the file cannot be read at all, NotFoundError for an unknown
    document, StorageError where the original cannot be kept.
    """
    source = await _read(path, name, on_progress, isolated=isolated)
    if dry_run:
        async with database.reading() as session:
            plan, document_id = await _plan(session, source, replaces, earlier)
            brought = [(report.file, report.passages_brought) for report in earlier]
            passages = await plan_passages(session, source.content.passages, document_id or "", brought)
        return _report(source, plan, passages, replaces, dry_run=True)
    await asyncio.to_thread(uploads.keep, uploads_folder, path, source.sha256)
    try:
        return await _store(database, source, replaces, actor, created_by, on_stored)
    finally:
        await uploads.release(database, uploads_folder, source.sha256)  # nothing came of it


async def _store(
    database: Database,
    source: _Source,
    replaces: str | None,
    actor: str,
    created_by: str | None,
    on_stored: Callable[[AsyncSession, ImportReport], Awaitable[None]] | None,
) -> ImportReport:
    async with database.session() as session:
        plan, known = await _plan(session, source, replaces)
        document_id = known or new_id()
        passages = await plan_passages(session, source.content.passages, document_id)
        if not (plan.changes or passages.changes):
            return _report(source, plan, passages, known)
        revision = await _write(session, source, plan, passages, document_id, created_by)
        detail: dict[str, Any] = {**count(plan.items), "removed": len(plan.removed)}
        await audit.record(session, actor, "documents.import", document_id, detail)
        report = _report(source, plan, passages, document_id, revision)
        if on_stored is not None:
            await on_stored(session, report)
    return report


def _report(
    source: _Source,
    plan: Plan,
    passages: PassagePlan,
    document_id: str | None,
    revision: int = 0,
    *,
    dry_run: bool = False,
) -> ImportReport:
    brought = tuple(passages.fresh) if dry_run else ()
    gone = [Gone(id_, "faq", entry.question, entry.answer) for id_, entry in plan.removed.items()]
    return ImportReport(
        items=tuple(plan.items),
        file=source.name,
        passages=len(source.content.passages) - len(passages.repeated),
        passages_repeated=tuple(passages.repeated),
        passages_brought=brought,
        gone=(*gone, *passages.gone),
        nothing_kept=0 < plan.had + passages.had == len(gone) + len(passages.gone),
        document_id=document_id,
        revision=revision,
        changes=plan.changes or passages.changes,
        dry_run=dry_run,
        counts=count(plan.items),
    )


async def _plan(
    session: AsyncSession, source: _Source, replaces: str | None, earlier: Sequence[ImportReport] = ()
) -> tuple[Plan, str | None]:
    """The plan, and the document the file belongs to: the one it replaces, or one with exactly these bytes."""
    replaced: dict[str, Known] | None = None
    document_id = replaces
    if replaces:
        await documents.get_document(session, replaces)
        rows = await knowledge.entries_where(session, FaqEntry.document_id, [replaces])
        replaced = {row.id: Known(to_entry(row), row.content_hash) for row in rows if row.deleted_at is None}
    else:
        document_id = await documents.by_sha256(session, source.sha256)
    ids = {row.entry.id for row in source.rows if row.entry.id}
    hashes = {row.content_hash for row in source.rows if not row.entry.id}
    named = await knowledge.entries_where(session, FaqEntry.id, ids)
    twins = await knowledge.entries_where(session, FaqEntry.content_hash, hashes)
    by_id = {row.id: Known(to_entry(row), row.content_hash) for row in named if row.deleted_at is None}
    by_hash = {row.content_hash: row.id for row in reversed(twins) if row.deleted_at is None}
    written = {item.id: item.entry for report in earlier for item in report.items if item.entry}
    by_hash = {digest: id_ for digest, id_ in by_hash.items() if id_ not in written}
    for id_, entry in written.items():
        by_id[id_] = Known(entry, content_hash(entry.question, entry.answer))
        by_hash.setdefault(by_id[id_].content_hash, id_)
    plan = decide(source.name, source.rows, source.content.problems, by_id, by_hash, replaced)
    return plan, document_id


async def _write(
    session: AsyncSession, source: _Source, plan: Plan, passages: PassagePlan, document_id: str, created_by: str | None
) -> int:
    """Carry the plans out; returns the revision."""
    revision, moment = await revisions.bump(session, knowledge.REVISION), now()
    await _write_document(session, source, document_id, revision, moment, created_by)
    await _write_entries(session, plan, document_id, revision, moment)
    await write_passages(session, passages, revision, moment)
    return revision


async def _write_document(
    session: AsyncSession, source: _Source, document_id: str, revision: int, moment: datetime, created_by: str | None
) -> None:
    row = await session.get(Document, document_id)
    if row is None:
        row = Document(id=document_id, created_at=moment, created_by=created_by)
        session.add(row)
    row.name, row.sha256, row.size_bytes = source.name, source.sha256, source.size_bytes
    row.kind = "faq" if source.rows else "passages"
    row.revision, row.updated_at, row.deleted_at = revision, moment, None
    await session.flush()


async def _write_entries(session: AsyncSession, plan: Plan, document_id: str, revision: int, moment: datetime) -> None:
    added = [entry.id for entry, _ in plan.added]
    position = {item.id: number for number, item in enumerate(plan.items) if item.id}
    tombs = {row.id for row in await knowledge.entries_where(session, FaqEntry.id, added)}
    stamp = {"document_id": document_id, "revision": revision, "updated_at": moment, "deleted_at": None}

    def columns(entry: Entry, digest: str) -> dict[str, Any]:
        return to_columns(entry, digest) | stamp | {"id": entry.id, "position": position[entry.id]}

    new = [columns(entry, digest) | {"created_at": moment} for entry, digest in plan.added]
    for part in chunks([values for values in new if values["id"] not in tombs]):
        await session.execute(insert(FaqEntry), part)
    for part in chunks([values for values in new if values["id"] in tombs]):
        await session.execute(update(FaqEntry), part)  # by primary key, many at once
    for part in chunks([columns(entry, digest) for entry, digest in plan.updated]):
        await session.execute(update(FaqEntry), part)
    for ids in chunks(list(plan.removed)):
        await session.execute(update(FaqEntry).where(FaqEntry.id.in_(ids)).values(deleted_at=moment, revision=revision))
