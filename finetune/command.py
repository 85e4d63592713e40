"""`python -m finetune models`: the base models without the service around them. Prints JSON."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path


def add_models_command(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `models list|prepare|verify`; its `run(args)` returns the exit status."""
    parser = subparsers.add_parser("models", help="基础模型 / base models: list, prepare, verify")
    parser.add_argument("verb", choices=("list", "prepare", "verify"))
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--models", type=Path, required=True, metavar="DIR", help="模型目录 / folder of the models")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0 where all went well; 1 where `verify` found a damaged file."""
    from finetune.catalogue import CATALOGUE
    from finetune.models import list_models, prepare, verify
    from finetune.progress import Step

    def report(step: Step) -> None:
        print(json.dumps(asdict(step), ensure_ascii=False), file=sys.stderr)

    if args.verb == "list":
        print(json.dumps([asdict(status) for status in list_models(args.models)], default=str, indent=1))
        return 0
    names = args.names or [spec.name for spec in CATALOGUE if spec.embedded]
    if args.verb == "prepare":
        print(json.dumps({name: str(prepare(name, args.models, report)) for name in names}, indent=1))
        return 0
    found = {name: [str(problem) for problem in verify(name, args.models)] for name in names}
    print(json.dumps(found, ensure_ascii=False, indent=1))
    return 1 if any(found.values()) else 0
