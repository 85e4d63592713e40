"""A base encoder with LoRA on it, as training sees it: texts → unit vectors that carry gradients.

Pooling, prefix and normalisation follow `kefu-model.json` of the base model's folder, as serving does.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.catalogue import EncoderUse
from finetune.hub import read_use
from finetune.loading import load_encoder
from finetune.lora import add_lora, load_lora, save_lora

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

TEXTS_PER_BATCH, TEXTS_PER_GROUP = 256, 32
CHARACTERS_PER_TOKEN_MAX = 16


class Embedder:
    """Holds tokenizer and model. Texts are queries: question against question, both sides take the query prefix.

    Raises ModelError where the folder holds no usable encoder.
    """

    def __init__(self, folder: Path, dtype: "torch.dtype", max_tokens: int) -> None:
        self.model, self.tokenizer = load_encoder(folder, dtype=dtype)
        # Short texts: the fused attention's backward pass on the CPU takes longer than all the rest.
        self.model.set_attn_implementation("eager")
        use = encoder_use(folder)
        self.dtype, self.prefix, self.pooling = dtype, use.query_prefix, use.pooling
        self.max_tokens = min(max_tokens, use.max_tokens)
        self._pack(self.model)

    def add_lora(self, rank: int, alpha: int) -> None:
        """Freezes the base and puts new LoRA weights on every linear layer (attention and feed-forward)."""
        self.model = add_lora(self.model, rank, alpha, "FEATURE_EXTRACTION")
        self._pack(self.model.get_base_model())

    def load(self, adapter: Path) -> None:
        """Puts the LoRA weights of a peft folder on the model."""
        self.model = load_lora(self.model, adapter)
        self._pack(self.model.get_base_model())

    def _pack(self, body: Any) -> None:
        from finetune.packed import Packed, fits

        self._packed = Packed(body, self.pooling) if fits(body) else None

    def tokens(self, text: str) -> int:
        """A cheap estimate of the text's length in tokens, for batches of similar length."""
        return min(len(text), self.max_tokens)

    def forward(self, texts: Sequence[str]) -> "torch.Tensor":
        """Unit vectors [len(texts), dimension], float32, in the graph; a text that comes twice is computed once."""
        import torch

        once = sorted(dict.fromkeys(texts), key=len)
        numbers = self._numbers(once)
        order = sorted(range(len(once)), key=lambda i: len(numbers[i]))
        runs = [[numbers[i] for i in order]]
        if self._packed is None:
            runs = [runs[0][i : i + TEXTS_PER_GROUP] for i in range(0, len(once), TEXTS_PER_GROUP)]
        found = torch.nn.functional.normalize(torch.cat([(self._packed or self._padded)(run) for run in runs]), dim=1)
        place = {once[i]: row for row, i in enumerate(order)}
        return found[torch.tensor([place[text] for text in texts])]

    def _numbers(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        found = self.tokenizer(
            [self.prefix + text[: self.max_tokens * CHARACTERS_PER_TOKEN_MAX] for text in texts],
            truncation=True,
            max_length=self.max_tokens,
        )
        return [tuple(numbers) for numbers in found["input_ids"]]

    def _padded(self, texts: Sequence[tuple[int, ...]]) -> "torch.Tensor":
        """Pooled states of any architecture, float32 [texts, dimension]."""
        import torch

        inputs = self.tokenizer.pad({"input_ids": [list(text) for text in texts]}, padding=True, return_tensors="pt")
        with torch.autocast("cpu", dtype=self.dtype, enabled=self.dtype != torch.float32):
            states = self.model(**inputs).last_hidden_state
        return pool(states.float(), inputs["attention_mask"], self.pooling)

    def vectors(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Unit vectors without gradients, float32 [len(texts), dimension], in the order of `texts`."""
        import numpy as np
        import torch

        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        found: NDArray[np.float32] = np.empty((len(texts), int(self.model.config.hidden_size)), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(order), TEXTS_PER_BATCH):
                part = order[start : start + TEXTS_PER_BATCH]
                found[part] = self.forward([texts[i] for i in part]).numpy()
        return found

    def save(self, folder: Path, base_name: str) -> None:
        """Writes the LoRA weights as a peft folder."""
        save_lora(self.model, folder, base_name)


def encoder_use(folder: Path) -> EncoderUse:
    """How this encoder wants its texts: as its `kefu-model.json` says, else as sentence-transformers' files do."""
    try:
        raw = json.loads((folder / "kefu-model.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # a user's own folder need not have one
        return read_use(folder)
    return EncoderUse(
        pooling=raw.get("pooling", "mean"),
        query_prefix=str(raw.get("query_prefix", "")),
        passage_prefix=str(raw.get("passage_prefix", "")),
        max_tokens=int(raw.get("max_tokens", 512)),
    )


def pool(states: "torch.Tensor", mask: "torch.Tensor", pooling: str) -> "torch.Tensor":
    """[texts, tokens, dimension] → [texts, dimension], over real tokens only."""
    import torch

    if pooling == "cls":
        return states[:, 0]
    if pooling == "lasttoken":
        last = mask.shape[1] - 1 - mask.flip(1).argmax(dim=1)
        return states[torch.arange(len(states)), last]
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)
