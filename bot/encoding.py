"""Encoding behind the answering: what is found by its words meanwhile, and then what answers begin with."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from knowledge.index import Index

TOLD_FROM = 100
log = logging.getLogger("kefu.knowledge_base")


class Encoding:
    """Of the index that serves at the moment, as `index` says; None while there is none."""

    def __init__(
        self, index: "Callable[[], Index | None]", stopping: threading.Event, on_encoded: Callable[[], None]
    ) -> None:
        self._index, self._stopping, self._on_encoded = index, stopping, on_encoded
        # How many texts are done, of how many; None while none is searchable by its words alone.
        self.progress: tuple[int, int] | None = None
        self._lacking: asyncio.Task[None] | None = None
        self._ahead: asyncio.Task[None] | None = None

    def begin(self, *, ahead: bool) -> None:
        """Encode what lacks its vector, if anything; and with `ahead` what `Index.encode_ahead` does."""
        index = self._index()
        if index is not None and index.lacking and self._is_done:
            self._lacking = asyncio.create_task(self._encode_lacking(), name="encoding the rest")
        if ahead and (self._ahead is None or self._ahead.done()):
            self._ahead = asyncio.create_task(self._encode_ahead(), name="encoding ahead")

    async def wait(self, seconds: float) -> bool:
        """Until no text lacks its vector; whether that is so within the time."""
        if self._lacking and not self._lacking.done():
            await asyncio.wait({self._lacking}, timeout=seconds)
        return self._is_done

    async def end(self) -> None:
        """Once `stopping` is set: until the batch under way is done."""
        tasks = {one for one in (self._lacking, self._ahead) if one}
        if tasks:
            await asyncio.wait(tasks)

    @property
    def _is_done(self) -> bool:
        return self._lacking is None or self._lacking.done()

    async def _encode_lacking(self) -> None:
        """Until nothing lacks its vector, whatever is written and switched meanwhile."""
        encoded = 0
        try:
            while (index := self._index()) and not self._stopping.is_set() and (lacking := index.lacking):
                self.progress = (encoded, encoded + lacking)
                encoded += await asyncio.to_thread(index.encode_some)
        except Exception:
            log.exception("texts without a vector are found by their words alone until the next change")
        finally:
            self.progress = None
        if encoded > TOLD_FROM:
            log.info("everything has its vector")
        if encoded:
            self._on_encoded()

    async def _encode_ahead(self) -> None:
        """Behind the other, with half of the time left to customers."""
        began = None
        try:
            while (index := self._index()) and not self._stopping.is_set():
                if self._lacking and not self._is_done:
                    await asyncio.wait({self._lacking})
                began = time.monotonic()
                if not await asyncio.to_thread(index.encode_ahead):
                    break
                await asyncio.sleep(time.monotonic() - began)
        except Exception:
            log.exception("answers are encoded when they are compared")
        self._on_encoded()
