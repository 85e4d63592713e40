"""Contrastive training on the real encoder, a few steps."""

import json
import shutil
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from finetune import encoder
from finetune.atomic import write_lines
from finetune.embedding import Embedder
from finetune.encoder import ContrastiveTask, EncoderOptions, Pair, plan_for
from finetune.errors import FinetuneError
from finetune.evaluate import auroc, facts_present, facts_score, retrieval
from finetune.generator import GeneratorOptions
from finetune.loop import Progress, TrainingStopped
from finetune.runs import RunConfig, options_from
from finetune.smalltalk import everyday

TEXTS = ["怎么退货", "你们支持七天无理由退货吗？运费谁来承担，几天能退款？", "ＡＢＣ 发票", "where is my order"]
ENTRIES = {
    "return": ["怎么退货", "我想退掉"],
    "invoice": ["发票怎么开", "能开票吗"],
    "delivery": ["几天能到", "多久送达"],
    "pay": ["可以货到付款吗"],
}
TRAIN = [
    ("东西不要了", "return"),
    ("开票", "invoice"),
    ("天气", None),
    ("到家要几天", "delivery"),
    ("收到再付钱", "pay"),
]


def run_folder(path: Path, base: Path, train: Any = TRAIN, heldout: Any = (), **options: Any) -> Path:
    path.mkdir(parents=True)
    write_lines(path / "entries.jsonl", [{"id": key, "phrasings": texts} for key, texts in ENTRIES.items()])
    write_lines(path / "train.jsonl", [{"text": text, "entry": entry} for text, entry in train])
    write_lines(path / "heldout.jsonl", [{"text": text, "entry": entry} for text, entry in heldout])
    RunConfig("encoder", base.name, base, "checksum", {"epochs": 2, "batch_pairs": 4, **options}).write(path)
    return path


def adapter_weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "adapter" / "adapter_model.safetensors")


def test_training_embeds_as_serving_does(encoder_folder: Path, shared_encoder: Any) -> None:
    served = shared_encoder.encode(TEXTS, "query")
    trained = Embedder(encoder_folder, torch.float32, 512).vectors(TEXTS)
    # Serving computes with 8-bit weights; another prefix or pooling would part them by 0.05.
    assert (served * trained).sum(axis=1).min() > 0.999


@pytest.mark.slow
def test_a_run_learns_and_its_adapter_is_what_serving_loads(
    tmp_path: Path, encoder_folder: Path, shared_encoder: Any
) -> None:
    from knowledge.encoders import TransformerEncoder

    heldout = [("不想要了可以退吗", "return"), ("什么时候能送到", "delivery")]
    folder = run_folder(tmp_path / "run", encoder_folder, heldout=heldout, epochs=4, learning_rate=1e-3)
    seen: list[Progress] = []
    outcome = encoder.train(folder, seen.append)
    assert seen[-1].loss < seen[0].loss
    assert outcome.before is not None
    assert outcome.best is not None
    config = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == encoder_folder.name
    assert config["r"] == 16
    learned = Embedder(encoder_folder, torch.float32, 512)
    learned.load(folder / "adapter")
    served = TransformerEncoder(encoder_folder, folder / "adapter").encode(TEXTS, "query")
    base = shared_encoder.encode(TEXTS, "query")
    # Serving computes with 8-bit weights: nearer to what was learned than what was learned is to the base.
    apart = 1 - (served * learned.vectors(TEXTS)).sum(axis=1)
    assert apart.max() < 0.005
    assert apart.max() < (1 - (served * base).sum(axis=1)).min() / 2


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path: Path, encoder_folder: Path) -> None:
    whole = run_folder(tmp_path / "whole", encoder_folder)
    encoder.train(whole, lambda _: None)
    cut = run_folder(tmp_path / "cut", encoder_folder)
    seen: list[Progress] = []
    with pytest.raises(TrainingStopped):
        encoder.train(cut, seen.append, lambda: len(seen) == 4)
    encoder.train(cut, seen.append)
    assert [report.step for report in seen] == list(range(1, seen[-1].total + 1))
    expected, found = adapter_weights(whole), adapter_weights(cut)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


class Flat:
    """An embedder of given vectors: the loss is looked at, not the model."""

    def __init__(self, vectors: dict[str, list[float]]) -> None:
        self.known = vectors
        self.model = torch.nn.Identity()

    def forward(self, texts: list[str]) -> torch.Tensor:
        return torch.nn.functional.normalize(torch.tensor([self.known[text] for text in texts]), dim=1)

    def tokens(self, text: str) -> int:
        return len(text)


def task_of(vectors: dict[str, list[float]], **options: Any) -> ContrastiveTask:
    return ContrastiveTask(Flat(vectors), {}, [], [], EncoderOptions(**options))  # type: ignore[arg-type]


def test_candidates_of_the_same_entry_are_no_negatives() -> None:
    vectors = {"a1": [1.0, 0.0], "a2": [1.0, 0.1], "b1": [0.0, 1.0], "b2": [0.1, 1.0]}
    task = task_of(vectors, out_of_scope_weight=0.0)
    same = encoder.Batch((Pair("a1", "a2", "a"), Pair("a2", "a1", "a")), ())
    assert float(task.loss(same)) == pytest.approx(0.0)
    other = encoder.Batch((Pair("a1", "a2", "a"), Pair("a2", "a1", "b")), ())
    assert float(task.loss(other)) > 0.5


def test_a_hard_negative_and_an_out_of_scope_text_cost_by_how_near_they_are() -> None:
    vectors = {"a1": [1.0, 0.0], "a2": [1.0, 0.1], "near": [1.0, 0.05], "far": [-1.0, 0.0], "away": [0.0, -1.0]}
    task = task_of(vectors)

    def loss(negative: str, outside: str) -> float:
        return float(task.loss(encoder.Batch((Pair("a1", "a2", "a", ((negative, "b"),)),), (outside,))))

    assert loss("near", "away") > loss("far", "away") + 0.1
    assert loss("far", "near") > loss("far", "away") + 0.1


def test_what_is_asked_of_other_fields_costs_by_how_far_it_moved() -> None:
    vectors = {"a1": [1.0, 0.0], "a2": [1.0, 0.1], "b1": [0.0, 1.0], "other": [-1.0, 0.0]}
    task = task_of(vectors, out_of_scope_weight=0.0)

    def loss(before: list[float]) -> float:
        task.kept = {"other": np.array(before, dtype=np.float32)}
        return float(task.loss(encoder.Batch((Pair("a1", "a2", "a"),), (), ("other",))))

    kept = loss([-1.0, 0.0])
    moved = loss([-0.8, 0.6])
    assert moved == pytest.approx(kept + task.options.keep_weight * 0.2 / task.options.temperature, rel=1e-4)


def test_other_fields_are_asked_of_but_not_what_the_company_itself_may_be_asked(encoder_folder: Path) -> None:
    embedder = Embedder(encoder_folder, torch.float32, 64)
    travel = {"days": ["三亚玩几天合适", "去三亚玩几天够呢"], "sea": ["酒店在海边吗", "住的地方离海近不近"]}
    task = ContrastiveTask(embedder, travel, [], [], EncoderOptions())
    assert "去三亚玩几天够" not in task.general
    assert 100 < len(task.general) < len(list(everyday()))
    assert {"地震是怎么形成的", "怎么自学钢琴"} <= set(task.general)
    (batch,) = task.steps(0)[0]
    assert len(batch.general) == task.options.out_of_scope
    assert set(batch.general) <= set(task.general)


def test_mined_negatives_are_the_nearest_of_other_entries(encoder_folder: Path) -> None:
    embedder = Embedder(encoder_folder, torch.float32, 64)
    task = ContrastiveTask(embedder, ENTRIES, TRAIN, [], EncoderOptions())
    task.steps(0)
    for (_, entry), mined in zip(task.anchors, task.mined, strict=True):
        assert mined
        assert entry not in {task.phrasings[i][1] for i in mined}
    again = ContrastiveTask(embedder, ENTRIES, TRAIN, [], EncoderOptions())
    again.load_state(task.state())
    assert again.steps(0) == task.steps(0)
    assert again.steps(1) != task.steps(0)


def test_one_entry_alone_is_refused(tmp_path: Path, encoder_folder: Path) -> None:
    folder = run_folder(tmp_path / "run", encoder_folder)
    write_lines(folder / "entries.jsonl", [{"id": "return", "phrasings": ["怎么退货"]}])
    with pytest.raises(FinetuneError) as caught:
        encoder.train(folder, lambda _: None)
    assert caught.value.code == "too_little_data"


def test_a_large_knowledge_base_is_searched_in_part_with_every_right_entry() -> None:
    many = {f"e{n}": [f"问题{n}"] for n in range(50)}
    heldout = [("甲", "e7"), ("乙", "e41"), ("丙", None), ("丁", "gone")]
    found = encoder.searched_entries(many, heldout, seed=1, most=10)
    assert {"e7", "e41"} < set(found)
    assert 8 <= len(found) <= 10
    assert found == encoder.searched_entries(many, heldout, seed=1, most=10)
    assert found != encoder.searched_entries(many, heldout, seed=2, most=10)
    assert set(encoder.searched_entries(many, heldout, seed=1, most=1)) == {"e7", "e41"}
    assert encoder.searched_entries(many, heldout, seed=1) == many


def test_a_test_question_in_the_data_is_found_and_refused(tmp_path: Path, encoder_folder: Path) -> None:
    """Whatever its punctuation, and before anything is trained."""
    heldout = [("什么时候能送到", "delivery"), ("东西，不要了！", "return")]
    folder = run_folder(tmp_path / "run", encoder_folder, heldout=heldout)
    with pytest.raises(
        FinetuneError, match="2 个留出的测试问题里有 1 个也在训练数据里（例如「东西，不要了！」"
    ) as caught:
        encoder.train(folder, lambda _: None)
    assert caught.value.code == "heldout_leaked"
    assert not (folder / "checkpoints").exists()


def test_every_option_has_bounds_that_its_default_keeps() -> None:
    for cls in (EncoderOptions, GeneratorOptions):
        for one in fields(cls):
            least, most = one.metadata["bounds"]
            assert options_from(cls, {one.name: least}) != options_from(cls, {one.name: most})
        assert options_from(cls, asdict(cls())) == cls()
    with pytest.raises(FinetuneError) as caught:
        options_from(EncoderOptions, {"epochs": 1_000_000_000})
    assert caught.value.en == "The option epochs must be a whole number from 0 to 1000, not 1000000000."


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ({"ranks": 3}, "option_unknown"),
        ({"rank": "many"}, "option_value"),
        ({"rank": 1.5}, "option_value"),
        ({"learning_rate": -1}, "option_value"),
        ({"epochs": True}, "option_value"),
        ({"epochs": 1_000_000_000}, "option_value"),
        ({"temperature": 0}, "option_value"),
        ({"learning_rate": float("nan")}, "option_value"),
        ({"learning_rate": float("inf")}, "option_value"),
        ({"batch_pairs": None}, "option_value"),
    ],
)
def test_a_wrong_option_is_named(raw: dict[str, Any], code: str) -> None:
    with pytest.raises(FinetuneError, match=next(iter(raw))) as caught:
        options_from(EncoderOptions, raw)
    assert caught.value.code == code


@pytest.mark.parametrize(("pairs", "least", "most"), [(10, 40, 60), (1200, 100, 200), (5000, 150, 300)])
def test_the_length_of_a_run_fits_ten_examples_and_five_thousand(pairs: int, least: int, most: int) -> None:
    assert least <= plan_for(pairs, 0, EncoderOptions()).steps <= most


def test_retrieval_counts_ranks_and_out_of_scope() -> None:
    vectors = {
        "p": [1, 0],
        "q": [0, 1],
        "near p": [0.9, 0.1],
        "near q": [0.4, 0.6],
        "wrong": [0.8, 0.2],
        "oos": [0.3, 0.3],
    }
    found = retrieval(
        lambda texts: np.array([vectors[text] for text in texts], dtype=np.float32),
        {"P": ["p"], "Q": ["q"]},
        [("near p", "P"), ("near q", "Q"), ("wrong", "Q"), ("oos", None)],
    )
    assert (found.queries, found.hit_1, found.hit_3) == (3, pytest.approx(2 / 3), 1.0)
    assert found.mrr_10 == pytest.approx((1 + 1 + 0.5) / 3)
    assert found.auroc == 1.0
    assert auroc([0.5, 0.5], [0.5]) == 0.5
    assert auroc([], [0.5]) is None


def test_a_fact_counts_in_any_of_its_spellings() -> None:
    facts = [["3个工作日", "三个工作日"], ["400-123"]]
    assert facts_present("大约 ３ 个工作日到账", facts) == 1
    assert facts_score([("三个工作日，电话400-123", facts), ("不知道", facts)]) == (0.5, 0.5)


def test_a_run_folder_that_is_damaged_is_refused(tmp_path: Path, encoder_folder: Path) -> None:
    folder = run_folder(tmp_path / "run", encoder_folder)
    (folder / "config.json").write_text('{"kind": "enc')
    with pytest.raises(FinetuneError, match="run"):
        encoder.train(folder, lambda _: None)
    shutil.rmtree(folder)
    with pytest.raises(FinetuneError):
        encoder.train(folder, lambda _: None)
