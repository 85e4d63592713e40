"""Prepared models into memory, never over the network."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.errors import ModelError

if TYPE_CHECKING:
    import torch

# These have a pooling layer of their own, which sentence encoders do not use and ship no weights for.
POOLED_TYPES = {"bert", "roberta", "xlm-roberta", "camembert", "ernie", "mpnet", "nomic_bert"}
# Matrix instructions: x86 names the first, Arm the other.
BF16_MATRICES = ("amx_bf16", "bf16")
BF16_VECTORS = "avx512_bf16"


def fastest_dtype() -> "torch.dtype":
    """bfloat16 on a GPU or where the processor has matrix instructions for it (AMX, Arm's BF16), else float32.

    Emulated, bfloat16 is several times slower than float32, and with AVX512-BF16 alone it has half its speed
    (docs/benchmarks.md).
    """
    import torch

    return torch.bfloat16 if torch.cuda.is_available() or _can(*BF16_MATRICES) else torch.float32


def smallest_dtype() -> "torch.dtype":
    """`fastest_dtype`, and bfloat16 with AVX512-BF16, too: for a large model, of which float32 takes half as much
    memory again and is only a quarter faster.
    """
    import torch

    return torch.bfloat16 if _can(BF16_VECTORS) else fastest_dtype()


def _can(*capabilities: str) -> bool:
    import torch

    known = torch.cpu.get_capabilities()
    return any(known.get(name) for name in capabilities)


def load_encoder(folder: Path, adapter: Path | None = None, dtype: "torch.dtype | None" = None) -> tuple[Any, Any]:
    """(model, tokenizer) of a Hugging Face encoder folder, in evaluation mode, without a pooling layer.

    The LoRA weights of a peft folder `adapter` are merged in float32 before the cast to `dtype` (default
    `fastest_dtype()`): in bfloat16 most of a small update would be rounded away. Raises ModelError.
    """
    import torch
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    wanted = dtype or fastest_dtype()
    with _quietly(folder):
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        pooling = {"add_pooling_layer": False} if config.model_type in POOLED_TYPES else {}
        model = AutoModel.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32 if adapter else wanted,
            **pooling,
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if adapter:
        model = _merge(model, adapter).to(wanted)
    return model.eval(), tokenizer


def load_generator(folder: Path, dtype: "torch.dtype | None" = None) -> tuple[Any, Any]:
    """(model, tokenizer) of a Hugging Face causal language model, in evaluation mode. Raises ModelError."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with _quietly(folder):
        model = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=dtype or smallest_dtype()
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return model.eval(), tokenizer


def _merge(model: Any, adapter: Path) -> Any:
    from peft import PeftModel

    with _quietly(adapter):
        return PeftModel.from_pretrained(model, str(adapter), is_trainable=False).merge_and_unload()


@contextmanager
def _quietly(folder: Path) -> Iterator[None]:
    """Loads without a bar on the terminal; whatever the libraries raise for a bad folder becomes one sentence."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        yield
    # Missing and malformed files, wrong shapes and unknown architectures each raise another type.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ModelError(
            "model_load",
            f"无法从 {folder} 加载模型：{reason}",
            f"No model can be loaded from {folder}: {reason}",
        ) from error
