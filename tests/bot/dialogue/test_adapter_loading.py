"""`/v1/load_lora_adapter` and its like on the whole service: registered adapters only, and an admin's word."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from bot import keys
from bot.engines.local import LocalEngine
from bot.storage import adapters, audit
from tests.bot.dialogue.staff import Staff
from tests.bot.test_engine_local import make_adapter


@pytest.fixture
async def engine(generator_folder: Path, tmp_path: Path) -> AsyncIterator[LocalEngine]:
    folder = tmp_path / "data0" / "adapters" / "generator-1"  # of the service's data
    made = LocalEngine(generator_folder, "qwen", installed=lambda: {"generator-1": folder} if folder.is_dir() else {})
    yield made
    await made.close()


@pytest.mark.slow
async def test_an_admin_loads_registered_adapters_and_lets_go_of_them(
    talk_with: Callable[..., Any], engine: LocalEngine, generator_folder: Path, tmp_path: Path
) -> None:
    talk = await talk_with(engine)
    folder = make_adapter(generator_folder, talk.app[keys.SETTINGS].data / "adapters" / "generator-1", 0.1)
    async with talk.database.session() as session:
        for name, kind in (("generator-1", "generator"), ("encoder-1", "encoder")):
            await adapters.register(session, {"name": name, "kind": kind})
    staff = Staff(talk)
    await staff.hire("boss", "admin")
    await staff.hire("prog", "api")

    async def post(what: str, who: str = "boss", **body: Any) -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {staff.keys[who]}"}
        async with talk.client.post(f"/v1/{what}_lora_adapter", json=body, headers=headers) as response:
            if response.status == 200:
                return 200, await response.text()
            return response.status, (await response.json())["error"]["code"]

    assert await post("load", "prog", lora_name="generator-1") == (403, "forbidden")
    assert (await post("load", lora_name="generator-9"))[0] == 404
    assert await post("load", lora_name="encoder-1") == (400, "adapter_kind")
    assert await post("load", lora_name="generator-1", lora_path=str(tmp_path)) == (400, "adapter_path")
    assert await post("unload", lora_name="generator-1") == (404, "adapter_not_loaded")
    assert engine.loaded == ()
    assert await post("load", lora_name="generator-1", lora_path=str(folder)) == (
        200, "Success: LoRA adapter 'generator-1' added successfully.",
    )  # fmt: skip
    assert (engine.loaded, engine.active_adapter) == (("generator-1",), None)
    assert await post("load", lora_name="generator-1") == (400, "adapter_loaded")
    await engine.use_adapter(folder, "generator-1")
    assert await post("unload", lora_name="generator-1") == (400, "adapter_active")
    await engine.use_adapter(None, None)
    assert (await post("unload", lora_name="generator-1"))[0] == 200
    assert engine.loaded == ()
    async with talk.database.reading() as session:
        done = [one.action for one in await audit.recent(session, 10)]
    assert [one for one in done if one.startswith("adapters.")] == ["adapters.unload", "adapters.load"]
