"""Retrieval on labelled questions, in a knowledge base of its own: the live one is not touched."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot import retrievers
from bot.calibrations import fitted_for, load_calibration, models_of
from bot.errors import NotFoundError
from knowledge.types import ProgressCallback

if TYPE_CHECKING:
    from bot.config import Settings
    from knowledge.calibrate import Calibration
    from knowledge.index import Index


def adapter_folder(settings: "Settings", name: str | None) -> Path | None:
    """The folder of an encoder adapter by name; None for the base model. Raises NotFoundError."""
    if not name:
        return None
    folder = settings.data / "adapters" / name
    if Path(name).name != name or not folder.is_dir():
        raise NotFoundError("adapter_not_found", f"没有适配器 {name}", f"There is no adapter {name}")
    return folder


def build(settings: "Settings", faq: Path, adapter: str | None, on_progress: ProgressCallback | None) -> "Index":
    """An index in memory of this file alone that searches as the service does; a fit on it is for those models.

    Raises ReadError, NotFoundError, EncoderError, RerankerError.
    """
    from knowledge.evaluate import build_index

    folder = adapter_folder(settings, adapter)
    encoder, reranker = retrievers.load_encoder(settings, folder), retrievers.load_reranker(settings)
    index = build_index(faq, encoder, reranker, on_progress=on_progress)
    index.calibration = fitted_for(load_calibration(settings, folder), models_of(settings))
    return index


def halves(queries: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The contract's training and test halves: by the parity of a hash of the question."""
    parts: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for query in queries:
        digest = hashlib.sha1(query["query"].encode(), usedforsecurity=False).hexdigest()
        parts[int(digest[:8], 16) % 2].append(query)
    return parts


def fitted(index: "Index", queries: Sequence[dict[str, Any]], strength: float | None = None) -> "Calibration":
    """A calibration of these queries on top of the index's own, which weighs as so many results (None: as usual)."""
    from knowledge.calibrate import PRIOR_RESULTS
    from knowledge.calibrate import fit as fit_calibration

    found = index.search_all([query["query"] for query in queries])
    gold = [None if query["faq_id"] is None else query.get("faq_ids") or [query["faq_id"]] for query in queries]
    return fit_calibration(found, gold, index.calibration, strength or PRIOR_RESULTS)


def fit(
    index: "Index",
    queries: Sequence[dict[str, Any]],
    on_progress: ProgressCallback | None = None,
    strength: float | None = None,
) -> tuple["Calibration", dict[str, Any], dict[str, Any]]:
    """A calibration fitted on all queries, and the reports (before, after) on the half that an honest fit never saw:
    empty where all queries fall into one half.
    """
    from knowledge.evaluate import evaluate

    original = index.calibration
    training, test = halves(queries)
    try:
        if not (training and test):
            return fitted(index, queries, strength), {}, {}
        before = evaluate(index, test, on_progress=on_progress)[1]
        index.calibration = fitted(index, training, strength)
        after = evaluate(index, test, on_progress=on_progress)[1]
    finally:
        index.calibration = original
    return fitted(index, queries, strength), before, after
