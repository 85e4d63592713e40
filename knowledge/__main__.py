"""`python -m knowledge`: retrieval figures of any encoder on any question set, and what a file reads as."""

import argparse
import json
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

from knowledge.errors import KnowledgeError
from knowledge.types import ProgressCallback


def main(arguments: list[str] | None = None) -> int:
    """0 on success, 1 with one sentence on stderr on failure, 2 on wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except KnowledgeError as error:
        if getattr(options, "json", False):
            print(json.dumps({"error": {"code": error.code, "zh": error.zh, "en": error.en}}))
        else:
            print(f"{error.zh}\n{error.en}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m knowledge", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    evaluate = commands.add_parser("eval", help="hit@k, MRR, decisions and calibration on labelled queries")
    evaluate.add_argument("--model", type=Path, required=True, help="folder of the encoder")
    evaluate.add_argument("--adapter", type=Path, help="peft folder merged into it")
    evaluate.add_argument("--faq", type=Path, required=True, help="question-answer file")
    evaluate.add_argument("--queries", type=Path, required=True, help="labelled queries, JSON Lines")
    evaluate.add_argument("--dense-only", action="store_true", help="rank by similarity alone")
    evaluate.add_argument("--predictions", type=Path, help="write one prediction a line to this file")
    evaluate.set_defaults(run=_evaluate)
    read = commands.add_parser("read", help="what a file holds, and what in it cannot be used")
    read.add_argument("file", type=Path)
    read.add_argument("--name", help="the name the user knows the file by")
    read.add_argument("--json", action="store_true", help="the whole result as one JSON document")
    read.add_argument("--memory-bytes", type=int, help="most memory this process may take")
    read.add_argument(
        "--until-input-ends", action="store_true", help="end at once when standard input does: with the parent process"
    )
    read.set_defaults(run=_read)
    return parser


def _evaluate(options: argparse.Namespace) -> int:
    from knowledge.encoders import TransformerEncoder
    from knowledge.evaluate import build_index, evaluate, read_queries

    queries = read_queries(options.queries)
    encoder = TransformerEncoder(options.model, options.adapter)
    progress = _progress if sys.stderr.isatty() else None
    index = build_index(options.faq, encoder, on_progress=progress)
    predictions, report = evaluate(index, queries, dense_only=options.dense_only, on_progress=progress)
    if options.predictions:
        lines = (json.dumps(prediction, ensure_ascii=False) + "\n" for prediction in predictions)
        options.predictions.write_text("".join(lines), encoding="utf-8")
    print(json.dumps(report, indent=1))
    return 0


def _end_with_input() -> None:
    """For a thread: ends this process when nobody holds the other end of its standard input any more."""
    with suppress(OSError):
        while os.read(0, 4096):
            pass
    os._exit(1)


def _read(options: argparse.Namespace) -> int:
    if options.until_input_ends:
        threading.Thread(target=_end_with_input, daemon=True).start()
    if options.memory_bytes:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (options.memory_bytes, options.memory_bytes))
    from knowledge.readers.isolated import to_json
    from knowledge.readers.open import read

    result = read(options.file, options.name)
    if options.json:
        print(json.dumps(to_json(result)))
        return 0
    for place, entry in zip(result.places, result.entries, strict=True):
        print(f"{place}\t{entry.question}")
    for passage in result.passages:
        print(f"{passage.title}\t{passage.text[:40]!r}")
    for problem in result.problems:
        print(f"{problem.place}\t{problem.reason}\t{problem.question}", file=sys.stderr)
    return 0


def _show(done: int, total: int, note: str = "") -> None:
    print(f"\r{done}/{total} {note}", end="\n" if done == total else "", file=sys.stderr, flush=True)


_progress: ProgressCallback = _show

if __name__ == "__main__":
    sys.exit(main())
