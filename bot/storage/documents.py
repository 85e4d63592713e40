"""Documents: the files the knowledge came from, live or in the trash. A change carries the revision it was made in."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.errors import ConflictError, NotFoundError
from bot.storage import revisions
from bot.storage.knowledge import REVISION
from bot.storage.tables import Document, FaqEntry, PassageRow
from bot.storage.values import now

PARTS = (FaqEntry, PassageRow)


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A file that was imported, and how many entries and passages are live; in the trash, how many would come back."""

    id: str
    name: str
    sha256: str
    size_bytes: int
    kind: str
    entries: int
    passages: int
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None


def _documents() -> Select[Document, int, int]:
    # What was deleted with its document bears the same time; what was deleted by hand before it does not come back.
    entries, passages = (
        select(func.count())
        .where(part.document_id == Document.id, part.deleted_at.is_not_distinct_from(Document.deleted_at))
        .scalar_subquery()
        for part in PARTS
    )
    return select(Document, entries, passages)


def _stored(row: Document, entries: int, passages: int) -> StoredDocument:
    return StoredDocument(
        row.id, row.name, row.sha256, row.size_bytes, row.kind, entries, passages, row.created_at, row.updated_at,
        row.deleted_at,
    )  # fmt: skip


async def list_documents(
    session: AsyncSession, offset: int = 0, limit: int = 200, *, deleted: bool = False
) -> tuple[list[StoredDocument], int]:
    """Live documents, the newest first, or those in the trash, the last deleted first; and how many there are."""
    state = Document.deleted_at.is_not(None) if deleted else Document.deleted_at.is_(None)
    order = (Document.deleted_at if deleted else Document.created_at).desc()
    query = _documents().where(state).order_by(order, Document.id).offset(offset).limit(limit)
    total = await session.scalar(select(func.count()).select_from(Document).where(state))
    return [_stored(*row) for row in await session.execute(query)], total or 0


async def get_document(session: AsyncSession, document_id: str, *, trash: bool = False) -> StoredDocument:
    """A live document; with `trash`, also one that lies there. Raises NotFoundError."""
    row = (await session.execute(_documents().where(Document.id == document_id))).first()
    if row is None or (row[0].deleted_at is not None and not trash):
        raise NotFoundError("document_not_found", f"没有文档 {document_id}", f"There is no document {document_id}")
    return _stored(*row)


async def by_sha256(session: AsyncSession, sha256: str) -> str | None:
    """The id of a live document with exactly these bytes."""
    query = select(Document.id).where(Document.sha256 == sha256, Document.deleted_at.is_(None))
    return (await session.scalars(query.order_by(Document.created_at).limit(1))).first()


async def checksums(session: AsyncSession) -> set[str]:
    """The SHA-256 of every file that a document needs, live or in the trash."""
    return set(await session.scalars(select(Document.sha256)))


async def remove_document(session: AsyncSession, document_id: str) -> int:
    """Put a document into the trash with its entries and passages, in one revision, which is returned.

    Raises NotFoundError.
    """
    await get_document(session, document_id)
    revision, moment = await revisions.bump(session, REVISION), now()
    await session.execute(
        update(Document).where(Document.id == document_id).values(deleted_at=moment, revision=revision)
    )
    for part in PARTS:
        await session.execute(
            update(part)
            .where(part.document_id == document_id, part.deleted_at.is_(None))
            .values(deleted_at=moment, revision=revision)
        )
    return revision


async def restore_document(session: AsyncSession, document_id: str) -> int:
    """Take a document out of the trash with all that was deleted with it, under the same ids; returns the revision.

    Raises:
        NotFoundError: no such document, or not any more.
        ConflictError: it is not in the trash, or the same file has been imported again since.
    """
    document = await get_document(session, document_id, trash=True)
    if document.deleted_at is None:
        raise ConflictError(
            "document_live", f"文档「{document.name}」没有删除", f"{document.name} has not been deleted"
        )
    if (twin := await by_sha256(session, document.sha256)) is not None:
        raise ConflictError(
            "document_present",
            f"同样的文件后来又导入过（文档 {twin}），不用恢复",
            f"The same file has been imported again since (document {twin}); there is nothing to restore",
            {"document_id": twin},
        )
    revision = await revisions.bump(session, REVISION)
    for part in PARTS:
        await session.execute(
            update(part)
            .where(part.document_id == document_id, part.deleted_at == document.deleted_at)
            .values(deleted_at=None, revision=revision)
        )
    await session.execute(update(Document).where(Document.id == document_id).values(deleted_at=None, revision=revision))
    return revision


async def purge(session: AsyncSession, days: int) -> list[str]:
    """Remove for good what has lain in the trash for so many days; the ids of the documents.

    No tombstones are needed for followers of the revisions: they heard of the deletion when it was made.
    """
    limit = now() - timedelta(days=days)
    gone = list(await session.scalars(select(Document.id).where(Document.deleted_at < limit)))
    for document_id in gone:
        for part in PARTS:
            await session.execute(delete(part).where(part.document_id == document_id, part.deleted_at.is_not(None)))
        await session.execute(delete(Document).where(Document.id == document_id))
    return gone
