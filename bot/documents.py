"""The life of a document after its import: the trash, the way back, the original, the end. For API and terminal."""

import asyncio
import logging
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from bot import uploads
from bot.errors import NotFoundError
from bot.storage import audit, documents
from bot.storage.database import Database
from bot.storage.documents import StoredDocument

log = logging.getLogger("kefu.documents")


async def delete(database: Database, document_id: str, actor: str) -> tuple[StoredDocument, int]:
    """Put a document into the trash with what it brought: the document and the revision. Raises NotFoundError."""
    async with database.session() as session:
        revision = await documents.remove_document(session, document_id)
        document = await documents.get_document(session, document_id, trash=True)
        await _record(session, actor, "documents.delete", document)
    return document, revision


async def restore(database: Database, document_id: str, actor: str) -> tuple[StoredDocument, int]:
    """Take it out again: the document and the revision. Raises NotFoundError, ConflictError."""
    async with database.session() as session:
        revision = await documents.restore_document(session, document_id)
        document = await documents.get_document(session, document_id)
        await _record(session, actor, "documents.restore", document)
    return document, revision


async def original(database: Database, folder: Path, document_id: str) -> tuple[StoredDocument, Path]:
    """A document, live or in the trash, and where its bytes lie as they were uploaded. Raises NotFoundError."""
    async with database.reading() as session:
        document = await documents.get_document(session, document_id, trash=True)
    path = folder / document.sha256
    if not await asyncio.to_thread(path.is_file):
        raise NotFoundError(
            "original_missing",
            f"文档「{document.name}」的原文件不在 {folder} 里了",
            f"The original of {document.name} is no longer in {folder}",
        )
    return document, path


async def purge(database: Database, folder: Path, days: int) -> int:
    """Remove for good what has been in the trash for `days`, and the files nothing needs; how many documents."""
    async with database.session() as session:
        gone = await documents.purge(session, days)
        for document_id in gone:
            await audit.record(session, "system", "documents.purge", document_id)
    released = await uploads.release_unneeded(database, folder)
    if gone or released:
        log.info("%d documents are purged, %d files removed", len(gone), released)
    return len(gone)


async def _record(session: AsyncSession, actor: str, action: str, document: StoredDocument) -> None:
    detail = {"entries": document.entries, "passages": document.passages}
    await audit.record(session, actor, action, document.id, detail)
