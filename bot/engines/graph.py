"""Decoder-only language models as an OpenVINO graph: 8-bit weights, and paged attention.

Weights are symmetric 8-bit integers with one scale an output channel; activations are quantised at run time in groups
of 64 (OpenVINO's dynamic quantisation), the rest is float32, keys and values float16. Where the processor lacks the
instructions for that, OpenVINO computes in float32 with the same weights.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bot.engines.weights import Floats

# The architectures that are Llama (Touvron et al. 2023) with or without biases (Qwen2) and normed heads (Qwen3).
MODEL_TYPES = ("llama", "qwen2", "qwen3")
# The linear layers of a block that read the same input, and so are computed as one.
GROUPS = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "out": ("self_attn.o_proj",),
    "wide": ("mlp.gate_proj", "mlp.up_proj"),
    "narrow": ("mlp.down_proj",),
}
VERSION = 1
"""Another one makes graphs that were kept be built again."""
KEPT_MAX = 3
_END = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a model: `heads` of queries, `shared` of keys and values, each `head` wide; `positions` at most."""

    layers: int
    hidden: int
    heads: int
    shared: int
    head: int
    inner: int
    positions: int
    base: float
    epsilon: float
    tied: bool


def shape_of(folder: Path) -> Shape | None:
    """The sizes in the model's `config.json` where this module can build it, else None."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        rope = config.get("rope_parameters") or {
            **(config.get("rope_scaling") or {}),
            "rope_theta": config["rope_theta"],
        }
        fits = (
            config["model_type"] in MODEL_TYPES
            and config.get("hidden_act", "silu") == "silu"
            and not config.get("use_sliding_window")
            and rope.get("rope_type", "default") == "default"
            and not config.get("mlp_bias")
            and any(folder.glob("*.safetensors"))
        )
        heads = int(config["num_attention_heads"])
        shape = Shape(
            layers=int(config["num_hidden_layers"]),
            hidden=int(config["hidden_size"]),
            heads=heads,
            shared=int(config.get("num_key_value_heads") or heads),
            head=int(config.get("head_dim") or config["hidden_size"] // heads),
            inner=int(config["intermediate_size"]),
            positions=int(config["max_position_embeddings"]),
            base=float(rope["rope_theta"]),
            epsilon=float(config["rms_norm_eps"]),
            tied=bool(config.get("tie_word_embeddings", False)),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return shape if fits else None


def openvino() -> Any:
    """The library; importing it reports that to its makers where `openvino_telemetry` can be imported: here not."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino as found

    return found


def opened(shape: Shape, weights: Callable[[], Mapping[str, Floats]], identity: str, home: Path) -> Any:
    """The graph, from the file under `home` that holds it already, else built from the weights and kept there.

    From a file the weights are mapped: what is not needed once the graph is compiled costs no memory. `identity` names
    model, adapter and version. Where nothing can be written it is built each time. Raises KeyError or ValueError where
    the weights do not fit the sizes.

    Inputs beside those of OpenVINO's paged attention (`input_ids` and `position_ids` [tokens], `past_lens`, …,
    `key_cache.N`, `value_cache.N`): `rows` [texts], the places among the tokens whose successor is wanted. Output:
    scores [texts, 1, vocabulary].
    """
    library = openvino()
    from openvino._offline_transformations import paged_attention_transformation

    path = home / identity / "model.xml"
    try:
        model = library.Core().read_model(path)
    except RuntimeError:  # not there, or not whole
        model = _Builder(shape, weights()).model()
        if _kept(model, path.parent):
            model = library.Core().read_model(path)
    paged_attention_transformation(model)
    return model


def _kept(model: Any, folder: Path) -> bool:
    """Writes the graph into the folder, whole or not at all, and clears away older ones but the newest."""
    try:
        folder.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as temporary:
            openvino().save_model(model, Path(temporary) / "new" / "model.xml", compress_to_fp16=False)
            shutil.rmtree(folder, ignore_errors=True)
            (Path(temporary) / "new").rename(folder)
        others = [path for path in folder.parent.glob("[0-9a-f]*") if path != folder]
        for old in sorted(others, key=lambda path: path.stat().st_mtime)[: -KEPT_MAX + 1]:
            shutil.rmtree(old, ignore_errors=True)
    except (OSError, RuntimeError):
        return False
    return True


class _Builder:
    """One graph from one set of weights, in the order of computation; [texts, tokens, …], as it is not paged yet."""

    def __init__(self, shape: Shape, weights: Mapping[str, Floats]) -> None:
        self._openvino = openvino()
        from openvino import opset15
        from openvino.op import util

        self._op, self._util = opset15, util
        self._shape, self._weights = shape, weights
        self._inputs: list[Any] = []
        self._sinks: list[Any] = []

    def model(self) -> Any:
        op, shape = self._op, self._shape
        ids = self._input("input_ids", [-1, -1], np.int64)
        seen = self._input("attention_mask", [-1, -1], np.int64)
        places = self._input("position_ids", [-1, -1], np.int64)
        self._beams = self._input("beam_idx", [-1], np.int32)
        rows = self._input("rows", [-1], np.int32)
        self._texts = op.gather(op.shape_of(ids), self._whole([0]), self._whole(0))
        # Paged attention knows by itself what may be seen; the mask only completes the form it is recognised by.
        self._bias = op.multiply(op.convert(op.unsqueeze(seen, self._whole([1, 2])), np.float32), self._floats(0.0))
        self._turns = self._turning(places)
        words = self._small("model.embed_tokens.weight")
        hidden = op.gather(words, op.convert(ids, np.int32), self._whole(0))
        for layer in range(shape.layers):
            hidden = self._layer(hidden, layer)
        # Only the last token of each text has a successor to look for: the vocabulary is a quarter of the weights.
        last = op.gather(self._normed(hidden, "model.norm"), rows, self._whole(0))
        scores = op.matmul(last, words if shape.tied else self._small("lm_head.weight"), False, True)  # noqa: FBT003
        return self._openvino.Model([op.result(scores)], self._sinks, self._inputs, "generator")

    def _layer(self, hidden: Any, layer: int) -> Any:
        op, shape, name = self._op, self._shape, f"model.layers.{layer}."
        query, key = shape.heads * shape.head, shape.shared * shape.head
        mixed = self._linear(self._normed(hidden, f"{name}input_layernorm"), layer, "qkv")
        split = op.variadic_split(mixed, self._whole(2), self._whole([query, key, key])).outputs()
        queries = self._turned(self._heads(split[0], shape.heads, f"{name}self_attn.q_norm"))
        keys = self._turned(self._heads(split[1], shape.shared, f"{name}self_attn.k_norm"))
        values = self._heads(split[2], shape.shared)
        seen = op.scaled_dot_product_attention(
            queries, self._all(keys, layer, "key"), self._all(values, layer, "value"), self._bias
        )
        seen = op.reshape(op.transpose(seen, self._whole([0, 2, 1, 3])), self._whole([0, 0, query]), special_zero=True)
        hidden = op.add(hidden, self._linear(seen, layer, "out"))
        wide = self._linear(self._normed(hidden, f"{name}post_attention_layernorm"), layer, "wide")
        gate, up = op.split(wide, self._whole(2), 2).outputs()
        return op.add(hidden, self._linear(op.multiply(op.swish(gate), up), layer, "narrow"))

    def _linear(self, source: Any, layer: int, group: str) -> Any:
        op, parts = self._op, [f"model.layers.{layer}.{part}" for part in GROUPS[group]]
        product = op.matmul(source, self._small(*(f"{part}.weight" for part in parts)), False, True)  # noqa: FBT003
        if f"{parts[0]}.bias" in self._weights:
            bias = np.concatenate([self._weights[f"{part}.bias"] for part in parts])
            product = op.add(product, self._floats(bias.reshape(1, 1, -1)))
        return product

    def _small(self, *names: str) -> Any:
        """These weights, one below the other, in 8 bits."""
        op = self._op
        whole, scales = zip(*(_quantised(self._weights[name]) for name in names), strict=True)
        integers = op.constant(np.concatenate(whole), shared_memory=False)
        restored = op.multiply(op.convert(integers, np.float16), op.constant(np.concatenate(scales)))
        return op.convert(restored, np.float32)

    def _normed(self, source: Any, name: str) -> Any:
        """Root mean square normalisation (Zhang and Sennrich 2019) over the last axis."""
        op = self._op
        mean = op.reduce_mean(op.power(source, self._floats(2.0)), self._whole([-1]), keep_dims=True)
        even = op.divide(source, op.sqrt(op.add(mean, self._floats(self._shape.epsilon))))
        return op.multiply(even, self._floats(self._weights[f"{name}.weight"]))

    def _heads(self, source: Any, heads: int, norm: str = "") -> Any:
        """[texts, tokens, heads * head] → [texts, heads, tokens, head]."""
        op = self._op
        apart = op.reshape(source, self._whole([0, 0, heads, self._shape.head]), special_zero=True)
        if f"{norm}.weight" in self._weights:
            apart = self._normed(apart, norm)
        return op.transpose(apart, self._whole([0, 2, 1, 3]))

    def _turning(self, places: Any) -> tuple[Any, Any]:
        """Cosine and sine of each position's angles, [texts, 1, tokens, head] (RoPE, Su et al. 2021)."""
        op, head = self._op, self._shape.head
        speeds = self._shape.base ** -(np.arange(0, head, 2) / head)
        angles = op.multiply(op.convert(op.unsqueeze(places, self._whole([1, 3])), np.float32), self._floats(speeds))
        both = op.concat([angles, angles], 3)
        return op.cos(both), op.sin(both)

    def _turned(self, source: Any) -> Any:
        op, half = self._op, self._shape.head // 2
        first = op.slice(source, self._whole([0]), self._whole([half]), self._whole([1]), self._whole([3]))
        second = op.slice(source, self._whole([half]), self._whole([_END]), self._whole([1]), self._whole([3]))
        across = op.concat([op.multiply(second, self._floats(-1.0)), first], 3)
        return op.add(op.multiply(source, self._turns[0]), op.multiply(across, self._turns[1]))

    def _all(self, source: Any, layer: int, kind: str) -> Any:
        """All keys (or values) so far, in the form that becomes paged: state, then new ones, a copy for each query."""
        op, shape = self._op, self._shape
        info = self._util.VariableInfo()
        info.variable_id = f"past_key_values.{layer}.{kind}present.{layer}.{kind}"
        info.data_shape = self._openvino.PartialShape([-1, shape.shared, -1, shape.head])
        info.data_type = self._openvino.Type.f32
        variable = self._util.Variable(info)
        empty = op.concat([self._texts, self._whole([shape.shared]), self._whole([0]), self._whole([shape.head])], 0)
        past = op.gather(op.read_value(op.broadcast(self._floats(0.0), empty), variable), self._beams, self._whole(0))
        together = op.concat([past, source], 2)
        self._sinks.append(op.assign(together, variable))
        copies = self._whole([1, 1, shape.heads // shape.shared, 1, 1])
        spread = op.broadcast(op.unsqueeze(together, self._whole([2])), copies, broadcast_spec="BIDIRECTIONAL")
        return op.reshape(spread, self._whole([0, shape.heads, -1, shape.head]), special_zero=True)

    def _input(self, name: str, shape: list[int], dtype: Any) -> Any:
        made = self._op.parameter(shape, dtype, name=name)
        made.output(0).set_names({name})
        self._inputs.append(made)
        return made

    def _floats(self, values: Any) -> Any:
        return self._op.constant(np.ascontiguousarray(values, dtype=np.float32))

    def _whole(self, values: Any) -> Any:
        return self._op.constant(np.array(values, dtype=np.int64))


def _quantised(weights: Floats) -> tuple[Any, Any]:
    """[outputs, inputs] as 8-bit integers, and the scale of each row, [outputs, 1]; by pieces, to save memory."""
    scales = np.maximum(np.abs(weights).max(axis=1, keepdims=True) / 127, 2.0**-20).astype(np.float16)
    whole = np.empty(weights.shape, np.int8)
    for start in range(0, len(weights), 4096):
        part = slice(start, start + 4096)
        whole[part] = np.rint(weights[part] / scales[part].astype(np.float32)).clip(-127, 127)
    return whole, scales
