"""Which units a search may find today, on a channel, in a category: bounds are looked up, not computed for each hit."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, tzinfo
from typing import Any

from bot.errors import InvalidError
from knowledge.scope import Refusal, Scope, bounded
from knowledge.types import Entry, Unit

SCOPES_MAX, SHOWN_MAX = 256, 20
# What every installation answers on; the others are named by the settings, or by entries that are for them alone.
BUILT_IN_CHANNELS = ("web", "rest", "openai", "cli")


class Visibility:
    """Remembers the units that are not there on some day or channel, and what each scope hides for that."""

    def __init__(
        self,
        channels: Iterable[Mapping[str, Any]] = (),
        zone: tzinfo | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._channels, self._zone, self._clock = channels, zone, clock
        self._bounded: dict[str, Unit] = {}
        self._hidden: dict[Scope, frozenset[str]] = {}

    def today(self) -> date:
        """The day it is where the company is."""
        return self._clock().astimezone(self._zone).date()

    def scope(self, channel: str | None, category: str | None) -> Scope:
        """A channel goes by its kind and by its name."""
        if channel is None:
            return Scope(self.today(), (), category)
        kinds = [str(one["kind"]) for one in self._channels if one["name"] == channel]
        return Scope(self.today(), (channel, *kinds), category)

    def check_channel(self, channel: str) -> None:
        """Raises InvalidError for a channel that is neither built in, nor in the settings, nor named by an entry."""
        named = {one for unit in self._bounded.values() if isinstance(unit, Entry) for one in unit.channels}
        configured = {str(one[name]) for one in self._channels for name in ("kind", "name")}
        known = sorted(named | configured | set(BUILT_IN_CHANNELS))
        if channel not in known:
            raise InvalidError(
                "unknown_channel",
                f"没有渠道 {channel}（有：{', '.join(known[:SHOWN_MAX])}）",
                f"There is no channel {channel} (there are: {', '.join(known[:SHOWN_MAX])})",
                {"channels": known},
            )

    def bind(self, units: Iterable[Unit]) -> None:
        """Before these units can be found: what bounds they have holds beside the older ones."""
        self._bounded |= {unit.id: unit for unit in units if bounded(unit)}
        self._hidden.clear()

    def settle(self, upserts: Iterable[Unit], removals: Iterable[str]) -> None:
        """Once the index has followed: only the bounds of now hold."""
        for unit_id in removals:
            self._bounded.pop(unit_id, None)
        for unit in upserts:
            if not bounded(unit):
                self._bounded.pop(unit.id, None)
        self.bind(upserts)

    def refused(self, scope: Scope, units: Mapping[str, Unit]) -> dict[str, tuple[Refusal, ...]]:
        """Which of `units` cannot be found, and everything for which."""
        looked_at = (self._bounded if scope.category is None else units).values()
        entries = (unit for unit in looked_at if isinstance(unit, Entry))
        return {entry.id: why for entry in entries if (why := tuple(scope.refusals(entry)))}

    def admits(self, scope: Scope, units: Mapping[str, Unit]) -> Callable[[str], bool] | None:
        """For the index: whether one of `units` may be found; None where all may."""
        if scope.category is not None:
            return lambda id_: (unit := units.get(id_)) is not None and scope.admits(unit)
        hidden = self._hidden.get(scope)
        if hidden is None:
            if len(self._hidden) >= SCOPES_MAX:
                self._hidden.clear()
            hidden = frozenset(id_ for id_, unit in self._bounded.items() if not scope.admits(unit))
            self._hidden[scope] = hidden
        return (lambda id_: id_ not in hidden) if hidden else None
