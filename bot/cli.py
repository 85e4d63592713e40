"""The `kefu` command: parses, calls, prints. What a command does lies in `bot.commands` and behind it."""

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from bot.language import say, terminal_language

COMMANDS = (
    "serve",
    "knowledge",
    "documents",
    "ask",
    "evaluate",
    "train",
    "adapters",
    "models",
    "dialogs",
    "people",
    "channels",
    "config",
    "doctor",
)


def product_version() -> str:
    """The installed version, or `0+source` in a checkout that is not installed."""
    from importlib.metadata import PackageNotFoundError, version  # half of what else a command takes to start

    try:
        return version("kefu")
    except PackageNotFoundError:
        return "0+source"


class _Version(argparse.Action):
    """`--version`, which alone looks the version up."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(f"kefu {product_version()}")
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """The whole command line, without importing what it runs."""
    parser = argparse.ArgumentParser(
        prog="kefu",
        description=say(
            "客服：小公司自己运行的智能客服，每一次更正都让它更好。",
            "Kefu: customer service a small company runs itself, and that every correction makes better.",
        ),
        epilog=say("用 KEFU_LANGUAGE=en 显示英文。", "KEFU_LANGUAGE=zh shows Chinese."),
    )
    parser.add_argument("--version", action=_Version, nargs=0, help=say("显示版本", "show the version"))
    commands = parser.add_subparsers(dest="command", metavar=say("命令", "COMMAND"), required=True)
    for name in COMMANDS:
        importlib.import_module(f"bot.commands.{name}").register(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command: 0 on success, 1 where the work failed (one sentence on stderr), 2 on wrong usage."""
    args = build_parser().parse_args(argv)
    from bot.config import load_settings

    try:
        settings = load_settings(args)
        # A folder that nobody named, and that was not there: easily the wrong one, beside the company's own.
        fresh = args.command != "serve" and "data" not in settings.model_fields_set and not settings.data.exists()
        try:
            code = int(args.run(args, settings))
            sys.stdout.flush()  # where nobody reads any more, it is known here and not at the very end
            return code
        finally:
            if fresh and settings.data.exists():
                folder = settings.data.resolve()
                print(say(f"新建了数据目录 {folder}", f"Created the data folder {folder}"), file=sys.stderr)
    except KeyboardInterrupt:
        print(say("已中断。", "Interrupted."), file=sys.stderr)
        return 130
    except BrokenPipeError:
        # As `head` leaves every Unix tool: without a word, and with the status that the signal gives.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(say(f"出错：{where}{error.strerror}", f"Failed: {where}{error.strerror}"), file=sys.stderr)
        return 1
    except Exception as error:
        if not hasattr(error, "zh"):
            raise
        print(error.zh if terminal_language() == "zh" else error.en, file=sys.stderr)  # type: ignore[attr-defined]
        return 1


if __name__ == "__main__":
    sys.exit(main())
