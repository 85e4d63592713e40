"""A small shop to learn from."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bot.importing import import_file
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
