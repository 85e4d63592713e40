"""An encoder and its index, which belong together: opened from the snapshot, in step with what is to be found."""

import logging
import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bot import snapshots
from bot.calibrations import load_calibration
from bot.errors import StoppingError
from knowledge.types import ProgressCallback, Unit

if TYPE_CHECKING:
    from bot.config import Settings
    from knowledge.encoders import TransformerEncoder
    from knowledge.index import Index
    from knowledge.rerankers import TransformerReranker

# So many texts are encoded in some ten seconds: the service is ready a little later, and then answers everything.
TEXTS_WAITED_FOR = 1500
# What is encoded before it is returned: everything; everything where that takes a moment; nothing.
Encode = Literal["all", "few", "none"]

log = logging.getLogger("kefu.knowledge_base")


@dataclass(frozen=True, slots=True)
class Served:
    """What answers: replaced as a whole, so that no search mixes two models. `adapter` None is the base model."""

    encoder: "TransformerEncoder"
    index: "Index"
    adapter: str | None

    def save(self) -> None:
        snapshots.save(self.index)

    def save_and_close(self) -> None:
        self.save()
        self.index.close()


def unless(stopping: threading.Event, on_progress: ProgressCallback | None = None) -> ProgressCallback:
    """The callback, raising StoppingError once the service stops."""

    def tell(done: int, total: int, note: str = "") -> None:
        if stopping.is_set():
            raise StoppingError
        if on_progress is not None:
            on_progress(done, total, note)

    return tell


def assemble(
    settings: "Settings",
    encoder: "TransformerEncoder",
    reranker: "TransformerReranker | None",
    units: Iterable[Unit],
    on_progress: ProgressCallback,
    encode: Encode,
    in_use: Collection[str] = (),
) -> Served:
    """The encoder with an index of `units`; blocking, for a thread. `in_use`: encoders whose snapshots are to stay.

    Raises what `on_progress` raises; after StoppingError what was encoded until then is saved.
    """
    from knowledge.index import Index

    adapter = encoder.adapter
    folder = snapshots.snapshot_folder(settings.data, encoder.id, in_use)
    served = Served(
        encoder,
        Index.open(folder, encoder, load_calibration(settings, adapter), reranker),
        adapter.name if adapter else None,
    )
    index = served.index
    try:
        report = index.place(units)
        if index.note:
            log.warning(index.note[1])
        later = encode == "none" or (encode == "few" and (index.note or index.lacking > TEXTS_WAITED_FOR))
        if not later:
            index.encode_lacking(on_progress)
    except StoppingError:
        served.save_and_close()
        raise
    except BaseException:
        index.close()
        raise
    log.info("index of %s is in step: %s", served.adapter or "the base model", report)
    return served
