"""The packed forward pass gives what transformers and peft give, gradients included; on models of random weights."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel, RobertaConfig, RobertaModel

from finetune.catalogue import Pooling
from finetune.embedding import pool
from finetune.lora import add_lora
from finetune.packed import Packed, fits

TEXTS = [(0, 5, 2), (0, 9, 2), (0, 7, 7, 8, 2), (0, 11, 12, 13, 14, 15, 2)]
PAD = 1
SIZES = {
    "vocab_size": 20,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 16,
    "pad_token_id": PAD,
    "attn_implementation": "eager",
}


def bert() -> Any:
    return BertModel(BertConfig(**SIZES), add_pooling_layer=False).eval()


def roberta() -> Any:
    return RobertaModel(RobertaConfig(**SIZES), add_pooling_layer=False).eval()


def with_lora(model: Any) -> Any:
    """LoRA whose B is not zero any more, as after some steps."""
    found = add_lora(model, 4, 8, "FEATURE_EXTRACTION")
    for name, weight in found.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.2)
    return found


def padded(model: Any, pooling: Pooling) -> torch.Tensor:
    longest = max(map(len, TEXTS))
    ids = torch.tensor([[*text, *[PAD] * (longest - len(text))] for text in TEXTS])
    mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in TEXTS])
    return pool(model(input_ids=ids, attention_mask=mask).last_hidden_state, mask, pooling)


def gradients(model: Any, pooled: torch.Tensor) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    (pooled * torch.randn_like(pooled)).sum().backward()  # type: ignore[no-untyped-call]
    found = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.requires_grad}
    model.zero_grad()
    return found


@pytest.mark.parametrize("build", [bert, roberta])
@pytest.mark.parametrize("pooling", ["mean", "cls", "lasttoken"])
def test_states_and_gradients_are_those_of_peft(build: Callable[[], Any], pooling: Pooling) -> None:
    torch.manual_seed(1)
    model = with_lora(build())
    expected, found = padded(model, pooling), Packed(model.get_base_model(), pooling)(TEXTS)
    torch.testing.assert_close(found, expected)
    wanted = gradients(model, expected)
    assert len(wanted) == 2 * 2 * 6
    torch.testing.assert_close(gradients(model, found), wanted)


def test_a_model_without_lora_is_computed_too() -> None:
    torch.manual_seed(2)
    model = bert()
    torch.testing.assert_close(Packed(model, "mean")(TEXTS), padded(model, "mean"))


def test_in_bfloat16_the_gradients_are_float32_and_point_the_same_way() -> None:
    torch.manual_seed(4)
    model = with_lora(bert())
    exact = gradients(model, padded(model, "mean"))
    for name, weight in model.named_parameters():
        if "lora_" not in name:
            weight.data = weight.data.bfloat16()
    found = gradients(model, Packed(model.get_base_model(), "mean")(TEXTS))
    assert {gradient.dtype for gradient in found.values()} == {torch.float32}
    both = (torch.cat([each[name].flatten() for name in exact]) for each in (exact, found))
    assert float(torch.cosine_similarity(*both, dim=0)) > 0.999


def test_other_architectures_are_left_to_transformers() -> None:
    assert fits(bert())
    assert not fits(DistilBertModel(DistilBertConfig(vocab_size=20, dim=24, n_layers=1, n_heads=3, hidden_dim=40)))
