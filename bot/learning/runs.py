"""Training runs: prepared from the database, carried out by a process of their own, resumed where they stopped."""

import asyncio
import fcntl
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from bot.calibrations import models_of
from bot.errors import NotFoundError
from bot.learning import dataset, releases
from bot.learning.papers import GOLDEN
from bot.storage import adapters, audit, data_sets
from bot.storage.adapters import Kind
from finetune.atomic import sync_folder, write_json, write_lines
from finetune.errors import FinetuneError
from finetune.registry import NAME, new_name
from finetune.runs import RunConfig, fingerprint, options_from, run_data_hash

if TYPE_CHECKING:
    from bot.config import Settings
    from bot.storage.database import Database

RESULT, CONTEXT = "result.json", "run.json"
# What is kept of the manifest of an adapter from elsewhere: nothing that is checked or measured here.
CLAIMED = ("name", "data_hash", "examples", "created_at", "signature")
DATA_LOCK, LOOK_SECONDS = ".runs.lock", 0.05


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run ready to be carried out. `resumed` where an interrupted one of the same data goes on."""

    name: str
    folder: Path
    resumed: bool
    summary: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Context:
    """What the worker needs beside the run's own configuration; all of it survives in `run.json`.

    `models` is what a calibration is fitted for (`calibrations.models_of`), `reranker` the folder of the one in use.
    `imported` is what an adapter trained elsewhere claims to be: its run has nothing to train and is compared at once.
    """

    parent: str | None
    adapters_dir: Path
    threads: int | None
    answer_threshold: float | None
    clarify_threshold: float | None
    summary: dict[str, Any]
    seconds_before: float = 0.0
    models: str = ""
    reranker: str | None = None
    imported: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        write_json(folder / CONTEXT, {**asdict(self), "adapters_dir": str(self.adapters_dir)})

    @classmethod
    def read(cls, folder: Path) -> "Context":
        raw = json.loads((folder / CONTEXT).read_text(encoding="utf-8"))
        return cls(**{**raw, "adapters_dir": Path(raw["adapters_dir"])})


def runs_dir(settings: "Settings") -> Path:
    return settings.data / "runs"


@asynccontextmanager
async def data_held(settings: "Settings") -> AsyncIterator[None]:
    """The files of runs and what the database knows of them, to oneself: one at a time, also among processes."""
    settings.data.mkdir(parents=True, exist_ok=True)
    with (settings.data / DATA_LOCK).open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:  # asked again: a thread that waits in the system could not be cancelled
                await asyncio.sleep(LOOK_SECONDS)
        yield


def check_options(kind: Kind, options: dict[str, Any]) -> None:
    """Raises FinetuneError for an option that does not exist or a value that cannot be, by name."""
    if kind == "encoder":
        from finetune.encoder import EncoderOptions

        options_from(EncoderOptions, options)
    else:
        from finetune.generator import GeneratorOptions

        options_from(GeneratorOptions, options)


async def prepare(
    database: "Database",
    settings: "Settings",
    kind: Kind,
    options: dict[str, Any] | None = None,
    dialogs: Path | None = None,
) -> Prepared:
    """Writes the run's folder, or finds the interrupted run that has the same data, options and models.

    Raises:
        FinetuneError: bad options, an unreadable file of conversations, nothing to learn from.
        KnowledgeError: a line of the golden set is none.
        ModelError: the base model is not prepared.
    """
    check(settings, kind, options or {})
    return await _prepare(database, settings, kind, options or {}, dialogs)


def check(settings: "Settings", kind: Kind, options: dict[str, Any]) -> None:
    """Raises FinetuneError for what can be refused before any data is read."""
    check_options(kind, options)
    if kind == "generator" and not settings.generator:
        raise FinetuneError(
            "no_generator",
            "设置中没有生成模型（generator 为空），无法训练。",
            "There is no generator in the settings (generator is empty), so none can be trained.",
        )


async def prepare_import(database: "Database", settings: "Settings", source: Path, kind: str | None = None) -> Prepared:
    """The run that measures an adapter trained elsewhere (a peft folder or a zip file), with the same papers.

    Raises:
        FinetuneError: it is no adapter, or of another base model; as `prepare`.
    """
    from finetune.foreign import take_over
    from finetune.models import model_checksum

    home = runs_dir(settings)
    home.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".import-", dir=home) as temporary:
        taken = Path(temporary) / "adapter"
        foreign = await asyncio.to_thread(take_over, source, taken, kind)
        base = releases.base_folder(settings, releases.as_kind(foreign.kind))
        foreign.check_base(base.name, await asyncio.to_thread(model_checksum, base))
        return await _prepare(database, settings, releases.as_kind(foreign.kind), {}, None, (taken, foreign.claims))


async def _prepare(
    database: "Database",
    settings: "Settings",
    kind: Kind,
    options: dict[str, Any],
    dialogs: Path | None,
    taken: tuple[Path, dict[str, Any]] | None = None,
) -> Prepared:
    base = releases.base_folder(settings, kind)
    # Whoever is forgotten from here on waits, and then finds the files and what is on record of them.
    async with data_held(settings):
        async with database.reading() as session:
            parent = (await adapters.active(session))[kind]
        material = await gather(database, settings, dialogs)
        prepared = await asyncio.to_thread(_write, settings, kind, options, base, parent, material, taken)
        if taken:
            return prepared  # it has not learnt from any of this
        async with database.session() as session:
            data, sources = run_data_hash(prepared.folder), dataset.labels(material).sources
            await data_sets.record(session, prepared.name, data, kind, prepared.summary["train"], sources)
    return prepared


async def gather(database: "Database", settings: "Settings", dialogs: Path | None) -> dataset.Material:
    """What there is to learn from. Raises FinetuneError where the knowledge base is empty; as `dataset.gather`."""
    material = await dataset.gather(database, dialogs, settings.company_name)
    if not material.entries:
        raise FinetuneError(
            "no_entries",
            "知识库里还没有条目，无法训练；请先导入问答（kefu import）。",
            "The knowledge base has no entries to learn from; import some first (kefu import).",
        )
    return material


def _write(
    settings: "Settings",
    kind: Kind,
    options: dict[str, Any],
    base: Path,
    parent: str | None,
    material: Any,
    taken: tuple[Path, dict[str, Any]] | None,
) -> Prepared:
    from finetune.registry import file_record

    home = runs_dir(settings)
    fresh = home / f".new-{os.getpid()}-{kind}"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    claims: dict[str, Any] = {}
    if taken:
        shutil.copytree(taken[0], fresh / "adapter")
        claims = {key: taken[1][key] for key in CLAIMED if key in taken[1]} | {
            "weights": file_record(taken[0] / "adapter_model.safetensors")["sha256"]
        }
    config, summary = fill(fresh, settings, kind, options, base, parent, material, claims)
    if earlier := _unfinished(home, fingerprint(fresh, config), parent, claims):
        shutil.rmtree(fresh)
        return Prepared(earlier.name, earlier, resumed=True, summary=summary)
    name = new_name(kind, settings.data / "adapters")
    while (home / name).exists():
        name += "-2"
    fresh.rename(home / name)
    sync_folder(home)
    return Prepared(name, home / name, resumed=False, summary=summary)


def fill(
    fresh: Path,
    settings: "Settings",
    kind: Kind,
    options: dict[str, Any],
    base: Path,
    parent: str | None,
    material: dataset.Material,
    claims: dict[str, Any],
) -> tuple[RunConfig, dict[str, Any]]:
    """Writes what a run learns from, and what its worker needs to know; returns its configuration and summary."""
    from finetune.models import model_checksum, model_folder
    from knowledge.evaluate import read_queries

    config = RunConfig(kind, base.name, base.resolve(), model_checksum(base), options)
    write = dataset.write_encoder if kind == "encoder" else dataset.write_generator
    summary = asdict(write(material, fresh, seed=int(options.get("seed", 20260101))))
    config.write(fresh)
    if (settings.data / GOLDEN).is_file():
        write_lines(fresh / GOLDEN, read_queries(settings.data / GOLDEN))  # frozen as it is now
    Context(
        parent=parent,
        adapters_dir=(settings.data / "adapters").resolve(),
        threads=settings.engine_threads,
        answer_threshold=settings.answer_threshold,
        clarify_threshold=settings.clarify_threshold,
        summary=summary,
        models=models_of(settings),
        reranker=str(model_folder(settings.reranker, settings.models).resolve()) if settings.reranker else None,
        imported=claims,
    ).write(fresh)
    return config, summary


def _unfinished(home: Path, wanted: str, parent: str | None, claims: dict[str, Any]) -> Path | None:
    """The newest run without a result whose data, options, base and rival are the same."""
    for folder in sorted(home.iterdir(), reverse=True):
        if folder.name.startswith(".") or (folder / RESULT).exists() or not (folder / CONTEXT).exists():
            continue
        with suppress(FinetuneError, OSError, ValueError, TypeError):
            same = fingerprint(folder, RunConfig.read(folder)) == wanted
            context = Context.read(folder)
            if same and context.parent == parent and context.imported == claims:
                return folder
    return None


def find(settings: "Settings", name: str) -> Prepared:
    """An interrupted run by its name. Raises NotFoundError where there is none, or it is finished."""
    folder = runs_dir(settings) / name
    if not NAME.fullmatch(name) or not (folder / CONTEXT).is_file() or (folder / RESULT).exists():
        raise NotFoundError(
            "run_not_found",
            f"没有可以继续的训练 {name}",
            f"There is no interrupted training {name} to resume",
        )
    return Prepared(name, folder, resumed=True, summary=Context.read(folder).summary)


async def register(database: "Database", manifest: dict[str, Any], actor: str) -> None:
    """Makes the installed adapter known, on record; it is not activated."""
    async with database.session() as session:
        await adapters.register(session, manifest)
        detail = {"kind": manifest["kind"], "verdict": manifest["verdict"]["outcome"]}
        await audit.record(session, actor, "training.done", manifest["name"], detail)


def curve(folder: Path, points_max: int = 400) -> list[dict[str, Any]]:
    """[{"step", "loss", "heldout"?}] of a run so far, thinned out; every held-out measurement stays."""
    rows: list[dict[str, Any]] = []
    with suppress(OSError):
        for line in (folder / "progress.jsonl").read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):
                row = json.loads(line)
                rows.append({key: row[key] for key in ("step", "loss", "heldout") if key in row})
    stride = max(1, len(rows) // points_max)
    return [row for i, row in enumerate(rows) if i % stride == 0 or "heldout" in row or i == len(rows) - 1]
