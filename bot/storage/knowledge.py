"""Entries and passages: what the company knows. Each change carries the revision it was made in."""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Row, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.errors import ConflictError, NotFoundError
from bot.storage import revisions
from bot.storage.tables import FaqEntry, PassageRow
from bot.storage.values import now
from knowledge.text import fingerprint
from knowledge.types import Entry, Passage

REVISION = "knowledge"
CHUNK = 500
FIELDS = (
    "question", "answer", "similar_questions", "negative_questions", "category", "tags", "enabled", "action",
    "valid_from", "valid_until", "channels",
)  # fmt: skip
LISTS = ("similar_questions", "negative_questions", "tags", "channels")
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry as the database has it."""

    entry: Entry
    revision: int
    updated_at: datetime
    content_hash: str


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, with the length of the whole and the categories to choose from."""

    items: tuple[StoredEntry, ...]
    total: int
    categories: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Changes:
    """What an index must do to follow: `upserts` are live and enabled, `removals` ids of what is not (any more).

    `ages` orders the entries among them by when they changed, within one import by their place in the file.
    """

    revision: int
    upserts: tuple[Entry | Passage, ...]
    removals: tuple[str, ...]
    ages: Mapping[str, tuple[int, int]]


def content_hash(question: str, answer: str) -> str:
    """The same for what counts as a duplicate: the same normalised question and answer."""
    return hashlib.sha256(fingerprint(question, answer).encode()).hexdigest()


def chunks(items: Sequence[Item], size: int = CHUNK) -> Iterable[Sequence[Item]]:
    """Parts small enough for one statement."""
    return (items[start : start + size] for start in range(0, len(items), size))


def to_entry(row: FaqEntry | Row[Any]) -> Entry:
    values: dict[str, Any] = {name: getattr(row, name) for name in FIELDS}
    values |= {name: tuple(values[name]) for name in LISTS}
    return Entry(id=row.id, document_id=row.document_id, **values)


def to_columns(entry: Entry, digest: str | None = None) -> dict[str, Any]:
    """The table's values of an entry's content, without id, document and times. `digest` is its content hash."""
    values: dict[str, Any] = {name: getattr(entry, name) for name in FIELDS}
    values |= {name: list(values[name]) for name in LISTS}
    return values | {"content_hash": digest or content_hash(entry.question, entry.answer)}


def _stored(row: FaqEntry) -> StoredEntry:
    return StoredEntry(to_entry(row), row.revision, row.updated_at, row.content_hash)


def _passage(row: PassageRow) -> Passage:
    return Passage(row.id, row.document_id, row.title, row.text, row.position)


async def list_entries(
    session: AsyncSession, text: str = "", category: str | None = None, offset: int = 0, limit: int = 50
) -> Page:
    """Live entries whose question, similar questions or answer contain `text`; the newest first."""
    conditions: list[ColumnElement[bool]] = [FaqEntry.deleted_at.is_(None)]
    if text:
        pattern = "%" + re.sub(r"([\\%_])", r"\\\1", text) + "%"
        # JSON lists are stored as text with non-ASCII characters escaped, so their items are taken out to be compared.
        similar = func.json_each(FaqEntry.similar_questions).table_valued("value")
        conditions.append(
            or_(
                FaqEntry.id == text,
                FaqEntry.question.ilike(pattern, escape="\\"),
                FaqEntry.answer.ilike(pattern, escape="\\"),
                select(similar.c.value).where(similar.c.value.ilike(pattern, escape="\\")).exists(),
            )
        )
    where = [*conditions, FaqEntry.category == category] if category else conditions
    order = (FaqEntry.revision.desc(), FaqEntry.position, FaqEntry.id)
    rows = await session.scalars(select(FaqEntry).where(*where).order_by(*order).offset(offset).limit(limit))
    total = await session.scalar(select(func.count()).select_from(FaqEntry).where(*where))
    counted = await session.execute(
        select(FaqEntry.category, func.count())
        .where(*conditions)
        .group_by(FaqEntry.category)
        .order_by(FaqEntry.category)
    )
    categories = tuple((name, count) for name, count in counted if name)
    return Page(tuple(_stored(row) for row in rows), total or 0, categories)


async def _live(session: AsyncSession, entry_id: str) -> FaqEntry:
    row = await session.get(FaqEntry, entry_id)
    if row is None or row.deleted_at is not None:
        raise NotFoundError("faq_not_found", f"没有条目 {entry_id}", f"There is no entry {entry_id}")
    return row


async def get_entry(session: AsyncSession, entry_id: str) -> StoredEntry:
    """Raises NotFoundError."""
    return _stored(await _live(session, entry_id))


async def add_entry(session: AsyncSession, entry: Entry) -> StoredEntry:
    """A new entry. Raises ConflictError where the id is in use."""
    row = await session.get(FaqEntry, entry.id)
    if row is not None and row.deleted_at is None:
        raise ConflictError("faq_exists", f"条目 {entry.id} 已存在", f"The entry {entry.id} exists already")
    revision, moment = await revisions.bump(session, REVISION), now()
    if row is None:
        row = FaqEntry(id=entry.id)
        session.add(row)
    _fill(row, entry, revision, moment)
    row.created_at, row.deleted_at, row.document_id = moment, None, entry.document_id
    await session.flush()
    return _stored(row)


def _fill(row: FaqEntry, entry: Entry, revision: int, moment: datetime) -> None:
    for name, value in to_columns(entry).items():
        setattr(row, name, value)
    row.revision, row.updated_at = revision, moment


async def update_entry(
    session: AsyncSession, entry_id: str, changes: dict[str, Any], expected_revision: int | None = None
) -> StoredEntry:
    """Change some fields. Nothing moves where nothing differs.

    Raises:
        NotFoundError: no such entry.
        ConflictError: `expected_revision` is given and somebody changed the entry since; `details` has the entry now.
    """
    row = await _live(session, entry_id)
    if expected_revision is not None and expected_revision != row.revision:
        raise ConflictError(
            "conflict",
            "这个条目已被别人修改，请刷新后再改",
            "Somebody else changed this entry; look at it again first",
            {"revision": row.revision},
        )
    current = to_entry(row)
    wanted = Entry(**{**{name: getattr(current, name) for name in Entry.__slots__}, **changes})
    if wanted != current:
        _fill(row, wanted, await revisions.bump(session, REVISION), now())
        await session.flush()
    return _stored(row)


async def remove_entry(session: AsyncSession, entry_id: str) -> int:
    """Leave a tombstone; returns the revision. Raises NotFoundError."""
    row = await _live(session, entry_id)
    row.revision, row.deleted_at = await revisions.bump(session, REVISION), now()
    return row.revision


async def all_entries(session: AsyncSession) -> list[Entry]:
    """Every live entry, enabled or not, in the order they came."""
    order = (FaqEntry.created_at, FaqEntry.position, FaqEntry.id)
    rows = await session.scalars(select(FaqEntry).where(FaqEntry.deleted_at.is_(None)).order_by(*order))
    return [to_entry(row) for row in rows]


async def entries_where(session: AsyncSession, column: Any, values: Collection[str]) -> list[FaqEntry]:
    """Rows, live and dead, by a column's values: many at once, for imports."""
    found: list[FaqEntry] = []
    for part in chunks(sorted(values)):
        found.extend(await session.scalars(select(FaqEntry).where(column.in_(part))))
    return found


async def changes_since(session: AsyncSession, revision: int) -> Changes:
    """All that moved after a revision; from 0 it is all there is. Call it in one `reading()` view."""
    counters = await revisions.read(session)
    upserts: list[Entry | Passage] = []
    removals: list[str] = []
    ages: dict[str, tuple[int, int]] = {}
    # Plain rows: ten thousand of them as objects that a session follows take half as long again.
    for row in await session.execute(
        select(*FaqEntry.__table__.c).where(FaqEntry.revision > revision).order_by(FaqEntry.id)
    ):
        if row.deleted_at is None and row.enabled:
            upserts.append(to_entry(row))
            ages[row.id] = row.revision, row.position
        else:
            removals.append(row.id)
    for passage in await session.scalars(
        select(PassageRow).where(PassageRow.revision > revision).order_by(PassageRow.document_id, PassageRow.position)
    ):
        if passage.deleted_at is None:
            upserts.append(_passage(passage))
        else:
            removals.append(passage.id)
    return Changes(counters.get(REVISION, 0), tuple(upserts), tuple(removals), ages)
