"""Which adapter is active, over a real database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.errors import ConflictError, NotFoundError
from bot.storage import adapters, revisions
from bot.storage.database import Database, opened


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with opened(f"sqlite+aiosqlite:///{tmp_path / 'kefu.db'}") as found:
        async with found.session() as session:
            for name in ("e1", "e2", "e3"):
                await adapters.register(session, {"name": name, "kind": "encoder"})
        yield found


async def switch(database: Database, name: str | None) -> bool:
    async with database.session() as session:
        return await adapters.activate(session, "encoder", name, "tester")


async def back(database: Database) -> str | None:
    async with database.session() as session:
        return await adapters.rollback(session, "encoder", "tester")


async def active(database: Database) -> str | None:
    async with database.reading() as session:
        return (await adapters.active(session))["encoder"]


async def can_go_back(database: Database) -> dict[str, bool]:
    async with database.reading() as session:
        return await adapters.can_roll_back(session)


async def test_each_rollback_goes_one_further_back(database: Database) -> None:
    assert await active(database) is None
    assert await can_go_back(database) == {"encoder": False, "generator": False}
    for name in ("e1", "e2", "e3"):
        assert await switch(database, name)
    assert await can_go_back(database) == {"encoder": True, "generator": False}
    assert [await back(database) for _ in range(3)] == ["e2", "e1", None]
    assert await can_go_back(database) == {"encoder": False, "generator": False}
    with pytest.raises(ConflictError):
        await back(database)
    assert await active(database) is None
    assert await switch(database, "e2")
    assert await back(database) is None


async def test_activating_the_active_one_is_no_switch(database: Database) -> None:
    assert await switch(database, "e1")
    async with database.reading() as session:
        before = await revisions.read(session)
    assert not await switch(database, "e1")
    async with database.reading() as session:
        assert await revisions.read(session) == before
        assert len(await adapters.history(session, "encoder")) == 1


async def test_rollback_passes_over_removed_adapters(database: Database) -> None:
    for name in ("e1", "e2", "e3"):
        await switch(database, name)
    async with database.session() as session:
        await adapters.remove(session, "e2")
    assert await back(database) == "e1"


async def test_the_active_one_cannot_be_removed(database: Database) -> None:
    await switch(database, "e1")
    with pytest.raises(ConflictError):
        async with database.session() as session:
            await adapters.remove(session, "e1")
    with pytest.raises(NotFoundError):
        async with database.session() as session:
            await adapters.remove(session, "never was")


async def test_a_failed_switch_is_taken_back_and_not_a_step(database: Database) -> None:
    await switch(database, "e1")
    await switch(database, "e2")
    async with database.session() as session:
        await adapters.activate(session, "encoder", "e1", None, reason="failed")
    assert await active(database) == "e1"
    assert await back(database) is None


async def test_kinds_are_apart(database: Database) -> None:
    async with database.session() as session:
        await adapters.register(session, {"name": "g1", "kind": "generator"})
        await adapters.activate(session, "generator", "g1", None)
    async with database.reading() as session:
        assert await adapters.active(session) == {"encoder": None, "generator": "g1"}
