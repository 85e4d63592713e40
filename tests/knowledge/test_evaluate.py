import importlib.util
import json
import random
from pathlib import Path
from typing import Any

import pytest

from knowledge.__main__ import main
from knowledge.encoders import TransformerEncoder
from knowledge.errors import KnowledgeError
from knowledge.evaluate import build_index, evaluate, read_queries, score
from knowledge.index import Index
from knowledge.types import Entry


def made_up(count: int, *, with_probability: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    dice = random.Random(count)
    queries, predictions = [], []
    for i in range(count):
        gold = f"f{dice.randrange(30)}" if dice.random() < 0.7 else None
        query: dict[str, Any] = {
            "query": f"q{i}",
            "faq_id": gold,
            "type": "in" if gold else dice.choice(["oos_near", "oos_open"]),
        }
        if gold and dice.random() < 0.2:
            query["faq_ids"] = [gold, "f1"]
        ranked = dice.sample([f"f{n}" for n in range(30)], dice.randrange(12))
        guess = {
            "query": f"q{i}",
            "ranked": ranked,
            "score": dice.choice([0.5, dice.random()]),
            "options": ranked[: dice.randrange(5)],
            "decision": dice.choice(["answer", "clarify", "none"]),
        }
        if with_probability:
            guess["probability"] = dice.random()
        queries.append(query)
        predictions.append(guess)
    return queries, predictions


@pytest.mark.parametrize("with_probability", [True, False])
@pytest.mark.parametrize("count", [1, 2, 17, 300])
def test_the_report_equals_the_references(bench_data: Path, count: int, with_probability: bool) -> None:
    spec = importlib.util.spec_from_file_location("reference", bench_data.parent / "bench" / "score.py")
    assert spec is not None
    assert spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    queries, predictions = made_up(count, with_probability=with_probability)
    assert score(queries, predictions) == reference.score(queries, predictions)


def test_figures_by_hand() -> None:
    queries = [
        {"query": "a", "faq_id": "1", "type": "in"},
        {"query": "b", "faq_id": "2", "type": "in"},
        {"query": "c", "faq_id": None, "type": "oos"},
    ]
    guesses = [
        {"query": "a", "ranked": ["1", "2"], "score": 0.9, "decision": "answer", "probability": 1.0},
        {
            "query": "b",
            "ranked": ["1", "2"],
            "score": 0.6,
            "decision": "clarify",
            "options": ["1", "2"],
            "probability": 0.5,
        },
        {"query": "c", "ranked": ["1"], "score": 0.7, "decision": "answer", "probability": 0.5},
    ]
    report = score(queries, guesses)
    assert (report["hit@1"], report["hit@3"], report["mrr@10"]) == (0.5, 1.0, 0.75)
    assert (report["direct_correct"], report["clarify_hit"], report["missed"]) == (0.5, 0.5, 0)
    assert report["auroc"] == {"oos": 0.5}
    assert report["answered"] == {"oos": 1.0}
    assert report["brier"] == pytest.approx(0.5 / 3)


def test_predictions_for_other_queries_and_scores_that_are_none() -> None:
    queries, predictions = made_up(3, with_probability=False)
    with pytest.raises(KnowledgeError):
        score(queries, predictions[::-1])
    with pytest.raises(KnowledgeError):
        score(queries, [{**guess, "score": float("nan")} for guess in predictions])


def test_evaluating_an_index(encoder: TransformerEncoder, shop: list[Entry]) -> None:
    index = Index.open(None, encoder)
    index.synchronise(shop)
    queries = [
        {"query": "我要退货", "faq_id": "return", "type": "in"},
        {"query": "宇宙有多大", "faq_id": None, "type": "oos_open"},
    ]
    predictions, report = evaluate(index, queries)
    assert predictions[0]["ranked"][0] == "return"
    assert len(predictions[0]["ranked"]) == 10
    assert (report["hit@1"], report["direct_correct"], report["answered"]["oos_open"]) == (1.0, 1.0, 0.0)


@pytest.mark.slow
def test_from_the_command_line(encoder_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faq, queries, out = tmp_path / "faq.jsonl", tmp_path / "q.jsonl", tmp_path / "out.jsonl"
    faq.write_text(
        '{"id":"1","question":"怎么退货","answer":""}\n{"id":"2","question":"发票怎么开","answer":""}\n', "utf-8"
    )
    queries.write_text('{"query": "想退货", "faq_id": "1", "type": "in"}\n', "utf-8")
    arguments = [
        "--model",
        str(encoder_folder),
        "--faq",
        str(faq),
        "--queries",
        str(queries),
        "--predictions",
        str(out),
    ]
    assert main(["eval", *arguments]) == 0
    assert json.loads(capsys.readouterr().out)["hit@1"] == 1.0
    assert json.loads(out.read_text("utf-8"))["ranked"] == ["1", "2"]
    queries.write_text('{"query": 5}\n', "utf-8")
    assert main(["eval", *arguments]) == 1
    assert "第 1 行" in capsys.readouterr().err
    assert main(["read", str(faq)]) == 0


def test_an_evaluation_names_the_row_it_cannot_use(tmp_path: Path, encoder: TransformerEncoder) -> None:
    faq = tmp_path / "faq.jsonl"
    faq.write_text('{"id":"1","question":"怎么退货"}\n{"id":"1","question":"发票"}\n', "utf-8")
    with pytest.raises(KnowledgeError) as caught:
        build_index(faq, encoder)
    assert "第 2 行" in str(caught.value)
    with pytest.raises(KnowledgeError):
        read_queries(tmp_path / "none.jsonl")
