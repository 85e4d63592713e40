"""Writes docs/cli.md, docs/configuration.md, docs/api.md and the options in docs/training.md from the code: `make docs`.

`--check` only compares.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["KEFU_LANGUAGE"] = "zh"
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def helps(parser: argparse.ArgumentParser) -> dict[str, str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return {choice.dest: choice.help or "" for choice in action._choices_actions}
    return {}


def commands(parser: argparse.ArgumentParser, path: str, text: str = "") -> Iterator[tuple[str, str, Any]]:
    inner = subcommands(parser)
    if not inner:
        yield path, text, parser
    for name, one in inner.items():
        yield from commands(one, f"{path} {name}", helps(parser).get(name, ""))


def in_both(make: Any) -> tuple[list[Any], list[Any]]:
    made = []
    for language in ("zh", "en"):
        os.environ["KEFU_LANGUAGE"] = language
        made.append(list(make()))
    os.environ["KEFU_LANGUAGE"] = "zh"
    return made[0], made[1]


def cli() -> str:
    from bot.cli import build_parser

    chinese, english = in_both(lambda: commands(build_parser(), "kefu"))
    lines = [
        "# 命令行 Command line",
        "",
        "成功返回 0，工作失败返回 1（标准错误上一句话），用法错误返回 2。`KEFU_LANGUAGE=en` 显示英文。",
        "`kefu import`：文件读不了或没有一行能用时返回 1，只有部分行失败时返回 0。",
        "",
        "0 on success, 1 where the work failed (one sentence on stderr), 2 on wrong usage. `KEFU_LANGUAGE=en` for English.",
        "`kefu import`: 1 where a file cannot be read or none of its rows be used, 0 where only some rows fail.",
    ]
    for (path, zh, parser), (_, en, other) in zip(chinese, english, strict=True):
        lines += ["", f"## `{path}`", "", f"{zh}。{en[:1].upper()}{en[1:]}.", ""]
        rows = [
            (flag(action), action.help or "", twin.help or "")
            for action, twin in zip(parser._actions, other._actions, strict=True)
            if action.dest != "help"
        ]
        if rows:
            lines += ["| 参数 | 说明 | meaning |", "| --- | --- | --- |"]
            lines += [f"| `{name}` | {cell(zh)} | {cell(en)} |" for name, zh, en in rows]
    return "\n".join(lines) + "\n"


def flag(action: argparse.Action) -> str:
    name = "/".join(action.option_strings) or str(action.metavar or action.dest)
    if action.option_strings and action.nargs != 0:
        value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
        name += f" {value}"
    return name.replace("|", "\\|")


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def configuration() -> str:
    from bot.config import Settings

    lines = [
        "# 配置 Configuration",
        "",
        "命令行参数优先于环境变量，环境变量优先于配置文件（数据目录里的 `kefu.toml`，或 `--config`），配置文件优先于默认值。",
        "环境变量是 `KEFU_` 加大写的名称。`kefu config show` 显示实际生效的值和来源，密钥被遮住。",
        "",
        "Flags win over `KEFU_` variables, those over the file (`kefu.toml` in the data folder, or `--config`), those over the",
        "defaults. `kefu config show` prints what is in force and where it comes from, with secrets masked.",
        "",
        "| 名称 name | 默认 default | 单位 unit | 说明 | meaning |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        factory = field.default_factory is not None
        default = "`~/.cache/kefu/models`" if factory and name == "models" else shown(field.get_default())
        unit = extra.get("unit") or ""
        lines.append(
            f"| `{name}` | {default} | {unit} | {cell(field.description or '')} | {cell(str(extra.get('en', '')))} |"
        )
    lines += [
        "",
        "```toml",
        "# kefu.toml",
        "port = 9000",
        'company_name = "青砾生活"',
        'widget_origins = ["https://www.example.com"]',
        "",
        "[[channels]]",
        'kind = "rest"',
        'name = "rest"',
        'token = "env:KEFU_REST_TOKEN"',
        "```",
    ]
    return "\n".join(lines) + "\n"


def shown(value: Any) -> str:
    if value is None or value == () or value == "":
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def between(text: str, begin: str, end: str, inside: str) -> str:
    """A page with what stands between two of its marks made anew."""
    head, _, rest = text.partition(begin)
    return f"{head}{begin}\n\n{inside}\n\n{end}{rest.partition(end)[2]}"


def api() -> str:
    """The page as it is, with the table of addresses made anew."""
    from aiohttp import web

    from bot.api.openapi import document
    from bot.routes import ROUTES

    app = web.Application()
    app.add_routes(ROUTES)
    described = document(app, "0")
    lines = ["| 方法 method | 路径 path | 谁 who | 作用 what |", "| --- | --- | --- | --- |"]
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            who = operation.get("x-role") or operation.get("description") or ""
            lines.append(f"| `{method.upper()}` | `{path}` | {cell(str(who))} | {cell(operation.get('summary', ''))} |")
    text = (HERE / "api.md").read_text(encoding="utf-8")
    return between(text, "<!-- every address -->", "<!-- end of the addresses -->", "\n".join(lines))


def training() -> str:
    """The page as it is, with the tables between its marks made anew."""
    from dataclasses import fields

    from finetune.encoder import EncoderOptions
    from finetune.generator import GeneratorOptions

    text = (HERE / "training.md").read_text(encoding="utf-8")
    for kind, options in (("encoder", EncoderOptions), ("generator", GeneratorOptions)):
        rows = [
            f"| `{one.name}` | `{one.default}` | {cell(one.metadata['zh'])} | {cell(one.metadata['en'])} |"
            for one in fields(options)
        ]
        table = "\n".join(["| 名称 name | 默认 default | 说明 | meaning |", "| --- | --- | --- | --- |", *rows])
        text = between(text, f"<!-- options of the {kind} -->", f"<!-- end of the {kind}'s options -->", table)
    return text


PAGES = {"training.md": training, "cli.md": cli, "configuration.md": configuration, "api.md": api}


def main() -> int:
    stale = []
    for name, render in PAGES.items():
        path, text = HERE / name, render()
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
            print(f"docs/{name} written")
    if stale and "--check" in sys.argv:
        print(f"run `make docs`: {', '.join(stale)} does not say what the code does", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
