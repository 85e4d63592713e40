"""A bar on a terminal, silence elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from knowledge.types import ProgressCallback


@contextmanager
def bar(title: str) -> Iterator[ProgressCallback]:
    """A callback that draws a progress bar on standard error, where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _done, _total, _note="": None
        return
    from tqdm import tqdm

    with tqdm(total=0, desc=title, leave=False, delay=0.5) as drawn:

        def update(done: int, total: int, note: str = "") -> None:
            drawn.total = total or None
            if note:
                drawn.set_postfix_str(note, refresh=False)
            drawn.update(done - drawn.n)

        yield update
