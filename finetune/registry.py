"""Installed adapters: folders with a manifest, written whole or not at all, and checked before they are used.

An adapter folder is a peft folder (`adapter_config.json`, `adapter_model.safetensors`) with `manifest.json`, and
`calibration.json` where an encoder has its own thresholds. The manifest lists every file by size and SHA-256 but itself
and those that may change later: the calibration, which may be fitted anew, and the report of the comparison, which
loses the words of whoever is forgotten. It is signed with this installation's key (`finetune.signing`).
"""

import hashlib
import json
import re
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from finetune.atomic import sync_file, sync_folder, write_failed, write_json
from finetune.card import model_card
from finetune.errors import FinetuneError
from finetune.signing import Signer

MANIFEST = "manifest.json"
REPORT, QUESTIONS = "report.json", "questions.jsonl"
CALIBRATION, CARD = "calibration.json", "README.md"
UNLISTED = {MANIFEST, CALIBRATION, CARD, REPORT, QUESTIONS}
REQUIRED = ("adapter_config.json", "adapter_model.safetensors")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an adapter is: from which base and data it came, how, and what it is worth.

    `metrics` is {"before": …, "after": …}; `verdict` {"outcome": "better|not_better|worse|unknown", "zh", "en"}, the
    last two a sentence; `files` maps a name to {"sha256", "bytes"}; `parent` is the adapter active at the training.
    `imported_at` is set where it was trained elsewhere: metrics and verdict are those measured here all the same.
    """

    name: str
    kind: str
    base_model: str
    base_checksum: str
    data_hash: str
    examples: int
    config: dict[str, Any]
    metrics: dict[str, Any]
    verdict: dict[str, str]
    created_at: str
    seconds: float
    parent: str | None = None
    code_version: str = ""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    imported_at: str | None = None
    signature: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Manifest":
        """Raises KeyError or TypeError where a field is missing; unknown fields of newer versions are left out."""
        known = {f.name for f in fields(cls)}
        return cls(**{key: value for key, value in raw.items() if key in known})


def new_name(kind: str, adapters_dir: Path, at: datetime | None = None) -> str:
    """A free name such as `encoder-20260103-150405`."""
    base = f"{kind}-{(at or datetime.now(UTC)).strftime('%Y%m%d-%H%M%S')}"
    name, number = base, 2
    while (adapters_dir / name).exists():
        name, number = f"{base}-{number}", number + 1
    return name


def adapter_folder(adapters_dir: Path, name: str) -> Path:
    """Where the adapter of this name lies. Raises FinetuneError for a name that is none, such as a path."""
    if not NAME.fullmatch(name) or name.startswith("."):
        raise FinetuneError(
            "adapter_name",
            f"{name[:80]!r} 不是适配器的名字：只能用字母、数字、点、横线和下划线。",
            f"{name[:80]!r} is no adapter's name: letters, digits, dots, hyphens and underscores only.",
        )
    return adapters_dir / name


def read(folder: Path) -> Manifest:
    """The manifest of an adapter folder.

    Raises:
        FinetuneError: `adapter_missing` where there is no folder, `adapter_damaged` where its manifest is unreadable.
    """
    if not folder.is_dir():
        raise FinetuneError(
            "adapter_missing", f"适配器 {folder.name} 的文件夹不存在。", f"The adapter {folder.name} has no folder."
        )
    try:
        manifest = Manifest.from_json(_raw(folder))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(folder, f"{MANIFEST} 无法读取", f"{MANIFEST} cannot be read") from error
    if manifest.name != folder.name:
        raise _damaged(folder, f"{MANIFEST} 属于 {manifest.name}", f"{MANIFEST} is that of {manifest.name}")
    return manifest


def verify(folder: Path, base_checksum: str | None = None, signer: Signer | None = None) -> Manifest:
    """The manifest, once every file was read again and is as it was installed; without a signer, whoever signed it.

    Raises:
        FinetuneError: as `read` and `Signer.check`; `adapter_damaged` for a file that is missing, altered or not
            listed; `adapter_foreign` where it was trained on another base model than the one with `base_checksum`.
    """
    manifest = read(folder)
    if signer:
        signer.check(_raw(folder))
    present = {path.name for path in folder.iterdir()} - UNLISTED
    for name in sorted(present | set(manifest.files) | set(REQUIRED)):
        if name not in manifest.files:
            raise _damaged(folder, f"文件 {name} 不在清单里", f"the file {name} is not in its manifest")
        if name not in present:
            raise _damaged(folder, f"缺少文件 {name}", f"the file {name} is missing")
        expected, found = manifest.files[name]["sha256"], file_record(folder / name)["sha256"]
        if expected != found:
            raise _damaged(
                folder,
                f"文件 {name} 被改动过（SHA-256 应为 {expected[:12]}…，实际 {found[:12]}…）",
                f"the file {name} was altered (SHA-256 {expected[:12]}… expected, {found[:12]}… found)",
            )
    if base_checksum is not None and manifest.base_checksum != base_checksum:
        raise FinetuneError(
            "adapter_foreign",
            f"适配器 {manifest.name} 是在另一个基础模型（{manifest.base_model}，校验和 {manifest.base_checksum[:12]}…）"
            f"上训练的，不能用于现在的模型（{base_checksum[:12]}…）。",
            f"The adapter {manifest.name} was trained on another base model ({manifest.base_model}, checksum "
            f"{manifest.base_checksum[:12]}…) and does not fit this one ({base_checksum[:12]}…).",
        )
    return manifest


def install(source: Path, adapters_dir: Path, manifest: Manifest, signer: Signer) -> Manifest:
    """Copies the files of `source` to `adapters_dir/<manifest.name>` and writes the manifest with their checksums,
    signed.

    The folder appears whole: its files are on the disk before it gets its name. Installing the same name again is
    refused unless what lies there is the same adapter (a run resumed after a power cut).

    Raises:
        FinetuneError: the name is taken, a required file is missing, or the disk refuses.
    """
    final = adapter_folder(adapters_dir, manifest.name)
    names = sorted(path.name for path in source.iterdir() if path.is_file() and path.name != MANIFEST)
    if missing := [name for name in REQUIRED if name not in names]:
        raise _damaged(source, f"缺少文件 {missing[0]}", f"the file {missing[0]} is missing")
    complete = replace(manifest, files={name: file_record(source / name) for name in names if name not in UNLISTED})
    complete = Manifest.from_json(signer.sign(complete.to_json()))
    if final.exists():
        if read(final).files == complete.files:
            return read(final)
        raise FinetuneError(
            "adapter_exists", f"已经有名为 {manifest.name} 的适配器。", f"There is already an adapter {manifest.name}."
        )
    temporary = adapters_dir / f".{manifest.name}.part"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for name in names:
            shutil.copyfile(source / name, temporary / name)
            sync_file(temporary / name)
        write_json(temporary / MANIFEST, complete.to_json())
        temporary.rename(final)
        sync_folder(adapters_dir)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise write_failed(final, error) from error
    return complete


def sign(folder: Path, signer: Signer, on_record: Mapping[str, Any]) -> Manifest:
    """Signs an adapter of before there were signatures, where it is as its installation registered it.

    Signed already (the process died before that was registered), it is checked. Raises FinetuneError as `verify`, or
    `adapter_damaged` where its manifest is not the one on record.
    """
    manifest = verify(folder)
    if manifest.signature:
        return verify(folder, None, signer)
    if manifest != Manifest.from_json(on_record):
        raise _damaged(folder, f"{MANIFEST} 与登记的不同", f"{MANIFEST} is not the one on record")
    signed = signer.sign(_raw(folder))
    write_json(folder / MANIFEST, signed)
    return Manifest.from_json(signed)


def list_folders(adapters_dir: Path) -> list[Path]:
    """The adapter folders, by name; unfinished ones are not shown."""
    if not adapters_dir.is_dir():
        return []
    return sorted(path for path in adapters_dir.iterdir() if path.is_dir() and not path.name.startswith("."))


def export(folder: Path, target: Path, signer: Signer) -> Path:
    """The adapter as a peft folder with a model card at `target`, or as one zip file where `target` ends in `.zip`.

    Checked before. The report stays here: it quotes customers. What is exported may be published.

    Raises:
        FinetuneError: as `verify`; `target_exists` where something is there; the disk refuses.
    """
    manifest = verify(folder, None, signer)
    if target.exists():
        raise FinetuneError("target_exists", f"{target} 已经存在。", f"{target} exists already.")
    temporary = target.with_name(f".{target.name}.part")
    names = [MANIFEST, *manifest.files, *[name for name in (CALIBRATION,) if (folder / name).exists()]]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == ".zip":
            with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
                for name in names:
                    archive.write(folder / name, f"{manifest.name}/{name}")
                archive.writestr(f"{manifest.name}/{CARD}", model_card(manifest))
        else:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            for name in names:
                shutil.copyfile(folder / name, temporary / name)
            (temporary / CARD).write_text(model_card(manifest), encoding="utf-8")
        temporary.rename(target)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.unlink(missing_ok=True)
        raise write_failed(target, error) from error
    return target


def remove(adapters_dir: Path, name: str) -> None:
    """Deletes an adapter's folder; it is gone from the list at once. Raises FinetuneError `adapter_missing`."""
    folder = adapter_folder(adapters_dir, name)
    if not folder.is_dir():
        raise FinetuneError("adapter_missing", f"适配器 {name} 的文件夹不存在。", f"The adapter {name} has no folder.")
    grave = adapters_dir / f".{name}.removed"
    shutil.rmtree(grave, ignore_errors=True)
    folder.rename(grave)
    shutil.rmtree(grave, ignore_errors=True)


def _raw(folder: Path) -> dict[str, Any]:
    """The manifest with the fields of newer versions too: the signature covers them."""
    found: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return found


def file_record(path: Path) -> dict[str, Any]:
    """{"sha256", "bytes"} of a file."""
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}


def _damaged(folder: Path, zh: str, en: str) -> FinetuneError:
    return FinetuneError(
        "adapter_damaged",
        f"适配器 {folder.name} 已损坏：{zh}。",
        f"The adapter {folder.name} is damaged: {en}.",
    )
