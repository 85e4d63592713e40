"""Many threads asking for a text or two each become few batches: what arrives while one runs goes into the next."""

import threading
from collections.abc import Callable, Sequence

from knowledge.types import Vectors

BATCH_MAX = 16


class _Call:
    __slots__ = ("error", "row", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.row: Vectors | None = None
        self.error: BaseException | None = None

    @property
    def waiting(self) -> bool:
        return self.row is None and self.error is None

    def result(self) -> Vectors:
        if self.error is not None or self.row is None:
            raise self.error or RuntimeError("not run")
        return self.row


class Gathering:
    """Runs `run`, texts → [len(texts), dimension], for a few texts a call.

    No thread is kept for it: of the callers waiting, one runs for all, up to 16 texts at once. Callers of the same text
    share one run of it. What `run` raises is raised for each of that batch.
    """

    def __init__(self, run: Callable[[Sequence[str]], Vectors]) -> None:
        self._run = run
        self._waiting: list[_Call] = []
        self._open: dict[str, _Call] = {}
        self._taking = threading.Lock()
        self._running = threading.Lock()

    def __call__(self, texts: Sequence[str]) -> list[Vectors]:
        """The row of each text, shape [dimension]."""
        with self._taking:
            calls = [self._call(text) for text in texts]
        for call in calls:
            while call.waiting:
                with self._running:
                    if call.waiting:  # else another caller did it meanwhile
                        self._run_waiting()
        return [call.result() for call in calls]

    def _call(self, text: str) -> _Call:
        call = self._open.get(text)
        if call is None:
            call = self._open[text] = _Call(text)
            self._waiting.append(call)
        return call

    def _run_waiting(self) -> None:
        with self._taking:
            batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
        try:
            rows = self._run([call.text for call in batch])
            for call, row in zip(batch, rows, strict=True):
                call.row = row
        except BaseException as error:
            for call in batch:
                call.error = error
            raise
        finally:
            with self._taking:
                for call in batch:
                    del self._open[call.text]
