"""The generator: one GGUF file of the qwen2 architecture into a Hugging Face folder in bf16.

The GGUF format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The tensors are read and dequantised one at
a time with the `gguf` package: the numbers equal those of `from_pretrained(folder, gguf_file=…)` of transformers, in a
part of its time and memory, and no mark of quantisation has to be taken off again.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.atomic import write_json
from finetune.errors import DamagedFileError

if TYPE_CHECKING:
    import torch
    from gguf import GGUFReader, ReaderTensor
    from tokenizers import Tokenizer

# Architecture and way of splitting text before the merges, both `qwen2` in the file.
ARCHITECTURE = PRETOKENIZER = "qwen2"
PRETOKENIZE_REGEX = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
MODULES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
LAYER_MODULES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OUTPUT, EMBEDDING = "output.weight", "token_embd.weight"
# gguf.TokenType, of which the reader gives only the numbers
CONTROL, USER_DEFINED, UNUSED = 3, 4, 5


def convert_gguf(file: Path, folder: Path, on_progress: Callable[[int, int], None]) -> None:
    """Writes the configs, model.safetensors (bf16, embeddings tied) and the tokenizer's files into `folder`.

    `on_progress(done, total)` counts tensors. Raises DamagedFileError where the file is no GGUF of the qwen2 kind.
    """
    from gguf import GGUFReader
    from safetensors.torch import save_file

    try:
        reader = GGUFReader(file)
    except (ValueError, IndexError, OverflowError) as error:
        raise DamagedFileError.form(
            file.name, f"不是完整的 GGUF 文件({error})", f"not a whole GGUF file ({error})"
        ) from error
    for field, expected in (("general.architecture", ARCHITECTURE), ("tokenizer.ggml.pre", PRETOKENIZER)):
        if (found := _field(reader, field)) != expected:
            raise DamagedFileError.form(
                file.name, f"{field} 应为 {expected}，实际为 {found}", f"{field} is {found}, expected {expected}"
            )
    _save_configs(reader, folder)
    _build_tokenizer(reader).save(str(folder / "tokenizer.json"))
    save_file(dict(_tensors(reader, on_progress)), folder / "model.safetensors", metadata={"format": "pt"})


def _tensors(reader: "GGUFReader", on_progress: Callable[[int, int], None]) -> "Iterator[tuple[str, torch.Tensor]]":
    tensors = _without_the_worse_embedding(reader.tensors)
    for done, tensor in enumerate(tensors, 1):
        yield _qwen_name(tensor.name), _bf16(tensor)
        on_progress(done, len(tensors))


def _without_the_worse_embedding(tensors: "list[ReaderTensor]") -> "list[ReaderTensor]":
    """The tensors with one embedding: Qwen2.5-0.5B has one matrix for input and output, quantised twice in the file.

    The one of more bits per weight is nearer to it (Q8_0 with 8.5 against Q5_0 with 5.5: an eighth of the rounding
    step) and serves both ends.
    """
    by_name = {tensor.name: tensor for tensor in tensors}
    if OUTPUT not in by_name:
        return list(tensors)
    worse = min(by_name[OUTPUT], by_name[EMBEDDING], key=lambda tensor: int(tensor.n_bytes))
    return [tensor for tensor in tensors if tensor is not worse]


def _qwen_name(name: str) -> str:
    if name in (OUTPUT, EMBEDDING):
        return "model.embed_tokens.weight"
    if match := re.fullmatch(r"blk\.(\d+)\.(\w+)\.(weight|bias)", name):
        layer, module, part = match.groups()
        return f"model.layers.{layer}.{LAYER_MODULES[module]}.{part}"
    module, _, part = name.rpartition(".")
    return f"{MODULES[module]}.{part}"


def _bf16(tensor: "ReaderTensor") -> "torch.Tensor":
    import torch
    from gguf import dequantize

    # In pieces: the embedding alone would take 0.5 GB as f32 beside what is already there.
    rows = tensor.data if tensor.data.ndim > 1 else tensor.data[None]
    parts = [rows[i : i + 4096] for i in range(0, len(rows), 4096)]
    whole = torch.cat(
        [torch.from_numpy(dequantize(part, tensor.tensor_type).copy()).to(torch.bfloat16) for part in parts]
    )
    return whole.reshape([int(size) for size in reversed(tensor.shape)])


def _field(reader: "GGUFReader", name: str, default: Any = None) -> Any:
    field = reader.get_field(name)
    return default if field is None else field.contents()


def _save_configs(reader: "GGUFReader", folder: Path) -> None:
    """What `transformers.Qwen2Config` needs, and no version of a library: the same file gives the same checksum."""

    def model(name: str) -> Any:
        return _field(reader, f"{ARCHITECTURE}.{name}")

    def token(name: str) -> int:
        return int(_field(reader, f"tokenizer.ggml.{name}_token_id"))

    tokens, layers = _field(reader, "tokenizer.ggml.tokens"), model("block_count")
    special = {"bos_token_id": token("bos"), "eos_token_id": token("eos"), "pad_token_id": token("padding")}
    config = {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "dtype": "bfloat16",
        "vocab_size": len(tokens),
        "hidden_size": model("embedding_length"),
        "intermediate_size": model("feed_forward_length"),
        "num_hidden_layers": layers,
        "num_attention_heads": model("attention.head_count"),
        "num_key_value_heads": model("attention.head_count_kv"),
        "hidden_act": "silu",
        "max_position_embeddings": model("context_length"),
        "max_window_layers": layers,
        "use_sliding_window": False,
        "rms_norm_eps": round(model("attention.layer_norm_rms_epsilon"), 9),
        "rope_parameters": {"rope_type": "default", "rope_theta": model("rope.freq_base")},
        "tie_word_embeddings": True,
        **special,
    }
    write_json(folder / "config.json", config)
    # A base model's end of text ends a reply as well. No sampling: what is said must follow the sources.
    stops = [special["eos_token_id"], special["pad_token_id"]]
    write_json(folder / "generation_config.json", {**special, "eos_token_id": stops, "do_sample": False})
    tokenizer_config = {
        "tokenizer_class": "Qwen2Tokenizer",
        "model_max_length": model("context_length"),
        "clean_up_tokenization_spaces": False,
        "add_prefix_space": False,
        "bos_token": None,
        "eos_token": tokens[special["eos_token_id"]],
        "pad_token": tokens[special["pad_token_id"]],
        "unk_token": None,
    }
    write_json(folder / "tokenizer_config.json", tokenizer_config)
    (folder / "chat_template.jinja").write_text(_field(reader, "tokenizer.chat_template"), encoding="utf-8")


def _build_tokenizer(reader: "GGUFReader") -> "Tokenizer":
    """Qwen's byte-level BPE of the file's pieces and merges; rows that only pad the matrix are no pieces."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    tokens, kinds = _field(reader, "tokenizer.ggml.tokens"), _field(reader, "tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ")) for merge in _field(reader, "tokenizer.ggml.merges")]
    # The added tokens are in it too, which fixes their ids.
    vocabulary = {token: i for i, token in enumerate(tokens) if kinds[i] != UNUSED}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(tokens[i], normalized=False) for i, kind in enumerate(kinds) if kind == CONTROL]
    )
    tokenizer.add_tokens(
        [AddedToken(tokens[i], normalized=False) for i, kind in enumerate(kinds) if kind == USER_DEFINED]
    )
    return tokenizer
