"""`kefu doctor`: is everything all right, and what to do where it is not."""

import argparse
from typing import TYPE_CHECKING

from bot.commands.parents import results
from bot.language import say

if TYPE_CHECKING:
    from bot.config import Settings

SIGNS = {"ok": "✓", "warning": "!", "error": "✗"}


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "doctor",
        parents=[results()],
        help=say("检查机器、模型、索引、数据库和设置", "check machine, models, index, database and settings"),
    )
    parser.set_defaults(run=doctor)


def doctor(args: argparse.Namespace, settings: "Settings") -> int:
    """Print every finding; 1 where one is an error."""
    import json
    from dataclasses import asdict

    from bot.health_checks import examine

    found = []
    for one in examine(settings):
        found.append(one)
        if not args.json:
            print(f"{SIGNS[one.state]} {one.check:15} {one.text}", flush=True)
    failed = any(one.state == "error" for one in found)
    if args.json:
        print(json.dumps({"ok": not failed, "findings": [asdict(one) for one in found]}, ensure_ascii=False))
    return 1 if failed else 0
