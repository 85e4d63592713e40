"""The beginnings of entries' answers, encoded ahead: what a customer says is compared with them while they wait."""

from collections.abc import Iterable
from itertools import islice

import numpy as np

from knowledge.segments import Ids
from knowledge.text import plain
from knowledge.types import Entry, Unit

# An answer's beginning says what it is about, and reading it costs by its length.
CHARACTERS_MAX = 200
# Of more entries some minutes of a processor would go into what few conversations look at.
ENTRIES_MAX = 20_000


def beginning(entry: Entry) -> str:
    """What an entry says, as far as it is compared: its answer, or its question where it has none."""
    return (entry.answer or entry.question)[:CHARACTERS_MAX]


class Answers:
    """Which beginnings have their vectors in the store, and which are still to be encoded. Not thread-safe."""

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._waiting: dict[str, str] = {}

    @property
    def waiting(self) -> int:
        """How many have no vector yet."""
        return len(self._waiting)

    @property
    def rows(self) -> Ids:
        """The rows of the store that are in use here."""
        return np.fromiter(self._rows.values(), dtype=np.int64, count=len(self._rows))

    def hear(self, units: Iterable[Unit]) -> dict[str, str]:
        """Take the answers of units in place of what these said before, of at most ENTRIES_MAX entries; returns what
        now waits of them, by id.
        """
        units = list(units)
        self.forget(unit.id for unit in units)
        heard = [unit for unit in units if isinstance(unit, Entry) and unit.enabled]
        room = ENTRIES_MAX - len(self._rows) - len(self._waiting)
        new = {unit.id: plain(beginning(unit)) for unit in heard[: max(room, 0)]}
        self._waiting |= new
        return new

    def forget(self, ids: Iterable[str]) -> None:
        """Let go of the answers of units, of unknown ones too."""
        for id_ in ids:
            self._rows.pop(id_, None)
            self._waiting.pop(id_, None)

    def some(self, count: int) -> dict[str, str]:
        """Up to so many of those that wait, by the ids of their entries."""
        return dict(islice(self._waiting.items(), count))

    def give(self, texts: dict[str, str], rows: Ids) -> None:
        """Say where the vectors of these are, in their order, -1 where they have none; what changed since is left."""
        for (id_, text), row in zip(texts.items(), rows.tolist(), strict=True):
            if row >= 0 and self._waiting.get(id_) == text:
                del self._waiting[id_]
                self._rows[id_] = row
