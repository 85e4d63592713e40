"""How far preparing a base model is, as a value that any display can show."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Stage = Literal["waiting", "downloading", "checking", "unpacking", "converting", "finishing"]

_WORDS: dict[Stage, tuple[str, str]] = {
    "waiting": ("等待另一个进程准备完", "waiting for another process to prepare"),
    "downloading": ("下载", "downloading"),
    "checking": ("校验", "checking"),
    "unpacking": ("解包", "unpacking"),
    "converting": ("转换", "converting"),
    "finishing": ("写入磁盘", "writing to disk"),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step of preparing `model`: `item` is the package or file at hand, `done` of `total` its bytes or tensors."""

    model: str
    stage: Stage
    item: str
    done: int = 0
    total: int = 0

    @property
    def zh(self) -> str:
        return f"{_WORDS[self.stage][0]} {self.item}"

    @property
    def en(self) -> str:
        return f"{_WORDS[self.stage][1]} {self.item}"


OnProgress = Callable[[Step], None]


def silent(_: Step) -> None:
    """For callers that show nothing."""
