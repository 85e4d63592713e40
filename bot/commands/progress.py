"""A bar on a terminal for who waits long, silence elsewhere."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from knowledge.types import ProgressCallback

SILENT_SECONDS = 2.0
DRAWN_SECONDS = 0.5


@contextmanager
def bar(title: str) -> Iterator[ProgressCallback]:
    """A callback that draws a progress bar on standard error, where that is a terminal and it takes two seconds.

    Until the callback is called, as while a model is loaded, it is the title and the time that has passed.
    """
    if not sys.stderr.isatty():
        yield lambda _done, _total, _note="": None
        return
    from tqdm import tqdm

    ended, drawing = threading.Event(), threading.Lock()
    with tqdm(desc=title, leave=False, delay=SILENT_SECONDS, miniters=0, bar_format="{desc}… {elapsed}") as drawn:

        def tick() -> None:
            while not ended.wait(DRAWN_SECONDS):
                with drawing:
                    drawn.update(0)

        def update(done: int, total: int, note: str = "") -> None:
            with drawing:
                drawn.total, drawn.bar_format = total or None, None
                if note:
                    drawn.set_postfix_str(note, refresh=False)
                drawn.update(done - drawn.n)

        ticking = threading.Thread(target=tick, name="drawing progress", daemon=True)
        ticking.start()
        try:
            yield update
        finally:
            ended.set()
            ticking.join()
