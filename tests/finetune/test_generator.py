"""Training replies: the loss where it belongs, exact resume, and a few steps of the real model."""

import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from finetune import generator
from finetune.atomic import write_lines
from finetune.chat import IGNORED
from finetune.errors import FinetuneError
from finetune.generator import GeneratorOptions, ReplyTask, encode_rows, heldout_loss, load, plan_for, reply_to_all
from finetune.loop import Progress
from finetune.packed_decoder import Rows
from finetune.runs import RunConfig

SYSTEM = "只根据资料回答。"
FACTS = [
    ("几天退款", "3个工作日"),
    ("运费谁出", "买家承担"),
    ("保修多久", "一年"),
    ("能开发票吗", "可以开电子发票"),
    ("几点上班", "早上九点"),
]


def rows(pairs: list[tuple[str, str]]) -> list[dict[str, Any]]:
    return [
        {
            "messages": [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": f"资料：{ask}：{reply}\n问题：{ask}"},
                {"role": "assistant", "content": reply},
            ]
        }
        for ask, reply in pairs
    ]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, generator_folder: Path) -> Path:
    """A Qwen2 of random weights with the real tokenizer: every step of the real thing, in milliseconds."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    folder = tmp_path_factory.mktemp("models") / "tiny"
    shutil.copytree(generator_folder, folder, ignore=shutil.ignore_patterns("*.safetensors", "kefu-model.json"))
    vocabulary = json.loads((generator_folder / "config.json").read_text())["vocab_size"]
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=vocabulary, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


def run_folder(path: Path, base: Path, **options: Any) -> Path:
    path.mkdir(parents=True)
    write_lines(path / "train.jsonl", rows(FACTS[:4]))
    write_lines(path / "heldout.jsonl", rows(FACTS[4:]))
    defaults = {"epochs": 5, "batch_examples": 2, "checkpoint_seconds": 0, "patience": 99, "learning_rate": 1e-3}
    RunConfig("generator", base.name, base, "checksum", {**defaults, **options}).write(path)
    return path


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "adapter" / "adapter_model.safetensors")


def killed_at(folder: str, step: int) -> None:
    def die(report: Progress) -> None:
        if report.step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    generator.train(Path(folder), die)


@pytest.mark.slow
def test_after_kill_9_a_run_goes_on_to_the_same_weights(tmp_path: Path, tiny: Path) -> None:
    whole, cut = run_folder(tmp_path / "whole", tiny), run_folder(tmp_path / "cut", tiny)
    generator.train(whole, lambda _: None)
    for step in (7,):
        process = multiprocessing.get_context("spawn").Process(target=killed_at, args=(str(cut), step))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not (cut / "adapter").exists()
    seen: list[Progress] = []
    generator.train(cut, seen.append)
    assert [report.step for report in seen] == [8, 9, 10]
    expected, found = weights(whole), weights(cut)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_the_loss_is_that_of_the_whole_model_at_the_labelled_positions(tiny: Path) -> None:
    model, tokenizer = load(tiny)
    model = model.float()
    examples, left_out = encode_rows(tokenizer, rows(FACTS), 256)
    assert left_out == 0
    task = ReplyTask(model, tokenizer.pad_token_id, examples, [], GeneratorOptions())
    batch = examples[:3]
    longest = max(len(ids) for ids, _ in batch)
    padded = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in batch])
    mask = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in batch])
    labels = torch.tensor([labels + [IGNORED] * (longest - len(labels)) for _, labels in batch])
    with torch.inference_mode():
        whole = model(input_ids=padded, attention_mask=mask, labels=labels).loss
        assert float(task.loss(batch)) == pytest.approx(float(whole), abs=1e-4)


def test_micro_batches_bound_the_memory_and_lose_nothing(tiny: Path) -> None:
    examples = [([n] * n, [IGNORED] * (n - 1) + [1]) for n in (5, 90, 40, 60, 10, 99)]
    task = ReplyTask(load(tiny)[0], 0, examples, [], GeneratorOptions(batch_tokens=120, batch_examples=6))
    (step,) = task.steps(0)
    assert sorted(len(ids) for part in step for ids, _ in part) == [5, 10, 40, 60, 90, 99]
    assert all(len(Rows.of([ids for ids, _ in part])) <= 120 for part in step)
    assert len(step) == 3, "and fills what there is"


def test_rows_that_cannot_be_learned_are_counted(tiny: Path) -> None:
    _, tokenizer = load(tiny)
    bad = [{"messages": [{"role": "user", "content": "你好"}]}, *rows([("长" * 500, "短")])]
    examples, left_out = encode_rows(tokenizer, [*rows(FACTS[:1]), *bad], 128)
    assert (len(examples), left_out) == (1, 2)


def test_nothing_to_learn_from_is_refused(tmp_path: Path, tiny: Path) -> None:
    folder = run_folder(tmp_path / "run", tiny)
    write_lines(folder / "train.jsonl", [])
    with pytest.raises(FinetuneError) as caught:
        generator.train(folder, lambda _: None)
    assert caught.value.code == "too_little_data"


@pytest.mark.parametrize(("examples", "least", "most"), [(4, 6, 40), (240, 30, 40), (480, 60, 70)])
def test_the_length_of_a_run_fits_the_data(examples: int, least: int, most: int) -> None:
    plan = plan_for(examples, 20, GeneratorOptions())
    assert least <= plan.steps <= most
    assert 0 < plan.evaluate_steps <= plan.steps


@pytest.mark.slow
def test_the_real_model_learns_in_three_steps_and_answers_with_its_adapter(
    tmp_path: Path, generator_folder: Path
) -> None:
    folder = run_folder(tmp_path / "run", generator_folder, epochs=2, learning_rate=5e-4, evaluations_per_epoch=1)
    outcome = generator.train(folder, lambda _: None)
    assert outcome.before is not None
    assert outcome.best is not None
    assert outcome.best < outcome.before
    config = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == generator_folder.name
    model, tokenizer = load(generator_folder, folder / "adapter")
    assert heldout_loss(model, tokenizer, rows(FACTS[4:]), GeneratorOptions()) == pytest.approx(outcome.best, abs=0.02)
    prompts = [row["messages"][:-1] for row in rows(FACTS[:2])]
    replies = reply_to_all(model, tokenizer, prompts, 16)
    assert "3个工作日" in replies[0]
    assert "买家" in replies[1]
