"""The power goes while an adapter is activated or rolled back: one or the other is served, with its own index."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bot.storage import adapters
from bot.storage.database import opened
from bot.storage.tables import AuditRow
from knowledge import store

STEPS = (
    (("activate", "encoder-one"), "encoder-one"),
    (("activate", "encoder-two"), "encoder-two"),
    (("rollback",), "encoder-one"),
    (("rollback", "--kind", "encoder"), None),
)


async def active(data: Path) -> str | None:
    """What is active, by a history in which every switch has its line in the audit."""
    from sqlalchemy import select

    async with opened(f"sqlite+aiosqlite:///{data / 'kefu.db'}") as database, database.reading() as session:
        switches = await adapters.history(session, "encoder")
        written = await session.scalars(
            select(AuditRow).where(AuditRow.action.startswith("adapters.")).order_by(AuditRow.id)
        )
        assert [switch.adapter or "base" for switch in switches] == [row.target for row in written]
        return (await adapters.active(session))["encoder"]


@pytest.mark.slow
@pytest.mark.parametrize("points", [1, pytest.param(10, marks=pytest.mark.soak)])
async def test_the_one_or_the_other_is_active_and_served(
    machine: Any, installed_adapters: Path, tmp_path: Path, points: int, moments: Callable[..., list[float]],
    copy_of: Callable[..., Any], library_on: Callable[..., Any], in_step: Callable[..., Any],
    encoder_of: Callable[..., Any], encoder_folder: Path,
) -> None:  # fmt: skip
    data = tmp_path / "data"
    copy_of(installed_adapters, data / "adapters")
    shutil.copy(installed_adapters.parent / "signing.key", data)
    faq = tmp_path / "faq.jsonl"
    faq.write_text(
        "".join(f'{{"question": "第{n}号锅怎么退", "answer": "{n}"}}\n' for n in range(12)), encoding="utf-8"
    )
    machine.start(data, "import", str(faq)).finish()
    outcomes = {True: 0, False: 0}
    machine.start(data, "adapters", "list").finish()
    once = machine.start(copy_of(data, tmp_path / "once"), "adapters", *STEPS[0][0])
    once.finish()
    seconds = time.monotonic() - once.started
    for number, (command, wanted) in enumerate(STEPS):
        before = await active(data)
        template = copy_of(data, tmp_path / "template")
        said = machine.in_transaction(copy_of(data, tmp_path / "once"), "adapters", *command)
        by_clock = moments(number, points, seconds)
        for moment, at in zip(by_clock, moments(number, points, len(said)), strict=True):
            copy_of(template, data)
            while not machine.start(data, "adapters", *command).cut_after(moment):
                copy_of(template, data)
                moment /= 2  # noqa: PLW2901 - it was quicker this time
            assert await active(data) in (before, wanted)
            copy_of(template, data)
            running = machine.start(data, "adapters", *command, statement=said[int(at)])
            assert running.wait()
            assert running.cut(), running.output
            now = await active(data)
            assert now in (before, wanted)
            outcomes[now == wanted] += 1
            await in_step(data)
            async with library_on(data) as knowledge_base:
                assert knowledge_base.adapter == now
                folder = data / "adapters" / now if now else None
                assert knowledge_base.served.encoder.id == encoder_of(folder).id
            check_snapshots(data, installed_adapters, encoder_of)
            assert {path.name for path in (data / "adapters").iterdir()} == {"encoder-one", "encoder-two"}
        if await active(data) != wanted:
            machine.start(data, "adapters", *command).finish()
        assert await active(data) == wanted
    assert "encoder-one\tencoder\t可启用" in machine.start(data, "adapters", "list").finish()
    print(f"activation: {2 * sum(outcomes.values())} cuts within {seconds:.2f} s, {outcomes[True]} after the commit")


def check_snapshots(data: Path, home: Path, encoder_of: Callable[..., Any]) -> None:
    """Every snapshot is of the encoder that its folder names, and so is every vector in it."""
    encoders = {e.id[:16]: e for e in (encoder_of(None), *(encoder_of(one) for one in sorted(home.glob("encoder-*"))))}
    found = list((data / "index").iterdir())
    assert found
    for folder in found:
        encoder = encoders[folder.name]
        opened = store.Store(folder, encoder.id, encoder.dimension)
        assert opened.notes == []
        row = opened.find([store.key("第7号锅怎么退", "query")])
        assert float(opened.view.similarities(row, encoder.encode(["第7号锅怎么退"])[0])[0]) > 0.999
        opened.close()
