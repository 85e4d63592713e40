"""`kefu adapters`: the adapter registry."""

import argparse
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.commands.parents import results
from bot.language import say

if TYPE_CHECKING:
    from bot.config import Settings
    from bot.storage.database import Database

KINDS = ("encoder", "generator")
QUESTIONS_SHOWN = 20


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("adapters", help=say("训练出的适配器", "the adapters training made"))
    verbs = parser.add_subparsers(dest="verb", metavar=say("操作", "ACTION"), required=True)

    def add(verb: str, run: Any, zh: str, en: str, *, named: bool = True) -> argparse.ArgumentParser:
        made = verbs.add_parser(verb, parents=[results()], help=say(zh, en))
        if named:
            made.add_argument("name", help=say("适配器名称", "name of the adapter"))
        made.set_defaults(run=run)
        return made

    add("list", show_list, "列出", "list them", named=False)
    add("show", show_one, "显示一个的全部信息", "show all about one")
    report = add("report", show_report, "显示它与当时所用模型的比较", "show how it compared with the model in use")
    report.add_argument(
        "--all", action="store_true", help=say("列出全部变化的问题", "list every question that changed")
    )
    switch = add("activate", activate, "启用，运行中的服务随即切换", "activate one; a running service follows")
    switch.add_argument(
        "--override",
        action="store_true",
        help=say("即使比较的结论是更差也启用（记录在案）", "activate although it is worse (on record)"),
    )
    back = add("rollback", rollback, "回到之前启用的", "go back to the one before", named=False)
    back.add_argument(
        "--kind",
        choices=KINDS,
        default=None,
        help=say("哪一类（默认最近切换的）", "which kind (default: the one switched last)"),
    )
    verified = add("verify", verify, "核对文件与基础模型", "check files and base model", named=False)
    verified.add_argument("name", nargs="?", help=say("适配器名称（默认全部）", "name of the adapter (default: all)"))
    imported = add(
        "import", import_one, "导入别处训练的（先比较，再签名）", "import one trained elsewhere: measured, then signed",
        named=False,
    )  # fmt: skip
    imported.add_argument("source", type=Path, help=say("peft 文件夹或 zip 文件", "peft folder or zip file"))
    imported.add_argument(
        "--kind", choices=KINDS, default=None, help=say("哪一类（默认看文件）", "which kind (default: as it says)")
    )
    pinned = add("pin", pin, "固定：不会因为旧而删除", "pin one: it is not removed for its age")
    pinned.add_argument("--off", action="store_true", help=say("不再固定", "no longer"))
    exported = add("export", export, "导出为 peft 文件夹", "write one as a peft folder")
    exported.add_argument("folder", type=Path, help=say("目标文件夹", "target folder"))
    add("remove", remove, "删除一个没有启用的", "remove one that is not active")


def _with(settings: "Settings", work: "Callable[[Database], Awaitable[Any]]") -> Any:
    import asyncio

    from bot.learning.releases import discover
    from bot.storage.database import opened

    async def run() -> Any:
        async with opened(settings.database) as database:
            await discover(database, settings)
            return await work(database)

    return asyncio.run(run())


def _manifests(settings: "Settings", wanted: str | None = None) -> list[dict[str, Any]]:
    from bot.learning.releases import state_of
    from bot.storage import adapters, data_sets

    async def work(database: "Database") -> list[dict[str, Any]]:
        async with database.reading() as session:
            found = [await adapters.get(session, wanted)] if wanted else await adapters.installed(session)
            active, marked = await adapters.active(session), await data_sets.marked_runs(session)
            pinned = await adapters.pinned(session)
        return [
            {
                **one.manifest,
                "state": state_of(settings, one, active),
                "forgotten": one.name in marked,
                "pinned": one.name in pinned,
            }
            for one in found
        ]

    return list(_with(settings, work))


def show_list(args: argparse.Namespace, settings: "Settings") -> int:
    import json

    found = _manifests(settings)
    if args.json:
        print(json.dumps(found, ensure_ascii=False, indent=1))
        return 0
    if not found:
        print(say("还没有适配器。kefu train encoder 训练第一个。", "No adapters yet; `kefu train encoder` makes one."))
    for one in found:
        learnt = say("\t学过已删除的客户", "\tlearnt from somebody who was forgotten") if one["forgotten"] else ""
        print(f"{one['name']}\t{one['kind']}\t{_state(one['state'])}\t{one.get('created_at', '')}{learnt}")
    return 0


def _state(state: str) -> str:
    names = {"active": "启用中", "ready": "可启用", "damaged": "已损坏", "missing": "文件缺失"}
    return say(names.get(state, state), state)


def show_one(args: argparse.Namespace, settings: "Settings") -> int:
    import json

    print(json.dumps(_manifests(settings, args.name)[0], ensure_ascii=False, indent=1))
    return 0


def activate(args: argparse.Namespace, settings: "Settings") -> int:
    from bot import control

    # A service that runs has everything loaded, as for the way back.
    asked = {"name": args.name, "override": args.override}
    done = control.ask(settings.data, "activate", **asked) or _activate(settings, **asked)
    return _done(args, done["kind"], args.name, f"已启用 {args.name}。", f"{args.name} is active.")


def _activate(settings: "Settings", name: str, *, override: bool) -> dict[str, Any]:
    import asyncio

    from bot.learning import releases
    from bot.storage.database import opened

    async def run() -> dict[str, Any]:
        async with opened(settings.database) as database:
            return await releases.activate_found(database, settings, name, "cli", override=override)

    return asyncio.run(run())


def show_report(args: argparse.Namespace, settings: "Settings") -> int:
    import json

    from bot.errors import NotFoundError
    from bot.learning import report

    _manifests(settings, args.name)
    found = report.read(settings.data / "adapters" / args.name)
    if found is None:
        raise NotFoundError(
            "no_report",
            f"{args.name} 没有比较报告（它是有报告之前训练的）",
            f"{args.name} has no report: it is too old",
        )
    print(json.dumps(found, ensure_ascii=False) if args.json else "\n".join(report_lines(found, whole=args.all)))
    return 0


def report_lines(found: dict[str, Any], *, whole: bool = False) -> list[str]:
    """The verdict, the figures with their intervals, and the questions that changed, for a terminal."""
    from bot.learning.report import FIGURES, SETS

    outcomes = {
        "better": ("更好", "better"),
        "worse": ("更差", "worse"),
        "same": ("", ""),
        "few": ("题太少", "too few"),
    }
    lines = [say(found["verdict"]["zh"], found["verdict"]["en"]), ""]
    for one in found["figures"]:
        named, shown = say(*SETS[one["set"]]), say(*FIGURES[one["name"]])
        lines.append(
            f"{named} · {shown} (n={one['questions']}): {one['before']} → {one['after']} "
            f"[{one['low']:+.4f}, {one['high']:+.4f}] {say(*outcomes[one['outcome']])}".rstrip()
        )
    lines += [f"{say(*SETS[one['set']])}: {say(one['zh'], one['en'])}" for one in found["left_out"]]
    lines += [say(note["zh"], note["en"]) for note in found["notes"]]
    for way, title in (("better", say("变好的问题", "Better")), ("worse", say("变差的问题", "Worse"))):
        rows = [row for row in found["questions"] if row["change"] == way]
        lines += ["", f"{title} ({len(rows)})"]
        for row in rows if whole else rows[:QUESTIONS_SHOWN]:
            before, after = (_side(row[side]) for side in ("before", "after"))
            lines.append(f"  {row['text']}: {before} → {after}")
    return lines


def _side(side: dict[str, Any]) -> str:
    names = {"answer": "直接回答", "clarify": "反问", "none": "没有答案"}
    if "reply" in side:
        return str(side["reply"])
    return f"{side['entry'] or '–'} ({say(names.get(side['decision'], side['decision']), side['decision'])})"


def import_one(args: argparse.Namespace, settings: "Settings") -> int:
    import asyncio

    return asyncio.run(_import(args, settings))


async def _import(args: argparse.Namespace, settings: "Settings") -> int:
    import json
    import sys

    from bot.commands.train import Display, as_document, conclude
    from bot.learning import process, runs
    from bot.learning.worker import busy, is_busy
    from bot.storage.database import opened

    if is_busy(runs.runs_dir(settings)):
        raise busy()
    async with opened(settings.database) as database:
        prepared = await runs.prepare_import(database, settings, args.source, args.kind)
        with Display(sys.stderr if args.json else sys.stdout) as display:
            result = await process.carry_out(prepared, display.show)
        await runs.register(database, result["manifest"], "cli")
    print(json.dumps(as_document(result), ensure_ascii=False) if args.json else "\n".join(conclude(result)))
    return 0


def pin(args: argparse.Namespace, settings: "Settings") -> int:
    from bot.storage import adapters, audit

    async def work(database: "Database") -> None:
        async with database.session() as session:
            await adapters.pin(session, args.name, wanted=not args.off)
            await audit.record(session, "cli", "adapters.pin", args.name, {"pinned": not args.off})

    _with(settings, work)
    print(say(f"已{'取消' if args.off else ''}固定 {args.name}。", f"{args.name} is {'un' * args.off}pinned."))
    return 0


def rollback(args: argparse.Namespace, settings: "Settings") -> int:
    from bot import control

    # A service that runs has everything loaded: the way back is asked of it, for every tenth of a second counts.
    done = control.ask(settings.data, "rollback", kind=args.kind) or _roll_back(settings, args.kind)
    kind, name = done["kind"], done["active"]
    return _done(args, kind, name, f"已回退到 {name or '基础模型'}。", f"Rolled back to {name or 'the base model'}.")


def _roll_back(settings: "Settings", kind: str | None) -> dict[str, Any]:
    import asyncio

    from bot.learning import releases
    from bot.storage.database import opened

    async def run() -> dict[str, Any]:
        async with opened(settings.database) as database:
            return await releases.rollback_last(database, kind, "cli")

    return asyncio.run(run())


def _done(args: argparse.Namespace, kind: str, name: str | None, zh: str, en: str) -> int:
    import json

    print(json.dumps({"kind": kind, "active": name}, ensure_ascii=False) if args.json else say(zh, en))
    return 0


def verify(args: argparse.Namespace, settings: "Settings") -> int:
    """1 where any is damaged."""
    import json
    import sys

    found = _manifests(settings, args.name)
    if args.json:
        print(json.dumps({one["name"]: one["state"] for one in found}, ensure_ascii=False))
    else:
        for one in found:
            print(f"{one['name']}\t{_state(one['state'])}")
    bad = [one["name"] for one in found if one["state"] in ("damaged", "missing")]
    if bad:
        names = ", ".join(bad)
        print(say(f"不能使用：{names}", f"Cannot be used: {names}"), file=sys.stderr)
    return 1 if bad else 0


def export(args: argparse.Namespace, settings: "Settings") -> int:
    from finetune import registry
    from finetune.signing import Signer

    _manifests(settings, args.name)
    registry.export(settings.data / "adapters" / args.name, args.folder, Signer(settings.data))
    print(say(f"已导出到 {args.folder}", f"Written to {args.folder}"))
    return 0


def remove(args: argparse.Namespace, settings: "Settings") -> int:
    from bot.storage import adapters, audit
    from finetune import registry

    async def work(database: "Database") -> None:
        async with database.session() as session:
            await adapters.remove(session, args.name)
            await audit.record(session, "cli", "adapters.remove", args.name)

    _with(settings, work)
    registry.remove(settings.data / "adapters", args.name)
    print(say(f"已删除 {args.name}。", f"{args.name} is removed."))
    return 0
