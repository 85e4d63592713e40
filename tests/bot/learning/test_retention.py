"""Which adapters go: never the active one, its parent, what a rollback brings back, or a pinned one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.errors import NotFoundError
from bot.learning import releases
from bot.learning.retention import spare, tidy
from bot.storage import adapters, audit
from bot.storage.adapters import Activation, Adapter
from finetune import registry
from finetune.registry import Manifest
from finetune.signing import Signer

START = datetime(2026, 1, 1, tzinfo=UTC)


def made(count: int, **parents: str) -> list[Adapter]:
    """a00 (oldest) … newest first."""
    names = [f"a{n:02}" for n in range(count)]
    return [
        Adapter(name, "encoder", {"parent": parents.get(name)}, START + timedelta(days=n))
        for n, name in reversed(list(enumerate(names)))
    ]


def switches(*steps: tuple[str, str | None]) -> list[Activation]:
    return [Activation("encoder", name, reason, None, START) for reason, name in steps]


def gone(*arguments: Any) -> set[str]:
    return {one.name for one in spare(*arguments)}


def test_the_newest_stay() -> None:
    assert gone(made(12), [], (), 10) == {"a00", "a01"}
    assert gone(made(3), [], (), 10) == set()


def test_the_active_one_its_parent_and_two_steps_back_stay_however_old() -> None:
    used = switches(("activate", "a00"), ("activate", "a02"), ("activate", "a04"), ("activate", "a06"))
    assert gone(made(12, a06="a01"), used, (), 2) == {"a00", "a03", "a05", "a07", "a08", "a09"}
    back = [*used, *switches(("rollback", "a04"))]
    assert gone(made(12), back, (), 2) == {"a01", "a03", "a05", "a06", "a07", "a08", "a09"}


def test_a_pinned_one_stays() -> None:
    assert gone(made(5), [], ("a00",), 1) == {"a01", "a02", "a03"}


@pytest.fixture
async def shelf(database, make_settings, tmp_path):
    """Four installed and registered adapters, the second of them active."""
    settings = make_settings(adapters_kept=1)
    source = tmp_path / "made"
    source.mkdir()
    (source / "adapter_config.json").write_text("{}")
    (source / "adapter_model.safetensors").write_bytes(b"weights")
    for number in range(4):
        manifest = Manifest(
            name=f"encoder-{number}", kind="encoder", base_model="m", base_checksum="b", data_hash="", examples=1,
            config={}, metrics={}, verdict={"outcome": "better", "zh": "", "en": ""},
            created_at="2026-01-01T00:00:00Z", seconds=1.0,
        )  # fmt: skip
        installed = registry.install(source, settings.data / "adapters", manifest, Signer(settings.data))
        async with database.session() as session:
            await adapters.register(session, installed.to_json())
    async with database.session() as session:
        await adapters.activate(session, "encoder", "encoder-1", None)
    return settings


async def test_what_goes_leaves_the_list_and_the_disk_on_record(shelf, database):
    async with database.session() as session:
        await adapters.pin(session, "encoder-0", wanted=True)
        with pytest.raises(NotFoundError):
            await adapters.pin(session, "nobody", wanted=True)
    assert await tidy(database, shelf) == ["encoder-2"]
    folders = [folder.name for folder in registry.list_folders(shelf.data / "adapters")]
    assert folders == ["encoder-0", "encoder-1", "encoder-3"]
    async with database.reading() as session:
        assert {one.name for one in await adapters.installed(session)} == set(folders)
        (last,) = await audit.recent(session, 1)
    assert (last.actor, last.action, last.target) == ("system", "adapters.remove", "encoder-2")
    async with database.session() as session:
        await adapters.pin(session, "encoder-0", wanted=False)
    assert await tidy(database, shelf) == ["encoder-0"]
    assert await tidy(database, shelf) == []


async def test_adapters_of_before_signatures_are_signed_at_the_start_and_strangers_stay_outside(
    shelf, database, caplog
):
    home = shelf.data / "adapters"
    for name in ("encoder-0", "encoder-1"):
        raw = registry.read(home / name).to_json() | {"signature": {}}
        registry.write_json(home / name / "manifest.json", raw)
        async with database.session() as session:
            await adapters.register(session, raw)
    (home / "encoder-1" / "adapter_model.safetensors").write_bytes(b"Weights")
    (home / "encoder-3").rename(home / "stranger")
    raw = registry.read(home / "encoder-2").to_json() | {"name": "stranger", "signature": {}}
    registry.write_json(home / "stranger" / "manifest.json", raw)
    await releases.discover(database, shelf)
    registry.verify(home / "encoder-0", None, Signer(shelf.data))
    async with database.reading() as session:
        known = {one.name: one.manifest for one in await adapters.installed(session)}
    assert known["encoder-0"]["signature"]["algorithm"] == "Ed25519"
    assert not known["encoder-1"]["signature"]
    assert "stranger" not in known
    assert "encoder-1" in caplog.text
    assert "stranger" in caplog.text
