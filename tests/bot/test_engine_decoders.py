"""The ways a model writes, on small random models of several architectures: the same as transformers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot.engines import graph
from bot.engines.by_torch import TorchDecoder
from bot.engines.compiled import TEXTS_MAX, CompiledDecoder, identity_of
from bot.engines.decoder import Decoder, Text, has_gpu, open_decoder
from bot.engines.lora import Merged
from bot.engines.weights import Weights

SIZES: dict[str, Any] = {
    "vocab_size": 512,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "initializer_range": 0.15,
    "torch_dtype": "float32",
}


def make_model(kind: str, folder: Path, **changes: Any) -> Any:
    """A random model of that architecture in the folder; biases, too, are not zero."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **(SIZES | changes))).eval()
    for name, weight in model.named_parameters():
        if name.endswith("bias") or "norm" in name:
            torch.nn.init.uniform_(weight, 0.5, 1.5)
    model.save_pretrained(folder)
    return model


def make_lora(kind: str, base: Path, folder: Path, **changes: Any) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(4)
    model = AutoModelForCausalLM.from_pretrained(base)
    options = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | changes
    tuned = get_peft_model(model, LoraConfig(**options)).eval()
    for name, weight in tuned.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.1)
    tuned.save_pretrained(folder)
    return tuned


def prompt_of(length: int, seed: int) -> list[int]:
    return np.random.default_rng(seed).integers(0, 512, length).tolist()


def write(decoder: Decoder, texts: list[Text], count: int) -> None:
    waiting = list(texts)
    running: list[Text] = []
    for _ in range(10_000):
        while waiting and decoder.admit(waiting[0]):
            running.append(waiting.pop(0))
        if not running:
            return
        for text in decoder.step():
            if len(text.written) == count:
                decoder.release(text)
                running.remove(text)
    pytest.fail("it does not end")


def behind(model: Any, text: Text) -> list[float]:
    """How far each token written lies behind the best one, in deviations of all scores at its place."""
    import torch

    with torch.inference_mode():
        scores = model(input_ids=torch.tensor([[*text.prompt, *text.written]])).logits[0].float().numpy()
    places = scores[len(text.prompt) - 1 : -1]
    return [float((row.max() - row[token]) / row.std()) for row, token in zip(places, text.written, strict=True)]


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("qwen2", {"tie_word_embeddings": True}),
        ("llama", {"num_key_value_heads": 4}),
        ("qwen3", {"head_dim": 64, "tie_word_embeddings": False}),
    ],
)
def test_compiled_ones_write_what_transformers_would(kind: str, changes: dict[str, Any], tmp_path: Path) -> None:
    base = tmp_path / "base"
    model = make_model(kind, base, **changes)
    tuned = make_lora(kind, base, tmp_path / "lora")
    shape = graph.shape_of(base)
    assert shape is not None
    if not has_gpu():
        assert isinstance(open_decoder(base, None, 1), CompiledDecoder)
    other = CompiledDecoder(base, shape, tmp_path / "lora", 1)
    plain = CompiledDecoder(base, shape, None, 1)
    # Longer than a step reads, of the same beginning, short, and more than there is room for at once.
    long = prompt_of(400, 1)
    prompts = [long, long[:300] + prompt_of(40, 2), long, *(prompt_of(5 + n, 10 + n) for n in range(TEXTS_MAX))]
    for decoder, judge in ((plain, model), (other, tuned)):
        texts = [Text(prompt, 12) for prompt in prompts]
        write(decoder, texts, 12)
        lag = [value for text in texts for value in behind(judge, text)]
        # Rounding to 8 bits lets it take one that is about as good now and then, and never a bad one.
        assert np.mean(np.array(lag) == 0) > 0.8
        assert max(lag) < 0.5
        assert texts[0].written == texts[2].written
    assert np.mean(behind(model, texts[0])) > 0.5, "the adapter changes nothing"


def test_other_architectures_are_left_to_transformers(tmp_path: Path) -> None:
    import torch

    model = make_model("gpt_neox", tmp_path / "base")
    tuned = make_lora("gpt_neox", tmp_path / "base", tmp_path / "lora")
    assert graph.shape_of(tmp_path / "base") is None
    for adapter, judge in ((None, model), (tmp_path / "lora", tuned)):
        decoder = open_decoder(tmp_path / "base", adapter, 1)
        assert isinstance(decoder, TorchDecoder)
        texts = [Text(prompt_of(7 + n, n), 6) for n in range(decoder.texts_max + 2)]
        write(decoder, texts, 6)
        for text in texts:
            ids = torch.tensor([text.prompt])
            exact = judge.float().generate(ids, max_new_tokens=6, do_sample=False, pad_token_id=0, eos_token_id=None)
            assert max(behind(judge, text)) < 0.1, exact


def test_sizes_it_cannot_build_are_left_to_transformers(tmp_path: Path) -> None:
    for n, changes in enumerate(
        (
            {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}},
            {"hidden_act": "gelu"},
            {"mlp_bias": True},
        )
    ):
        make_model("llama", tmp_path / str(n), num_hidden_layers=1, **changes)
        assert graph.shape_of(tmp_path / str(n)) is None
    assert graph.shape_of(tmp_path / "nothing") is None


def test_weights_are_read_as_they_were_saved(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    kinds = (torch.float32, torch.float16, torch.bfloat16)
    saved = {str(kind): torch.randn(3, 5).to(kind) for kind in kinds}
    save_file(dict(list(saved.items())[:2]), tmp_path / "model-1.safetensors")
    save_file(dict(list(saved.items())[2:]), tmp_path / "model-2.safetensors", {"format": "pt"})
    read = Weights(tmp_path)
    assert set(read) == set(saved)
    for name, values in saved.items():
        assert read[name].dtype == np.float32
        assert np.array_equal(read[name], values.float().numpy())


@pytest.mark.parametrize("damage", [b"", b"\xff" * 100, b"\x02\0\0\0\0\0\0\0{}}", b"\x02\0\0\0\0\0\0\0[]"])
def test_damaged_weights_are_refused(damage: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(damage)
    with pytest.raises(ValueError, match="safetensors"):
        Weights(tmp_path)


def test_cut_off_weights_are_refused(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.randn(100)}, tmp_path / "model.safetensors")
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-1])
    with pytest.raises(ValueError, match="cut off"):
        Weights(tmp_path)


def test_only_plain_lora_is_added(tmp_path: Path) -> None:
    make_model("qwen2", tmp_path / "base")
    make_lora("qwen2", tmp_path / "base", tmp_path / "dora", use_dora=True)
    make_model("qwen2", tmp_path / "larger", hidden_size=256)
    make_lora("qwen2", tmp_path / "larger", tmp_path / "other")
    with pytest.raises(ValueError, match="use_dora"):
        Merged(tmp_path / "base", tmp_path / "dora")
    merged = Merged(tmp_path / "base", tmp_path / "other")
    with pytest.raises(ValueError, match="the adapter's part"):
        [merged[name] for name in merged]
    make_lora("qwen2", tmp_path / "base", tmp_path / "rs", use_rslora=True)
    tuned = make_lora("qwen2", tmp_path / "base", tmp_path / "rs", use_rslora=True).merge_and_unload()
    exact = {name: values.numpy() for name, values in tuned.state_dict().items()}
    merged = Merged(tmp_path / "base", tmp_path / "rs")
    assert all(np.allclose(merged[name], exact[name], atol=1e-5) for name in merged)


def test_a_graph_is_kept_and_built_again_where_it_is_damaged(tmp_path: Path) -> None:
    make_model("qwen2", tmp_path / "base")
    shape = graph.shape_of(tmp_path / "base")
    assert shape is not None
    built = []

    def weights() -> Weights:
        built.append(1)
        return Weights(tmp_path / "base")

    home = tmp_path / "kept"
    for _ in range(2):
        graph.opened(shape, weights, "aa", home)
    assert len(built) == 1
    assert sorted(path.name for path in (home / "aa").iterdir()) == ["model.bin", "model.xml"]
    damages = (("model.xml", 0), ("model.xml", 1000), ("model.bin", 0), ("model.bin", 1000))
    for count, (name, length) in enumerate(damages, 2):
        path = home / "aa" / name
        path.write_bytes(path.read_bytes()[:length])
        model = graph.opened(shape, weights, "aa", home)
        assert len(built) == count
        assert len(model.inputs) > 8
    for identity in ("bb", "cc", "dd", "ee"):
        graph.opened(shape, weights, identity, home)
    assert len(list(home.iterdir())) == graph.KEPT_MAX
    # Where nothing can be written it is built each time, and nothing is left behind.
    (tmp_path / "file").write_text("")
    graph.opened(shape, weights, "aa", tmp_path / "file")


def test_another_adapter_or_other_weights_are_another_graph(tmp_path: Path) -> None:
    make_model("qwen2", tmp_path / "base")
    make_lora("qwen2", tmp_path / "base", tmp_path / "one")
    make_lora("qwen2", tmp_path / "base", tmp_path / "two")
    named = [identity_of(tmp_path / "base", adapter, "1") for adapter in (None, tmp_path / "one", tmp_path / "two")]
    assert identity_of(tmp_path / "base", None, "1") == named[0]
    make_model("qwen2", tmp_path / "base")
    again = identity_of(tmp_path / "base", None, "1")
    assert len({*named, again, identity_of(tmp_path / "base", None, "2")}) == 5
