"""Flags that many commands share."""

import argparse
from pathlib import Path

from bot.language import say


def common() -> argparse.ArgumentParser:
    """`--data DIR`, for every command."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--data",
        type=Path,
        default=None,
        metavar="DIR",
        help=say("数据目录（默认 ./data 或 KEFU_DATA）", "data folder (default ./data or KEFU_DATA)"),
    )
    return parser


def results() -> argparse.ArgumentParser:
    """`--data DIR` and `--json`, for commands that print results."""
    parser = argparse.ArgumentParser(add_help=False, parents=[common()])
    parser.add_argument(
        "--json", action="store_true", help=say("在标准输出打印一个 JSON 文档", "print one JSON document on stdout")
    )
    return parser
