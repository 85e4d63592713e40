"""Encoder adapters in the live knowledge base: switched to without mixing models, left out where unusable."""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from bot import control
from bot.cli import main
from bot.learning import releases
from bot.storage import adapters
from bot.storage.database import Database
from finetune.errors import FinetuneError
from finetune.models import model_checksum
from finetune.registry import Manifest, install
from finetune.signing import Signer
from knowledge.types import Entry
from tests.bot.small_shop import INVOICE, RETURN, add

pytestmark = pytest.mark.usefixtures("use_shared_encoder")


@pytest.fixture(scope="session")
def adapter(shared_encoder: Any, encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real, untrained-to-anything LoRA folder whose weights change every vector."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    torch.manual_seed(7)
    model = get_peft_model(
        AutoModel.from_pretrained(encoder_folder, add_pooling_layer=False),
        LoraConfig(r=4, target_modules=["query", "value"], init_lora_weights=False),
    )
    home = tmp_path_factory.mktemp("adapters")
    model.save_pretrained(home / "made")
    manifest = Manifest(
        name="try-1", kind="encoder", base_model=encoder_folder.name, base_checksum=model_checksum(encoder_folder),
        data_hash="", examples=0, config={}, metrics={}, verdict={"outcome": "unknown", "zh": "", "en": ""},
        created_at="2026-01-01T00:00:00Z", seconds=0.0,
    )  # fmt: skip
    install(home / "made", home, manifest, Signer(home))
    return home / "try-1"


@pytest.fixture
async def installed(adapter: Path, tmp_path: Path) -> Path:
    import shutil

    target = tmp_path / "data" / "adapters" / adapter.name
    await asyncio.to_thread(shutil.copytree, adapter, target)
    await asyncio.to_thread(shutil.copy, adapter.parent / "signing.key", tmp_path / "data" / "signing.key")
    return target


@pytest.mark.slow
async def test_switching_the_encoder_never_mixes_models(make_knowledge_base, database, installed):
    await add(database, RETURN, INVOICE, *(Entry(f"n{n}", f"第{n}个问题怎么办", "答") for n in range(60)))
    knowledge_base = await make_knowledge_base()
    base = (await knowledge_base.search("东西想退掉")).hits[0]
    switching = asyncio.create_task(knowledge_base.switch_encoder(installed))
    answers = []
    while not switching.done():
        answers.append((await knowledge_base.search("东西想退掉")).hits[0])
        if len(answers) == 3:  # a write in the middle of the switch is in the new index too
            await add(database, Entry("late", "你们周末营业吗", "营业。"))
    await switching
    assert knowledge_base.adapter == "try-1"
    after = (await knowledge_base.search("东西想退掉")).hits[0]
    assert abs(after.dense - base.dense) > 1e-4
    assert {round(hit.dense, 5) for hit in answers} <= {round(base.dense, 5), round(after.dense, 5)}
    if len(answers) >= 3:
        assert (await knowledge_base.search("你们周末营业吗")).hits[0].id == "late"
    await knowledge_base.switch_encoder(None)
    assert knowledge_base.adapter is None
    assert (await knowledge_base.search("东西想退掉")).hits[0].dense == pytest.approx(base.dense, abs=1e-6)


async def activate(database: Database, name: str | None) -> None:
    async with database.session() as session:
        await adapters.activate(session, "encoder", name, None)


@pytest.mark.slow
async def test_the_active_adapter_is_served_after_a_restart(make_knowledge_base, database, installed):
    await add(database, RETURN)
    await activate(database, "try-1")
    assert (await make_knowledge_base()).adapter == "try-1"


async def test_an_adapter_that_is_gone_leaves_the_base_model_serving(make_knowledge_base, database, caplog):
    await add(database, RETURN)
    await activate(database, "gone")
    with caplog.at_level(logging.ERROR):
        knowledge_base = await make_knowledge_base()
    assert knowledge_base.adapter is None
    assert "gone" in caplog.text
    assert (await knowledge_base.search("怎么退货")).decision == "answer"


@pytest.mark.slow
async def test_an_altered_adapter_is_not_loaded(make_knowledge_base, database, installed, caplog):
    weights = installed / "adapter_model.safetensors"
    altered = bytearray(weights.read_bytes())
    altered[-1] ^= 1  # still a file that loads
    weights.write_bytes(altered)
    await add(database, RETURN)
    await activate(database, "try-1")
    with caplog.at_level(logging.ERROR):
        knowledge_base = await make_knowledge_base()
    assert knowledge_base.adapter is None
    assert "try-1" in caplog.text
    with pytest.raises(FinetuneError) as caught:
        await knowledge_base.switch_encoder(installed)
    assert caught.value.code == "adapter_damaged"


@pytest.mark.slow
async def test_an_adapter_that_another_installation_signed_is_not_loaded(
    make_knowledge_base, database, installed, tmp_path, caplog
):
    (tmp_path / "data" / "signing.key").unlink()  # from here on this is another installation
    await add(database, RETURN)
    await activate(database, "try-1")
    with caplog.at_level(logging.ERROR):
        knowledge_base = await make_knowledge_base()
    assert knowledge_base.adapter is None
    with pytest.raises(FinetuneError, match="另一处安装签名") as caught:
        await knowledge_base.switch_encoder(installed)
    assert caught.value.code == "adapter_stranger"
    assert (await knowledge_base.search("怎么退货")).decision == "answer"


async def test_a_failed_switch_leaves_the_old_pair(make_knowledge_base, database, tmp_path):
    await add(database, RETURN)
    knowledge_base = await make_knowledge_base()
    (tmp_path / "broken").mkdir()
    with pytest.raises(Exception, match="broken"):
        await knowledge_base.switch_encoder(tmp_path / "broken")
    assert knowledge_base.adapter is None
    assert (await knowledge_base.search("怎么退货")).decision == "answer"


@pytest.mark.parametrize("running", [True, False], ids=["asked of the service", "without a service"])
async def test_kefu_adapters_activate(database, installed, make_settings, tmp_path, capsys, running):
    settings = make_settings()

    async def switch(asked: dict[str, Any]) -> dict[str, Any]:
        return await releases.activate_found(database, settings, asked["name"], "cli", override=asked["override"])

    def kefu(name: str) -> int:
        return main(["adapters", "activate", name, "--json", "--data", str(tmp_path / "data")])

    place = tmp_path / ("data" if running else ".")
    async with control.answering(place, {"activate": switch}):
        assert await asyncio.to_thread(kefu, "nobody") == 1
        assert "nobody" in capsys.readouterr().err
        assert await asyncio.to_thread(kefu, "try-1") == 0
        assert json.loads(capsys.readouterr().out) == {"kind": "encoder", "active": "try-1"}
        (installed / "adapter_model.safetensors").write_bytes(b"cut off")
        assert await asyncio.to_thread(kefu, "try-1") == 1
        assert "adapter_model.safetensors" in capsys.readouterr().err
    async with database.reading() as session:
        assert (await adapters.active(session))["encoder"] == "try-1"
