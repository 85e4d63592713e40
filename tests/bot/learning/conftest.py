"""A small shop to learn from."""

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bot.config import Settings
from bot.importing import import_file
from bot.learning import releases
from bot.storage.database import Database

FAQ: list[dict[str, Any]] = [
    {"id": "return", "question": "怎么退货", "answer": "收到货后 7 天内可以退货，在「我的订单」里申请。",
     "similar_questions": ["我想退掉", "不想要了可以退吗", "return goods"]},
    {"id": "invoice", "question": "发票怎么开", "answer": "在订单详情申请电子发票，1 天内发到您的邮箱。",
     "similar_questions": ["能开票吗"]},
    {"id": "delivery", "question": "几天能到", "answer": "一般 2 到 3 天送达，偏远地区 5 天。",
     "similar_questions": ["多久送到"]},
    {"id": "cod", "question": "可以货到付款吗", "answer": "目前不支持货到付款，请在线支付。", "similar_questions": []},
    {"id": "status", "question": "我的订单到哪了", "action": "action_order_status", "similar_questions": ["查物流"]},
]  # fmt: skip
DIALOGS: list[dict[str, Any]] = [
    {"id": "d1", "messages": [{"role": "user", "content": "衣服不合身想寄回去", "faq_id": "return"},
                              {"role": "assistant", "content": "可以的"}]},
    {"id": "d2", "messages": [{"role": "user", "content": "开票", "faq_id": "invoice"}]},
    {"id": "d3", "messages": [{"role": "user", "content": "开票！", "faq_id": "return"}]},
    {"id": "d4", "messages": [{"role": "user", "content": "今天天气", "faq_id": None}]},
    {"id": "d5", "messages": [{"role": "user", "content": "你们在哪", "faq_id": "gone"}]},
    {"id": "d6", "messages": [{"role": "user", "content": "收到再给钱行不"},
                              {"role": "assistant", "content": "目前不支持货到付款，请在线支付。"}]},
    {"id": "d7", "messages": [{"role": "user", "content": "查物流", "faq_id": "return"}]},
]  # fmt: skip


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def add_faq(database: Database, tmp_path: Path) -> Callable[[list[dict[str, Any]]], Awaitable[None]]:
    async def add(rows: list[dict[str, Any]]) -> None:
        report = await import_file(
            database, write_jsonl(tmp_path / "faq.jsonl", rows), "faq.jsonl", tmp_path / "uploads"
        )
        assert report.to_json()["failed"] == 0, report

    return add


@pytest.fixture
def dialogs(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "dialogs.jsonl", DIALOGS)


@pytest.fixture(scope="session")
def made_adapters(encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry of real LoRA adapters that were never trained: `one` and `two` change every vector, `same` none."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    from finetune.models import model_checksum
    from finetune.registry import Manifest, install
    from finetune.signing import Signer

    home = tmp_path_factory.mktemp("made")
    for seed, (name, alpha) in enumerate((("encoder-same", 0), ("encoder-one", 4), ("encoder-two", 48)), 1):
        torch.manual_seed(seed)
        base = AutoModel.from_pretrained(encoder_folder, add_pooling_layer=False)
        config = LoraConfig(r=2, lora_alpha=alpha, target_modules=["query", "value"], init_lora_weights=False)
        get_peft_model(base, config).save_pretrained(home / ".made" / name)
        (home / ".made" / name / "README.md").unlink(missing_ok=True)
        manifest = Manifest(
            name=name, kind="encoder", base_model=encoder_folder.name, base_checksum=model_checksum(encoder_folder),
            data_hash="", examples=0, config={}, metrics={}, verdict={"outcome": "better", "zh": "", "en": ""},
            created_at="2026-01-01T00:00:00Z", seconds=0.0,
        )  # fmt: skip
        install(home / ".made" / name, home / "adapters", manifest, Signer(home))
    return home / "adapters"


@pytest.fixture
async def installed(made_adapters: Path, database: Database, make_settings: Callable[..., Settings]) -> Path:
    """The same, installed in the test's data folder and known to its database."""
    home = make_settings().data / "adapters"
    await asyncio.to_thread(shutil.copytree, made_adapters, home)
    await asyncio.to_thread(shutil.copy, made_adapters.parent / "signing.key", home.parent)
    await releases.discover(database, make_settings())
    return home
