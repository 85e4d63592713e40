"""Whether anybody of the staff is at the desk: who has its page open, and a moment longer."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# A page that is loaded anew, or a look into another room, is no absence.
GRACE_SECONDS = 90.0


class Presence:
    """In memory: after a restart the open pages come back by themselves."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._here: Counter[str] = Counter()
        self._left = clock() - GRACE_SECONDS

    @contextmanager
    def attending(self, actor: str) -> Iterator[None]:
        """`actor` is there as long as this is open."""
        self._here[actor] += 1
        try:
            yield
        finally:
            self._here[actor] -= 1
            if not self._here[actor]:
                del self._here[actor]
            self._left = self._clock()

    def anybody(self) -> bool:
        return bool(self._here) or self._clock() - self._left < GRACE_SECONDS
