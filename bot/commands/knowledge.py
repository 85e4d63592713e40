"""`kefu import` and `kefu export`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.commands.parents import results
from bot.language import say

if TYPE_CHECKING:
    from bot.config import Settings
    from bot.importing import ImportReport
    from bot.storage.database import Database

REASONS = {
    "no_question": ("没有问题", "no question"),
    "no_answer": ("没有答案", "no answer"),
    "duplicate": ("重复", "a duplicate"),
    "duplicate_id": ("文件中 id 重复", "its id occurs twice in the file"),
    "unchanged": ("没有变化", "unchanged"),
    "not_calculated": (
        "公式还没有算出结果：请用 Excel 打开并保存，再导入",
        "its formula was never calculated: open and save the file in Excel first",
    ),
    "malformed": ("格式不对，读不懂", "malformed or damaged"),
    "bad_date": ("日期读不懂，应写成 2026-01-31", "not a date such as 2026-01-31"),
    "bad_flag": ("看不懂是不是启用，应写“是”或“否”", "neither yes nor no"),
    "dates_reversed": ("失效日期早于生效日期", "ends before it begins"),
    "too_long": ("太长", "too long"),
    "too_many": ("超出一个文件的上限", "more than one file may hold"),
    "hidden_sheet": ("隐藏的工作表，没有读", "a hidden sheet, not read"),
    "broken_metadata": (
        "网页里的结构化数据（JSON-LD）写坏了，没有读",
        "the structured data (JSON-LD) of the page is broken: not read",
    ),
    "no_columns": ("认不出列", "columns not recognised"),
    "scanned_page": ("这一页是图片，没有可读的文字", "a scanned page without text"),
    "unreadable_text": ("这一页的文字编码读不出来", "the text of this page cannot be decoded"),
    "encrypted": ("设有密码", "protected by a password"),
    "unsupported": ("不支持这种文件", "a kind of file that is not supported"),
    "too_large": ("文件太大，或解压后太大", "too large, or too large once unpacked"),
    "nested": ("压缩包里的压缩包嵌套太深，请解压后再导入", "zip files nest too deeply, unpack them first"),
    "empty": ("文件是空的", "an empty file"),
    "binary": ("不是文本、表格或文档", "neither text nor a table or document"),
    "encoding": ("看不出文字编码", "its text encoding cannot be told"),
    "unreadable": ("文件打不开", "cannot be opened"),
    "timeout": ("读取时间太长，已停止", "reading it took too long"),
    "crashed": ("读取时意外中断", "the reader ended unexpectedly"),
}
SHOWN_ROWS_MAX = 20


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    brought = commands.add_parser(
        "import",
        parents=[results()],
        help=say("把文档或 FAQ 文件加入知识库", "add documents or FAQ files to the knowledge base"),
    )
    brought.add_argument("files", nargs="+", type=Path, metavar="FILE")
    brought.add_argument(
        "--dry-run",
        action="store_true",
        help=say("只说会发生什么，不改动", "only say what would happen, and change nothing"),
    )
    brought.add_argument(
        "--replace",
        metavar="DOCUMENT_ID",
        default=None,
        help=say(
            "作为该文档的新版本：文件里没有的会删除", "as that document's new version: what the file lacks is removed"
        ),
    )
    brought.set_defaults(run=import_files)
    taken = commands.add_parser(
        "export",
        parents=[results()],
        help=say("把知识库导出为 .jsonl、.csv 或 .xlsx", "write the knowledge base as .jsonl, .csv or .xlsx"),
    )
    taken.add_argument("file", type=Path, metavar="FILE")
    taken.set_defaults(run=export)


def import_files(args: argparse.Namespace, settings: "Settings") -> int:
    """Import every file; exit 1 where one is unreadable or has no usable row (the others are imported all the same).

    Conflicts and near-duplicates are looked for last, when everything is written and said: warnings, for which nothing
    waits.
    """
    import asyncio
    import json
    import sys

    if args.replace and len(args.files) > 1:
        print(say("--replace 只能给一个文件", "--replace takes one file"), file=sys.stderr)
        return 2
    reports, errors = asyncio.run(_import(args, settings))
    if args.json:
        print(json.dumps(together(reports, errors), ensure_ascii=False))
    else:
        for path, report in reports:
            _show_conflicts(path, report)
            _show_near(path, report)
    for path, error in errors:
        print(f"{path}: {say(*error)}", file=sys.stderr)
    return 1 if errors else 0


async def _import(
    args: argparse.Namespace, settings: "Settings"
) -> "tuple[list[tuple[Path, ImportReport]], list[tuple[Path, tuple[str, str]]]]":
    from bot.commands.progress import bar
    from bot.conflicts import conflicting
    from bot.importing import ImportReport, import_file
    from bot.storage.database import opened

    reports: list[tuple[Path, ImportReport]] = []
    errors: list[tuple[Path, tuple[str, str]]] = []
    async with opened(settings.database) as database:
        for path in args.files:
            try:
                with bar(path.name) as on_progress:
                    report = await import_file(
                        database,
                        path,
                        path.name,
                        settings.data / "uploads",
                        replaces=args.replace,
                        dry_run=args.dry_run,
                        isolated=True,
                        actor="cli",
                        on_progress=on_progress,
                        earlier=[report for _, report in reports] if args.dry_run else (),
                    )
                reports.append((path, report))
                if not args.json:
                    _show(path, report)
                if report.nothing_usable:
                    rows = report.counts["failed"]
                    zh, en = f"没有一行能导入：{rows} 行全部失败", f"nothing can be imported: all {rows} rows failed"
                    errors.append((path, (zh, en)))
            except BrokenPipeError:
                raise  # nobody reads what is printed: no fault of the file
            except OSError as error:
                reason = error.strerror or type(error).__name__
                errors.append((path, (f"读不了文件：{reason}", f"cannot be read: {reason}")))
            except Exception as error:
                if not hasattr(error, "zh"):
                    raise
                errors.append((path, (str(getattr(error, "zh", "")), str(getattr(error, "en", "")))))
        found = await conflicting(database, [report for _, report in reports])
        if any(item.id for report in found for item in report.items):
            found = await _looked_over(found, database, settings)
    return [(path, report) for (path, _), report in zip(reports, found, strict=True)], errors


async def _looked_over(
    reports: "list[ImportReport]", database: "Database", settings: "Settings"
) -> "list[ImportReport]":
    """With warnings of near-duplicates, where there is an encoder to find them."""
    import sys

    from bot.commands.progress import bar
    from bot.knowledge_base import KnowledgeBase
    from bot.near_duplicates import warned

    sys.stdout.flush()  # what was done so far is said before what takes a while
    knowledge_base = KnowledgeBase(database, settings)
    try:
        with bar(say("载入知识库", "loading the knowledge base")) as on_progress:
            await knowledge_base.open(on_progress)
        with bar(say("查找意思相近的条目", "looking for near-duplicates")) as on_progress:
            return await warned(reports, knowledge_base, on_progress)
    except Exception as error:
        if not hasattr(error, "zh"):
            raise
        words = (
            f"没有查找意思相近的条目：{getattr(error, 'zh', '')}",
            f"Near-duplicates were not looked for: {getattr(error, 'en', '')}",
        )
        print(say(*words), file=sys.stderr)
        return reports
    finally:
        await knowledge_base.close()


def together(reports: "list[tuple[Path, ImportReport]]", errors: list[tuple[Path, tuple[str, str]]]) -> dict[str, Any]:
    """One document for all files: the sums, and every item."""
    one = [report.to_json() for _, report in reports]
    names = ("added", "updated", "skipped", "failed", "passages", "removed", "passages_removed", "passages_skipped")
    result: dict[str, Any] = {name: sum(report[name] for report in one) for name in names}
    result["changes"] = any(report["changes"] for report in one)
    for name in ("conflicts", "near_duplicates"):
        if any(name in report for report in one):
            result[name] = sum(report.get(name, 0) for report in one)
    for name in ("items", "removals", "passage_duplicates"):
        result[name] = [item for report in one for item in report[name]]
    result["documents"] = [
        {"file": str(path), "document_id": report.document_id, "dry_run": report.dry_run} for path, report in reports
    ]
    if errors:
        result["errors"] = [{"file": str(path), "message": say(*words)} for path, words in errors]
    return result


def _show(path: Path, report: "ImportReport") -> None:
    counts = report.counts
    zh = f"{path}：新增 {counts['added']}，更新 {counts['updated']}，跳过 {counts['skipped']}，失败 {counts['failed']}"
    en = ", ".join(f"{number} {status}" for status, number in counts.items())
    en = f"{path}: {en}"
    if report.passages:
        zh, en = f"{zh}，文档段落 {report.passages}", f"{en}, {report.passages} passages"
    if report.passages_repeated:
        number = len(report.passages_repeated)
        zh, en = f"{zh}，跳过重复的段落 {number}", f"{en}, {number} passages skipped as duplicates"
    if report.gone:
        zh, en = f"{zh}，删除 {len(report.gone)}", f"{en}, {len(report.gone)} removed"
    if report.document_id:
        zh, en = f"{zh}（文档 {report.document_id}）", f"{en} (document {report.document_id})"
    if report.dry_run:
        zh, en = f"{zh}。试运行，没有改动", f"{en}. Dry run: nothing was changed"
    print(say(zh, en))
    _show_repeated(report)
    if report.nothing_kept:
        zh = f"  注意：原来的 {len(report.gone)} 条没有一条在新文件里，是不是给错了文件？"
        if not report.dry_run:
            zh += "要改回来，请把原来的文件作为新版本再导入一次。"
        en = f"  Note: none of the {len(report.gone)} it had is in the new file. Is it the right one?"
        print(say(zh, en if report.dry_run else f"{en} To go back, import the old file as the new version again."))
    if report.dry_run:
        _show_rows(report)
    _show_gone(report)
    failed = [item for item in report.items if item.status == "failed"]
    for item in failed[:SHOWN_ROWS_MAX]:
        reason = say(*REASONS.get(item.reason, (item.reason, item.reason)))
        detail = f" ({item.detail})" if item.detail else ""
        print(f"  {item.place}: {reason}{detail}  {item.question[:60]}".rstrip())
    if len(failed) > SHOWN_ROWS_MAX:
        rest = len(failed) - SHOWN_ROWS_MAX
        print(say(f"  还有 {rest} 行失败（--json 列出全部）", f"  {rest} more failed (--json lists all)"))


def _show_gone(report: "ImportReport") -> None:
    """What the new version of a document takes away, or would."""
    name = say("将删除", "would remove") if report.dry_run else say("已删除", "removed")
    for one in report.gone[:SHOWN_ROWS_MAX]:
        said = one.to_json()["text"] if one.kind == "passage" else ""
        kind = say("段落", "passage") if one.kind == "passage" else say("问答", "entry")
        print(f"  {name} ({kind})  {one.title[:60]}  {said[:60]}".rstrip())
    if len(report.gone) > SHOWN_ROWS_MAX:
        rest = len(report.gone) - SHOWN_ROWS_MAX
        print(say(f"  {name}：还有 {rest} 条（--json 列出全部）", f"  {name}: {rest} more (--json lists all)"))


def _show_repeated(report: "ImportReport") -> None:
    """The passages that another document has already."""
    for one in report.passages_repeated[:SHOWN_ROWS_MAX]:
        title, twin = one.passage.title[:60], one.twin.title[:60]
        zh = f"  段落重复，跳过：{title}  同文档「{one.document}」的「{twin}」"
        print(say(zh, f"  passage skipped, a duplicate: {title}  as in {one.document}: {twin}"))
    if len(report.passages_repeated) > SHOWN_ROWS_MAX:
        rest = len(report.passages_repeated) - SHOWN_ROWS_MAX
        print(say(f"  还有 {rest} 段重复（--json 列出全部）", f"  {rest} more duplicates (--json lists all)"))


def _show_conflicts(path: Path, report: "ImportReport") -> None:
    """The rows that answer otherwise than another entry does, and which answer will be given; nothing where none do."""
    rows = [item for item in report.items if item.warning == "conflict"]
    if rows:
        zh = f"{path}：{len(rows)} 行和别处的答案冲突：同一个问题，两条都保留，客户得到的是这一行的（较新的）答案"
        en = f"{path}: {len(rows)} conflicts: the same question is answered differently elsewhere. Both stay, and "
        print(say(zh, f"{en}customers get the answer of this row, the newer one"))
    for item in rows[:SHOWN_ROWS_MAX]:
        twin = item.twin or {}
        document = say(f"文档「{twin['document']}」", f"document {twin['document']}") if twin["document"] else ""
        where = " ".join(filter(None, [document, twin.get("place"), twin["id"]]))
        answer = " ".join(twin["answer"].split())[:60]
        print(
            say(
                f"  {item.place}: {item.question[:60]}  另一条：{where}：{answer}",
                f"  {item.place}: {item.question[:60]}  the other: {where}: {answer}",
            )
        )
    if len(rows) > SHOWN_ROWS_MAX:
        rest = len(rows) - SHOWN_ROWS_MAX
        print(say(f"  还有 {rest} 行有冲突（--json 列出全部）", f"  {rest} more conflicts (--json lists all)"))


def _show_near(path: Path, report: "ImportReport") -> None:
    """The rows with a twin; nothing where there are none."""
    near = [item for item in report.items if item.warning == "near_duplicate"]
    if near:
        zh = f"{path}：{len(near)} 行和已有的意思相近，请看看是否重复"
        print(say(zh, f"{path}: {len(near)} near-duplicates, please have a look"))
    for item in near[:SHOWN_ROWS_MAX]:
        twin = item.twin or {}
        where = twin["id"] or " ".join(filter(None, [twin.get("file"), twin["place"]]))
        line = f"  {item.place}: {item.question[:60]}  ≈ {where} {twin['question'][:60]} ({twin['similarity']:.3f})"
        print(line)
    if len(near) > SHOWN_ROWS_MAX:
        rest = len(near) - SHOWN_ROWS_MAX
        print(say(f"  还有 {rest} 行意思相近（--json 列出全部）", f"  {rest} more near-duplicates (--json lists all)"))


def _show_rows(report: "ImportReport") -> None:
    """What would be done with each row, failures apart: the first ones of every kind."""
    names = {
        "added": say("将新增", "would add"),
        "updated": say("将更新", "would update"),
        "skipped": say("将跳过", "would skip"),
    }
    for status, name in names.items():
        rows = [item for item in report.items if item.status == status]
        for item in rows[:SHOWN_ROWS_MAX]:
            reason = f" ({say(*REASONS.get(item.reason, (item.reason, item.reason)))})" if item.reason else ""
            print(f"  {item.place}: {name}{reason}  {item.question[:60]}".rstrip())
        if len(rows) > SHOWN_ROWS_MAX:
            rest = len(rows) - SHOWN_ROWS_MAX
            print(say(f"  {name}：还有 {rest} 行（--json 列出全部）", f"  {name}: {rest} more rows (--json lists all)"))


def export(args: argparse.Namespace, settings: "Settings") -> int:
    """Write every entry, the disabled ones too; importing the file again changes nothing."""
    import asyncio
    import json

    from bot.storage import knowledge
    from bot.storage.database import opened
    from knowledge.types import Entry
    from knowledge.writers import write

    async def entries() -> list[Entry]:
        async with opened(settings.database) as database, database.reading() as session:
            return await knowledge.all_entries(session)

    found = asyncio.run(entries())
    write(found, args.file)
    if args.json:
        print(json.dumps({"file": str(args.file), "entries": len(found)}, ensure_ascii=False))
    else:
        print(say(f"已导出 {len(found)} 条到 {args.file}", f"{len(found)} entries written to {args.file}"))
    return 0
