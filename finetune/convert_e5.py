"""The encoder: one `e5-small-q4.bin` file (format E5S1) into a Hugging Face BERT folder.

The layout of the file, little-endian: sizes, Unigram pieces with scores, a table of character replacements, then the
named tensors, each f32 or Q4_0 (blocks of 32: an f16 scale and 32 four-bit numbers, value = (number - 8) * scale).
The weights are those of Wang et al., Multilingual E5 Text Embeddings, arXiv:2402.05672.
"""

import mmap
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.atomic import write_json
from finetune.errors import DamagedFileError
from finetune.unigram import Pieces, build_tokenizer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MAGIC, VERSION = b"E5S1", 1
TYPE_F32, TYPE_Q4_0 = 0, 1
BLOCK_WEIGHTS = 32
Q4_0_BLOCK_BYTES = 2 + BLOCK_WEIGHTS // 2

MODULES = {
    "emb.word": "embeddings.word_embeddings",
    "emb.pos": "embeddings.position_embeddings",
    "emb.type": "embeddings.token_type_embeddings",
    "emb.ln": "embeddings.LayerNorm",
}
LAYER_MODULES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


@dataclass(frozen=True, slots=True)
class Sizes:
    """The numbers that open the file."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int
    token_types: int
    norm_epsilon: float
    block_weights: int


class _Cursor:
    """Takes little-endian values one after the other; a file that ends too early is refused by name."""

    def __init__(self, data: mmap.mmap, name: str) -> None:
        self.data, self.name, self.offset = data, name, 0

    def take(self, count: int) -> bytes:
        if count < 0 or self.offset + count > len(self.data):
            raise DamagedFileError.size(self.name, self.offset + count, len(self.data))
        self.offset += count
        return self.data[self.offset - count : self.offset]

    def values(self, form: str) -> tuple[Any, ...]:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))


def convert_e5(file: Path, folder: Path, on_progress: Callable[[int, int], None]) -> None:
    """Writes config.json, model.safetensors (f32) and the tokenizer's files of the E5S1 `file` into `folder`.

    f32, since a four-bit number times an f16 scale needs up to 14 bits of mantissa: f16 and bf16 would round it.
    `on_progress(done, total)` counts tensors. Raises DamagedFileError where the file is not of this format.
    """
    from safetensors.numpy import save_file

    try:
        with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
            cursor = _Cursor(data, file.name)
            sizes = _read_sizes(cursor)
            pieces = _read_pieces(cursor)
            tensors = dict(_read_tensors(cursor, sizes, on_progress))
            tokenizer = build_tokenizer(pieces)
    # Names, numbers, texts and shapes that no such file holds.
    except (KeyError, IndexError, ValueError, OverflowError) as error:
        raise DamagedFileError.form(file.name, f"内容不合格式（{error}）", f"malformed content ({error})") from error
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", _config(sizes, pieces))
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", _tokenizer_config(sizes, pieces))


def _config(sizes: Sizes, pieces: Pieces) -> dict[str, Any]:
    """What `transformers.BertConfig` needs, and no version of a library: the same file gives the same checksum."""
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "dtype": "float32",
        "vocab_size": sizes.vocabulary,
        "hidden_size": sizes.hidden,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "intermediate_size": sizes.feed_forward,
        "hidden_act": "gelu",
        "max_position_embeddings": sizes.positions,
        "type_vocab_size": sizes.token_types,
        "layer_norm_eps": round(sizes.norm_epsilon, 15),
        "pad_token_id": pieces.pad,
        "bos_token_id": pieces.bos,
        "eos_token_id": pieces.eos,
    }


def _tokenizer_config(sizes: Sizes, pieces: Pieces) -> dict[str, Any]:
    bos, eos = pieces.scored[pieces.bos][0], pieces.scored[pieces.eos][0]
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": sizes.positions,
        "model_input_names": ["input_ids", "attention_mask"],
        "padding_side": "right",
        "clean_up_tokenization_spaces": False,
        "bos_token": bos,
        "cls_token": bos,
        "eos_token": eos,
        "sep_token": eos,
        "pad_token": pieces.scored[pieces.pad][0],
        "unk_token": pieces.scored[pieces.unknown][0],
        "mask_token": pieces.scored[-1][0],
    }


def _read_sizes(cursor: _Cursor) -> Sizes:
    magic, version = cursor.values("4sI")
    if (magic, version) != (MAGIC, VERSION):
        raise ValueError(f"{magic!r} {version} != {MAGIC!r} {VERSION}")
    sizes = Sizes(*cursor.values("7ifi"))
    if sizes.block_weights != BLOCK_WEIGHTS:
        raise ValueError(f"{sizes.block_weights} != {BLOCK_WEIGHTS}")
    return sizes


def _read_pieces(cursor: _Cursor) -> Pieces:
    import numpy as np

    count, bos, eos, pad, unknown = cursor.values("5i")
    if not all(0 <= i < count for i in (bos, eos, pad, unknown)):
        raise ValueError(f"{bos} {eos} {pad} {unknown} / {count}")
    (text_bytes,) = cursor.values("Q")
    offsets = np.frombuffer(cursor.take(4 * (count + 1)), "<u4").tolist()
    scores = np.frombuffer(cursor.take(4 * count), "<f4").tolist()
    text = cursor.take(text_bytes)
    scored = [(text[offsets[i] : offsets[i + 1]].decode(), scores[i]) for i in range(count)]
    entries, _ = cursor.values("iI")
    replacements = {}
    for _ in range(entries):
        character, length = cursor.values("IB")
        replacements[chr(character)] = "".join(map(chr, cursor.values(f"{length}I")))
    return Pieces(scored, bos, eos, pad, unknown, replacements)


def _read_tensors(
    cursor: _Cursor, sizes: Sizes, on_progress: Callable[[int, int], None]
) -> "Iterator[tuple[str, npt.NDArray[np.float32]]]":
    import numpy as np

    (count,) = cursor.values("i")
    places = []
    for _ in range(count):
        (length,) = cursor.values("H")
        places.append((cursor.take(length).decode(), *cursor.values("BIQQ")))
    for done, (name, kind, elements, offset, size) in enumerate(places, 1):
        cursor.offset = offset
        block = cursor.take(size)
        weights = np.frombuffer(block, "<f4") if kind == TYPE_F32 else dequantize_q4_0(block)
        if weights.size != elements:
            raise ValueError(f"{name}: {weights.size} != {elements}")
        if not np.isfinite(weights).all():
            raise ValueError(f"{name}: not finite")
        yield _bert_name(name), weights.reshape(_shape(name, elements, sizes))
        on_progress(done, count)


def dequantize_q4_0(block: bytes) -> "npt.NDArray[np.float32]":
    """f32[n * 32] of n Q4_0 blocks: byte j of a block holds weight j in its low half, j + 16 in its high half."""
    import numpy as np

    rows = np.frombuffer(block, np.uint8).reshape(-1, Q4_0_BLOCK_BYTES)
    scale = rows[:, :2].copy().view("<f2").astype(np.float32)
    packed = rows[:, 2:]
    numbers = np.concatenate([packed & 0x0F, packed >> 4], axis=1).astype(np.float32) - 8
    with np.errstate(invalid="ignore"):
        return np.asarray(numbers * scale, np.float32).reshape(-1)


def _bert_name(name: str) -> str:
    module, _, part = name.rpartition(".")
    if name in MODULES:
        return MODULES[name] + ".weight"
    suffix = {"w": "weight", "b": "bias"}[part]
    if module in MODULES:
        return f"{MODULES[module]}.{suffix}"
    layer, _, inner = module.partition(".")
    return f"encoder.layer.{layer[1:]}.{LAYER_MODULES[inner]}.{suffix}"


def _shape(name: str, elements: int, sizes: Sizes) -> tuple[int, ...]:
    module, _, part = name.rpartition(".")
    if part == "b" or module.endswith("ln"):
        return (elements,)
    columns = sizes.feed_forward if name.endswith(".fo.w") else sizes.hidden
    return (elements // columns, columns)
