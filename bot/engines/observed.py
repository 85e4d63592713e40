"""An engine whose generations are measured: how fast each is written, and whether it failed."""

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path

from bot.engines.base import Engine, EngineError, Message, Piece

# Told of each generation: the adapter that wrote it, and its seconds a token; None where it failed.
OnWritten = Callable[[str | None, float | None], None]
FAILURES = ("engine_failed",)


class ObservedEngine:
    """Any engine; see `Engine`. `on_written` may be set at any time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.on_written: OnWritten = lambda _adapter, _seconds: None

    @property
    def name(self) -> str:
        return self._engine.name

    @property
    def active_adapter(self) -> str | None:
        return self._engine.active_adapter

    @property
    def adapters(self) -> tuple[str, ...]:
        return self._engine.adapters

    @property
    def loaded(self) -> tuple[str, ...]:
        return self._engine.loaded

    async def open(self) -> None:
        await self._engine.open()

    async def generate(
        self, messages: Sequence[Message], *, max_tokens: int = 200, model: str | None = None, user: str = ""
    ) -> AsyncGenerator[Piece]:
        """See `Engine.generate`. Its time counts from the first piece: not the queue's, nor the prompt's."""
        adapter = self._engine.active_adapter if model in (None, self._engine.active_adapter) else model
        begun: float | None = None
        try:
            pieces = self._engine.generate(messages, max_tokens=max_tokens, model=model, user=user)
            async with aclosing(pieces):
                async for piece in pieces:
                    begun = begun or time.perf_counter()
                    if piece.finished and piece.completion_tokens > 1:
                        seconds = time.perf_counter() - begun
                        self.on_written(adapter, seconds / (piece.completion_tokens - 1))
                    yield piece
        except EngineError as problem:
            if problem.code in FAILURES:
                self.on_written(adapter, None)
            raise

    async def pace(self, text: str, adapter: str | None, tokens: int) -> float:
        """Seconds a token that an adapter (None: the base model) takes for up to so many; observed by nobody.

        Raises EngineError, also where it wrote too little to tell.
        """
        begun: float | None = None
        written = 0
        pieces = self._engine.generate(
            [{"role": "user", "content": text}], max_tokens=tokens, model=adapter or self._engine.name
        )
        async with aclosing(pieces):
            async for piece in pieces:
                begun = begun or time.perf_counter()
                written = max(written, piece.completion_tokens)
        if begun is None or written < 2:
            raise EngineError("engine_failed", "写得太少，量不出快慢", "Too little was written to tell its pace")
        return (time.perf_counter() - begun) / (written - 1)

    def prefer(self, name: str | None) -> None:
        self._engine.prefer(name)

    async def use_adapter(self, folder: Path | None, name: str | None) -> None:
        await self._engine.use_adapter(folder, name)

    async def load(self, name: str) -> None:
        await self._engine.load(name)

    async def unload(self, name: str) -> None:
        await self._engine.unload(name)

    async def close(self) -> None:
        await self._engine.close()
