"""`kefu documents`: the files the knowledge came from."""

import argparse
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.commands.parents import results
from bot.language import say

if TYPE_CHECKING:
    from bot.config import Settings
    from bot.storage.database import Database
    from bot.storage.documents import StoredDocument

    Change = Callable[[Database, str, str], Awaitable[tuple[StoredDocument, int]]]


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "documents", help=say("导入过的文件：列表、删除、恢复、下载", "the files that were imported")
    )
    actions = parser.add_subparsers(dest="verb", metavar=say("操作", "ACTION"), required=True)
    listed = actions.add_parser("list", parents=[results()], help=say("列出文件", "list the documents"))
    listed.add_argument("--deleted", action="store_true", help=say("列出已删除、还能恢复的", "those in the trash"))
    listed.set_defaults(run=list_documents)
    deleted = actions.add_parser(
        "delete",
        parents=[results()],
        help=say("删除文件和它带来的内容（可以恢复）", "put a document and what it brought into the trash"),
    )
    deleted.set_defaults(run=delete)
    restored = actions.add_parser(
        "restore", parents=[results()], help=say("恢复已删除的文件", "take a document out of the trash")
    )
    restored.set_defaults(run=restore)
    taken = actions.add_parser(
        "download", parents=[results()], help=say("取回上传时的原文件", "write the file as it was uploaded")
    )
    taken.set_defaults(run=download)
    for one in (deleted, restored, taken):
        one.add_argument("document_id", metavar="DOCUMENT_ID")
    taken.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help=say("写到哪里（默认用原来的名字）", "default: its own name")
    )


def list_documents(args: argparse.Namespace, settings: "Settings") -> int:
    """Live documents, or those in the trash."""
    import asyncio
    import json

    from bot.storage import documents
    from bot.storage.database import opened

    async def found() -> "list[StoredDocument]":
        async with opened(settings.database) as database, database.reading() as session:
            return (await documents.list_documents(session, limit=-1, deleted=args.deleted))[0]

    listed = asyncio.run(found())
    if args.json:
        print(json.dumps([_as_json(one, settings) for one in listed], ensure_ascii=False))
        return 0
    for one in listed:
        print(f"{one.id}  {_line(one)}")
    if not listed:
        print(say("没有文件", "No documents"))
    return 0


def delete(args: argparse.Namespace, settings: "Settings") -> int:
    """Put a document into the trash."""
    from bot import documents

    return _change(args, settings, documents.delete, say("已删除", "Deleted"))


def restore(args: argparse.Namespace, settings: "Settings") -> int:
    """Take a document out of the trash."""
    from bot import documents

    return _change(args, settings, documents.restore, say("已恢复", "Restored"))


def _change(args: argparse.Namespace, settings: "Settings", change: "Change", done: str) -> int:
    import asyncio
    import json

    from bot.storage.database import opened

    async def work() -> "StoredDocument":
        async with opened(settings.database) as database:
            return (await change(database, args.document_id, "cli"))[0]

    document = asyncio.run(work())
    if args.json:
        print(json.dumps(_as_json(document, settings), ensure_ascii=False))
    else:
        print(f"{done}: {_line(document)}")
    return 0


def download(args: argparse.Namespace, settings: "Settings") -> int:
    """Write the original; a file that is there is not overwritten unless it was named."""
    import asyncio
    import json

    from bot import documents, uploads
    from bot.storage.database import opened

    async def find() -> "tuple[StoredDocument, Path]":
        async with opened(settings.database) as database:
            return await documents.original(database, settings.data / "uploads", args.document_id)

    document, path = asyncio.run(find())
    target: Path = args.file or Path(Path(document.name).name)
    if target.exists() and args.file is None:
        raise FileExistsError(17, say("文件已存在，请指定文件名", "exists already; name a file"), str(target))
    uploads.write_whole(target, path.read_bytes())
    if args.json:
        print(json.dumps({"file": str(target), "bytes": document.size_bytes}, ensure_ascii=False))
    else:
        print(say(f"已写入 {target}", f"Written to {target}"))
    return 0


def _line(document: "StoredDocument") -> str:
    counts = say(
        f"{document.entries} 条问答，{document.passages} 段资料",
        f"{document.entries} entries, {document.passages} passages",
    )
    return f"{document.name}  ({counts})"


def _as_json(document: "StoredDocument", settings: "Settings") -> dict[str, Any]:
    from bot.api.documents import to_json

    return to_json(document, settings.trash_days)
