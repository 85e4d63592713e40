"""Who listens to a conversation, or to the queue, hears at once what is new there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

QUEUE = "queue"


@dataclass(frozen=True, slots=True)
class StateChange:
    """Somebody else answers a conversation from now on."""

    state: str


@dataclass(frozen=True, slots=True)
class DeliveryChange:
    """Something became of what was sent to a conversation's customer."""


class News:
    """Subjects are conversations by their id, and QUEUE for all of them together."""

    def __init__(self) -> None:
        self._listeners: dict[str, set[asyncio.Queue[Any]]] = {}
        self._closed = False

    @asynccontextmanager
    async def subscribe(self, subject: str) -> AsyncIterator[asyncio.Queue[Any]]:
        """A queue that gets everything told of a subject from now on, and None when the service stops."""
        queue: asyncio.Queue[Any] = asyncio.Queue()
        if self._closed:
            queue.put_nowait(None)
        listeners = self._listeners.setdefault(subject, set())
        listeners.add(queue)
        try:
            yield queue
        finally:
            listeners.discard(queue)
            if not listeners and self._listeners.get(subject) is listeners:
                del self._listeners[subject]

    def tell(self, subject: str, item: Any) -> None:
        for queue in self._listeners.get(subject, ()):
            queue.put_nowait(item)

    def hang_up(self) -> None:
        """Tell every listener that the service stops; their connections close and come back to the next process."""
        self._closed = True
        for subject in list(self._listeners):
            self.tell(subject, None)
