"""An adapter that was trained elsewhere: taken apart, looked at and copied, and nothing of it believed or executed.

Only LoRA weights in safetensors and their configuration are taken over; a calibration, a report or code stays behind.
"""

import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from finetune.atomic import sync_file, write_failed, write_json
from finetune.catalogue import find_spec
from finetune.errors import FinetuneError
from finetune.registry import MANIFEST, REQUIRED

CONFIG, WEIGHTS = REQUIRED
BYTES_MAX = {CONFIG: 1 << 20, MANIFEST: 1 << 20, WEIGHTS: 2 << 30}
KINDS = {"FEATURE_EXTRACTION": "encoder", "CAUSAL_LM": "generator"}
# Of a foreign configuration, what would have something imported or fetched.
DROPPED = ("auto_mapping", "loftq_config", "eva_config", "corda_config", "megatron_config", "megatron_core")


@dataclass(frozen=True, slots=True)
class Foreign:
    """What a folder says of itself. `claims` is its manifest, where it has one: of a Kefu elsewhere, or of nobody."""

    kind: str
    base_name: str
    claims: dict[str, Any] = field(default_factory=dict)

    def check_base(self, name: str, checksum: str) -> None:
        """Raises FinetuneError `adapter_foreign` where it says that it was trained on another base model."""
        claimed = str(self.claims.get("base_checksum") or "")
        spec = find_spec(name)
        names = {name.casefold()} | ({spec.hub.rpartition("/")[2].casefold()} if spec else set())
        own = self.base_name.replace("\\", "/").rstrip("/").rpartition("/")[2].casefold()
        if (claimed and claimed != checksum) or (not claimed and own and own not in names):
            raise FinetuneError(
                "adapter_foreign",
                f"这个适配器是在另一个基础模型（{self.base_name or '未注明'}）上训练的，不能用于现在的模型（{name}）。",
                f"This adapter was trained on another base model ({self.base_name or 'unnamed'}) and does not fit this "
                f"one ({name}).",
            )


def take_over(source: Path, target: Path, kind: str | None = None) -> Foreign:
    """Copies the adapter in `source` (a folder or a zip file) to the new folder `target`; returns what it says it is.

    Raises:
        FinetuneError: `adapter_import` where it is none, or not one that may be loaded; `write_failed`.
    """
    with _folder_of(source) as folder:
        config = _json(folder / CONFIG, source)
        claims = _json(folder / MANIFEST, source) if (folder / MANIFEST).is_file() else {}
        if config.get("peft_type") != "LORA":
            raise _refused(
                source, f"不是 LoRA（{config.get('peft_type')!r}）", f"no LoRA ({config.get('peft_type')!r})"
            )
        found = kind or claims.get("kind") or KINDS.get(str(config.get("task_type")))
        if found not in KINDS.values():
            raise _refused(
                source, "看不出是编码器还是生成器，请用 --kind 指明", "encoder or generator? Say so with --kind"
            )
        _check_weights(source, folder / WEIGHTS, config.get("target_modules"))
        foreign = Foreign(str(found), str(config.get("base_model_name_or_path") or ""), claims)
        try:
            target.mkdir(parents=True)
            write_json(target / CONFIG, {key: value for key, value in config.items() if key not in DROPPED})
            shutil.copyfile(folder / WEIGHTS, target / WEIGHTS)
            sync_file(target / WEIGHTS)
        except OSError as error:
            shutil.rmtree(target, ignore_errors=True)
            raise write_failed(target, error) from error
    return foreign


@contextmanager
def _folder_of(source: Path) -> Iterator[Path]:
    """The folder that holds the configuration: `source`, or the one folder in it, or what a zip file holds of them."""
    if source.is_dir():
        yield _folder_in(source, source)
        return
    if not source.is_file():
        raise _refused(source, "没有这个文件或文件夹", "there is no such file or folder")
    with TemporaryDirectory(prefix="kefu-import-") as temporary:
        _unzip(source, Path(temporary))
        yield _folder_in(Path(temporary), source)


def _folder_in(where: Path, source: Path) -> Path:
    """`where`, or the one folder in it, which lies in it or was unpacked from `source`: that is what a person knows."""
    inner = [where, *sorted(path for path in where.iterdir() if path.is_dir())]
    folder = next((one for one in inner if (one / CONFIG).is_file()), None)
    if folder is None:
        raise _refused(source, f"里面没有 {CONFIG}", f"there is no {CONFIG} in it")
    for name in (CONFIG, WEIGHTS, MANIFEST):
        path = folder / name
        if path.is_symlink() or (name in REQUIRED and not path.is_file()):
            raise _refused(source, f"缺少文件 {name}", f"the file {name} is missing")
        if path.is_file() and path.stat().st_size > BYTES_MAX[name]:
            raise _refused(source, f"文件 {name} 太大", f"the file {name} is too large")
    return folder


def _unzip(source: Path, target: Path) -> None:
    """Writes the few files wanted, by names of our own, never more bytes than allowed, whatever the archive says."""
    try:
        with zipfile.ZipFile(source) as archive:
            for member in archive.namelist():
                name = member.rpartition("/")[2]
                if name not in BYTES_MAX or member.count("/") > 1:
                    continue
                with archive.open(member) as packed, (target / name).open("xb") as file:
                    left = BYTES_MAX[name] + 1
                    while left > 0 and (part := packed.read(min(left, 1 << 20))):
                        file.write(part)
                        left -= len(part)
    except (zipfile.BadZipFile, FileExistsError, NotImplementedError, RuntimeError, EOFError) as error:
        raise _refused(source, "不是可以读取的 zip 文件", "not a zip file that can be read") from error
    except OSError as error:
        raise write_failed(target, error) from error


def _json(path: Path, source: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise TypeError("not an object")
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise _refused(source, f"{path.name} 不是 JSON 对象", f"{path.name} is not a JSON object") from error
    return found


def _check_weights(source: Path, path: Path, targets: Any) -> None:
    """LoRA matrices only, all of them numbers, and for layers that the configuration lists."""
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            strange = [name for name in names if ".lora_" not in name]
            if not names or strange:
                shown = strange[0] if strange else "–"
                raise _refused(source, f"权重里有 LoRA 以外的内容：{shown}", f"it has weights beside LoRA: {shown}")
            if not all(bool(torch.isfinite(file.get_tensor(name)).all()) for name in names):
                raise _refused(source, "权重里有不是数的值", "its weights are not all numbers")
            layers = {name.partition(".lora_")[0] for name in names}
            # One text instead of a list is a pattern. A list may name layers that this base lacks, but not only those.
            listed = [str(one) for one in targets] if isinstance(targets, list) else []
            if listed and not any(f".{layer}".endswith(f".{one}") for layer in layers for one in listed):
                raise _refused(
                    source,
                    f"配置里的层（{listed[0]}）在权重里一个也没有，配置和权重不是一起的",
                    f"it has no weights for its configuration's layers ({listed[0]}): the two do not belong together",
                )
    except (SafetensorError, OSError) as error:
        raise _refused(source, "权重文件无法读取", "its weights cannot be read") from error


def _refused(source: Path, zh: str, en: str) -> FinetuneError:
    return FinetuneError(
        "adapter_import", f"{source.name} 不能作为适配器导入：{zh}。", f"{source.name} cannot be imported: {en}."
    )
