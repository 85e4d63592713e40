"""From the tokens a model writes to a stream of text, and when it must stop."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

LOOP_TOKENS_MAX = 24
LOOP_TIMES = 3


def loops(tokens: Sequence[int]) -> bool:
    """Whether the tokens end in the same run of up to LOOP_TOKENS_MAX tokens, LOOP_TIMES in a row.

    A run of one or two tokens must repeat longer: 「……」 and table rules are no loop.
    """
    for size in range(1, LOOP_TOKENS_MAX + 1):
        times = LOOP_TIMES if size > 2 else 4 * LOOP_TIMES
        needed = size * times
        if len(tokens) < needed:
            continue
        tail = list(tokens[-needed:])
        if all(tail[i] == tail[i + size] for i in range(needed - size)):
            return True
    return False


def text_stream(tokenizer: Any) -> Callable[[int], str]:
    """A function from each next token to the text that cannot change any more, which may be none.

    `tokenizer` has a Rust tokenizer behind it, as `ChatTokenizer` and most of transformers' do. Control tokens give no
    text, and the bytes of a character are held back until it is whole.
    """
    from tokenizers.decoders import DecodeStream

    stream, backend = DecodeStream(skip_special_tokens=True), tokenizer.backend_tokenizer
    return lambda token: stream.step(backend, token) or ""


def end_tokens(folder: Path, tokenizer: Any) -> frozenset[int]:
    """The tokens that end a reply, by `generation_config.json`, else `config.json`, else the tokenizer."""
    for name in ("generation_config.json", "config.json"):
        try:
            found = json.loads((folder / name).read_text(encoding="utf-8")).get("eos_token_id")
        except (OSError, ValueError, AttributeError):
            continue
        if isinstance(found, int):
            return frozenset({found})
        if isinstance(found, list) and found:
            return frozenset(found)
    return frozenset({tokenizer.eos_token_id} - {None})
