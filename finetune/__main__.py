"""`python -m finetune`: base models and trainings without the service around them. Prints JSON lines."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from finetune.command import add_models_command
from finetune.errors import FinetuneError
from finetune.loop import Progress


def main() -> int:
    """0 when done, 1 on an error of the work (one sentence on standard error), 2 on wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m finetune", description=__doc__)
    commands = parser.add_subparsers(required=True)
    add_models_command(commands)
    train = commands.add_parser("train", help="训练一个运行目录 / train, or resume, a run folder")
    train.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    train.set_defaults(run=_train)
    verify = commands.add_parser("verify", help="检查一个适配器 / check an adapter folder")
    verify.add_argument("folder", type=Path, metavar="ADAPTER_DIR")
    verify.set_defaults(run=_verify)
    args = parser.parse_args()
    try:
        return int(args.run(args))
    except FinetuneError as error:
        print(f"{error} / {error.en}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _train(args: argparse.Namespace) -> int:
    from finetune import encoder, generator
    from finetune.runs import RunConfig

    def show(report: Progress) -> None:
        print(json.dumps(report.to_json()), flush=True)

    trainer = encoder if RunConfig.read(args.run_dir).kind == "encoder" else generator
    print(json.dumps(asdict(trainer.train(args.run_dir, show))))
    return 0


def _verify(args: argparse.Namespace) -> int:
    from finetune import registry

    print(json.dumps(registry.verify(args.folder).to_json(), ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
