"""The folder of one training run: what it was given and what became of it.

config.json  train.jsonl  heldout.jsonl  entries.jsonl (encoder)  checkpoints/  progress.jsonl  adapter/  result.json
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from finetune.atomic import sync_file, sync_folder, write_failed, write_json
from finetune.data import data_hash
from finetune.errors import FinetuneError

Kind = Literal["encoder", "generator"]
DATA_FILES = ("train.jsonl", "heldout.jsonl", "entries.jsonl")
O = TypeVar("O")  # noqa: E741
V = TypeVar("V", int, float)


def option(default: V, least: float, most: float, zh: str, en: str) -> V:
    """A field of an options dataclass: the bounds that `options_from` holds its value to, both included, and what it
    means; `docs/training.md` lists them from here.
    """
    return field(default=default, metadata={"bounds": (least, most), "zh": zh, "en": en})


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What a run trains from. `base_folder` is where the base model lies here; `base_checksum` is what it is."""

    kind: Kind
    base_name: str
    base_folder: Path
    base_checksum: str
    options: dict[str, Any] = field(default_factory=dict)

    def write(self, run_dir: Path) -> None:
        write_json(run_dir / "config.json", {**asdict(self), "base_folder": str(self.base_folder)})

    @classmethod
    def read(cls, run_dir: Path) -> "RunConfig":
        """The configuration of a run folder; FinetuneError where it is missing or damaged."""
        try:
            raw = json.loads((run_dir / "config.json").read_text(encoding="utf-8"))
            known = {f.name: raw[f.name] for f in fields(cls) if f.name in raw}
            config = cls(**{**known, "base_folder": Path(known["base_folder"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FinetuneError(
                "run_unreadable",
                f"训练目录 {run_dir} 不完整或已损坏，请重新开始训练。",
                f"The run folder {run_dir} is incomplete or damaged; start a new training.",
            ) from error
        if config.kind not in get_args(Kind):
            raise FinetuneError("run_kind", f"不认识的训练种类 {config.kind!r}。", f"Unknown kind {config.kind!r}.")
        return config


def run_data_hash(run_dir: Path) -> str:
    """SHA-256 of the run's data files."""
    return data_hash(*[run_dir / name for name in DATA_FILES if (run_dir / name).exists()])


def fingerprint(run_dir: Path, config: RunConfig) -> str:
    """Names data, base and options: checkpoints of another one are not continued."""
    parts = json.dumps([config.kind, config.base_checksum, config.options, run_data_hash(run_dir)], sort_keys=True)
    return hashlib.sha256(parts.encode()).hexdigest()


def options_from(cls: Callable[..., O], raw: dict[str, Any]) -> O:
    """The options dataclass `cls` filled from plain values.

    Raises:
        FinetuneError: an option that does not exist, or a value of the wrong kind or out of range, by name.
    """
    options = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    for name, value in raw.items():
        if name not in options:
            known = ", ".join(options)
            raise FinetuneError(
                "option_unknown", f"没有训练参数 {name}；可用的有：{known}。", f"No option {name}; there are: {known}."
            )
        whole = isinstance(options[name].default, int)
        number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        least, most = options[name].metadata["bounds"]
        if not (number and least <= value <= most):
            zh, en = ("整数", "a whole number") if whole else ("数", "a number")
            seen = json.dumps(value, ensure_ascii=False, default=repr)[:60]
            raise FinetuneError(
                "option_value",
                f"训练参数 {name} 应为 {least} 到 {most} 的{zh}，不是 {seen}。",
                f"The option {name} must be {en} from {least} to {most}, not {seen}.",
            )
    return cls(**raw)


def replace_folder(run_dir: Path, write: Callable[[Path], None], name: str = "adapter") -> Path:
    """Lets `write` fill a new folder and puts it in place of `run_dir/name` at once; returns it."""
    temporary, final = run_dir / f".{name}.part", run_dir / name
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        write(temporary)
        for file in temporary.iterdir():
            sync_file(file)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise write_failed(final, error) from error
    shutil.rmtree(final, ignore_errors=True)
    temporary.rename(final)
    sync_folder(run_dir)
    return final
