"""When it is time to train: quiet hours of the company's days, and the turn each night or each week has. Pure."""

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Literal

Interval = Literal["night", "week"]
HOURS = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)\s*[-–~至]\s*([01]?\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class Hours:
    """Quiet hours of the clock; `end` before `start` reaches into the next day, the same is a whole day."""

    start: time
    end: time

    @classmethod
    def parse(cls, text: str) -> "Hours":
        """`01:00-05:00`. Raises ValueError."""
        found = HOURS.fullmatch(text.strip())
        if found is None:
            raise ValueError(text)
        first, second, third, fourth = (int(part) for part in found.groups())
        return cls(time(first, second), time(third, fourth))


@dataclass(frozen=True, slots=True)
class Night:
    """One stretch of quiet hours, from `start` up to `end`; it belongs to the day on which it ends."""

    start: datetime
    end: datetime

    def slot(self, interval: Interval) -> str:
        """The turn it belongs to: its own day, or the Monday of its week. 2026-11-23."""
        day = self.end.date()
        return (day - timedelta(days=day.weekday()) if interval == "week" else day).isoformat()


def nights(hours: Hours, zone: tzinfo | None, moment: datetime) -> tuple[Night, Night]:
    """The night that lasts at a moment or comes next, and the one after it; `zone` None is this machine's.

    Hours are those of the clock on the wall: a night in which clocks change is longer or shorter.
    """
    day = moment.astimezone(zone).date() - timedelta(days=1)
    found: list[Night] = []
    while len(found) < 2:
        night = _night(hours, zone, day)
        if night.end > moment:
            found.append(night)
        day += timedelta(days=1)
    return found[0], found[1]


def _night(hours: Hours, zone: tzinfo | None, day: date) -> Night:
    ends = day if hours.end > hours.start else day + timedelta(days=1)
    return Night(_at(day, hours.start, zone), _at(ends, hours.end, zone))


def _at(day: date, clock: time, zone: tzinfo | None) -> datetime:
    naive = datetime.combine(day, clock)
    return naive.replace(tzinfo=zone) if zone else naive.astimezone()


def next_turn(hours: Hours, zone: tzinfo | None, interval: Interval, moment: datetime, taken: str | None) -> Night:
    """The first night whose turn is not `taken` (the newest slot that was): a week's turn that was missed is taken up
    in its next night, a night's is gone.
    """
    night, after = nights(hours, zone, moment)
    while taken is not None and night.slot(interval) <= taken:
        night, after = after, nights(hours, zone, after.end)[0]
    return night
