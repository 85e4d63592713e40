"""Base models from the Hugging Face hub, where there is a network: one revision, checked, weights as safetensors.

https://huggingface.co/docs/huggingface_hub/package_reference/file_download
"""

import json
import shutil
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.catalogue import EncoderUse, ModelSpec, Pooling, Role
from finetune.errors import DamagedFileError, ModelError
from finetune.fetch import check_disk_space
from finetune.manifest import sha256_file
from finetune.progress import OnProgress, Step

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo, RepoSibling

# Nothing that could be run: no code, and pickled weights only where there are no others.
WANTED = ("*.json", "*.safetensors", "tokenizer.model", "*.jinja", "*.txt", "sentencepiece.bpe.model", "LICENSE*")
UNWANTED = ("onnx/*", "openvino/*", "*/*.safetensors")
PICKLED = "pytorch_model.bin"
TIMEOUT_SECONDS = 15
POOLING_MODES: dict[str, Pooling] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_mean_tokens": "mean",
}


def download_model(spec: ModelSpec, folder: Path, on_progress: OnProgress) -> tuple[dict[str, Any], ModelSpec]:
    """Fetches the newest revision of `spec.hub` into `folder`: where it came from, and `spec` with what the files say.

    What is already there of that revision is not fetched again. Raises ModelError without a network or for a repository
    that has no usable model, DamagedFileError for a file that is not what the hub says.
    """
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    try:
        info = HfApi().model_info(spec.hub, files_metadata=True, timeout=TIMEOUT_SECONDS)
        wanted = _wanted_files(spec, info)
        check_disk_space(folder, sum(file.size or 0 for file in wanted), spec.name)
        for file in wanted:
            size = file.size or 0
            on_progress(Step(spec.name, "downloading", file.rfilename, 0, size))
            path = Path(hf_hub_download(spec.hub, file.rfilename, revision=info.sha, local_dir=folder))
            _check(path, file)
            on_progress(Step(spec.name, "downloading", file.rfilename, size, size))
    except ModelError:
        raise
    # The client raises its own, httpx' and the system's errors; all mean the same to the user.
    except Exception as error:
        raise _unreachable(spec, error) from error
    if (folder / PICKLED).is_file():
        _unpickle(folder / PICKLED)
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    licence = (info.card_data.get("license") if info.card_data else None) or spec.licence
    role = detect_role(folder)
    use = spec.use or (read_use(folder) if role == "encoder" else None)
    return {"hub": spec.hub, "revision": info.sha}, replace(spec, licence=str(licence), role=role, use=use)


def _wanted_files(spec: ModelSpec, info: "ModelInfo") -> "list[RepoSibling]":
    files = [file for file in info.siblings or [] if _is_wanted(file.rfilename)]
    names = {file.rfilename for file in files}
    if not any(name.endswith(".safetensors") for name in names):
        files += [file for file in info.siblings or [] if file.rfilename == PICKLED]
    if "config.json" not in names or not any(file.rfilename.endswith((".safetensors", PICKLED)) for file in files):
        raise ModelError(
            "hub_no_model",
            f"{spec.hub} 里没有可用的模型：需要 config.json 和 .safetensors 权重。",
            f"{spec.hub} has no usable model: config.json and .safetensors weights are needed.",
        )
    return files


def _is_wanted(name: str) -> bool:
    return any(fnmatch(name, form) for form in WANTED) and not any(fnmatch(name, form) for form in UNWANTED)


def _check(path: Path, file: "RepoSibling") -> None:
    """Refuses a file that is not what the hub says, and removes it, so that the next run fetches it again."""
    found_bytes, found = path.stat().st_size, sha256_file(path) if file.lfs else ""
    if file.size not in (None, found_bytes):
        path.unlink()
        raise DamagedFileError.size(path.name, file.size or 0, found_bytes)
    if file.lfs and found != file.lfs.sha256:
        path.unlink()
        raise DamagedFileError.checksum(path.name, file.lfs.sha256, found)


def _unpickle(path: Path) -> None:
    """Rewrites pickled weights as safetensors; only tensors are read, no code of the pickle runs."""
    import torch
    from safetensors.torch import save_file

    weights = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    save_file(
        {k: v.clone() for k, v in weights.items()}, path.with_name("model.safetensors"), metadata={"format": "pt"}
    )
    path.unlink()


def _unreachable(spec: ModelSpec, error: Exception) -> ModelError:
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return ModelError(
        "hub_unreachable",
        f"无法从模型站取得 {spec.hub}：{reason}。没有网络时请改用内置模型，或在设置里填写本地模型文件夹的路径。",
        f"{spec.hub} cannot be fetched from the hub: {reason}. Without a network use the embedded models, or name a "
        "local model folder in the settings.",
    )


def detect_role(folder: Path) -> Role:
    """What a Hugging Face folder holds, by its architecture; with sentence-transformers' files it is an encoder."""
    architectures = _read_json(folder / "config.json").get("architectures") or []
    heads: dict[str, Role] = {"ForCausalLM": "generator", "ForSequenceClassification": "reranker"}
    found = (role for name in architectures for head, role in heads.items() if str(name).endswith(head))
    return "encoder" if (folder / "modules.json").exists() else next(found, "encoder")


def read_use(folder: Path) -> EncoderUse:
    """How an encoder wants its texts, from what sentence-transformers keeps in its folders; else mean pooling."""
    pooling = _read_json(folder / "1_Pooling" / "config.json")
    prompts = _read_json(folder / "config_sentence_transformers.json").get("prompts") or {}
    limit = _read_json(folder / "sentence_bert_config.json").get("max_seq_length") or 512
    return EncoderUse(
        pooling=next((mode for key, mode in POOLING_MODES.items() if pooling.get(key)), "mean"),
        query_prefix=str(prompts.get("query", "")),
        passage_prefix=str(prompts.get("passage", prompts.get("document", ""))),
        max_tokens=int(limit),
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
