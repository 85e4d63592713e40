"""`kefu eval retrieval` and `kefu calibrate`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.commands.parents import results
from bot.language import say

if TYPE_CHECKING:
    from bot.config import Settings
    from knowledge.index import Index

# With fewer, what `kefu calibrate` finds is told with a warning.
QUERIES_MIN = 120


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    evaluated = commands.add_parser("eval", help=say("测量质量", "measure quality"))
    kinds = evaluated.add_subparsers(dest="what", metavar=say("对象", "WHAT"), required=True)
    retrieval = kinds.add_parser(
        "retrieval",
        parents=[results()],
        help=say("检索：只用给定文件，不碰现有知识库", "retrieval, on the given file alone"),
    )
    calibrated = commands.add_parser(
        "calibrate",
        parents=[results()],
        help=say("用带标注的问题校准概率", "fit the probabilities to labelled questions"),
    )
    for parser, required in ((retrieval, True), (calibrated, False)):
        parser.add_argument("--faq", type=Path, required=required, metavar="FAQ.jsonl")
        parser.add_argument("--queries", type=Path, required=required, metavar="QUERIES.jsonl")
        parser.add_argument("--adapter", default=None, metavar="NAME", help=say("编码适配器", "encoder adapter"))
    retrieval.add_argument("--predictions", type=Path, default=None, metavar="OUT.jsonl")
    retrieval.add_argument(
        "--report",
        type=Path,
        default=None,
        metavar="DIR",
        help=say(
            "把数字、校准图和风险曲线写成网页",
            "write the figures, the reliability and the risk-coverage curve as a page",
        ),
    )
    retrieval.add_argument(
        "--dense-only", action="store_true", help=say("只用向量相似度排序", "rank by vector similarity alone")
    )
    retrieval.set_defaults(run=retrieve)
    calibrated.add_argument(
        "--save",
        action="store_true",
        help=say("保存并立即用于运行中的服务", "save it; a running service follows at once"),
    )
    calibrated.add_argument(
        "--rollback",
        action="store_true",
        help=say("换回上一次的校准，不重新拟合", "go back to the calibration before; nothing is fitted"),
    )
    calibrated.set_defaults(run=calibrate)


def retrieve(args: argparse.Namespace, settings: "Settings") -> int:
    """Print the report of the public benchmark's scorer; it is one JSON document either way."""
    import json

    from bot.commands.progress import bar
    from bot.evaluating import build
    from knowledge.evaluate import evaluate, read_queries

    queries = read_queries(args.queries)
    if args.report:
        args.report.mkdir(parents=True, exist_ok=True)  # what is wrong with it is told now, not when all is done
    with bar(say("编码", "encoding")) as on_progress:
        index = build(settings, args.faq, args.adapter, on_progress)
    _doubt(index, queries)
    with bar(say("提问", "asking")) as on_progress:
        predictions, report = evaluate(index, queries, dense_only=args.dense_only, on_progress=on_progress)
    if args.predictions:
        lines = (json.dumps(one, ensure_ascii=False) + "\n" for one in predictions)
        args.predictions.write_text("".join(lines), encoding="utf-8")
    if args.report:
        from knowledge.report import write

        write(args.report, queries, predictions, report, index.question)
    print(json.dumps(report, ensure_ascii=False, indent=None if args.json else 1))
    return 0


def _doubt(index: "Index", queries: "list[dict[str, Any]]") -> None:
    """Tell of labels that no entry can meet: most are slips, and would count as what the search missed."""
    import sys

    wanted = {id_ for query in queries for id_ in query.get("faq_ids") or [query["faq_id"]] if id_ is not None}
    unknown = sorted(str(id_) for id_ in wanted if id_ not in index)
    if unknown:
        some = ", ".join(unknown[:5]) + (" …" if len(unknown) > 5 else "")
        words = (
            f"标注里有 {len(unknown)} 个编号在知识库里没有，都会算作没找到：{some}",
            f"{len(unknown)} of the labels' ids are not in the knowledge base and count as missed: {some}",
        )
        print(say(*words), file=sys.stderr)


def calibrate(args: argparse.Namespace, settings: "Settings") -> int:
    """Fit on the questions given; before and after are measured on a half that the fit did not see."""
    import json
    import sys

    if args.rollback:
        return _roll_back(args, settings)
    if not (args.faq and args.queries):
        words = ("需要 --faq 和 --queries，或者 --rollback", "--faq and --queries are needed, or --rollback")
        print(say(*words), file=sys.stderr)
        return 2

    from bot.calibrations import calibration_file, save
    from bot.commands.progress import bar
    from bot.evaluating import adapter_folder, build, fit
    from bot.storage.values import iso, now
    from knowledge.evaluate import read_queries

    queries = read_queries(args.queries)
    with bar(say("编码", "encoding")) as on_progress:
        index = build(settings, args.faq, args.adapter, on_progress)
    _doubt(index, queries)
    if len(queries) < QUERIES_MIN:
        words = (
            f"只有 {len(queries)} 条问题，阈值和误差都靠不住（至少要 {QUERIES_MIN} 条）",
            f"Only {len(queries)} queries: thresholds and errors mean little below {QUERIES_MIN}",
        )
        print(say(*words), file=sys.stderr)
    with bar(say("提问", "asking")) as on_progress:
        found, before, after = fit(index, queries, on_progress)
    document: dict[str, Any] = {
        "calibration": json.loads(found.to_json()),
        "before": before,
        "after": after,
        "saved": None,
    }
    if args.save:
        file = calibration_file(settings, adapter_folder(settings, args.adapter))
        record = {"source": "queries", "date": iso(now()), "labels": len(queries), "before": before, "after": after}
        save(file, found, record)
        _tell(settings)
        document["saved"] = str(file)
    if args.json:
        print(json.dumps(document, ensure_ascii=False))
        return 0
    thresholds = f"answer_threshold = {found.answer_threshold:.4f}\nclarify_threshold = {found.clarify_threshold:.4f}"
    print(thresholds)
    for name in ("direct_correct", "direct_wrong", "clarify_hit", "missed", "ece", "brier"):
        if name in before:
            print(f"{name:15} {before[name]:.4f} → {after[name]:.4f}")
    if not before:
        print(say("问题都落在同一半里，没有可供检验的另一半", "All questions fell into one half: none to test on"))
    if args.save:
        print(say(f"已保存到 {document['saved']}", f"Saved to {document['saved']}"))
    return 0


def _roll_back(args: argparse.Namespace, settings: "Settings") -> int:
    import json

    from bot.calibrations import calibration_file, roll_back
    from bot.evaluating import adapter_folder

    file = calibration_file(settings, adapter_folder(settings, args.adapter))
    earlier = roll_back(file)
    _tell(settings)
    if args.json:
        print(json.dumps({"calibration": earlier, "file": str(file)}, ensure_ascii=False))
    elif earlier is None:
        print(say("已换回随产品提供的校准", "The shipped calibration is in use again"))
    else:
        date = (earlier.get("record") or {}).get("date", "?")
        print(say(f"已换回 {date} 的校准", f"The calibration of {date} is in use again"))
    return 0


def _tell(settings: "Settings") -> None:
    """A running service reads the calibration again."""
    import asyncio

    from bot.storage import revisions
    from bot.storage.database import opened

    async def tell() -> None:
        async with opened(settings.database) as database, database.session() as session:
            await revisions.bump(session, "settings")

    asyncio.run(tell())
