"""A BERT-like encoder as training computes it: no padding, no mask, LoRA in the precision of the base.

transformers pads and peft takes the input of every layer to float32 and back, which on a processor costs more than the
multiplications do. Here the tokens of all texts stand in one matrix, texts of the same length beside each other, and
LoRA's own weights are cast, which are a hundredth of that. Importing this module imports torch.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch

from finetune.catalogue import Pooling

# The architectures that are BERT (Devlin et al., 2019) under other names: the same layers under the same names.
MODEL_TYPES = ("bert", "roberta", "xlm-roberta")
Tokens = tuple[int, ...]
Runs = Sequence[tuple[int, int]]
Frozen = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class Product(torch.autograd.Function):
    """x Wᵀ + bias + s (x Aᵀ) Bᵀ of x [rows, inputs]; W and the bias take no gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, frozen: Frozen, low: torch.Tensor, high: torch.Tensor, scale: float
    ) -> torch.Tensor:
        across, weight, bias = frozen
        inner = x @ low.t()
        ctx.save_for_backward(x, weight, low, high, inner)
        ctx.scale = scale
        return torch.addmm(bias, x, across).addmm_(inner, high.t(), alpha=scale)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, low, high, inner = ctx.saved_tensors
        back = grad @ high
        # The first layer's input needs none: nothing below it learns.
        grad_x = (grad @ weight).addmm_(back, low, alpha=ctx.scale) if ctx.needs_input_grad[0] else None
        return grad_x, None, (back.t() @ x).mul_(ctx.scale), (grad.t() @ inner).mul_(ctx.scale), None


def fits(model: Any) -> bool:
    """Whether `Packed` computes this transformers model as it computes itself."""
    config = model.config
    absolute = getattr(config, "position_embedding_type", "absolute") == "absolute"
    return config.model_type in MODEL_TYPES and absolute and not getattr(config, "is_decoder", False)


class Packed:
    """The forward pass of a model that `fits`, with peft's LoRA on every linear layer or without."""

    def __init__(self, model: Any, pooling: Pooling) -> None:
        self.model, self.pooling = model, pooling
        self.layers = list(model.encoder.layer)
        self.frozen = [[_frozen(linears) for linears in _linears(layer)] for layer in self.layers]
        heads = int(model.config.num_attention_heads)
        self.triple = (3, heads, int(model.config.hidden_size) // heads)

    def __call__(self, texts: Sequence[Tokens]) -> torch.Tensor:
        """Pooled states, float32 [texts, dimension]. `texts` are token numbers, sorted by how many."""
        runs = [(len(same), len(same[0])) for same in (list(group) for _, group in groupby(texts, key=len))]
        states = self._embedded(texts)
        for layer, frozen in zip(self.layers, self.frozen, strict=True):
            states = self._through(layer, frozen, states, runs)
        return torch.cat(
            [self._pooled(part.view(*run, -1)) for part, run in zip(_split(states, runs), runs, strict=True)]
        )

    def _embedded(self, texts: Sequence[Tokens]) -> torch.Tensor:
        found = [self.model.embeddings(torch.tensor(list(group))) for _, group in groupby(texts, key=len)]
        return torch.cat([states.flatten(0, 1) for states in found])

    def _through(self, layer: Any, frozen: Sequence[Frozen], states: torch.Tensor, runs: Runs) -> torch.Tensor:
        triples, out, up, down = (_product(*pair) for pair in zip(frozen, _linears(layer), strict=True))
        mixed = torch.cat(
            [self._attended(part, *run) for part, run in zip(_split(triples(states), runs), runs, strict=True)]
        )
        states = layer.attention.output.LayerNorm(out(mixed) + states)
        inner: torch.Tensor = layer.intermediate.intermediate_act_fn(up(states))
        after: torch.Tensor = layer.output.LayerNorm(down(inner) + states)
        return after

    def _attended(self, triples: torch.Tensor, texts: int, length: int) -> torch.Tensor:
        """[texts × length, query, key and value] → [texts × length, hidden], each text by itself."""
        query, key, value = triples.view(texts, length, *self.triple).permute(2, 0, 3, 1, 4).unbind(0)
        weights = torch.softmax((query * self.triple[2] ** -0.5) @ key.transpose(-1, -2), dim=-1)
        return (weights @ value).transpose(1, 2).reshape(texts * length, -1)

    def _pooled(self, states: torch.Tensor) -> torch.Tensor:
        if self.pooling == "mean":
            return states.float().mean(dim=1)
        return states[:, 0 if self.pooling == "cls" else -1].float()


def _split(rows: torch.Tensor, runs: Runs) -> Sequence[torch.Tensor]:
    return torch.split(rows, [texts * length for texts, length in runs])


def _linears(layer: Any) -> list[list[Any]]:
    """The layer's linear modules in the order of computing; those that read the same states together."""
    around = layer.attention.self
    return [
        [around.query, around.key, around.value],
        [layer.attention.output.dense],
        [layer.intermediate.dense],
        [layer.output.dense],
    ]


def _frozen(linears: Sequence[Any]) -> Frozen:
    """The weight as [inputs, outputs] and as [outputs, inputs], so that both directions read it in order; the bias."""
    bases = [getattr(one, "base_layer", one) for one in linears]
    weight = torch.cat([base.weight.detach() for base in bases])
    return weight.t().contiguous(), weight, torch.cat([base.bias.detach() for base in bases])


def _product(frozen: Frozen, linears: Sequence[Any]) -> Any:
    across, weight, bias = frozen
    if not hasattr(linears[0], "lora_A"):
        return lambda states: torch.addmm(bias, states, across)
    low = torch.cat([one.lora_A["default"].weight for one in linears]).to(weight.dtype)
    blocks = [one.lora_B["default"].weight for one in linears]
    high = torch.block_diag(*blocks).to(weight.dtype)  # type: ignore[no-untyped-call]
    scale = float(linears[0].scaling["default"])
    return lambda states: Product.apply(states, frozen, low, high, scale)  # type: ignore[no-untyped-call]
