"""Keeps the dense indexes of a growing knowledge base of the right kind and size, in a thread of its own."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from threading import Event, Lock, Thread
from typing import Any

from knowledge.ann import StoppedError
from knowledge.dense import DenseIndex


class Upkeep:
    """Rebuilds what is outgrown, one after the other; searches and changes go on meanwhile."""

    def __init__(
        self, indexes: Sequence[DenseIndex], lock: AbstractContextManager[Any], on_rebuilt: Callable[[], None]
    ) -> None:
        """`lock` guards the indexes. `on_rebuilt` is called in the thread after each swap."""
        self._indexes, self._lock, self._on_rebuilt = indexes, lock, on_rebuilt
        self._starting = Lock()
        self._stop = Event()
        self._thread: Thread | None = None

    def look(self) -> None:
        """Begin a rebuild where one is due and none is under way."""
        with self._starting:
            if self._thread is None and not self._stop.is_set() and self._outgrown() is not None:
                self._thread = Thread(target=self._work, name="rebuilding the dense index", daemon=True)
                self._thread.start()

    def wait(self, seconds: float | None = None) -> bool:
        """Until nothing is being rebuilt; whether that is so within the time."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)
        return thread is None or not thread.is_alive()

    def stop(self) -> None:
        """End what is under way, within a second or so; nothing begins after this."""
        self._stop.set()
        self.wait()

    def _outgrown(self) -> DenseIndex | None:
        with self._lock:
            return next((one for one in self._indexes if one.is_outgrown), None)

    def _work(self) -> None:
        try:
            while not self._stop.is_set() and (index := self._outgrown()) is not None:
                index.rebuild(self._lock, self._stop)
                self._on_rebuilt()
        except StoppedError:
            pass
        finally:
            with self._starting:
                self._thread = None
