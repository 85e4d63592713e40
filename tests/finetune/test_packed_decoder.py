"""The packed forward pass against transformers and peft: the same loss and gradients, to the rounding of float32."""

from collections.abc import Sequence
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from finetune.lora import add_lora  # noqa: E402
from finetune.packed_decoder import PackedDecoder, Rows, common_beginning, fits  # noqa: E402

SIZES = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "pad_token_id": 0,
}  # fmt: skip
TEXTS = [[5, 6, 7, 8, 9, 10, 11], [5, 6, 7, 20, 21], [5, 6, 7, 8, 30, 31, 32, 33, 34, 35]]
LEARNED = [(0, 5), (0, 6), (1, 3), (1, 4), (2, 8), (2, 9)]


def model_of(kind: str, **more: Any) -> Any:
    import transformers

    torch.manual_seed(1)
    name = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3"}[kind]
    config = getattr(transformers, f"{name}Config")(**SIZES, **more)
    model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    for parameter in model.parameters():  # the biases and norms of a new model are all 0 and 1
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def learning(model: Any) -> Any:
    adapted = add_lora(model, 4, 8, "CAUSAL_LM")
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return adapted


def expected_loss(model: Any, texts: Sequence[Sequence[int]], learned: Sequence[tuple[int, int]]) -> Any:
    """Text by text, all scores, nothing shared."""
    surprises = []
    for text, position in learned:
        scores = model(input_ids=torch.tensor([list(texts[text])]), use_cache=False).logits[0, position - 1]
        surprises.append(-scores.float().log_softmax(dim=-1)[texts[text][position]])
    return torch.stack(surprises).mean()


def gradients(model: Any, loss: Any) -> dict[str, Any]:
    model.zero_grad()
    loss.backward()
    return {name: one.grad.clone() for name, one in model.named_parameters() if one.requires_grad}


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_loss_and_gradients_are_those_of_transformers_and_peft(kind: str) -> None:
    model = learning(model_of(kind))
    base = model.get_base_model()
    assert fits(base)
    loss = expected_loss(model, TEXTS, LEARNED)
    expected = gradients(model, loss)
    packed = PackedDecoder(base)
    found = packed.loss(TEXTS, LEARNED)
    assert float(found.detach()) == pytest.approx(float(loss.detach()), rel=1e-5)
    for name, grad in gradients(model, found).items():
        torch.testing.assert_close(grad, expected[name], rtol=2e-4, atol=2e-6, msg=name)
    again = expected_loss(model, TEXTS, LEARNED)
    assert float(again.detach()) == pytest.approx(float(loss.detach()), rel=1e-6), "the model itself goes on as before"


def test_it_follows_the_weights_as_they_learn() -> None:
    model = learning(model_of("qwen2"))
    packed = PackedDecoder(model.get_base_model())
    steps = torch.optim.SGD([one for one in model.parameters() if one.requires_grad], lr=0.5)
    before = float(packed.loss(TEXTS, LEARNED).detach())
    for _ in range(5):
        steps.zero_grad()
        packed.loss(TEXTS, LEARNED).backward()
        steps.step()
    after = float(packed.loss(TEXTS, LEARNED).detach())
    assert after < before
    assert after == pytest.approx(float(expected_loss(model, TEXTS, LEARNED).detach()), rel=1e-5)


def test_one_text_texts_alike_but_for_the_end_and_none_alike() -> None:
    model = learning(model_of("llama"))
    packed = PackedDecoder(model.get_base_model())
    for texts in ([[4, 5, 6]], [[4, 5, 6], [4, 5, 7]], [[4, 5, 6], [4, 5, 6]], [[1, 2], [3, 4, 5]]):
        learned = [(i, len(text) - 1) for i, text in enumerate(texts)]
        with torch.inference_mode():
            expected = float(expected_loss(model, texts, learned))
        assert float(packed.loss(texts, learned).detach()) == pytest.approx(expected, rel=1e-5), texts


def test_without_lora_it_measures() -> None:
    model = model_of("qwen3")
    with torch.inference_mode():
        expected = float(expected_loss(model, TEXTS, LEARNED))
    packed = PackedDecoder(model)
    with torch.inference_mode():
        assert float(packed.loss(TEXTS, LEARNED)) == pytest.approx(expected, rel=1e-5)


def test_what_all_begin_with_is_computed_once() -> None:
    assert common_beginning(TEXTS) == 3
    rows = Rows.of(TEXTS)
    assert (rows.shared, rows.left, len(rows)) == (3, (4, 2, 7), 16)
    assert [rows.row(0, 2), rows.row(0, 3), rows.row(1, 2), rows.row(1, 3), rows.row(2, 9)] == [2, 3, 2, 7, 15]
    assert len(Rows.of([[1, 2, 3]])) == 3


def test_what_it_does_not_compute_is_left_to_transformers() -> None:
    from peft import LoraConfig, get_peft_model

    def fits_with(**more: Any) -> bool:
        config = LoraConfig(r=4, task_type="CAUSAL_LM", **{"target_modules": "all-linear", **more})
        return fits(get_peft_model(model_of("qwen2"), config).get_base_model())

    assert fits_with(use_rslora=True)
    assert not fits_with(lora_dropout=0.1)
    assert not fits_with(use_dora=True)
    assert not fits_with(target_modules=["q_proj", "v_proj"])
    assert not fits(model_of("llama", hidden_act="gelu"))
    windowed = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}
    assert not fits(model_of("qwen2", **windowed))
    quantised = model_of("llama")
    quantised.model.layers[1].mlp.up_proj = torch.nn.Sequential(quantised.model.layers[1].mlp.up_proj)
    assert not fits(quantised)
