"""The forward pass of the Llama family without padding and with a common beginning computed once, for training LoRA.

Texts lie behind each other as rows: first what all of them begin with (the instruction, the same in every prompt),
once, then the rest of each. A LoRA's product rides on the frozen one: [x | x Aᵀ] [W | s B]ᵀ is one multiplication
forwards and one backwards. The last layer mixes all rows but goes on with those alone whose state is wanted. The same
numbers as transformers and peft give, up to rounding. Importing this module imports torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

# The architectures that are Llama (Touvron et al., 2023, https://arxiv.org/abs/2302.13971) with biases or norms added.
MODEL_TYPES = ("llama", "qwen2", "qwen3")
ADAPTER = "default"
CHUNK = 64
"""Rows whose scores over the vocabulary are held at once."""


class Joined(torch.autograd.Function):
    """x Wᵀ + bias + s (x Aᵀ) Bᵀ of x [rows, inputs]; `weight` is [W | s B], which takes no gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, low: torch.Tensor,
        high: torch.Tensor, scale: float,
    ) -> torch.Tensor:  # fmt: skip
        both = torch.cat((x, x @ low.t()), dim=1)
        ctx.save_for_backward(both, low, high)
        ctx.weight, ctx.scale = weight, scale  # not saved: its last columns are written anew for each step
        return both @ weight.t() if bias is None else torch.addmm(bias, both, weight.t())

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        both, low, high = ctx.saved_tensors
        x, inner = both.split((low.shape[1], low.shape[0]), dim=1)
        grad_high = (grad.t() @ inner).mul_(ctx.scale)
        if not ctx.needs_input_grad[0]:  # the first layer: nothing below it learns
            return None, None, None, ((grad @ high).mul_(ctx.scale)).t() @ x, grad_high, None
        across, back = (grad @ ctx.weight).split((low.shape[1], low.shape[0]), dim=1)
        return torch.addmm(across, back, low), None, None, back.t() @ x, grad_high, None


class Norm(torch.autograd.Function):
    """Root mean square norm (Zhang & Sennrich, 2019, https://arxiv.org/abs/1910.07467) over the last dimension."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        exact = x.float()
        shrink = torch.linalg.vector_norm(exact, dim=-1, keepdim=True).square_().div_(x.shape[-1])
        shrink = shrink.add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, shrink)
        found: torch.Tensor = (exact * shrink).to(x.dtype).mul_(weight)
        return found

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, shrink = ctx.saved_tensors
        even, grad = x.float() * shrink, (grad * weight).float()
        along = (grad * even).mean(dim=-1, keepdim=True)
        return even.mul_(along).sub_(grad).mul_(-shrink).to(x.dtype), None, None


class Turned(torch.autograd.Function):
    """Rotary positions (Su et al., 2021, https://arxiv.org/abs/2104.09864) of x [rows, heads, size]."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(cos, sin)
        return _turned(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        return _turned(grad, cos, -sin), None, None


class Gated(torch.autograd.Function):
    """silu(gate) · up of [rows, gate and up], of which it keeps nothing but these."""

    @staticmethod
    def forward(ctx: Any, pair: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(pair)
        gate, up = pair.chunk(2, dim=1)
        return torch.nn.functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        (pair,) = ctx.saved_tensors
        gate, up = pair.chunk(2, dim=1)
        found = torch.empty_like(pair)
        of_gate, of_up = found.chunk(2, dim=1)
        torch.mul(grad, torch.nn.functional.silu(gate), out=of_up)
        of_gate.copy_(torch.ops.aten.silu_backward(grad * up, gate))
        return found


class Surprise(torch.autograd.Function):
    """Mean cross-entropy of states [rows, hidden] under a frozen head; the scores of `CHUNK` rows exist at a time."""

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, head: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        grads, total = [], torch.zeros((), dtype=torch.float32)
        for part, wanted in zip(torch.split(states, CHUNK), torch.split(targets, CHUNK), strict=True):
            scores = (part @ head.t()).float().log_softmax(dim=-1)
            right = torch.arange(len(wanted)), wanted
            total -= scores[right].sum()
            if ctx.needs_input_grad[0]:
                scores = scores.exp_()
                scores[right] -= 1
                grads.append(scores.to(head.dtype) @ head)
        if grads:
            ctx.save_for_backward(torch.cat(grads))
        return total / len(targets)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (grads,) = ctx.saved_tensors
        return grads * (grad / len(grads)).to(grads.dtype), None, None


@dataclass(frozen=True, slots=True)
class Rows:
    """How texts lie behind each other: `shared` rows that all begin with, then what is left of each."""

    shared: int
    left: tuple[int, ...]

    @classmethod
    def of(cls, texts: Sequence[Sequence[int]]) -> "Rows":
        shared = common_beginning(texts) if len(texts) > 1 else 0
        return cls(shared, tuple(len(text) - shared for text in texts))

    def __len__(self) -> int:
        return self.shared + sum(self.left)

    def row(self, text: int, position: int) -> int:
        """Where the token at `position` of a text lies."""
        return position if position < self.shared else sum(self.left[:text]) + position


def common_beginning(texts: Sequence[Sequence[int]]) -> int:
    """How many tokens all texts begin with; of each at least one is left."""
    first, most = texts[0], min(map(len, texts)) - 1
    return next((i for i in range(most) if any(text[i] != first[i] for text in texts)), most)


def fits(model: Any) -> bool:
    """Whether `PackedDecoder` computes this transformers model, with peft's LoRA or without, as it computes itself."""
    config = model.config
    sliding = "sliding_attention" in (getattr(config, "layer_types", None) or ())
    if config.model_type not in MODEL_TYPES or config.hidden_act != "silu" or sliding or str(model.device) != "cpu":
        return False
    return all(_is_plain(group) for layer in model.base_model.layers for group in _linears(layer))


def _is_plain(linears: Sequence[Any]) -> bool:
    """Whether the weights of these are matrices, and none or each of them learns in the same plain way."""
    bases = [getattr(one, "base_layer", one) for one in linears]
    if any(type(base) is not torch.nn.Linear for base in bases) or len({base.bias is None for base in bases}) > 1:
        return False
    adapted = [one for one in linears if hasattr(one, "lora_A")]
    if len(adapted) < len(linears):
        return not adapted
    return all(map(_is_plain_lora, adapted)) and len({one.scaling[ADAPTER] for one in adapted}) == 1


def _is_plain_lora(one: Any) -> bool:
    named = list(one.lora_A) == [ADAPTER] == list(one.scaling) and one.active_adapters == [ADAPTER]
    plain = not any(one.use_dora.values()) and not any(one.lora_bias.values()) and not one.merged
    return named and plain and not one.disable_adapters and isinstance(one.lora_dropout[ADAPTER], torch.nn.Identity)


class PackedDecoder:
    """The body and head of a causal language model that `fits`, with peft's LoRA on every linear layer or without.

    The weights of layers that read the same states move into one; the model's own become views of it.
    """

    def __init__(self, model: Any) -> None:
        self.body, self.head = model.base_model, model.get_output_embeddings().weight
        self.layers = [(layer, [Linear(group) for group in _linears(layer)]) for layer in self.body.layers]
        attention = self.body.layers[0].self_attn
        self.size = int(attention.head_dim)
        self.groups = int(attention.num_key_value_groups)
        self.heads = int(model.config.num_attention_heads)
        self.scale = float(attention.scaling)

    @staticmethod
    def rows(texts: Sequence[Sequence[int]]) -> int:
        """How many tokens of texts are computed: what all begin with counts once."""
        return len(Rows.of(texts))

    def loss(self, texts: Sequence[Sequence[int]], learned: Sequence[tuple[int, int]]) -> torch.Tensor:
        """Mean cross-entropy of the tokens at `learned`, (text, position ≥ 1) pairs, given what stands before them."""
        rows = Rows.of(texts)
        targets = torch.tensor([texts[text][position] for text, position in learned])
        wanted = torch.tensor([rows.row(text, position - 1) for text, position in learned])
        result: torch.Tensor = Surprise.apply(  # type: ignore[no-untyped-call]
            self._states(texts, rows, wanted), self.head, targets
        )
        return result

    def _states(self, texts: Sequence[Sequence[int]], rows: Rows, wanted: torch.Tensor) -> torch.Tensor:
        ids = [*texts[0][: rows.shared], *(token for text in texts for token in text[rows.shared :])]
        places = [*range(rows.shared), *(rows.shared + i for left in rows.left for i in range(left))]
        states = self.body.embed_tokens(torch.tensor(ids)).detach()
        cos, sin = (
            half[0, :, None, : self.size // 2] for half in self.body.rotary_emb(states[None], torch.tensor([places]))
        )
        parts = (rows.shared, *rows.left)
        masks = [_mask(0 if i == 0 else rows.shared, n, self.groups, states.dtype) for i, n in enumerate(parts)]
        for number, (layer, (triples, out, up, down)) in enumerate(self.layers, 1):
            mixed = self._mixed(layer, triples(_norm(layer.input_layernorm, states)), (cos, sin), parts, masks)
            if number == len(self.layers):
                mixed, states = mixed[wanted], states[wanted]
            states = states + out(mixed)
            inner = Gated.apply(up(_norm(layer.post_attention_layernorm, states)))  # type: ignore[no-untyped-call]
            states = states + down(inner)
        return _norm(self.body.norm, states)

    def _mixed(
        self,
        layer: Any,
        triples: torch.Tensor,
        angles: tuple[torch.Tensor, torch.Tensor],
        parts: Sequence[int],
        masks: Sequence[torch.Tensor],
    ) -> torch.Tensor:
        """[rows, queries, keys and values] → [rows, heads × size]: each text by itself, behind the shared rows."""
        few = self.heads // self.groups
        apart = triples.view(len(triples), -1, self.size)
        query, key, value = torch.split(apart, [self.heads, few, few], dim=1)
        if hasattr(layer.self_attn, "q_norm"):
            query, key = _norm(layer.self_attn.q_norm, query), _norm(layer.self_attn.k_norm, key)
        turned = Turned.apply(torch.cat((query, key), dim=1), *angles)  # type: ignore[no-untyped-call]
        query, key = torch.split(turned.transpose(0, 1), [self.heads, few])
        queries, keys = torch.split(query, list(parts), dim=1), torch.split(key, list(parts), dim=1)
        values = torch.split(value.transpose(0, 1), list(parts), dim=1)
        found = []
        for i, (asking, mask) in enumerate(zip(queries, masks, strict=True)):
            before = i > 0 and parts[0] > 0
            seen = torch.cat((keys[0], keys[i]), dim=1) if before else keys[i]
            read = torch.cat((values[0], values[i]), dim=1) if before else values[i]
            grouped = asking.reshape(few, self.groups * parts[i], self.size)
            weights = torch.baddbmm(mask, grouped, seen.transpose(1, 2), alpha=self.scale).softmax(dim=-1)
            found.append((weights @ read).view(self.heads, parts[i], self.size).transpose(0, 1))
        return torch.cat(found).reshape(len(triples), -1)


class Linear:
    """Linear layers that read the same states, as one."""

    def __init__(self, linears: Sequence[Any]) -> None:
        self.linears = linears
        self.learns = hasattr(linears[0], "lora_A")
        bases = [getattr(one, "base_layer", one) for one in linears]
        self.rank = sum(one.lora_A[ADAPTER].weight.shape[0] for one in linears) if self.learns else 0
        self.inputs = bases[0].weight.shape[1]
        outputs = [base.weight.shape[0] for base in bases]
        self.weight = bases[0].weight.new_zeros(sum(outputs), self.inputs + self.rank)
        for base, part in zip(bases, self.weight.detach().split(outputs), strict=True):
            part[:, : self.inputs] = base.weight.detach()
            base.weight.data = part[:, : self.inputs]
        self.bias = None if bases[0].bias is None else torch.cat([base.bias.detach() for base in bases])

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        if not self.learns:
            across = self.weight.t()
            return states @ across if self.bias is None else torch.addmm(self.bias, states, across)
        low = torch.cat([one.lora_A[ADAPTER].weight for one in self.linears]).to(self.weight.dtype)
        blocks = [one.lora_B[ADAPTER].weight for one in self.linears]
        high = torch.block_diag(*blocks).to(self.weight.dtype)  # type: ignore[no-untyped-call]
        scale = float(self.linears[0].scaling[ADAPTER])
        with torch.no_grad():
            self.weight[:, self.inputs :] = high * scale
        found: torch.Tensor = Joined.apply(  # type: ignore[no-untyped-call]
            states, self.weight, self.bias, low, high, scale
        )
        return found


def _linears(layer: Any) -> list[list[Any]]:
    """The layer's linear modules in the order of computing; those that read the same states together."""
    around, inner = layer.self_attn, layer.mlp
    return [
        [around.q_proj, around.k_proj, around.v_proj],
        [around.o_proj],
        [inner.gate_proj, inner.up_proj],
        [inner.down_proj],
    ]


def _norm(module: Any, states: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = Norm.apply(  # type: ignore[no-untyped-call]
        states, module.weight.detach(), module.variance_epsilon
    )
    return found


def _turned(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    one, other = x.chunk(2, dim=-1)
    return torch.cat((one * cos - other * sin, other * cos + one * sin), dim=-1)


def _mask(before: int, rows: int, groups: int, dtype: torch.dtype) -> torch.Tensor:
    """[1, groups × rows, before + rows]: -inf where a row would see what comes after it."""
    later = torch.full((rows, before + rows), float("-inf"), dtype=dtype).triu_(before + 1)
    return later.repeat(groups, 1)[None]
