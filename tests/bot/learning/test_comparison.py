"""The candidate against the model in use, on questions that neither has seen."""

import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bot.config import Settings
from bot.learning import comparison, runs, worker
from bot.storage.database import Database
from finetune import registry

Add = Callable[[list[dict[str, Any]]], Awaitable[None]]
THINGS = [
    "茶壶",
    "台灯",
    "雨伞",
    "书包",
    "跑鞋",
    "毛巾",
    "耳机",
    "键盘",
    "水杯",
    "拖鞋",
    "相框",
    "风扇",
    "枕头",
    "剪刀",
    "手表",
    "花瓶",
    "帐篷",
    "滑板",
    "口琴",
    "围巾",
]


def shop(per_thing: int) -> list[dict[str, Any]]:
    aspects = [("多少钱", "{n} 元"), ("保修多久", "{n} 个月"), ("怎么清洗", "用 {n} 度的水"), ("几天发货", "{n} 天内")][
        :per_thing
    ]
    return [
        {
            "id": f"{thing}-{what}",
            "question": f"{thing}{what}",
            "answer": f"{thing}：{answer.format(n=number + 10 * place)}。",
            "similar_questions": [
                f"请问{thing}{what}呀",
                f"我想知道{what}，{thing}",
                f"{thing}的话{what}呢",
                f"{what}？{thing}",
            ],
        }
        for number, thing in enumerate(THINGS, 2)
        for place, (what, answer) in enumerate(aspects)
    ]


@pytest.mark.slow
async def test_an_encoder_is_compared_on_the_whole_decision_and_dense_alone(
    database: Database, make_settings: Callable[..., Settings], encoder_folder: Path, add_faq: Add
) -> None:
    await add_faq(shop(1))
    settings = make_settings(encoder=str(encoder_folder))
    run = await runs.prepare(database, settings, "encoder", {"epochs": 1, "batch_pairs": 16})
    assert run.summary["heldout"] >= 8
    result = worker.work(run.folder, lambda: False)  # type: ignore[arg-type]
    for side in (result["before"], result["after"]):
        assert side["queries"] == run.summary["heldout"]
        assert {"hit@1", "hit@3", "mrr@10", "dense_hit@1", "direct_correct", "direct_wrong", "clarify_hit"} <= set(side)
        assert all(0 <= side[name] <= 1 for name in side if name not in ("queries", "out_of_scope"))
    assert result["verdict"]["outcome"] in ("better", "not_better", "worse")
    assert result["verdict"]["zh"]
    assert "沿用" in result["notes"][0]["zh"]
    assert not (settings.data / "adapters" / result["adapter"] / "calibration.json").exists()
    assert worker.work(run.folder, lambda: False) == json.loads((run.folder / "result.json").read_text())  # type: ignore[arg-type]


@pytest.mark.slow
async def test_a_generator_is_compared_by_heldout_loss_and_key_facts(
    database: Database, make_settings: Callable[..., Settings], generator_folder: Path, add_faq: Add, tmp_path: Path
) -> None:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tiny = tmp_path / "tiny"
    shutil.copytree(generator_folder, tiny, ignore=shutil.ignore_patterns("*.safetensors", "kefu-model.json"))
    vocabulary = json.loads((generator_folder / "config.json").read_text())["vocab_size"]
    torch.manual_seed(0)
    Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=vocabulary, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
            num_key_value_heads=2, tie_word_embeddings=True, eos_token_id=151645,
        )
    ).save_pretrained(tiny)  # fmt: skip
    await add_faq(shop(4))
    settings = make_settings(generator=str(tiny))
    run = await runs.prepare(database, settings, "generator", {"epochs": 1, "learning_rate": 0.01})
    assert run.summary["heldout"] >= 8
    result = worker.work(run.folder, lambda: False)  # type: ignore[arg-type]
    assert result["after"]["heldout_loss"] < result["before"]["heldout_loss"]
    assert result["verdict"]["outcome"] in ("better", "worse")
    assert result["after"]["questions"] == result["before"]["questions"] > 0
    registry.verify(settings.data / "adapters" / result["adapter"])


def report(**values: float) -> dict[str, Any]:
    return {"hit@1": 0.5, "direct_wrong": 0.1, "queries": 100, **values}


@pytest.mark.parametrize(
    ("wins", "losses", "wrong", "outcome"),
    [
        (12, 2, 0.1, "better"),
        (12, 2, 0.2, "not_better"),
        (3, 2, 0.1, "not_better"),
        (0, 0, 0.1, "not_better"),
        (1, 9, 0.1, "worse"),
    ],
)
def test_better_is_more_than_chance_and_no_more_wrong_answers(
    wins: int, losses: int, wrong: float, outcome: str
) -> None:
    old = [False] * wins + [True] * losses + [True] * 50
    new = [True] * wins + [False] * losses + [True] * 50
    judged = comparison._judge_encoders(report(), report(direct_wrong=wrong), old, new)
    assert judged["outcome"] == outcome
    assert judged["zh"]
    assert judged["en"]
