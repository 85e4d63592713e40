"""Texts to rows of the store: what it has is taken from there, what it lacks is encoded and put there."""

from collections.abc import Sequence

import numpy as np

from knowledge.segments import Ids
from knowledge.store import Store, View, key
from knowledge.types import Encoder, TextKind, Vectors

LOOKED_AT_MAX = 20_000
# One batch of long texts: what others ask meanwhile waits for no more.
AT_ONCE = 4
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

    def rows(self, texts: Sequence[tuple[str, TextKind]]) -> Ids:
        """The row of each text; what has none is encoded and kept."""
        rows = self.known(texts)
        unknown = list(dict.fromkeys(texts[at] for at in np.flatnonzero(rows < 0).tolist()))
        if not unknown:
            return rows
        self.keep(unknown, self.encode(unknown))
        return self.known(texts)

    def encode(self, texts: Sequence[tuple[str, TextKind]]) -> Vectors:
        """Vectors of texts, shape [len(texts), dimension]. The store is left as it is: others may write meanwhile."""
        vectors = np.empty((len(texts), self._store.dimension), dtype=np.float32)
        for kind in _KINDS:
            here = [at for at, (_, its) in enumerate(texts) if its == kind]
            if here:
                vectors[here] = self._encoder.encode([texts[at][0] for at in here], kind)
        return vectors

    def keep(self, texts: Sequence[tuple[str, TextKind]], vectors: Vectors) -> None:
        """Put the vectors of different texts, shape [len(texts), dimension], into the store where it lacks them."""
        keys = [key(*text) for text in texts]
        new = np.flatnonzero(self._store.find(keys) < 0)
        self._put([keys[at] for at in new.tolist()], vectors[new])

    def vectors(self, texts: Sequence[str], kind: TextKind) -> Vectors:
        """Vectors of texts, shape [len(texts), dimension]: as the store has them, or encoded, which it then is not.

        May be called while another writes.
        """
        rows, view = self._there([key(text, kind) for text in texts])
        found = np.empty((len(texts), self._store.dimension), dtype=np.float32)
        found[rows >= 0] = view.vectors(rows[rows >= 0])
        unknown = np.flatnonzero(rows < 0)
        for start in range(0, len(unknown), AT_ONCE):
            some = unknown[start : start + AT_ONCE]
            found[some] = self._encoder.encode([texts[at] for at in some.tolist()], kind)
        return found

    def _there(self, keys: Sequence[bytes]) -> tuple[Ids, View]:
        """The row under each key, -1 where there is none, and a view that has them; for any thread."""
        rows = self._store.find(keys)
        view = self._store.view
        known = rows[rows >= 0]
        rows[rows >= 0] = np.where(view.places[known] >= 0, known, -1)  # dropped since
        return rows, view

    def look_at(self, texts: Sequence[str]) -> Vectors:
        """Vectors of questions that may be wanted soon, shape [len(texts), dimension]; the store is left as it is.

        May be called while another writes: a preview holds up nobody's change, nor waits for one.
        """
        keys = [key(text, "query") for text in texts]
        rows, view = self._there(keys)
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
