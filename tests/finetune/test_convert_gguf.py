"""A GGUF file of the qwen2 kind becomes the folder that transformers itself would make of it, embeddings tied."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetune.convert_gguf import convert_gguf
from finetune.errors import DamagedFileError
from finetune.loading import load_generator

HIDDEN, FEED_FORWARD, HEADS, KV_HEADS, LAYERS = 64, 96, 4, 2, 2
KV = HIDDEN // HEADS * KV_HEADS
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = [("å", "ľ"), ("Ġ", "a"), ("l", "l")]
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"


def pieces() -> list[str]:
    """The 256 byte letters of byte-level BPE, the merged ones, the special ones and two rows of padding."""
    from tokenizers.pre_tokenizers import ByteLevel

    return [*sorted(ByteLevel.alphabet()), *("".join(merge) for merge in MERGES), *SPECIAL, "[PAD0]", "[PAD1]"]


def write_gguf(path: Path, *, architecture: str = "qwen2", tied: bool = False) -> dict[str, np.ndarray]:
    """Writes the file; returns what each quantised tensor stands for."""
    import gguf
    from gguf import GGMLQuantizationType as Kind

    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(512)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    tokens = pieces()
    kinds = [gguf.TokenType.NORMAL] * (256 + len(MERGES)) + [gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.UNUSED] * 2
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(merge) for merge in MERGES])
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_bos_token_id(tokens.index("<|endoftext|>"))
    writer.add_pad_token_id(tokens.index("<|endoftext|>"))
    writer.add_chat_template(TEMPLATE)
    random, meant = np.random.default_rng(3), {}

    def add(name: str, shape: tuple[int, ...], kind: Kind = Kind.F32, values: Any = None) -> None:
        if values is None:
            values = random.normal(0, 0.2, shape).astype(np.float32)
        quantised = gguf.quantize(values, kind)
        meant[name] = gguf.dequantize(quantised, kind).reshape(shape)
        writer.add_tensor(name, quantised, raw_dtype=kind)

    embedding = random.normal(0, 0.2, (len(tokens), HIDDEN)).astype(np.float32)
    add("token_embd.weight", embedding.shape, Kind.Q5_0, embedding)
    if not tied:
        add("output.weight", embedding.shape, Kind.Q8_0, embedding)
    add("output_norm.weight", (HIDDEN,))
    for i in range(LAYERS):
        add(f"blk.{i}.attn_norm.weight", (HIDDEN,))
        add(f"blk.{i}.ffn_norm.weight", (HIDDEN,))
        for name, out in (("q", HIDDEN), ("k", KV), ("v", KV)):
            add(f"blk.{i}.attn_{name}.weight", (out, HIDDEN), Kind.Q8_0)
            add(f"blk.{i}.attn_{name}.bias", (out,))
        add(f"blk.{i}.attn_output.weight", (HIDDEN, HIDDEN), Kind.Q5_0)
        add(f"blk.{i}.ffn_gate.weight", (FEED_FORWARD, HIDDEN), Kind.Q4_0)
        add(f"blk.{i}.ffn_up.weight", (FEED_FORWARD, HIDDEN), Kind.Q4_1)
        add(f"blk.{i}.ffn_down.weight", (HIDDEN, FEED_FORWARD), Kind.F16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return meant


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, np.ndarray]]:
    home = tmp_path_factory.mktemp("gguf")
    meant = write_gguf(home / "model.gguf")
    folder = home / "folder"
    folder.mkdir()
    counted: list[tuple[int, int]] = []
    convert_gguf(home / "model.gguf", folder, lambda done, total: counted.append((done, total)))
    tensors = len(meant) - 1
    assert counted == [(i, tensors) for i in range(1, tensors + 1)]
    return home, folder, meant


def test_weights_equal_those_of_transformers_own_reader(converted: tuple[Path, Path, dict[str, np.ndarray]]) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    home, folder, meant = converted
    ours, _ = load_generator(folder, dtype=torch.bfloat16)
    theirs = AutoModelForCausalLM.from_pretrained(home, gguf_file="model.gguf", dtype=torch.bfloat16)
    expected = {name: value for name, value in theirs.state_dict().items() if "embed_tokens" not in name}
    expected["lm_head.weight"] = torch.from_numpy(meant["output.weight"]).to(torch.bfloat16)
    state = ours.state_dict()
    for name, value in expected.items():
        assert torch.equal(state[name], value), name
    assert state["model.embed_tokens.weight"].data_ptr() == state["lm_head.weight"].data_ptr()


def test_all_keys_match_and_the_output_is_tied(converted: tuple[Path, Path, dict[str, np.ndarray]]) -> None:
    from safetensors import safe_open
    from transformers import AutoModelForCausalLM

    _, report = AutoModelForCausalLM.from_pretrained(converted[1], output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    with safe_open(converted[1] / "model.safetensors", "pt") as weights:
        assert "lm_head.weight" not in weights.keys()  # noqa: SIM118 - no mapping
        assert str(weights.get_slice("model.embed_tokens.weight").get_dtype()) == "BF16"


def test_tokens_equal_those_of_transformers_own_reader(converted: tuple[Path, Path, dict[str, np.ndarray]]) -> None:
    from transformers import AutoTokenizer

    home, folder, _ = converted
    ours = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    theirs = AutoTokenizer.from_pretrained(home, gguf_file="model.gguf")
    for text in ("退款 all a 12\n\n x", "<|im_start|>user\n好<|im_end|>", "it's  a\r\n", ""):
        assert ours(text)["input_ids"] == theirs(text)["input_ids"]
    assert (ours.eos_token, ours.pad_token, ours.bos_token) == ("<|im_end|>", "<|endoftext|>", None)
    assert len(ours) == len(pieces()) - 2
    messages = [{"role": "user", "content": "好"}]
    assert ours.apply_chat_template(messages, tokenize=False) == "<|im_start|>user\n好<|im_end|>\n"
    assert ours.decode(ours("好<|im_end|>")["input_ids"], skip_special_tokens=True) == "好"


def test_a_reply_ends_at_either_end_token_and_is_not_sampled(
    converted: tuple[Path, Path, dict[str, np.ndarray]],
) -> None:
    model, tokenizer = load_generator(converted[1])
    ends = [tokenizer.convert_tokens_to_ids(token) for token in ("<|im_end|>", "<|endoftext|>")]
    assert model.generation_config.eos_token_id == ends
    assert not model.generation_config.do_sample


def test_a_file_with_one_embedding_is_taken_as_it_is(tmp_path: Path) -> None:
    import torch

    meant = write_gguf(tmp_path / "model.gguf", tied=True)
    convert_gguf(tmp_path / "model.gguf", tmp_path, lambda _done, _total: None)
    model, _ = load_generator(tmp_path, dtype=torch.float32)
    expected = torch.from_numpy(meant["token_embd.weight"]).to(torch.bfloat16).float()
    assert torch.equal(model.get_input_embeddings().weight, expected)


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    whole = tmp_path / "model.gguf"
    write_gguf(whole)
    write_gguf(tmp_path / "llama.gguf", architecture="llama")
    content = whole.read_bytes()
    damaged = {"empty": b"", "head": content[:9000], "tail": content[:-100], "zip": b"PK\3\4" + content[4:]}
    for name, altered in damaged.items():
        (tmp_path / f"{name}.gguf").write_bytes(altered)
    for name in (*damaged, "llama"):
        with pytest.raises(DamagedFileError, match=rf"{name}\.gguf"):
            convert_gguf(tmp_path / f"{name}.gguf", tmp_path, lambda _done, _total: None)
