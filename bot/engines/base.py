"""What a text generator offers the dialogue, whichever way it runs."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Message = dict[str, str]


class EngineError(Exception):
    """A generation that could not be done. `code` is snake_case, `str()` Chinese, `.en` English."""

    def __init__(self, code: str, zh: str, en: str) -> None:
        super().__init__(zh)
        self.code, self.zh, self.en = code, zh, en


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of generated text. The last one has `finished` True and the token counts of the whole generation."""

    text: str
    finished: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Engine(Protocol):
    """One text generator with adapters. Closing the iterator of `generate` stops the work within one token."""

    @property
    def name(self) -> str:
        """The base model's name."""
        ...

    @property
    def active_adapter(self) -> str | None:
        """The adapter new generations use; None for the base model."""
        ...

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of the adapters that `generate(model=…)` accepts; each is loaded when it is first asked for."""
        ...

    @property
    def loaded(self) -> tuple[str, ...]:
        """Names of the adapters that are loaded now."""
        ...

    async def open(self) -> None:
        """Load the model now instead of at the first generation. Raises EngineError."""
        ...

    def generate(
        self, messages: Sequence[Message], *, max_tokens: int = 200, model: str | None = None, user: str = ""
    ) -> AsyncGenerator[Piece]:
        """Text as it is written. `model` names an adapter or the base model; None is the active one.

        `user` says for whom: those who wait take turns, and nobody fills the queue for the others.

        Raises:
            EngineError: `engine_busy` (the queue is full), `model_not_found`, `prompt_too_long`, `engine_failed`,
                `engine_closed`.
        """
        ...

    def prefer(self, name: str | None) -> None:
        """Start with this installed adapter; it is loaded at the first generation."""
        ...

    async def use_adapter(self, folder: Path | None, name: str | None) -> None:
        """Make the adapter in `folder` the active one (None: the base model); running generations finish on theirs."""
        ...

    async def load(self, name: str) -> None:
        """Load one of `adapters` now instead of when it is first asked for; what is active stays.

        Raises:
            EngineError: `model_not_found`, `engine_failed`, `engine_closed`.
        """
        ...

    async def unload(self, name: str) -> None:
        """Let go of a loaded adapter once its generations have ended; whoever asks for it again loads it again."""
        ...

    async def close(self) -> None: ...
