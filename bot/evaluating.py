"""Retrieval on labelled questions, in a knowledge base of its own: the live one is not touched."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.errors import InvalidError, NotFoundError
from bot.library import load_calibration, load_encoder
from knowledge.types import Entry, ProgressCallback

if TYPE_CHECKING:
    from bot.config import Settings
    from knowledge.calibrate import Calibration
    from knowledge.index import Index


def read_faq(path: Path) -> list[Entry]:
    """The entries of a native FAQ file, every one of them: duplicates and empty answers too.

    Raises InvalidError naming the line that is no entry.
    """
    entries = []
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InvalidError("not_utf8", f"{path} 不是 UTF-8 文本", f"{path} is not UTF-8 text") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            one = json.loads(line)
            entries.append(_entry(one))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidError(
                "faq_line",
                f"{path} 第 {number} 行不是 FAQ 条目（需要 id 和 question）",
                f"{path} line {number} is no FAQ entry (id and question are needed)",
            ) from error
    if not entries:
        raise InvalidError("no_entries", f"{path} 里没有条目", f"{path} has no entries")
    return entries


def _entry(one: dict[str, Any]) -> Entry:
    return Entry(
        str(one["id"]),
        str(one["question"]),
        str(one.get("answer") or ""),
        tuple(map(str, one.get("similar_questions") or ())),
        tuple(map(str, one.get("negative_questions") or ())),
        enabled=bool(one.get("enabled", True)),
    )


def adapter_folder(settings: "Settings", name: str | None) -> Path | None:
    """The folder of an encoder adapter by name; None for the base model. Raises NotFoundError."""
    if not name:
        return None
    folder = settings.data / "adapters" / name
    if Path(name).name != name or not folder.is_dir():
        raise NotFoundError("adapter_not_found", f"没有适配器 {name}", f"There is no adapter {name}")
    return folder


def build(settings: "Settings", faq: Path, adapter: str | None, on_progress: ProgressCallback | None) -> "Index":
    """An index in memory of this file alone."""
    from knowledge.index import Index

    entries = read_faq(faq)
    folder = adapter_folder(settings, adapter)
    index = Index.open(None, load_encoder(settings, folder), load_calibration(settings, folder))
    index.synchronise(entries, on_progress)
    return index


def halves(queries: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The contract's training and test halves: by the parity of a hash of the question."""
    parts: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for query in queries:
        digest = hashlib.sha1(query["query"].encode(), usedforsecurity=False).hexdigest()
        parts[int(digest[:8], 16) % 2].append(query)
    return parts


def fit(
    index: "Index", queries: Sequence[dict[str, Any]], on_progress: ProgressCallback | None = None
) -> tuple["Calibration", dict[str, Any], dict[str, Any]]:
    """A calibration fitted on all queries, and the reports (before, after) on the half that an honest fit never saw."""
    from knowledge.calibrate import fit as fit_calibration
    from knowledge.evaluate import evaluate

    def fitted(part: Sequence[dict[str, Any]]) -> "Calibration":
        found = [index.search(query["query"]) for query in part]
        gold = [None if query["faq_id"] is None else query.get("faq_ids") or [query["faq_id"]] for query in part]
        return fit_calibration(found, gold, original)

    original = index.calibration
    training, test = halves(queries)
    try:
        before = evaluate(index, test, on_progress=on_progress)[1]
        index.calibration = fitted(training)
        after = evaluate(index, test, on_progress=on_progress)[1]
        return fitted(queries), before, after
    finally:
        index.calibration = original
