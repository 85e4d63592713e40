"""What a question would have found but for what hides it, so that a missing answer explains itself."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import select

from bot.knowledge_base import KnowledgeBase
from bot.storage import knowledge
from bot.storage.tables import FaqEntry
from knowledge.lexical import LexicalIndex
from knowledge.text import normalise, plain, tokens
from knowledge.types import Entry, SearchResult

SHOWN_MAX = 5
# Hidden entries are worth a word where they stand beside the best that were found.
BESIDE = 3
# Disabled entries have no vectors: they are told of where most of the question's words are theirs.
LEXICAL_MIN = 0.5


@dataclass(frozen=True, slots=True)
class Filtered:
    """An entry that was left out: why (`Scope.refusals`), and how well its best wording fits; no dense score where it
    is disabled."""

    entry: Entry
    reasons: tuple[str, ...]
    phrasing: str
    lexical: float
    score: float
    dense: float | None = None

    def to_json(self) -> dict[str, Any]:
        entry = self.entry
        scores = {"dense": self.dense, "lexical": self.lexical, "score": self.score}
        return {
            "id": entry.id,
            "title": entry.question,
            "phrasing": self.phrasing,
            "reasons": list(self.reasons),
            "channels": list(entry.channels),
            "category": entry.category,
            "valid_from": entry.valid_from and entry.valid_from.isoformat(),
            "valid_until": entry.valid_until and entry.valid_until.isoformat(),
            **{name: round(value, 6) for name, value in scores.items() if value is not None},
        }


async def filtered(
    knowledge_base: KnowledgeBase, found: SearchResult, *, channel: str | None = None, category: str | None = None
) -> list[Filtered]:
    """The entries that would stand among the best of a search, were they not disabled, of another category, for other
    channels, or for other days; the best first. Raises UnavailableError before the knowledge base is open."""
    scope, hidden = knowledge_base.within(channel, category)
    async with knowledge_base.database.reading() as session:
        where = (FaqEntry.enabled.is_(False), FaqEntry.deleted_at.is_(None))
        disabled = [knowledge.to_entry(row) for row in await session.scalars(select(FaqEntry).where(*where))]
    reasons = {entry.id: tuple(scope.refusals(entry)) for entry in disabled}
    told = await asyncio.to_thread(_disabled, found.query, disabled, reasons)
    if not hidden:
        return told[:SHOWN_MAX]
    asked = knowledge_base.look_up
    (other,) = await asyncio.to_thread(lambda: asked([found.query], lambda id_: id_ in hidden))
    beside = sorted((hit.score for hit in found.hits), reverse=True)[:BESIDE]
    least = (beside[0] if other.decision == "none" else beside[-1]) if beside else 0.0
    if other.decision != "none" or beside:
        near = [(hit, entry) for hit in other.hits if hit.score >= least and (entry := knowledge_base.entry(hit.id))]
        told += [
            Filtered(entry, hidden[hit.id], hit.phrasing, hit.lexical, hit.score, hit.dense) for hit, entry in near
        ]
    return sorted(told, key=lambda one: -one.score)[:SHOWN_MAX]


def _disabled(query: str, entries: list[Entry], hidden: Mapping[str, tuple[str, ...]]) -> list[Filtered]:
    """Those of the disabled entries that have the question's words, by these alone."""
    if not entries:
        return []
    index, wordings = LexicalIndex(), [(entry, text) for entry in entries for text in entry.phrasings]
    for slot, (_, text) in enumerate(wordings):
        index.add(slot, tokens(plain(text)))
    scores = index.scores(tokens(plain(query)))[: len(wordings)]
    exact = normalise(query)
    best: dict[str, Filtered] = {}
    for slot in np.argsort(-scores, kind="stable")[: 10 * SHOWN_MAX]:
        entry, text = wordings[slot]
        score = 1.0 if normalise(text) == exact else float(scores[slot])
        if score >= LEXICAL_MIN:
            best.setdefault(entry.id, Filtered(entry, hidden[entry.id], text, score, score))
    return list(best.values())
