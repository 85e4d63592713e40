"""What is about to be searched for is encoded meanwhile: what came while a batch ran is the next one."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

AT_ONCE = 16


class Expected:
    """Queries on their way, for `encode`, which runs in one thread of its own. Where it fails, the search says so."""

    def __init__(self, encode: Callable[[Sequence[str]], None]) -> None:
        self._encode = encode
        self._waiting = deque[str]()
        self._thread = ThreadPoolExecutor(1, "expected")

    def add(self, query: str) -> None:
        self._waiting.append(query)
        self._thread.submit(self._take)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _take(self) -> None:
        """All that waits by now; the calls that come after it find nothing."""
        taken: list[str] = []
        with suppress(IndexError):
            while len(taken) < AT_ONCE:
                taken.append(self._waiting.popleft())
        if taken:
            self._encode(taken)
