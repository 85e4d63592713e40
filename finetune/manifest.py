"""`kefu-model.json`: what a prepared base model is, where it came from, and the checksums of its files."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from finetune.atomic import write_json
from finetune.catalogue import ModelSpec, Role
from finetune.errors import DamagedFileError, ModelError
from finetune.progress import OnProgress, Step, silent

MANIFEST = "kefu-model.json"
CHECKSUM_CACHE = ".kefu-checksum.json"
# Raised when a release converts differently: folders of an older conversion are then prepared again.
CONVERSION = 1
CHUNK_BYTES = 1 << 20
ROLES: dict[str, Role] = {role: role for role in get_args(Role)}
# What a model computes with; generation_config.json, read-mes and the like may change under it.
IDENTITY_NAMES = {
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
}


@dataclass(frozen=True, slots=True)
class FileRecord:
    """Size and content of one file."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ModelManifest:
    """The manifest of a prepared model; `checksum` is what an adapter trained on it is bound to."""

    name: str
    role: Role
    source: dict[str, Any]
    licence: str
    checksum: str
    files: dict[str, FileRecord]
    conversion: int


def sha256_file(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """SHA-256 of a file's content in hexadecimal; `on_bytes(read so far)` after each MiB."""
    digest, read = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            read += len(chunk)
            if on_bytes:
                on_bytes(read)
    return digest.hexdigest()


def record_files(folder: Path) -> dict[str, FileRecord]:
    """Size and checksum of every file of a folder but the manifest and hidden ones, by its name within the folder."""
    return {
        path.relative_to(folder).as_posix(): FileRecord(path.stat().st_size, sha256_file(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST and not path.relative_to(folder).as_posix().startswith(".")
    }


def checksum_of(files: dict[str, FileRecord]) -> str:
    """SHA-256 over the sorted (file, sha256) of weights, config and tokenizer: the identity of a base model."""
    lines = [f"{name}\0{files[name].sha256}\n" for name in sorted(files) if _is_identity(name)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def write_manifest(folder: Path, spec: ModelSpec, source: dict[str, Any]) -> None:
    """Writes the manifest of the files as they are; the last file to be written, so that its presence means whole."""
    files = record_files(folder)
    content: dict[str, Any] = {
        "name": spec.name,
        "role": spec.role,
        "source": source,
        "licence": spec.licence,
        "homepage": f"https://huggingface.co/{spec.hub}",
        "parameters": spec.parameters,
        "languages": list(spec.languages),
        "conversion": CONVERSION,
        "checksum": checksum_of(files),
        **(asdict(spec.use) if spec.use else {}),
        "files": {name: asdict(record) for name, record in files.items()},
    }
    write_json(folder / MANIFEST, content)


def read_manifest(folder: Path) -> ModelManifest | None:
    """The manifest of a prepared folder; None where there is none.

    Raises DamagedFileError where it cannot be read, or where its own checksum does not belong to its files.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        manifest = ModelManifest(
            name=str(content["name"]),
            role=ROLES[content["role"]],
            source=dict(content["source"]),
            licence=str(content["licence"]),
            checksum=str(content["checksum"]),
            files={str(name): FileRecord(**record) for name, record in content["files"].items()},
            conversion=int(content["conversion"]),
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedFileError.form(path, f"不是完整的清单（{error}）", f"not a whole manifest ({error})") from error
    if manifest.checksum != checksum_of(manifest.files):
        raise DamagedFileError.checksum(path, manifest.checksum, checksum_of(manifest.files))
    return manifest


def size_problems(folder: Path, manifest: ModelManifest) -> Iterator[DamagedFileError]:
    """Files that are missing or of another size than the manifest says: a check that costs no reading."""
    for name, record in manifest.files.items():
        path = folder / name
        if not path.is_file():
            yield DamagedFileError.missing(path)
        elif (found := path.stat().st_size) != record.bytes:
            yield DamagedFileError.size(path, record.bytes, found)


def content_problems(
    folder: Path, manifest: ModelManifest, on_progress: OnProgress = silent
) -> Iterator[DamagedFileError]:
    """Every file that is missing, or whose content is not the manifest's; reads all of them."""
    for name, record in manifest.files.items():
        path = folder / name

        def report(read: int, name: str = name, total: int = record.bytes) -> None:
            on_progress(Step(manifest.name, "checking", name, read, total))

        if not path.is_file():
            yield DamagedFileError.missing(path)
        elif (found := sha256_file(path, report)) != record.sha256:
            yield DamagedFileError.checksum(path, record.sha256, found)


def model_checksum(folder: Path) -> str:
    """The identity of the base model in `folder`: 64 hexadecimal digits, what adapter manifests call the base checksum.

    Of a prepared model it is read from the manifest. Another Hugging Face folder is hashed, and the result kept beside
    the files under their sizes and times. Raises ModelError where there is no model.
    """
    manifest = read_manifest(folder)
    if manifest:
        return manifest.checksum
    paths = identity_files(folder)
    if not any(path.suffix == ".safetensors" for path in paths):
        raise ModelError(
            "model_missing",
            f"{folder} 里没有模型：需要 config.json 和 .safetensors 权重。",
            f"{folder} holds no model: config.json and .safetensors weights are needed.",
        )
    key = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in paths]
    cache = folder / CHECKSUM_CACHE
    try:
        kept = json.loads(cache.read_text(encoding="utf-8"))
        if kept["files"] == key:
            return str(kept["checksum"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    found = checksum_of({path.name: FileRecord(path.stat().st_size, sha256_file(path)) for path in paths})
    _keep(cache, {"files": key, "checksum": found})
    return found


def identity_files(folder: Path) -> list[Path]:
    """The weights, config and tokenizer files of a Hugging Face folder, sorted by name."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_file() and _is_identity(path.name))


def _is_identity(name: str) -> bool:
    return name in IDENTITY_NAMES or name.endswith(".safetensors")


def _keep(cache: Path, content: dict[str, Any]) -> None:
    try:
        cache.write_text(json.dumps(content), encoding="utf-8")
    except OSError:
        # A folder on a read-only share: hashing again is all it costs.
        return
