"""One service a data folder: whoever serves holds a lock that the system lets go of however the process ends."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bot.errors import ConfigError

FILE_NAME = ".serving"
WAIT_SECONDS = 3.0  # the one before may be on its way out
POLL_SECONDS = 0.1


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Holds the folder for this process. Raises ConfigError where another one serves from it, OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / FILE_NAME).open("a+", encoding="ascii") as file:
        _lock(file.fileno(), folder)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _lock(handle: int, folder: Path) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise _taken(folder) from None
            time.sleep(POLL_SECONDS)


def _taken(folder: Path) -> ConfigError:
    owner = (folder / FILE_NAME).read_text(encoding="ascii", errors="replace").strip() or "?"
    return ConfigError(
        "data_in_use",
        f"数据目录 {folder} 正被另一个运行中的 Kefu（进程 {owner}）使用；请先停掉它，或用 --data 换一个目录",
        f"The data folder {folder} is used by another running Kefu (process {owner}); "
        "stop it first, or choose another folder with --data",
    )
