"""A base model's weights with a LoRA adapter added (Hu et al. 2021, https://arxiv.org/abs/2106.09685)."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bot.engines.weights import Floats, Weights

# Parts of peft's configuration that change what is computed and are not known here; all empty in plain LoRA.
_UNKNOWN = ("use_dora", "modules_to_save", "fan_in_fan_out", "rank_pattern", "alpha_pattern", "trainable_token_indices")
_OUTSIDE = "base_model.model."


class Merged(Mapping[str, Floats]):
    """The weights in `folder`; those that the peft folder `adapter` changes come with its part added, in float32.

    Raises ValueError for an adapter that is not plain LoRA, or changes layers that the base model does not have.
    """

    def __init__(self, folder: Path, adapter: Path | None) -> None:
        self._base = Weights(folder)
        self._lora: Mapping[str, Floats] = {}
        if adapter is not None:
            self._lora = Weights(adapter)
            self._scale = _scale(json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8")))
            self._check()

    def __getitem__(self, name: str) -> Floats:
        values = self._base[name]
        layer = f"{_OUTSIDE}{name.removesuffix('.weight')}"
        if f"{layer}.lora_A.weight" not in self._lora:
            return values
        down, up = self._lora[f"{layer}.lora_A.weight"], self._lora[f"{layer}.lora_B.weight"]
        if (up.shape[0], down.shape[1]) != values.shape or up.shape[1] != down.shape[0]:
            raise ValueError(f"{name} is {values.shape}, the adapter's part {(up.shape[0], down.shape[1])}")
        return values + np.float32(self._scale) * (up @ down)

    def __iter__(self) -> Iterator[str]:
        return iter(self._base)

    def __len__(self) -> int:
        return len(self._base)

    def _check(self) -> None:
        for name in self._lora:
            layer = name.removeprefix(_OUTSIDE)
            for part in (".lora_A.weight", ".lora_B.weight"):
                layer = layer.removesuffix(part)
            if f"{layer}.weight" not in self._base or name.endswith(f"{layer}.weight"):
                raise ValueError(f"{name} fits no layer of the base model")


def _scale(config: Mapping[str, Any]) -> float:
    if config.get("peft_type") != "LORA":
        raise ValueError(f"peft_type must be LORA, not {config.get('peft_type')!r}")
    for key in _UNKNOWN:
        if config.get(key):
            raise ValueError(f"{key} = {config[key]!r} is not supported")
    rank = int(config["r"])
    return float(config["lora_alpha"]) / (math.sqrt(rank) if config.get("use_rslora") else rank)
