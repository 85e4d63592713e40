"""LoRA weights on a frozen base: putting them there, loading and saving them (peft).

Hu et al. 2021, https://arxiv.org/abs/2106.09685.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from finetune.errors import FinetuneError


def add_lora(model: Any, rank: int, alpha: int, task_type: str) -> Any:
    """The model with new LoRA weights (float32) on every linear layer of its body; everything else is frozen.

    It stays in evaluation mode while it trains: without dropout a step is cheaper and a resumed run exact.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules="all-linear", task_type=task_type)
    with _known_warnings():
        return get_peft_model(model, config).eval()


def load_lora(model: Any, folder: Path) -> Any:
    """The model with the LoRA weights of a peft folder on it, for use, not for training."""
    from peft import PeftModel

    with _known_warnings():
        return PeftModel.from_pretrained(model, str(folder), is_trainable=False).eval()


def save_lora(model: Any, folder: Path, base_name: str) -> None:
    """Writes the LoRA weights as a peft folder that names its base by name, not by a path of this machine."""
    for config in model.peft_config.values():
        config.base_model_name_or_path = base_name
        # A set in an order of its own each time: a run cut off at its very end must write the same file again.
        config.target_modules = sorted(config.target_modules)
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)


def check_finite(folder: Path) -> None:
    """Raises FinetuneError where a weight of the adapter is not finite: a training that went astray, or a bad file.

    Weights of a type that numpy has no name for (bfloat16) are not looked at.
    """
    import numpy as np
    from safetensors import SafetensorError, safe_open

    path = folder / "adapter_model.safetensors"
    try:
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118 - not a mapping
                with suppress(TypeError, KeyError):
                    if not np.isfinite(file.get_tensor(name)).all():
                        raise FinetuneError(
                            "adapter_not_finite",
                            f"适配器 {folder.name} 的权重 {name} 里有不是数的值，不能使用；请重新训练。",
                            f"The adapter {folder.name} holds values that are no numbers in {name} and cannot be used; "
                            "train again.",
                        )
    except (OSError, SafetensorError) as error:
        raise FinetuneError(
            "adapter_damaged",
            f"适配器文件 {path} 无法读取：{error}",
            f"The adapter's file {path} cannot be read: {error}",
        ) from error


@contextmanager
def _known_warnings() -> Iterator[None]:
    """peft 0.21 asks transformers 5 for an attribute by its old name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        yield
