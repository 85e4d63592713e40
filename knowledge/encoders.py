"""Embedding models: a local Hugging Face folder becomes a function from texts to unit vectors."""

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from knowledge.batching import BATCH_MAX, Gathering
from knowledge.errors import EncoderError
from knowledge.forward import Pooling, open_forward
from knowledge.types import ProgressCallback, TextKind, Vectors

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BATCH_TEXTS_MAX = 64
BATCH_TOKENS_MAX = 512  # more is no faster on a processor, and a question that is asked waits for the batch under way
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

    `adapter` is a peft folder whose LoRA weights are merged into the base at load. How the model is computed is
    `knowledge.forward`'s choice. Raises EncoderError for a folder that holds no usable model.
    """

    def __init__(self, folder: Path, adapter: Path | None = None, threads: int | None = None) -> None:
        self.folder, self.adapter = Path(folder), adapter
        self.recipe = read_recipe(self.folder)
        self._forward = open_forward(self.folder, adapter, self.recipe.pooling, threads)
        self._tokenizer = load_tokenizer(self.folder)
        self._max_tokens = min(self.recipe.max_tokens, self._forward.positions or self.recipe.max_tokens)
        # Set once: they are state of the tokenizer that all threads share.
        self._tokenizer.enable_truncation(self._max_tokens)
        self._tokenizer.enable_padding(pad_id=self._forward.pad_id)
        self._id = _identity(self.folder, adapter, self.recipe, self._forward.scheme)
        self._few = Gathering(self._run_by_length)
        self._cache: OrderedDict[tuple[TextKind, str], Vectors] = OrderedDict()
        self._cache_lock = threading.Lock()

    @property
    def id(self) -> str:
        """Names weights, adapter, preprocessing and precision: 32 hexadecimal digits."""
        return self._id

    @property
    def dimension(self) -> int:
        return self._forward.dimension

    def encode(
        self, texts: Sequence[str], kind: TextKind = "query", on_progress: ProgressCallback | None = None
    ) -> Vectors:
        """Unit vectors, float32, shape [len(texts), dimension]. Up to 16 texts share their run with those of other
        threads, and are remembered (the last 4,096).
        """
        if 0 < len(texts) <= BATCH_MAX:
            few = self._encode_few(texts, kind)
            if on_progress is not None:
                on_progress(len(texts), len(texts))
            return few
        found = np.empty((len(texts), self.dimension), dtype=np.float32)
        for start in range(0, len(texts), SLICE_TEXTS):
            part = [self._prepare(text, kind) for text in texts[start : start + SLICE_TEXTS]]

            def told(done: int, start: int = start) -> None:
                if on_progress is not None:
                    on_progress(start + done, len(texts))

            found[start : start + len(part)] = self._run_by_length(part, told)
        return found

    def _encode_few(self, texts: Sequence[str], kind: TextKind) -> Vectors:
        found: dict[str, Vectors] = {}
        with self._cache_lock:
            for text in texts:
                if (kind, text) in self._cache:
                    self._cache.move_to_end((kind, text))
                    found[text] = self._cache[kind, text]
        new = [text for text in dict.fromkeys(texts) if text not in found]
        rows = dict(zip(new, self._few([self._prepare(text, kind) for text in new]), strict=True)) if new else {}
        with self._cache_lock:
            for text, row in rows.items():
                self._cache[kind, text] = row
            while len(self._cache) > CACHE_TEXTS_MAX:
                self._cache.popitem(last=False)
        found |= rows
        return np.stack([found[text] for text in texts])

    def _run_by_length(self, texts: Sequence[str], on_done: Callable[[int], None] | None = None) -> Vectors:
        """`_run` in batches of similar length; a batch costs as much as if all of it were as long as its longest."""
        found = np.empty((len(texts), self.dimension), dtype=np.float32)
        done = 0
        for batch in _batches(texts, sorted(range(len(texts)), key=lambda i: len(texts[i]))):
            found[batch] = self._run([texts[i] for i in batch])
            done += len(batch)
            if on_done is not None:
                on_done(done)
        return found

    def _prepare(self, text: str, kind: TextKind) -> str:
        # The tokenizer reads all of a text before it cuts: what cannot survive the cut is not given to it.
        return self.recipe.prefix(kind) + text[: self._max_tokens * CHARACTERS_PER_TOKEN_MAX]

    def _run(self, texts: Sequence[str]) -> Vectors:
        encodings = self._tokenizer.encode_batch_fast(texts)
        ids = np.array([encoding.ids for encoding in encodings], dtype=np.int32)
        mask = np.array([encoding.attention_mask for encoding in encodings], dtype=np.int32)
        pooled = self._forward(ids, mask)
        vectors: Vectors = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
        if not np.isfinite(vectors).all():
            raise EncoderError(
                "encoder_not_finite",
                f"向量模型 {self.folder.name} 算出了无效的数值，请检查模型或适配器。",
                f"The encoder {self.folder.name} produced numbers that are not finite; check the model or adapter.",
            )
        return vectors


def _batches(texts: Sequence[str], order: list[int]) -> Iterator[list[int]]:
    """Index lists of similar length, each at most BATCH_TOKENS_MAX padded characters (a Chinese token is about one)."""
    batch: list[int] = []
    for i in order:
        if batch and (len(batch) == BATCH_TEXTS_MAX or (len(batch) + 1) * len(texts[i]) > BATCH_TOKENS_MAX):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def load_tokenizer(folder: Path) -> "Tokenizer":
    """The Rust tokenizer alone: transformers' wrapper around it reads its file again, in Python (2 s for e5).

    Raises EncoderError.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    try:
        if path.is_file():
            return Tokenizer.from_file(str(path))
        from transformers import AutoTokenizer

        converted: Tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True).backend_tokenizer
    except Exception as error:
        raise EncoderError(
            "encoder_load",
            f"无法从 {folder} 加载分词器：{error}",
            f"No tokenizer can be loaded from {folder}: {error}",
        ) from error
    return converted


def _identity(folder: Path, adapter: Path | None, recipe: Recipe, scheme: str) -> str:
    base = recipe.checksum if len(recipe.checksum) == 64 else hash_files(folder, ("*.safetensors", "tokenizer.json"))
    tuned = hash_files(adapter, ("adapter_config.json", "adapter_model.*")) if adapter else ""
    parts = [base, tuned, recipe.pooling, recipe.query_prefix, recipe.passage_prefix, str(recipe.max_tokens), scheme]
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
