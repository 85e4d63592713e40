"""`kefu dialogs import|export`: conversations in and out."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.commands.parents import results
from bot.language import say

if TYPE_CHECKING:
    from bot.config import Settings

SHOWN_PROBLEMS_MAX = 20


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("dialogs", help=say("对话的导入与导出", "conversations in and out"))
    verbs = parser.add_subparsers(dest="verb", metavar=say("操作", "ACTION"), required=True)
    brought = verbs.add_parser(
        "import",
        parents=[results()],
        help=say(
            "导入（JSON Lines、ShareGPT、Alpaca、LLaMA-Factory 的 dataset_info.json）",
            "bring in (JSON Lines, ShareGPT, Alpaca, LLaMA-Factory's dataset_info.json)",
        ),
    )
    brought.add_argument("file", type=Path)
    brought.set_defaults(run=bring_in)
    written = verbs.add_parser("export", parents=[results()], help=say("导出对话", "write conversations to a file"))
    written.add_argument("file", type=Path)
    written.add_argument(
        "--format",
        choices=("native", "sharegpt", "alpaca", "llamafactory"),
        default="native",
        help=say(
            "native 是原样的 JSON Lines；其余供训练用：遮掉个人信息，只有人说的话，带审核结果"
            "（llamafactory 写一个文件夹）",
            "native: JSON Lines as they are; the others are to train on: without personal data, what people said "
            "alone, with what was reviewed (llamafactory writes a folder)",
        ),
    )
    written.set_defaults(run=write_out)


def _run(settings: "Settings", work: Any) -> Any:
    import asyncio

    from bot.storage.database import opened

    async def run() -> Any:
        async with opened(settings.database) as database:
            return await work(database)

    return asyncio.run(run())


def bring_in(args: argparse.Namespace, settings: "Settings") -> int:
    import json

    from bot.dialogs import import_dialogs

    report = _run(settings, lambda database: import_dialogs(database, args.file, args.file.name))
    if args.json:
        print(json.dumps(report.to_json(), ensure_ascii=False, indent=1))
        return 0
    print(
        say(
            f"对话 {report.conversations} 段（新增 {report.added}，更新 {report.updated}，未变 {report.skipped}），"
            f"消息 {report.messages} 条，带标注 {report.labelled} 条",
            f"{report.conversations} conversations ({report.added} added, {report.updated} updated, "
            f"{report.skipped} unchanged), {report.messages} messages, {report.labelled} labelled",
        )
    )
    if report.unknown:
        print(
            say(
                f"其中 {report.unknown} 条标注的条目不在知识库里，训练时会跳过",
                f"{report.unknown} labels name entries that are not in the knowledge base; training passes them over",
            )
        )
    for problem in report.problems[:SHOWN_PROBLEMS_MAX]:
        print(f"  {problem['file']}:{problem['line']}: {say(problem['message'], problem['message_en'])}")
    if report.failed > SHOWN_PROBLEMS_MAX:
        rest = report.failed - SHOWN_PROBLEMS_MAX
        print(say(f"  还有 {rest} 行无法读取（--json 列出更多）", f"  {rest} more lines (--json lists more)"))
    return 0


def write_out(args: argparse.Namespace, settings: "Settings") -> int:
    import json

    from bot.dialogs import export_dialogs

    written = _run(settings, lambda database: export_dialogs(database, args.file, args.format))
    if args.json:
        print(json.dumps({"file": str(args.file), "conversations": written}, ensure_ascii=False))
    else:
        print(say(f"已导出 {written} 段对话到 {args.file}", f"{written} conversations written to {args.file}"))
    return 0
