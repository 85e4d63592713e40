"""Is it the model that is slow, or the machine? The model in use and the one before, asked in turn at the same moment.

A long wait alone tells neither: an import, a backup or a training slows every model. What both are asked within the
same seconds does, whatever else the machine is doing.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from bot.learning.candidate import encoding_ms
from bot.learning.releases import folder_of
from bot.storage.adapters import Kind

if TYPE_CHECKING:
    from bot.config import Settings
    from bot.engines.observed import ObservedEngine
    from bot.knowledge_base import KnowledgeBase

ROUNDS = 9
QUESTION = "请问我上周买的东西还没有收到，是什么原因？"
WRITING, WRITING_TOKENS = "请把一到三十依次写出来。", 24


@dataclass(frozen=True, slots=True)
class Paces:
    """Seconds that the model in use and the one before take for the same: the medians of ROUNDS turns each."""

    now: float
    before: float

    @property
    def ratio(self) -> float:
        return self.now / self.before if self.before > 0 else 1.0


class SideBySide:
    """Asks both models of a kind in turn; the one before is loaded for it where it is not in memory any more."""

    def __init__(
        self, settings: "Settings", knowledge_base: "KnowledgeBase", engine: "ObservedEngine | None" = None
    ) -> None:
        self._settings = settings
        self._knowledge_base = knowledge_base
        self._engine = engine

    async def __call__(self, kind: Kind, name: str | None, before: str | None) -> Paces:
        """The paces of `name` and of `before`; None is the base model. Raises where either cannot be asked."""
        if kind == "encoder":
            return await asyncio.to_thread(self._encoders, before)
        if self._engine is None:
            raise LookupError("there is no generator")
        engine = self._engine
        turns = [
            [await engine.pace(WRITING, model, WRITING_TOKENS) for model in (name, before)] for _ in range(ROUNDS + 1)
        ]
        return _paces(turns)

    def _encoders(self, before: str | None) -> Paces:
        from bot.retrievers import load_encoder

        served = self._knowledge_base.served.encoder
        other = load_encoder(self._settings, folder_of(self._settings, before))
        turns = [[encoding_ms(encoder, QUESTION) / 1000 for encoder in (served, other)] for _ in range(ROUNDS + 1)]
        return _paces(turns)


def _paces(turns: Sequence[Sequence[float]]) -> Paces:
    """Of [turn][model in use, model before]; the first turn may have loaded, and is left out."""
    now, before = zip(*turns[1:], strict=True)
    return Paces(median(now), median(before))
