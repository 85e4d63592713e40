"""Is a model that was just switched to as sound as the one before? Pure functions of what was observed.

An encoder is observed by its searches (seconds each), a generator by what it writes (seconds a token).
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Cause = Literal["errors", "latency"]

REMEMBERED = 200
# Below this many observations a percentile says nothing.
OBSERVED_MIN = 20
# So many failures, and so large a share of what was asked lately, are no accident.
ERRORS_MIN, ERRORS_SHARE = 3, 0.1
# Slower than this times the 95th percentile before, and slower than a customer would not notice.
SLOWER, SECONDS_MIN = 2.0, {"encoder": 0.5, "generator": 0.5}
# In so many windows in a row: one alone may be a busy moment of the machine.
WINDOWS = 2


@dataclass(frozen=True, slots=True)
class Figures:
    """Of a series of observations: how many, how many failed, and the 95th percentile of the rest in seconds."""

    observed: int = 0
    errors: int = 0
    p95_seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class Series:
    """The last observations of one model; None where it failed. `slow_windows` in a row were too slow."""

    seen: deque[float | None] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    total: int = 0
    slow_windows: int = 0

    def add(self, seconds: float | None) -> None:
        self.seen.append(seconds)
        self.total += 1

    def figures(self) -> Figures:
        return figures(self.seen)


def figures(seen: Iterable[float | None]) -> Figures:
    """The figures of observations; the percentile is None below OBSERVED_MIN."""
    everything = list(seen)
    times = sorted(one for one in everything if one is not None)
    p95 = times[int(0.95 * (len(times) - 1))] if len(times) >= OBSERVED_MIN else None
    return Figures(len(everything), len(everything) - len(times), p95)


def limit_seconds(kind: str, before: Figures) -> float:
    """The 95th percentile from which a model is too slow; before too little was observed, what customers notice."""
    return max(SLOWER * (before.p95_seconds or 0.0), SECONDS_MIN[kind])


def slower(now_seconds: float, before_seconds: float) -> bool:
    """Whether the model in use is to blame for a long wait, by what it and the one before took at the same moment."""
    return now_seconds > SLOWER * before_seconds


def fault(kind: str, before: Figures, series: Series) -> Cause | None:
    """What is wrong with the model that is observed since the switch, judged after each observation; None: nothing.

    Errors count at once where the model before did not make as many; latency in whole windows of OBSERVED_MIN, and as
    a suspicion only, for the machine may be busy: see `slower`.
    """
    since = series.figures()
    before_share = before.errors / before.observed if before.observed else 0.0
    share = since.errors / since.observed if since.observed else 0.0
    if since.errors >= ERRORS_MIN and share >= ERRORS_SHARE + 2 * before_share:
        return "errors"
    if series.total and series.total % OBSERVED_MIN == 0:
        window = list(series.seen)[-OBSERVED_MIN:]
        times = sorted(one for one in window if one is not None)
        slow = bool(times) and times[int(0.95 * (len(times) - 1))] > limit_seconds(kind, before)
        series.slow_windows = series.slow_windows + 1 if slow else 0
    return "latency" if series.slow_windows >= WINDOWS else None
