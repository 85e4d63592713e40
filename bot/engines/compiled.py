"""A language model compiled by OpenVINO that writes several texts at once: each step reads the weights once for all."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bot.engines import graph
from bot.engines.blocks import BLOCK_TOKENS, Blocks, Pages
from bot.engines.decoder import Text
from bot.engines.lora import Merged

TEXTS_MAX = 8
CACHE_TOKENS = 16_384
"""Tokens whose keys and values are kept for all texts together: 12 KiB each for a model of half a billion weights."""
PROMPT_TOKENS = 256
"""Tokens of a prompt that one step reads: about half a second, which others wait for their next token."""


class CompiledDecoder:
    """See `Decoder`. Raises KeyError, ValueError or RuntimeError where weights or adapter do not fit."""

    texts_max = TEXTS_MAX

    def __init__(self, folder: Path, shape: graph.Shape, adapter: Path | None, threads: int | None) -> None:
        openvino = graph.openvino()
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "KV_CACHE_PRECISION": "f16",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": "64",
            "ENABLE_CPU_PINNING": "NO",  # a thread tied to a core that others use waits while another core is idle
        }
        if threads:
            options["INFERENCE_NUM_THREADS"] = str(threads)
        identity = identity_of(folder, adapter, openvino.get_version())
        model = graph.opened(shape, lambda: Merged(folder, adapter), identity, folder / "openvino")
        compiled = openvino.Core().compile_model(model, "CPU", options)
        self._request = compiled.create_infer_request()
        self._tensor = openvino.Tensor
        for part in compiled.inputs:
            name = part.get_any_name()
            if name.startswith(("key_cache.", "value_cache.")):
                sizes = [CACHE_TOKENS // BLOCK_TOKENS, *(size.get_length() for size in list(part.partial_shape)[1:])]
                self._request.set_tensor(name, openvino.Tensor(part.get_element_type(), openvino.Shape(sizes)))
        self._blocks = Blocks(CACHE_TOKENS // BLOCK_TOKENS)
        self._texts: dict[Text, Pages | None] = {}
        self.positions = min(shape.positions, CACHE_TOKENS)

    def admit(self, text: Text) -> bool:
        """Its blocks are taken when its turn to be read comes, so that it finds what those before it computed."""
        if len(self._texts) >= TEXTS_MAX:
            return False
        self._texts[text] = None
        return True

    def release(self, text: Text) -> None:
        pages = self._texts.pop(text, None)
        if pages:
            self._blocks.give_back(pages)

    def step(self) -> list[Text]:
        """See `Decoder.step`: the next token of each text, and of one prompt the next part."""
        parts = [(text, pages, text.written[-1:]) for text, pages in self._texts.items() if pages and text.written]
        reading = self._reading()
        if reading:
            text, pages = reading
            parts.append((text, pages, list(text.prompt[pages.computed : pages.computed + PROMPT_TOKENS])))
        if not parts:
            return []
        following = self._following([(tokens, pages) for _, pages, tokens in parts])
        more = []
        for (text, pages, tokens), token in zip(parts, following, strict=True):
            pages.computed += len(tokens)
            if not text.written and pages.computed < len(text.prompt):
                continue
            if not text.written:
                self._blocks.remember(text.prompt, pages)
            text.written.append(int(token))
            more.append(text)
        return more

    def _reading(self) -> tuple[Text, Pages] | None:
        """The oldest text whose prompt is not read yet, where there is room for it."""
        text = next((text for text in self._texts if not text.written), None)
        if text is None:
            return None
        pages = self._texts[text] or self._blocks.take(text.prompt, text.tokens_max)
        self._texts[text] = pages
        return (text, pages) if pages else None

    def _following(self, parts: list[tuple[list[int], Pages]]) -> Any:
        """The most likely token after the last of each part, [parts]."""
        for name, values in _inputs(parts):
            self._request.set_tensor(name, self._tensor(values))
        self._request.infer()
        scores = self._request.get_output_tensor(0).data
        return scores.reshape(len(parts), -1).argmax(axis=1)


def identity_of(folder: Path, adapter: Path | None, library: str) -> str:
    """Tells graphs apart by the files they are made of, by size and time: reading them takes as long as loading."""
    told = [library, str(graph.VERSION)]
    for home in (folder, adapter):
        for path in sorted([*home.glob("*.safetensors"), *home.glob("*config.json")]) if home else ():
            state = path.stat()
            told.append(f"{path.name} {state.st_size} {state.st_mtime_ns}")
    if adapter:
        told.append(adapter.name)
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:32]


def _inputs(parts: list[tuple[list[int], Pages]]) -> Iterator[tuple[str, Any]]:
    lengths = np.array([len(tokens) for tokens, _ in parts], dtype=np.int32)
    past = np.array([pages.computed for _, pages in parts], dtype=np.int32)
    ends = np.cumsum(lengths, dtype=np.int32)
    used = [pages.blocks[: -(-(pages.computed + len(tokens)) // BLOCK_TOKENS)] for tokens, pages in parts]
    yield "input_ids", np.concatenate([np.array(tokens, dtype=np.int64) for tokens, _ in parts])
    places = [np.arange(before, before + length, dtype=np.int64) for before, length in zip(past, lengths, strict=True)]
    yield "position_ids", np.concatenate(places)
    yield "past_lens", past
    yield "subsequence_begins", np.concatenate([np.zeros(1, np.int32), ends])
    yield "block_indices", np.concatenate([np.array(blocks, dtype=np.int32) for blocks in used])
    yield "block_indices_begins", np.cumsum([0, *map(len, used)], dtype=np.int32)
    yield "max_context_len", np.array((past + lengths).max(), dtype=np.int32)
    yield "rows", ends - 1
