"""How an encoder is computed: BERT-like ones compiled with 8-bit weights, any other architecture by PyTorch."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from knowledge import graph
from knowledge.errors import EncoderError
from knowledge.types import Vectors

if TYPE_CHECKING:
    import torch

Pooling = Literal["mean", "cls", "lasttoken"]
Whole = NDArray[np.int32]


class Forward(Protocol):
    """Numbers of tokens and the mask of those that count, both [texts, tokens] → pooled states [texts, dimension].

    `scheme` names precision and arithmetic; `positions` is the longest input, None where the model has no limit.
    Safe to call from many threads.
    """

    scheme: str
    dimension: int
    positions: int | None
    pad_id: int

    def __call__(self, ids: Whole, mask: Whole) -> Vectors: ...


def open_forward(folder: Path, adapter: Path | None, pooling: Pooling, threads: int | None) -> Forward:
    """The fastest way there is here for the model in `folder`. Raises EncoderError where there is none."""
    config = graph.config_of(folder)
    if config is None:
        return TorchForward(folder, adapter, pooling, threads)
    weights = _read_weights(folder) if adapter is None else None
    if weights is None:
        import torch

        weights = _named(_load(folder, adapter, torch.float32).state_dict())
    try:
        return graph.CompiledBert(config, weights, pooling, threads)
    except (KeyError, ValueError, TypeError, IndexError, RuntimeError) as error:  # RuntimeError is OpenVINO's
        raise _unusable(folder, error) from error


class TorchForward:
    """Any architecture that transformers knows, in bfloat16 where the processor multiplies it, else float32."""

    def __init__(self, folder: Path, adapter: Path | None, pooling: Pooling, threads: int | None) -> None:
        import torch

        if threads:
            torch.set_num_threads(threads)
        dtype = fast_dtype()
        self._model = _load(folder, adapter, dtype)
        self._pooling = pooling
        self.scheme = str(dtype)
        self.dimension = int(self._model.config.hidden_size)
        self.positions = getattr(self._model.config, "max_position_embeddings", None)
        self.pad_id = getattr(self._model.config, "pad_token_id", None) or 0

    def __call__(self, ids: Whole, mask: Whole) -> Vectors:
        import torch

        counts = torch.from_numpy(mask)
        with torch.inference_mode():
            states = self._model(input_ids=torch.from_numpy(ids), attention_mask=counts).last_hidden_state.float()
            pooled: Vectors = _pool(states, counts, self._pooling).numpy()
        return pooled


def fast_dtype() -> "torch.dtype":
    """bfloat16 where the processor multiplies it (AMX, AVX512-BF16): emulated, it is slower than float32."""
    import torch

    capabilities = torch.cpu.get_capabilities()
    multiplies = any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return torch.bfloat16 if multiplies else torch.float32


def _read_weights(folder: Path) -> dict[str, graph.Floats] | None:
    """Straight from the file, a second instead of the six that importing PyTorch and transformers takes."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = folder / "model.safetensors"
    if not path.is_file():
        return None
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise _unusable(folder, error) from error
    except (KeyError, TypeError):  # a type that numpy has no name for, such as bfloat16
        return None
    return _named(found)


def _named(weights: Mapping[str, Any]) -> dict[str, graph.Floats]:
    """float32 arrays under `BertModel`'s names, whatever model class saved them."""
    found = {}
    for name, values in weights.items():
        for prefix in ("bert.", "roberta.", "model."):
            name = name.removeprefix(prefix)  # noqa: PLW2901
        found[name] = np.asarray(values, dtype=np.float32)
    return found


def _pool(states: "torch.Tensor", mask: "torch.Tensor", pooling: Pooling) -> "torch.Tensor":
    """[texts, tokens, dimension] → [texts, dimension], over real tokens only."""
    import torch

    if pooling == "cls":
        return states[:, 0]
    if pooling == "lasttoken":
        last = mask.shape[1] - 1 - mask.flip(1).argmax(dim=1)
        return states[torch.arange(len(states)), last]
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)


def _load(folder: Path, adapter: Path | None, dtype: "torch.dtype") -> Any:
    import torch
    from transformers import AutoModel
    from transformers.utils import logging

    # Loading reports missing heads that an encoder has no use for; what matters is raised.
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32 if adapter else dtype)
    except Exception as error:
        raise _unusable(folder, error) from error
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    if adapter is not None:
        model = _merge(model, adapter).to(dtype)
    return model.eval().requires_grad_(requires_grad=False)


def _merge(model: Any, adapter: Path) -> Any:
    """The base with the LoRA weights added in float32: in bfloat16 most of a small update would be rounded away."""
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, str(adapter), is_trainable=False).merge_and_unload()
    except Exception as error:
        raise EncoderError(
            "adapter_load",
            f"适配器 {adapter} 无法用于这个向量模型：{error}",
            f"The adapter {adapter} does not fit this encoder: {error}",
        ) from error


def _unusable(folder: Path, error: Exception) -> EncoderError:
    return EncoderError(
        "encoder_load",
        f"无法从 {folder} 加载向量模型：{error}",
        f"No encoder can be loaded from {folder}: {error}",
    )
