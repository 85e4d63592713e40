"""From reviewed conversations to a better calibration: labelled questions searched, a fit compared, and swapped in.

Labels are biased towards what people looked at, so the shipped coefficients keep their weight as prior. A question
counts once however often it was asked, and not at all where an entry has it word for word: that is answered anyhow.
Until enough is reviewed, the company's own similar questions stand in for it.
"""

import asyncio
import json
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot import calibrations
from bot.learning import dataset
from bot.learning.observing import Observed, OnProgress, observe, observe_own, sample
from bot.learning.releases import folder_of
from bot.storage import audit, revisions
from bot.storage.values import iso, now
from finetune.data import Labelled
from finetune.data import normalise as same
from knowledge.text import plain

if TYPE_CHECKING:
    from bot.config import Settings
    from bot.knowledge_base import KnowledgeBase
    from bot.storage.database import Database
    from knowledge.refit import Refit

CASES_MIN = 120
Report = dict[str, Any]


async def recalibrate(
    database: "Database",
    settings: "Settings",
    knowledge_base: "KnowledgeBase",
    on_progress: OnProgress,
    stop: threading.Event,
) -> Report:
    """Fit on what there is and serve the fit where it is better; says what was done and why.

    `source` is reviewed or own_questions; `outcome` refitted, kept (not better), too_few (labels) or switched (the
    encoder changed meanwhile). Raises OSError; StoppingError after `stop`.
    """
    from knowledge.calibrate import shipped
    from knowledge.refit import refit

    adapter = knowledge_base.adapter
    source, observed = await asyncio.to_thread(
        _observe, settings, knowledge_base, await dataset.gather(database), on_progress, stop
    )
    report: Report = {
        "source": source, "adapter": adapter, "labels": observed.labels,
        "outside": observed.outside, "hidden": observed.hidden,
    }  # fmt: skip
    if observed.labels < CASES_MIN:
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


def _observe(
    settings: "Settings",
    knowledge_base: "KnowledgeBase",
    material: dataset.Material,
    on_progress: OnProgress,
    stop: threading.Event,
) -> tuple[str, Observed]:
    """What people reviewed; until that is enough, the company's own wordings, where these prove anything."""
    adapter = knowledge_base.adapter
    chosen = choose(dataset.labels(material).examples, _trained_on(settings, adapter), knowledge_base)
    reviewed = observe(knowledge_base.look_up, chosen, on_progress, stop)
    if reviewed.labels >= CASES_MIN or not may_use_own_questions(settings, adapter):
        return "reviewed", reviewed
    return "own_questions", observe_own(knowledge_base.look_up, material.entries, on_progress, stop)


def may_use_own_questions(settings: "Settings", adapter: str | None) -> bool:
    """Not for an adapter, which was trained on them; nor in the place of a calibration from people's labels."""
    file = calibrations.calibration_file(settings)
    return adapter is None and (not file.exists() or calibrations.record_of(file).get("source") == "own_questions")


def choose(
    examples: Sequence[Labelled], trained: frozenset[str] | None, knowledge_base: "KnowledgeBase"
) -> tuple[Labelled, ...]:
    """What people labelled, of entries that can be found, and not what the adapter in use was `trained` on.

    Nothing where that is not known (None).
    """
    usable = [
        one
        for one in examples
        if trained is not None
        and one.reviewed
        and same(plain(one.text)) not in trained
        and (one.entry is None or knowledge_base.entry(one.entry) is not None)
    ]
    return sample(usable)


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
    record = {"date": iso(now())} | {key: value for key, value in report.items() if key != "adapter"}
    own = calibrations.fitted_for(found.calibration, models)
    await asyncio.to_thread(calibrations.save, file, own, record)
    async with database.session() as session:
        await revisions.bump(session, "settings")
        await audit.record(session, "system", "calibration.refit", adapter or "base", record)


def _rounded(found: "Refit", which: str) -> dict[str, float]:
    return {name: round(value, 4) for name, value in asdict(getattr(found, which)).items()}
