"""Between transformers' `generate` and a stream of text: what is passed on while it writes, and when it must stop."""

import threading
from collections.abc import Callable, Sequence
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


def stops(prompt_tokens: int, cancelled: threading.Event) -> Any:
    """Stopping criteria: cancelled, or caught in a loop."""
    import torch
    from transformers import StoppingCriteria, StoppingCriteriaList

    class Stop(StoppingCriteria):  # type: ignore[misc]
        def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:  # noqa: ARG002 - the library's form
            stop = cancelled.is_set() or loops(input_ids[0, prompt_tokens:].tolist())
            return torch.full((input_ids.shape[0],), stop, dtype=torch.bool, device=input_ids.device)

    return StoppingCriteriaList([Stop()])


def decode_stream(tokenizer: Any, take: Callable[[str], None]) -> Any:
    """A streamer that hands over text as soon as it cannot change any more; `.tokens` counts what was generated."""
    from transformers import TextStreamer

    class Stream(TextStreamer):  # type: ignore[misc]
        tokens = 0

        def put(self, value: Any) -> None:
            if not self.next_tokens_are_prompt:
                self.tokens += value.numel()
            super().put(value)

        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:  # noqa: ARG002
            if text:
                take(text)

    return Stream(tokenizer, skip_prompt=True, skip_special_tokens=True)
