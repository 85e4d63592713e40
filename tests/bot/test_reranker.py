"""A reranker named in the settings: in the service, in `kefu doctor`, and beside calibrations of other models."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bot import calibrations
from bot.cli import main
from bot.config import Settings
from bot.health_checks import models
from bot.knowledge_base import KnowledgeBase
from bot.storage.database import Database
from finetune.catalogue import find_spec
from finetune.errors import ModelError
from finetune.hub import detect_role
from knowledge.calibrate import shipped
from knowledge.errors import RerankerError
from knowledge.types import Entry


def write_faq(folder: Path, shop: list[Entry]) -> Path:
    rows = (
        {"id": one.id, "question": one.question, "answer": one.answer, "similar_questions": one.similar_questions}
        for one in shop
    )
    file = folder / "faq.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return file


async def test_the_hit_test_shows_its_word(
    start_service: Callable[..., Any], reranker_folder: Path, shop: list[Entry], tmp_path: Path
) -> None:
    content = write_faq(tmp_path, shop).read_bytes()
    service = await start_service(reranker=str(reranker_folder), generator="")
    await service.upload("faq.jsonl", content)
    _, found = await service.call("POST", "/api/search", json={"query": "退货要多少运费"})
    assert found["hits"][0]["id"] == "return"
    assert found["hits"][0]["rerank"] > 0.9
    assert found["hits"][1]["rerank"] < 0.1
    _, found = await service.call("POST", "/api/search", json={"query": "怎么退货"})
    assert "rerank" not in found["hits"][0]


@pytest.mark.usefixtures("use_shared_encoder")
async def test_a_reranker_that_cannot_be_loaded_ends_the_start_with_one_sentence(
    make_settings: Callable[..., Settings], database: Database, encoder_folder: Path, tmp_path: Path
) -> None:
    linked = linked_models(encoder_folder, tmp_path)
    for wrong, expected, said in (
        ({"reranker": str(encoder_folder)}, RerankerError, "不是重排模型"),
        ({"reranker": "bge-ranker"}, ModelError, "没有名为"),
        ({"reranker": "bge-reranker-base", "models": linked}, RerankerError, "bge-reranker-base"),
    ):
        knowledge_base = KnowledgeBase(database, make_settings(**wrong))
        with pytest.raises(expected, match=said):
            await knowledge_base.open()
        assert not knowledge_base.ready
        await knowledge_base.close()


def linked_models(encoder_folder: Path, tmp_path: Path) -> Path:
    """A models folder with the real encoder alone."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / encoder_folder.name).symlink_to(encoder_folder)
    return folder


def test_the_doctor_names_it(
    make_settings: Callable[..., Settings], reranker_folder: Path, encoder_folder: Path, tmp_path: Path
) -> None:
    findings = {one.check: one for one in models(make_settings(generator="", reranker=str(reranker_folder)))}
    assert str(reranker_folder) in findings["reranker"].text
    assert findings["reranker_speed"].state == "ok"
    findings = {one.check: one for one in models(make_settings(generator=""))}
    assert "reranker_speed" not in findings
    missing = make_settings(generator="", reranker="bge-reranker-base", models=linked_models(encoder_folder, tmp_path))
    with pytest.raises(ModelError, match="kefu models prepare bge-reranker-base"):
        list(models(missing))


def test_names_of_rerankers(reranker_folder: Path, encoder_folder: Path) -> None:
    for name in ("BAAI/bge-reranker-base", "bge-reranker-v2-m3"):
        assert (spec := find_spec(name)) is not None
        assert spec.role == "reranker"
    assert detect_role(reranker_folder) == "reranker"
    assert detect_role(encoder_folder) == "encoder"


def test_a_calibration_of_other_models_is_not_used(
    make_settings: Callable[..., Settings], reranker_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain, reranked = make_settings(), make_settings(reranker=str(reranker_folder))
    assert calibrations.models_of(plain).endswith("+-")
    assert calibrations.models_of(plain) != calibrations.models_of(reranked)
    file = calibrations.calibration_file(plain)
    file.parent.mkdir(parents=True)
    own = shipped().with_thresholds(0.9, 0.3)
    file.write_text(own.to_json(), "utf-8")  # of a time before there were rerankers
    assert calibrations.load_calibration(plain) == own
    assert calibrations.load_calibration(reranked) == shipped()
    assert str(file) in caplog.text
    file.write_text(calibrations.fitted_for(own, calibrations.models_of(reranked)).to_json(), "utf-8")
    assert calibrations.load_calibration(plain) == shipped()
    assert calibrations.load_calibration(reranked).answer_threshold == 0.9


def test_commands_search_and_fit_with_it(
    shop: list[Entry],
    taught: dict[str, str],
    reranker_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    faq, queries = write_faq(tmp_path, shop), tmp_path / "queries.jsonl"
    rows = [{"query": question, "faq_id": id_} for question, id_ in taught.items()]
    rows += [{"query": text, "faq_id": None} for text in ("今天天气怎么样", "讲个笑话")]
    queries.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    given = ("--faq", str(faq), "--queries", str(queries), "--data", str(tmp_path / "data"), "--json")
    assert main(["eval", "retrieval", *given]) == 0
    without = json.loads(capsys.readouterr().out)
    monkeypatch.setenv("KEFU_RERANKER", str(reranker_folder))
    assert main(["eval", "retrieval", *given]) == 0
    assert json.loads(capsys.readouterr().out)["hit@1"] == 1.0 > without["hit@1"]
    assert main(["calibrate", *given, "--save"]) == 0
    saved = json.loads((tmp_path / "data" / "calibration.json").read_text())
    assert saved["fitted_for"]
    assert not saved["fitted_for"].endswith("+-")
