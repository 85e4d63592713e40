"""Cross-encoders that read a question and a candidate together, and how their word changes the order of a ranked list.

Any `AutoModelForSequenceClassification` folder with a trained head of one logit will do (BAAI/bge-reranker-base,
-large, -v2-m3 and the like), or of two, of which the second stands for "relevant", as pair classifiers have it.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from knowledge.encoders import hash_files, load_tokenizer
from knowledge.errors import RerankerError
from knowledge.forward import fast_dtype
from knowledge.rank import Background
from knowledge.text import plain
from knowledge.types import Hit, Reranker, Vectors

if TYPE_CHECKING:
    import torch

# Each candidate costs a pass; among the first 16 is the right entry for 0.99 of `dev`'s queries (docs/benchmarks.md).
RERANKED = 16
# A unit of log-odds in deviations of the background: the shipped calibration gives one deviation of the score (by
# similarity and margin) 1.8 units, so that both scores are added up as evidence in one currency.
WEIGHT = 0.56
# One model's word is worth at most this much: beyond it the logits of contrastively trained heads mean little.
LOG_ODDS_MAX = 8.0
MAX_TOKENS = 512
PAIRS_PER_BATCH = 32
CHARACTERS_PER_TOKEN_MAX = 16


class TransformerReranker:
    """A cross-encoder in this process; safe to call from many threads.

    Raises RerankerError for a folder that holds no model, none with a trained head, or one of other than one or two
    logits.
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        import torch

        if threads:
            torch.set_num_threads(threads)
        self.folder = Path(folder)
        self._tokenizer, self._model = _load(self.folder, fast_dtype())
        positions = int(getattr(self._model.config, "max_position_embeddings", MAX_TOKENS))
        self._max_tokens = min(MAX_TOKENS, positions)
        # Set once: they are state of the tokenizer that all threads share.
        self._tokenizer.enable_truncation(self._max_tokens, strategy="longest_first")
        self._tokenizer.enable_padding(pad_id=getattr(self._model.config, "pad_token_id", None) or 0)
        self._typed = int(getattr(self._model.config, "type_vocab_size", 0)) > 1
        self._id = _identity(self.folder, self._max_tokens)

    @property
    def id(self) -> str:
        """Names weights, head and preprocessing: 32 hexadecimal digits."""
        return self._id

    def score(self, query: str, texts: Sequence[str]) -> Vectors:
        """How much each text says of what the query asks: log-odds, float32, shape [len(texts)]."""
        import torch

        found = np.empty(len(texts), dtype=np.float32)
        limit = self._max_tokens * CHARACTERS_PER_TOKEN_MAX
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), PAIRS_PER_BATCH):
            batch = order[start : start + PAIRS_PER_BATCH]
            pairs = self._tokenizer.encode_batch([(query[:limit], texts[i][:limit]) for i in batch])
            given = {
                "input_ids": torch.tensor([pair.ids for pair in pairs]),
                "attention_mask": torch.tensor([pair.attention_mask for pair in pairs]),
            }
            if self._typed:
                given["token_type_ids"] = torch.tensor([pair.type_ids for pair in pairs])
            with torch.inference_mode():
                logits = self._model(**given).logits.float()
            found[batch] = (logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits[:, 0]).numpy()
        if not np.isfinite(found).all():
            raise RerankerError(
                "reranker_not_finite",
                f"重排模型 {self.folder.name} 算出了无效的数值，请检查模型。",
                f"The reranker {self.folder.name} produced numbers that are not finite; check the model.",
            )
        return found


def rerank(hits: Sequence[Hit], query: str, reranker: Reranker, background: Background) -> list[Hit]:
    """The hits with their first RERANKED put in the order of both scores, each of them with its `rerank`.

    Read is the wording that came closest, not the answer: the decision is whether the same is asked, wordings are a
    tenth as long, and the index holds no answers. A query asked word for word has its answer and is left as it is.
    """
    if len(hits) < 2 or hits[0].score == 1.0:
        return list(hits)
    first = hits[:RERANKED]
    log_odds = reranker.score(plain(query), [plain(hit.phrasing) for hit in first])
    return [*fuse(first, log_odds, background), *hits[RERANKED:]]


def fuse(hits: Sequence[Hit], log_odds: Vectors, background: Background) -> list[Hit]:
    """Hits in the order of their scores less what the reranker likes each less than its favourite.

    Scores stay: the features of the calibration are read off them. A hit behind for a negative question is given the
    most a candidate can lose, so that it passes none that stood before it.
    """
    chances = 1 / (1 + np.exp(-np.clip(log_odds.astype(np.float64), -40, 40)))
    behind = np.minimum(log_odds.max() - log_odds.astype(np.float64), LOG_ODDS_MAX)
    keyed = []
    for hit, chance, loss in zip(hits, chances, behind, strict=True):
        lost = LOG_ODDS_MAX if hit.penalty else float(loss)
        keyed.append((hit.score - WEIGHT * background.deviation * lost, replace(hit, rerank=float(chance))))
    return [hit for _, hit in sorted(keyed, key=lambda one: -one[0])]


def _load(folder: Path, dtype: "torch.dtype") -> tuple[Any, Any]:
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        tokenizer = load_tokenizer(folder)
        model, loaded = AutoModelForSequenceClassification.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=dtype, output_loading_info=True
        )
    except Exception as error:
        raise RerankerError(
            "reranker_load",
            f"无法从 {folder} 加载重排模型：{error}",
            f"No reranker can be loaded from {folder}: {error}",
        ) from error
    # transformers gives an encoder without a head a random one, which would rank by chance.
    if missing := sorted(loaded["missing_keys"]):
        raise RerankerError(
            "reranker_head",
            f"{folder} 不是重排模型：缺少训练过的分类层（{missing[0]}）。",
            f"{folder} is no reranker: it has no trained classification head ({missing[0]} is missing).",
        )
    if model.config.num_labels not in (1, 2):
        raise RerankerError(
            "reranker_head",
            f"{folder} 不是重排模型：应输出 1 个或 2 个分数，而不是 {model.config.num_labels} 个。",
            f"{folder} is no reranker: it gives {model.config.num_labels} scores where 1 or 2 are expected.",
        )
    return tokenizer, model.eval().requires_grad_(requires_grad=False)


def _identity(folder: Path, max_tokens: int) -> str:
    try:
        prepared = str(json.loads((folder / "kefu-model.json").read_text(encoding="utf-8"))["checksum"])
    except (OSError, ValueError, KeyError, TypeError):
        prepared = ""
    base = prepared if len(prepared) == 64 else hash_files(folder, ("*.safetensors", "tokenizer.json", "config.json"))
    return hashlib.sha256(f"{base}\0{max_tokens}".encode()).hexdigest()[:32]
