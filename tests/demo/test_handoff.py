"""Who wants a person: frozen messages through the real pipeline on the demo company, as a service would answer them.

Half of each file was tuned on, the other half (by its hash, as everywhere) is the figure. Figures:
`pytest -q -s -m slow tests/demo/test_handoff.py`.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot.config import Settings
from bot.demo_company import load_demo
from bot.dialogue.failures import cause
from bot.dialogue.pipeline import Pipeline
from bot.dialogue.types import Turn
from bot.knowledge_base import KnowledgeBase
from bot.profile import LiveProfile
from bot.storage.database import Database

HERE = Path(__file__).parent
RECALL_MIN, FALSE_MAX = 0.97, 0.01
WISHES = ("person", "complaint")


def messages(name: str, *, held: bool) -> list[str]:
    """The half that figures are of, or the one that was tuned on."""
    lines = (HERE / f"handoff_{name}.txt").read_text(encoding="utf-8").splitlines()
    return [one for one in lines if (int(hashlib.sha1(one.encode()).hexdigest()[:8], 16) % 2 == 1) is held]  # noqa: S324


def test_the_files_are_whole() -> None:
    wanted = [*messages("wanted", held=True), *messages("wanted", held=False)]
    other = [*messages("other", held=True), *messages("other", held=False)]
    assert len(set(wanted)) == len(wanted) >= 120
    assert len(set(other)) == len(other) >= 300
    assert not set(wanted) & set(other)


@pytest.fixture
async def pipeline(tmp_path: Path, encoder_folder: Path) -> AsyncIterator[Pipeline]:
    settings = Settings(data=tmp_path / "data", demo=True, generator="")
    database = Database(settings.database)
    settings.data.mkdir()
    await database.open()
    await load_demo(database, settings)
    knowledge_base = KnowledgeBase(database, settings)
    await knowledge_base.open()
    yield Pipeline(knowledge_base, LiveProfile(settings))
    await knowledge_base.close()
    await database.close()


async def decided(pipeline: Pipeline, texts: list[str]) -> dict[str, Any]:
    return {text: await pipeline.answer(Turn("c", text)) for text in texts}


@pytest.mark.slow
async def test_who_wants_a_person_gets_one_and_nobody_else(pipeline: Pipeline) -> None:
    shown = {}
    for half, held in (("tuned on", False), ("held", True)):
        wanted = await decided(pipeline, messages("wanted", held=held))
        other = await decided(pipeline, messages("other", held=held))
        missed = [text for text, answer in wanted.items() if cause(answer.reasons) not in WISHES]
        taken = [text for text, answer in other.items() if cause(answer.reasons) in WISHES]
        causes = Counter(f"{answer.decision} {cause(answer.reasons) or ''}" for answer in other.values())
        print(f"{half}: {len(missed)} of {len(wanted)} missed, {len(taken)} of {len(other)} wrongly taken; {causes}")
        print(*(f"  missed {text}" for text in missed), *(f"  taken {text}" for text in taken), sep="\n")
        print(*(f"  {cause(a.reasons)}: {text}" for text, a in other.items() if a.decision == "handoff"), sep="\n")
        shown[half] = len(missed) / len(wanted), len(taken) / len(other)
        await asyncio.sleep(0)
    missed_share, false_share = shown["held"]
    assert 1 - missed_share >= RECALL_MIN
    assert false_share <= FALSE_MAX
