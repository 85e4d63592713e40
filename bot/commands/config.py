"""`kefu config show`: the settings in effect, and where each comes from."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.commands.parents import results
from bot.language import say

if TYPE_CHECKING:
    from bot.config import Settings


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    config = commands.add_parser("config", help=say("设置", "settings"))
    verbs = config.add_subparsers(dest="verb", metavar=say("操作", "ACTION"), required=True)
    shown = verbs.add_parser(
        "show",
        parents=[results()],
        help=say("显示生效的设置（密码等已遮盖）", "the settings in effect, secrets masked"),
    )
    shown.add_argument(
        "--config",
        dest="settings_file",
        type=Path,
        default=None,
        metavar="FILE",
        help=say("配置文件（默认 数据目录/kefu.toml）", "configuration file (default kefu.toml in the data folder)"),
    )
    shown.set_defaults(run=show)


def show(args: argparse.Namespace, _settings: "Settings") -> int:
    """A table, or with --json value, source, unit and help of each setting."""
    import json

    from bot.settings_sources import effective

    found = effective(args)
    described = describe(found.settings, found.origins)
    if args.json:
        print(json.dumps(described, ensure_ascii=False, indent=1))
        return 0
    if found.file:
        print(say(f"配置文件：{found.file}\n", f"Configuration file: {found.file}\n"))
    width = max(len(name) for name in described)
    for name, one in described.items():
        value = "-" if one["value"] is None else json.dumps(one["value"], ensure_ascii=False)
        source = "" if one["source"] == "default" else f"  [{one['source']}]"
        print(f"{name:{width}}  {value} {one['unit']}".rstrip() + source)
        print(f"{'':{width}}    {one['help']}")
    return 0


def describe(settings: "Settings", origins: Any) -> dict[str, dict[str, Any]]:
    """Every setting by name: value (masked), source, unit, help, environment variable."""
    from bot.config import PREFIX, Settings
    from bot.settings_sources import masked

    values = masked(settings)
    found = {}
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        found[name] = {
            "value": values[name],
            "source": origins[name],
            "unit": extra.get("unit", ""),
            "help": say(field.description or "", str(extra.get("en", ""))),
            "variable": PREFIX + name.upper(),
        }
    return found
