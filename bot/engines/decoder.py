"""How a model writes: known architectures compiled with 8-bit weights on a processor, any other by PyTorch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bot.engines import graph


@dataclass(slots=True, eq=False)
class Text:
    """A text being written: the tokens of its prompt, those written so far, and how many more there may be."""

    prompt: Sequence[int]
    tokens_max: int
    written: list[int] = field(default_factory=list)


class Decoder(Protocol):
    """A model with one adapter or none that writes several texts at once, greedily. For one thread at a time."""

    texts_max: int
    positions: int
    """Tokens that a prompt and what is written may have together."""

    def admit(self, text: Text) -> bool:
        """Begin this text at the next step; False where there is no room until another is released."""
        ...

    def step(self) -> list[Text]:
        """Work of at most about half a second: the texts that have one token more now."""
        ...

    def release(self, text: Text) -> None:
        """Forget an admitted text, finished or not."""
        ...


def open_decoder(folder: Path, adapter: Path | None, threads: int | None) -> Decoder:
    """The fastest there is here for the model in `folder` with the LoRA weights of the peft folder `adapter`.

    Raises whatever the libraries raise for folders that do not fit: OSError, ValueError, KeyError, RuntimeError, ….
    """
    shape = None if has_gpu() else graph.shape_of(folder)
    if shape is None:
        from bot.engines.by_torch import TorchDecoder

        return TorchDecoder(folder, adapter, threads)
    from bot.engines.compiled import CompiledDecoder

    return CompiledDecoder(folder, shape, adapter, threads)


def has_gpu() -> bool:
    """Whether PyTorch can compute on a graphics processor; asked only where there is a driver, as it takes seconds."""
    if not any(Path(place).exists() for place in ("/dev/nvidiactl", "/dev/kfd")):
        return False
    import torch

    return torch.cuda.is_available()
