"""BERT-like encoders as an OpenVINO graph with 8-bit weights: faster than in PyTorch by half to two thirds of the time.

Weights are symmetric 8-bit integers with one scale an output channel; activations are quantised at run time in groups
of 64 within each row (OpenVINO's dynamic quantisation), so that what else is in a batch changes a vector by rounding
only. Where the processor lacks the instructions for that, OpenVINO computes in float32 with the same weights.
"""

import json
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from knowledge.types import Vectors

Floats = NDArray[np.float32]
# The architectures that are BERT (Devlin et al., 2019) under other names: same layers, same names of their weights.
MODEL_TYPES = ("bert", "roberta", "xlm-roberta")
# These two count positions from the padding token's number + 1 (fairseq).
OFFSET_TYPES = ("roberta", "xlm-roberta")
ACTIVATION_GROUP = 64
SCHEME = f"int8-{ACTIVATION_GROUP}"
_MASKED = -1e9


def config_of(folder: Path) -> dict[str, Any] | None:
    """The model's `config.json` where this module can build it, else None."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    fits = (
        isinstance(config, dict)
        and config.get("model_type") in MODEL_TYPES
        and config.get("hidden_act", "gelu") == "gelu"
        and config.get("position_embedding_type", "absolute") == "absolute"
        and not config.get("is_decoder", False)
    )
    return config if fits else None


class CompiledBert:
    """An encoder compiled for this processor; calls take turns, so any thread may call.

    `weights` are float32 arrays under the names of transformers' `BertModel`. Raises KeyError or ValueError where they
    do not fit `config`.
    """

    def __init__(
        self, config: Mapping[str, Any], weights: Mapping[str, Floats], pooling: str, threads: int | None = None
    ) -> None:
        openvino = _openvino()
        builder = _Builder(config, weights)
        model = builder.model(pooling)
        self.scheme = SCHEME
        self.dimension = builder.size
        self.positions: int | None = len(weights["embeddings.position_embeddings.weight"]) - builder.first_position
        self.pad_id = int(config.get("pad_token_id") or 0)
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": str(ACTIVATION_GROUP),
            "ENABLE_CPU_PINNING": "NO",  # a thread tied to a core that others use waits while another core is idle
        }
        if threads:
            options["INFERENCE_NUM_THREADS"] = str(threads)
        self._request = openvino.Core().compile_model(model, "CPU", options).create_infer_request()
        self._lock = threading.Lock()

    def __call__(self, ids: NDArray[np.int32], mask: NDArray[np.int32]) -> Vectors:
        """[texts, tokens] numbers of tokens and 1 for each that counts → [texts, dimension] pooled states."""
        with self._lock:
            self._request.infer({"input_ids": ids, "attention_mask": mask}, share_inputs=True)
            pooled: Vectors = self._request.get_output_tensor(0).data.copy()
        return pooled


def _openvino() -> Any:
    # Importing openvino reports the import to its makers where `openvino_telemetry` can be imported: here it cannot.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


class _Builder:
    """One graph from one set of weights, in the order of computation."""

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, Floats]) -> None:
        self._openvino = _openvino()
        from openvino import opset15

        self._op = opset15
        self._weights = weights
        self._layers = int(config["num_hidden_layers"])
        self._heads = int(config["num_attention_heads"])
        self.size = int(config["hidden_size"])
        self._epsilon = float(config.get("layer_norm_eps", 1e-12))
        offset = config["model_type"] in OFFSET_TYPES
        self.first_position = int(config.get("pad_token_id") or 0) + 1 if offset else 0

    def model(self, pooling: str) -> Any:
        op = self._op
        ids = op.parameter([-1, -1], np.int32, name="input_ids")
        mask = op.parameter([-1, -1], np.int32, name="attention_mask")
        hidden = self._embed(ids)
        seen = op.convert(op.unsqueeze(mask, self._whole([1, 2])), np.float32)
        bias = op.multiply(op.subtract(self._floats(np.ones((1, 1, 1, 1))), seen), self._floats([[[[_MASKED]]]]))
        for layer in range(self._layers):
            hidden = self._layer(hidden, bias, f"encoder.layer.{layer}.")
        return self._openvino.Model([op.result(self._pool(hidden, mask, pooling))], [ids, mask], "encoder")

    def _embed(self, ids: Any) -> Any:
        op = self._op
        # Half precision at rest: a quarter of a million words are most of a small model's memory.
        words = op.convert(
            op.constant(self._weights["embeddings.word_embeddings.weight"].astype(np.float16)), np.float32
        )
        places = self._weights["embeddings.position_embeddings.weight"][self.first_position :]
        places = places + self._weights["embeddings.token_type_embeddings.weight"][0]
        tokens = op.gather(op.shape_of(ids), self._whole([1]), self._whole(0))
        places_used = op.slice(self._floats(places[None]), self._whole([0]), tokens, self._whole([1]), self._whole([1]))
        return self._normalise(op.add(op.gather(words, ids, self._whole(0)), places_used), "embeddings.LayerNorm")

    def _layer(self, hidden: Any, bias: Any, name: str) -> Any:
        op = self._op
        heads = op.reshape(
            self._linear(hidden, *(f"{name}attention.self.{part}" for part in ("query", "key", "value"))),
            self._whole([0, 0, 3, self._heads, self.size // self._heads]),
            special_zero=True,
        )
        split = op.split(op.transpose(heads, self._whole([2, 0, 3, 1, 4])), self._whole(0), 3)
        query, key, value = (op.squeeze(part, self._whole([0])) for part in split.outputs())
        mixed = op.transpose(op.scaled_dot_product_attention(query, key, value, bias), self._whole([0, 2, 1, 3]))
        mixed = op.reshape(mixed, self._whole([0, 0, self.size]), special_zero=True)
        mixed = op.add(self._linear(mixed, f"{name}attention.output.dense"), hidden)
        hidden = self._normalise(mixed, f"{name}attention.output.LayerNorm")
        wide = op.gelu(self._linear(hidden, f"{name}intermediate.dense"), "erf")
        return self._normalise(op.add(self._linear(wide, f"{name}output.dense"), hidden), f"{name}output.LayerNorm")

    def _linear(self, source: Any, *names: str) -> Any:
        """The linear layers of these names side by side."""
        op = self._op
        weights = np.concatenate([self._weights[f"{name}.weight"] for name in names])
        bias = np.concatenate([self._weights[f"{name}.bias"] for name in names])
        scale = np.maximum(np.abs(weights).max(axis=1, keepdims=True), 1e-12) / 127
        whole = np.rint(weights / scale).astype(np.int8)
        restored = op.multiply(op.convert(op.constant(whole), np.float32), self._floats(scale))
        product = op.matmul(source, restored, transpose_a=False, transpose_b=True)
        return op.add(product, self._floats(bias.reshape(1, 1, -1)))

    def _normalise(self, source: Any, name: str) -> Any:
        op = self._op
        even = op.mvn(source, self._whole([-1]), normalize_variance=True, eps=self._epsilon, eps_mode="inside_sqrt")
        gain, shift = (self._weights[f"{name}.{part}"].reshape(1, 1, -1) for part in ("weight", "bias"))
        return op.add(op.multiply(even, self._floats(gain)), self._floats(shift))

    def _pool(self, hidden: Any, mask: Any, pooling: str) -> Any:
        op = self._op
        axis = self._whole([1])
        if pooling == "cls":
            return op.squeeze(op.slice(hidden, self._whole([0]), self._whole([1]), self._whole([1]), axis), axis)
        if pooling == "lasttoken":
            one = op.constant(np.array(1, dtype=np.int32))
            last = op.unsqueeze(op.subtract(op.reduce_sum(mask, axis, keep_dims=False), one), axis)
            return op.squeeze(op.gather(hidden, last, self._whole(1), batch_dims=1), axis)
        share = op.convert(op.unsqueeze(mask, self._whole([2])), np.float32)
        total = op.reduce_sum(op.multiply(hidden, share), axis, keep_dims=False)
        return op.divide(total, op.maximum(op.reduce_sum(share, axis, keep_dims=False), self._floats([[1e-9]])))

    def _floats(self, values: Any) -> Any:
        return self._op.constant(np.ascontiguousarray(values, dtype=np.float32))

    def _whole(self, values: Any) -> Any:
        return self._op.constant(np.array(values, dtype=np.int64))
