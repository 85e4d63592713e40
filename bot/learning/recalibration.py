"""From reviewed conversations to a better calibration: labelled questions searched, a fit compared, and swapped in.

Labels are biased towards what people looked at, so the shipped coefficients keep their weight as prior. A question
counts once however often it was asked, and not at all where an entry has it word for word: that is answered anyhow.
"""

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot import calibrations
from bot.errors import StoppingError
from bot.learning import dataset
from bot.learning.releases import folder_of
from bot.storage import audit, revisions
from bot.storage.values import iso, now
from finetune.data import Labelled
from finetune.data import normalise as same
from knowledge.rank import FEATURES
from knowledge.text import plain

if TYPE_CHECKING:
    from bot.config import Settings
    from bot.knowledge_base import KnowledgeBase
    from bot.storage.database import Database
    from knowledge.refit import Case, Refit
    from knowledge.types import SearchResult

CASES_MIN, CASES_MAX = 120, 2000
# Customers ask for what is not there, whether people label that or not. Where fewer labels say so, questions are also
# asked with their own entry hidden, up to this share: the near misses of a knowledge base that lacks the entry.
OUTSIDE_SHARE = 0.2
STEP = 32
Report = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Observed:
    """The cases of the labels, and how many of them are questions without an entry and questions whose was hidden."""

    cases: "tuple[Case, ...]"
    outside: int
    hidden: int


async def recalibrate(
    database: "Database",
    settings: "Settings",
    knowledge_base: "KnowledgeBase",
    on_progress: Callable[[int, int], None],
    stop: threading.Event,
) -> Report:
    """Fit on the reviewed conversations and serve the fit where it is better; says what was done and why.

    `outcome` is refitted, kept (not better), too_few (labels), unknown_training (the adapter in use may have been
    trained on the very labels) or switched (the encoder changed meanwhile). Raises OSError; StoppingError after `stop`.
    """
    from knowledge.calibrate import shipped
    from knowledge.refit import refit

    adapter = knowledge_base.adapter
    trained = await asyncio.to_thread(_trained_on, settings, adapter)
    if trained is None:
        return {"outcome": "unknown_training", "adapter": adapter}
    labels = dataset.labels(await dataset.gather(database))
    chosen = choose(labels.examples, trained, knowledge_base)
    observed = await asyncio.to_thread(observe, knowledge_base, chosen, on_progress, stop)
    report: Report = {
        "adapter": adapter, "labels": len(observed.cases) - observed.hidden,
        "outside": observed.outside, "hidden": observed.hidden,
    }  # fmt: skip
    if report["labels"] < CASES_MIN:
        return report | {"outcome": "too_few", "needed": CASES_MIN}
    found = await asyncio.to_thread(refit, observed.cases, knowledge_base.calibration, shipped())
    report |= {"before": _rounded(found, "before"), "after": _rounded(found, "after")}
    if not found.better:
        return report | {"outcome": "kept"}
    if knowledge_base.adapter != adapter:
        return report | {"outcome": "switched"}
    await _swap(database, settings, adapter, found, report)
    await knowledge_base.recalibrate()
    return report | {"outcome": "refitted"}


def choose(
    examples: Sequence[Labelled], trained: frozenset[str], knowledge_base: "KnowledgeBase"
) -> tuple[Labelled, ...]:
    """What people labelled, of entries that can be found, and not what the adapter in use was trained on.

    Of very many a sample that is the same each time.
    """
    usable = [
        one
        for one in examples
        if one.reviewed
        and same(plain(one.text)) not in trained
        and (one.entry is None or knowledge_base.entry(one.entry) is not None)
    ]
    return tuple(sorted(usable, key=lambda one: hashlib.sha256(one.text.encode()).digest())[:CASES_MAX])


def observe(
    knowledge_base: "KnowledgeBase",
    chosen: Sequence[Labelled],
    on_progress: Callable[[int, int], None],
    stop: threading.Event,
) -> Observed:
    """Searches every question as the service does; blocking, for a thread. Raises StoppingError after `stop`."""
    from knowledge.refit import Case

    cases: list[Case] = []

    def add(one: Labelled, found: "SearchResult", entry: str | None) -> bool:
        if not found.hits or found.features[FEATURES.index("exact")]:
            return False
        cases.append(Case(found.features, found.hits[0].id == entry, entry is not None, one.group))
        return True

    inside: list[Labelled] = []
    outside = hidden = 0
    for start in range(0, len(chosen), STEP):
        _check(stop)
        part = chosen[start : start + STEP]
        for one, found in zip(part, knowledge_base.look_up([one.text for one in part]), strict=True):
            counts = add(one, found, one.entry)
            if one.entry is not None:
                inside += [one] if counts else []
            else:
                outside += counts
        on_progress(min(start + STEP, len(chosen)), len(chosen))
    wanted = int(len(inside) * OUTSIDE_SHARE / (1 - OUTSIDE_SHARE)) - outside
    for one in inside[: max(wanted, 0)]:
        _check(stop)
        (found,) = knowledge_base.look_up([one.text], admits=lambda id_, gone=one.entry: id_ != gone)  # type: ignore[misc]
        hidden += add(one, found, None)
    return Observed(tuple(cases), outside, hidden)


def _check(stop: threading.Event) -> None:
    if stop.is_set():
        raise StoppingError


def _trained_on(settings: "Settings", adapter: str | None) -> frozenset[str] | None:
    """The texts the adapter in use has learnt, on which it is better than on any new question; None: not known."""
    from bot.learning.runs import runs_dir

    if adapter is None:
        return frozenset()
    file = runs_dir(settings) / Path(adapter).name / "train.jsonl"
    if not file.is_file():
        return None
    lines = file.read_text("utf-8").split("\n")
    return frozenset(same(json.loads(line)["text"]) for line in lines if line.strip())


async def _swap(
    database: "Database", settings: "Settings", adapter: str | None, found: "Refit", report: Report
) -> None:
    file = calibrations.calibration_file(settings, folder_of(settings, adapter))
    models = await asyncio.to_thread(calibrations.models_of, settings)
    record = {key: value for key, value in report.items() if key != "adapter"}
    record = {"source": "reviewed", "date": iso(now()), **record}
    own = calibrations.fitted_for(found.calibration, models)
    await asyncio.to_thread(calibrations.save, file, own, record)
    async with database.session() as session:
        await revisions.bump(session, "settings")
        await audit.record(session, "system", "calibration.refit", adapter or "base", record)


def _rounded(found: "Refit", which: str) -> dict[str, float]:
    return {name: round(value, 4) for name, value in asdict(getattr(found, which)).items()}
