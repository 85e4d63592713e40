"""Embedding models: a local Hugging Face folder becomes a function from texts to unit vectors."""

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from knowledge.errors import EncoderError
from knowledge.types import ProgressCallback, TextKind, Vectors

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

Pooling = Literal["mean", "cls", "lasttoken"]
BATCH_TEXTS_MAX = 64
BATCH_TOKENS_MAX = 2048  # twice as many is no faster on a processor, and a stop waits for the batch under way
SLICE_TEXTS = 2048
CACHE_TEXTS_MAX = 4096
CHARACTERS_PER_TOKEN_MAX = 16


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model wants its texts: pooling, prefixes and the longest input it was trained on."""

    pooling: Pooling = "mean"
    query_prefix: str = ""
    passage_prefix: str = ""
    max_tokens: int = 512
    checksum: str = ""

    def prefix(self, kind: TextKind) -> str:
        return self.query_prefix if kind == "query" else self.passage_prefix


def read_recipe(folder: Path) -> Recipe:
    """The recipe in `kefu-model.json`, else the one sentence-transformers keeps in its folders, else mean pooling."""
    own = _read_json(folder / "kefu-model.json")
    if own:
        return Recipe(
            pooling=_pooling(folder, str(own.get("pooling", "mean"))),
            query_prefix=str(own.get("query_prefix", "")),
            passage_prefix=str(own.get("passage_prefix", "")),
            max_tokens=int(own.get("max_tokens", 512)),
            checksum=str(own.get("checksum", "")),
        )
    st_pooling = _read_json(folder / "1_Pooling" / "config.json")
    prompts = _read_json(folder / "config_sentence_transformers.json").get("prompts", {})
    limit = _read_json(folder / "sentence_bert_config.json").get("max_seq_length") or 512
    modes = {"pooling_mode_cls_token": "cls", "pooling_mode_lasttoken": "lasttoken", "pooling_mode_mean_tokens": "mean"}
    mode = next((name for key, name in modes.items() if st_pooling.get(key)), "mean")
    passage = prompts.get("passage", prompts.get("document", ""))
    return Recipe(_pooling(folder, mode), str(prompts.get("query", "")), str(passage), int(limit))


class TransformerEncoder:
    """A transformer with pooling and L2 normalisation, in this process; safe to call from many threads.

    `adapter` is a peft folder whose LoRA weights are merged into the base at load. `dtype` "auto" takes bfloat16 only
    where the processor computes with it. Raises EncoderError for a folder that holds no usable model.
    """

    def __init__(
        self, folder: Path, adapter: Path | None = None, dtype: str = "auto", threads: int | None = None
    ) -> None:
        import torch

        if threads:
            torch.set_num_threads(threads)
        self.folder, self.adapter = Path(folder), adapter
        self.recipe = read_recipe(self.folder)
        self._dtype = resolve_dtype(dtype)
        self._tokenizer, self._model = _load(self.folder, adapter, self._dtype)
        self._dimension = int(self._model.config.hidden_size)
        positions = int(getattr(self._model.config, "max_position_embeddings", self.recipe.max_tokens))
        self._max_tokens = min(self.recipe.max_tokens, positions)
        # Set once: they are state of the tokenizer that all threads share.
        self._tokenizer.enable_truncation(self._max_tokens)
        self._tokenizer.enable_padding(pad_id=getattr(self._model.config, "pad_token_id", None) or 0)
        self._id = _identity(self.folder, adapter, self.recipe, str(self._dtype))
        self._cache: OrderedDict[tuple[TextKind, str], Vectors] = OrderedDict()
        self._cache_lock = threading.Lock()

    @property
    def id(self) -> str:
        """Names weights, adapter, preprocessing and precision: 32 hexadecimal digits."""
        return self._id

    @property
    def dimension(self) -> int:
        return self._dimension

    def encode(
        self, texts: Sequence[str], kind: TextKind = "query", on_progress: ProgressCallback | None = None
    ) -> Vectors:
        """Unit vectors, float32, shape [len(texts), dimension]. Single texts are remembered (the last 4,096)."""
        if len(texts) == 1:
            return self._encode_single(texts[0], kind)
        found = np.empty((len(texts), self._dimension), dtype=np.float32)
        for start in range(0, len(texts), SLICE_TEXTS):
            part = [self._prepare(text, kind) for text in texts[start : start + SLICE_TEXTS]]
            order = sorted(range(len(part)), key=lambda i: len(part[i]))
            done = start
            for batch in _batches(part, order):
                found[[start + i for i in batch]] = self._forward([part[i] for i in batch])
                done += len(batch)
                if on_progress is not None:
                    on_progress(done, len(texts))
        return found

    def _encode_single(self, text: str, kind: TextKind) -> Vectors:
        key = (kind, text)
        with self._cache_lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key].copy()
        vector = self._forward([self._prepare(text, kind)])
        with self._cache_lock:
            self._cache[key] = vector
            while len(self._cache) > CACHE_TEXTS_MAX:
                self._cache.popitem(last=False)
        return vector.copy()

    def _prepare(self, text: str, kind: TextKind) -> str:
        # The tokenizer reads all of a text before it cuts: what cannot survive the cut is not given to it.
        return self.recipe.prefix(kind) + text[: self._max_tokens * CHARACTERS_PER_TOKEN_MAX]

    def _forward(self, texts: list[str]) -> Vectors:
        import torch

        encodings = self._tokenizer.encode_batch_fast(texts)
        ids = torch.tensor([encoding.ids for encoding in encodings])
        mask = torch.tensor([encoding.attention_mask for encoding in encodings])
        with torch.inference_mode():
            states = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
            pooled = _pool(states.float(), mask, self.recipe.pooling)
            vectors = torch.nn.functional.normalize(pooled, dim=1).numpy()
        if not np.isfinite(vectors).all():
            raise EncoderError(
                "encoder_not_finite",
                f"向量模型 {self.folder.name} 算出了无效的数值，请检查模型或适配器。",
                f"The encoder {self.folder.name} produced numbers that are not finite; check the model or adapter.",
            )
        return np.ascontiguousarray(vectors, dtype=np.float32)


def resolve_dtype(name: str) -> "torch.dtype":
    """The torch dtype of a setting: "auto", "float32" or "bfloat16".

    bfloat16 without AMX or AVX512-BF16 is emulated and slower than float32, so "auto" looks at the processor.
    """
    import torch

    if name == "auto":
        try:
            flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        except OSError:
            flags = ""
        return torch.bfloat16 if "amx_bf16" in flags or "avx512_bf16" in flags else torch.float32
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if name not in known:
        raise EncoderError(
            "encoder_dtype",
            f"向量模型的精度只能是 auto、float32 或 bfloat16,不能是 {name!r}。",
            f"The encoder's dtype must be auto, float32 or bfloat16, not {name!r}.",
        )
    return known[name]


def _batches(texts: list[str], order: list[int]) -> Iterator[list[int]]:
    """Index lists of similar length, each at most BATCH_TOKENS_MAX padded characters (a Chinese token is about one)."""
    batch: list[int] = []
    for i in order:
        if batch and (len(batch) == BATCH_TEXTS_MAX or (len(batch) + 1) * len(texts[i]) > BATCH_TOKENS_MAX):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _pool(states: "torch.Tensor", mask: "torch.Tensor", pooling: Pooling) -> "torch.Tensor":
    """[texts, tokens, dimension] → [texts, dimension], over real tokens only."""
    import torch

    if pooling == "cls":
        return states[:, 0]
    if pooling == "lasttoken":
        last = mask.shape[1] - 1 - mask.flip(1).argmax(dim=1)
        return states[torch.arange(len(states)), last]
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)


def _load(folder: Path, adapter: Path | None, dtype: "torch.dtype") -> tuple[Any, Any]:
    import torch
    from transformers import AutoModel
    from transformers.utils import logging

    # Loading reports missing heads that an encoder has no use for; what matters is raised.
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        tokenizer = load_tokenizer(folder)
        model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32 if adapter else dtype)
    except Exception as error:
        raise EncoderError(
            "encoder_load",
            f"无法从 {folder} 加载向量模型:{error}",
            f"No encoder can be loaded from {folder}: {error}",
        ) from error
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    if adapter is not None:
        model = _merge(model, adapter).to(dtype)
    return tokenizer, model.eval().requires_grad_(requires_grad=False)


def load_tokenizer(folder: Path) -> "Tokenizer":
    """The Rust tokenizer alone: transformers' wrapper around it reads its file again, in Python (2 s for e5)."""
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if path.is_file():
        return Tokenizer.from_file(str(path))
    from transformers import AutoTokenizer

    converted: Tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True).backend_tokenizer
    return converted


def _merge(model: Any, adapter: Path) -> Any:
    """The base with the LoRA weights added in float32: in bfloat16 most of a small update would be rounded away."""
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, str(adapter), is_trainable=False).merge_and_unload()
    except Exception as error:
        raise EncoderError(
            "adapter_load",
            f"适配器 {adapter} 无法用于这个向量模型:{error}",
            f"The adapter {adapter} does not fit this encoder: {error}",
        ) from error


def _identity(folder: Path, adapter: Path | None, recipe: Recipe, dtype: str) -> str:
    base = recipe.checksum if len(recipe.checksum) == 64 else hash_files(folder, ("*.safetensors", "tokenizer.json"))
    tuned = hash_files(adapter, ("adapter_config.json", "adapter_model.*")) if adapter else ""
    parts = [base, tuned, recipe.pooling, recipe.query_prefix, recipe.passage_prefix, str(recipe.max_tokens), dtype]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def hash_files(folder: Path, patterns: Sequence[str]) -> str:
    total = hashlib.sha256()
    for path in sorted(path for pattern in patterns for path in folder.glob(pattern)):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _pooling(folder: Path, name: str) -> Pooling:
    known: dict[str, Pooling] = {"mean": "mean", "cls": "cls", "lasttoken": "lasttoken"}
    if name not in known:
        raise EncoderError(
            "encoder_pooling",
            f"{folder} 的池化方式 {name!r} 不认识，应为 {'、'.join(known)} 之一。",
            f"{folder} names the pooling {name!r}; expected one of {', '.join(known)}.",
        )
    return known[name]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
