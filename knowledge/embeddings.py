"""Texts to rows of the store: what it has is taken from there, what it lacks is encoded and put there."""

from collections.abc import Sequence

import numpy as np

from knowledge.segments import Ids
from knowledge.store import Store, key
from knowledge.types import Encoder, ProgressCallback, TextKind, Vectors

LOOKED_AT_MAX = 20_000
_KINDS: tuple[TextKind, ...] = ("query", "passage")


class Embeddings:
    """An encoder with a memory. For one writer at a time."""

    def __init__(self, encoder: Encoder, store: Store) -> None:
        self._encoder, self._store = encoder, store
        # Encoded for a preview of an import: kept apart, as most of it may never be wanted.
        self._looked_at: dict[bytes, Vectors] = {}

    def known(self, texts: Sequence[tuple[str, TextKind]]) -> Ids:
        """The row of each text, -1 where it has none yet; nothing is encoded."""
        keys = [key(*text) for text in texts]
        seen = {one: self._looked_at[one] for one in keys if one in self._looked_at} if self._looked_at else {}
        if seen:
            rows = self._store.find(list(seen))
            new = [one for one, row in zip(seen, rows.tolist(), strict=True) if row < 0]
            self._put(new, [seen[one] for one in new])
        return self._store.find(keys)

    def rows(
        self, texts: Sequence[tuple[str, TextKind]], on_progress: ProgressCallback | None = None
    ) -> tuple[Ids, int]:
        """The row of each text, and how many texts had to be encoded for it."""
        rows = self.known(texts)
        unknown = list(dict.fromkeys(texts[at] for at in np.flatnonzero(rows < 0).tolist()))
        done = 0
        for kind in _KINDS:
            new = [text for text, its in unknown if its == kind]
            if new:
                told = part(on_progress, done, len(new), len(unknown))
                self._put([key(text, kind) for text in new], self._encoder.encode(new, kind, told))
                done += len(new)
        return (self._store.find([key(*text) for text in texts]) if unknown else rows), len(unknown)

    def look_at(self, texts: Sequence[str]) -> Vectors:
        """Vectors of questions that may be wanted soon, shape [len(texts), dimension]; the store is left as it is.

        May be called while another writes: a preview holds up nobody's change, nor waits for one.
        """
        keys = [key(text, "query") for text in texts]
        rows = self._store.find(keys)
        view = self._store.view
        rows[rows >= 0] = np.where(view.places[rows[rows >= 0]] >= 0, rows[rows >= 0], -1)  # dropped since
        found = {one: self._looked_at[one] for one in keys if one in self._looked_at}
        new = {
            one: text for one, text, row in zip(keys, texts, rows.tolist(), strict=True) if row < 0 and one not in found
        }
        if new:
            # As exact as they will be in the store: the preview and the import must judge alike.
            vectors = self._encoder.encode(list(new.values()), "query").astype(np.float16).astype(np.float32)
            encoded = dict(zip(new, vectors, strict=True))
            if len(self._looked_at) < LOOKED_AT_MAX:
                self._looked_at |= encoded
            found |= encoded
        vectors = np.empty((len(texts), self._store.dimension), dtype=np.float32)
        here = rows >= 0
        vectors[here] = view.vectors(rows[here])
        for at in np.flatnonzero(~here).tolist():
            vectors[at] = found[keys[at]]
        return vectors

    def forget_looked_at(self) -> None:
        """Before another preview."""
        self._looked_at = {}

    def _put(self, keys: Sequence[bytes], vectors: Sequence[Vectors] | Vectors) -> None:
        if len(keys):
            self._store.put(keys, np.asarray(vectors, dtype=np.float32))


def part(on_progress: ProgressCallback | None, start: int, count: int, whole: int) -> ProgressCallback | None:
    """For a piece of work that is `count` of `whole`, from `start` on: its own progress as progress of the whole."""
    if on_progress is None:
        return None

    def tell(done: int, total: int, note: str = "") -> None:
        on_progress(start + count * done // total, whole, note)

    return tell
