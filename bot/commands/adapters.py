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
    add("activate", activate, "启用，运行中的服务随即切换", "activate one; a running service follows")
    back = add("rollback", rollback, "回到之前启用的", "go back to the one before", named=False)
    back.add_argument(
        "--kind",
        choices=KINDS,
        default=None,
        help=say("哪一类（默认最近切换的）", "which kind (default: the one switched last)"),
    )
    verified = add("verify", verify, "核对文件与基础模型", "check files and base model", named=False)
    verified.add_argument("name", nargs="?", help=say("适配器名称（默认全部）", "name of the adapter (default: all)"))
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
        states = [(one, state_of(settings, one, active)) for one in found]
        return [{**one.manifest, "state": state, "forgotten": one.name in marked} for one, state in states]

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
    from bot.learning import releases

    async def work(database: "Database") -> str:
        return await releases.activate(database, settings, args.name, "cli")

    kind = _with(settings, work)
    return _done(args, kind, args.name, f"已启用 {args.name}。", f"{args.name} is active.")


def rollback(args: argparse.Namespace, settings: "Settings") -> int:
    from bot.learning import releases
    from bot.storage import adapters

    async def work(database: "Database") -> tuple[str, str | None]:
        kind = args.kind
        if kind is None:
            async with database.reading() as session:
                last = {one: await adapters.history(session, one) for one in adapters.KINDS}
            switched = [(done[-1].created_at, one) for one, done in last.items() if done]
            kind = max(switched)[1] if switched else "encoder"
        return kind, await releases.rollback(database, releases.as_kind(kind), "cli")

    kind, name = _with(settings, work)
    return _done(args, kind, name, f"已回退到 {name or '基础模型'}。", f"Rolled back to {name or 'the base model'}.")


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

    _manifests(settings, args.name)
    registry.export(settings.data / "adapters" / args.name, args.folder)
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
