"""What a search may find: the entries that hold today, on the channel that asks, of the category that is asked for."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Literal

from knowledge.types import Entry, Unit

Refusal = Literal["disabled", "category", "channel", "not_yet", "expired"]


@dataclass(frozen=True, slots=True)
class Scope:
    """Who asks and when. `channels` are the names the asking place goes by, its kind and its own; None and () ask
    without that bound. Passages have neither dates nor channels nor a category.
    """

    today: date | None = None
    channels: tuple[str, ...] = ()
    category: str | None = None

    def admits(self, unit: Unit) -> bool:
        """Whether the unit is in it. `enabled` is not asked for: the index holds enabled units only."""
        if not isinstance(unit, Entry):
            return self.category is None
        return next(self._outside(unit), None) is None

    def refusals(self, entry: Entry) -> Iterator[Refusal]:
        """Everything for which an entry cannot be found in it."""
        if not entry.enabled:
            yield "disabled"
        yield from self._outside(entry)

    def _outside(self, entry: Entry) -> Iterator[Refusal]:
        if self.category is not None and entry.category != self.category:
            yield "category"
        if self.channels and entry.channels and not set(self.channels) & set(entry.channels):
            yield "channel"
        if self.today is not None and entry.valid_from and self.today < entry.valid_from:
            yield "not_yet"
        if self.today is not None and entry.valid_until and self.today > entry.valid_until:
            yield "expired"


def meet(one: Entry, other: Entry) -> bool:
    """Whether there is a day and a channel on which both entries are there."""
    channels = not (one.channels and other.channels) or bool(set(one.channels) & set(other.channels))
    begins = max(entry.valid_from or date.min for entry in (one, other))
    ends = min(entry.valid_until or date.max for entry in (one, other))
    return one.enabled and other.enabled and channels and begins <= ends


def bounded(unit: Unit) -> bool:
    """Whether there are days or channels on which the unit is not there."""
    return isinstance(unit, Entry) and bool(unit.valid_from or unit.valid_until or unit.channels)
