"""What an import will do with the passages of a document: which are new, which stand elsewhere already, which go."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.storage.knowledge import chunks
from bot.storage.tables import Document, PassageRow
from knowledge.text import normalise
from knowledge.types import Passage

# A shorter text may say something else under another heading.
SPEAKS_FOR_ITSELF_CHARACTERS = 30
SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Gone:
    """An entry or a passage that a new version of its document has no more. `title` is the entry's question."""

    id: str
    kind: str
    title: str
    text: str

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, "kind": self.kind, "title": self.title, "text": _short(self.text)}


@dataclass(frozen=True, slots=True)
class Repeated:
    """A passage of the file that another document (in a dry run: another file) holds already."""

    passage: Passage
    twin: Passage
    document: str

    def to_json(self) -> dict[str, Any]:
        twin = {"id": self.twin.id, "title": self.twin.title, "document_id": self.twin.document_id}
        twin["document"] = self.document
        return {"title": self.passage.title, "text": _short(self.passage.text), "twin": twin}


@dataclass(frozen=True, slots=True)
class PassagePlan:
    """A document's rows by id, the passages of its file that it lacks or has otherwise, those that another has, the
    rows without a passage of the file, of these what the file says nowhere, and how many passages there were."""

    stored: dict[str, PassageRow]
    fresh: list[Passage]
    repeated: list[Repeated]
    rows_gone: list[PassageRow]
    gone: list[Gone]
    had: int

    @property
    def changes(self) -> bool:
        return bool(self.fresh or self.rows_gone)


async def plan_passages(
    session: AsyncSession,
    found: Sequence[Passage],
    document_id: str,
    earlier: Sequence[tuple[str, Sequence[Passage]]] = (),
) -> PassagePlan:
    """The plan for the passages of a file that is, or becomes, a document. What stands in it already stays as it is,
    wherever else it stands. `earlier`: in a dry run, names and passages of the files before this one."""
    passages = [
        replace(passage, id=f"{document_id}.{number:05d}", document_id=document_id, position=number)
        for number, passage in enumerate(found)
    ]
    rows = await session.scalars(select(PassageRow).where(PassageRow.document_id == document_id))
    stored = {row.id: row for row in rows}
    new = [one for one in passages if not _same(stored.get(one.id), one)]
    elsewhere = await _elsewhere(session, {one.text for one in new}, document_id)
    for name, brought in earlier:
        for one in brought:
            elsewhere.setdefault(one.text, []).append((one, name))
    repeated = [
        Repeated(one, *twin)
        for one in new
        if (twin := next((two for two in elsewhere.get(one.text, ()) if _says_the_same(one, two[0])), None))
    ]
    left_out = {one.passage.id for one in repeated}
    kept = {one.id for one in passages} - left_out
    texts = {one.text for one in passages}
    live = [row for row in stored.values() if row.deleted_at is None]
    return PassagePlan(
        stored,
        [one for one in new if one.id not in left_out],
        repeated,
        [row for row in live if row.id not in kept],
        [Gone(row.id, "passage", row.title, row.text) for row in live if row.text not in texts],
        len(live),
    )


async def write_passages(session: AsyncSession, plan: PassagePlan, revision: int, moment: datetime) -> None:
    """Carry a plan out."""
    for passage in plan.fresh:
        row = plan.stored.get(passage.id)
        if row is None:
            row = PassageRow(id=passage.id, document_id=passage.document_id, created_at=moment)
            session.add(row)
        row.title, row.text, row.position = passage.title, passage.text, passage.position
        row.revision, row.deleted_at = revision, None
    for row in plan.rows_gone:
        row.deleted_at, row.revision = moment, revision


async def _elsewhere(session: AsyncSession, texts: set[str], document_id: str) -> dict[str, list[tuple[Passage, str]]]:
    """text → live passages of other documents that have it, each with its document's name."""
    found: dict[str, list[tuple[Passage, str]]] = {}
    for part in chunks(sorted(texts)):
        rows = await session.execute(
            select(PassageRow, Document.name)
            .join(Document, Document.id == PassageRow.document_id)
            .where(PassageRow.text.in_(part), PassageRow.deleted_at.is_(None), PassageRow.document_id != document_id)
            .order_by(PassageRow.id)
        )
        for row, name in rows:
            found.setdefault(row.text, []).append((Passage(row.id, row.document_id, row.title, row.text), name))
    return found


def _same(row: PassageRow | None, passage: Passage) -> bool:
    return row is not None and row.deleted_at is None and (row.title, row.text) == (passage.title, passage.text)


def _says_the_same(one: Passage, other: Passage) -> bool:
    """Of two passages of one text; a title that names the file says nothing."""
    return len(one.text) >= SPEAKS_FOR_ITSELF_CHARACTERS or normalise(one.title) == normalise(other.title)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS else line[:SHOWN_CHARACTERS] + "…"
