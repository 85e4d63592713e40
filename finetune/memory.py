"""The memory of this process: the most it has held, and giving back what it no longer needs."""

import ctypes
import gc
import resource
import sys
from contextlib import suppress


def peak() -> int:
    """The most bytes that this process has held at once."""
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def give_back() -> None:
    """Free memory goes back to the system: a model that is done with would else be held beside the next one.

    Only glibc keeps it (https://man7.org/linux/man-pages/man3/malloc_trim.3.html); elsewhere there is nothing to do.
    """
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
