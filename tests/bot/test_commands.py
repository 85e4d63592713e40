"""The command line: what it prints, its exit codes, and that wrong input is one sentence."""

import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from bot.cli import main
from bot.commands.serve import listen
from bot.config import Settings
from bot.demo_company import load_demo
from bot.errors import ConfigError
from bot.health_checks import recommend
from bot.storage import knowledge
from bot.storage.database import opened
from tests.bot.faq_files import faq_file


def test_help_is_quick_and_loads_no_torch():
    code = (
        "import sys, time; started = time.process_time(); from bot.cli import build_parser; build_parser(); "
        "print(time.process_time() - started); print(','.join(sys.modules))"
    )
    seconds, modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert float(seconds) < 0.5
    assert not {"torch", "transformers", "faiss", "pydantic", "sqlalchemy", "numpy"} & set(modules.split(","))


def test_import_reports_and_again_changes_nothing(kefu, tmp_path):
    file = faq_file(tmp_path, {"question": "怎么退货", "answer": "七天内"}, {"question": "没有答案"})
    code, out, _ = kefu("import", "--json", file)
    report = json.loads(out)
    assert code == 0
    assert [report[name] for name in ("added", "updated", "skipped", "failed", "passages")] == [1, 0, 0, 1, 0]
    assert [set(item) for item in report["items"]] == [{"file", "place", "status", "reason", "question"}] * 2
    assert report["items"][1]["reason"] == "no_answer"
    code, out, _ = kefu("import", file)
    assert code == 0
    assert "新增 0，更新 0，跳过 1，失败 1" in out
    assert "没有答案" in out


def test_a_file_that_cannot_be_read_is_one_sentence_and_costs_no_other(kefu, tmp_path):
    good = faq_file(tmp_path, {"question": "问", "answer": "答"})
    (tmp_path / "empty.csv").write_bytes(b"")
    code, out, error = kefu("import", "--json", str(tmp_path / "empty.csv"), good, str(tmp_path / "missing.csv"))
    assert code == 1
    assert json.loads(out)["added"] == 1
    assert len(error.splitlines()) == 2
    assert "empty.csv" in error
    assert "missing.csv" in error
    assert kefu("import", good, good, "--replace", "x")[0] == 2
    code, _, error = kefu("import", good, "--replace", "nothing")
    assert (code, len(error.splitlines())) == (1, 1)


def test_a_folder_nobody_named_is_told_of_when_it_is_created(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["config", "show"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["users", "list"]) == 0
    assert capsys.readouterr().err.splitlines() == [f"新建了数据目录 {tmp_path / 'data'}"]
    assert main(["users", "list"]) == 0
    assert main(["users", "list", "--data", "named"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", ["encoder", "generator"])
def test_training_on_nothing_fails_before_anything_is_loaded(kefu, tmp_path, encoder_folder, generator_folder, kind):
    code, out, error = kefu("train", kind)
    assert (code, out, len(error.splitlines())) == (1, "", 1)
    assert "kefu import" in error
    assert not (tmp_path / "data" / "runs").exists()


def test_what_a_training_would_take_is_told_without_training(kefu, tmp_path, encoder_folder):
    rows = [
        {"question": "怎么退货", "answer": "寄回。", "similar_questions": ["如何退货", "不要了怎么退"]},
        {"question": "几天能到", "answer": "三天。", "similar_questions": ["多久送到", "什么时候到货"]},
    ]
    assert kefu("import", faq_file(tmp_path, *rows))[0] == 0
    code, out, _ = kefu("train", "encoder", "--dry-run")
    assert (code, len(out.splitlines())) == (0, 1)
    assert re.search(r"预计 \d+ 步，训练约 [\d.]+ 分钟.*内存最多约 [\d.]+ GB", out)
    code, out, _ = kefu("train", "encoder", "--dry-run", "--json")
    found = json.loads(out)
    assert found["steps"] >= 1
    assert found["memory_bytes"] > 100_000_000
    assert not [one for one in (tmp_path / "data" / "runs").iterdir() if one.is_dir()]


def test_a_file_none_of_whose_rows_can_be_used_is_a_failure(kefu, tmp_path):
    bad = faq_file(tmp_path, {"question": "没有答案"}, {"question": "也没有"}, name="bad.jsonl")
    good = faq_file(tmp_path, {"question": "问", "answer": "答"}, {"question": "没有答案"})
    for _ in range(2):  # the second time the good row is skipped
        code, out, error = kefu("import", "--json", good)
        assert (code, error) == (0, "")
    code, out, error = kefu("import", "--json", bad, good)
    assert (code, len(error.splitlines())) == (1, 1)
    assert "bad.jsonl" in error
    assert json.loads(out)["failed"] == 3
    assert len(json.loads(out)["errors"]) == 1


@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_reader_that_leaves_early_is_no_fault_of_the_file(tmp_path, buffered):
    """As in `kefu import FILE | head -1`: it ends as other tools do, without a word."""
    path = faq_file(tmp_path, {"question": "包邮吗", "answer": "包"}, {"question": "没有答案"})
    for arguments in (["import", path], ["documents", "list"]):
        command = [sys.executable, "-m", "bot.cli", *arguments, "--data", str(tmp_path / "data")]
        gone, pipe = os.pipe()
        os.close(gone)
        environment = {**os.environ, "PYTHONUNBUFFERED": buffered}
        try:
            done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, text=True, check=False, env=environment)
        finally:
            os.close(pipe)
        assert (done.returncode, done.stderr) == (141, "")


def test_a_bad_date_is_shown_with_its_column(kefu, tmp_path):
    (tmp_path / "活动.csv").write_text("问题,答案,失效日期\n黑五优惠？,九折,下周三\n包邮吗,包,\n", "utf-8")
    code, out, _ = kefu("import", str(tmp_path / "活动.csv"))
    assert code == 0
    (line,) = [line for line in out.splitlines() if "黑五" in line]
    assert line == "  第 2 行: 日期读不懂，应写成 2026-01-31 (C 列「失效日期」：下周三)  黑五优惠？"
    _, out, _ = kefu("import", "--json", str(tmp_path / "活动.csv"))
    (item,) = [item for item in json.loads(out)["items"] if item["status"] == "failed"]
    assert (item["reason"], item["detail"]) == ("bad_date", "C 列「失效日期」：下周三")


def test_a_row_of_characters_that_are_none_is_reported_as_malformed(kefu, tmp_path):
    good, bad = {"question": "问", "answer": "答"}, {"question": "\ud800坏代理", "answer": "\udfff"}
    file = tmp_path / "faq.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in (good, bad)), "utf-8")
    code, out, error = kefu("import", str(file))
    assert (code, error) == (0, "")
    assert "失败 1" in out
    assert "格式不对" in out


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "xlsx"])
def test_export_and_import_round_trip(kefu, tmp_path, suffix):
    file = faq_file(
        tmp_path,
        {"question": "怎么退货", "answer": "七天内，\n两行 \"引号\"", "similar_questions": ["退", "想退"]},
        {"question": "查订单", "action": "action_order_status", "category": "订单", "enabled": False, "id": "order"},
    )  # fmt: skip
    kefu("import", file)
    target = tmp_path / f"export.{suffix}"
    assert kefu("export", str(target))[0] == 0
    code, out, _ = kefu("import", "--json", str(target))
    report = json.loads(out)
    assert (code, report["added"], report["updated"], report["skipped"]) == (0, 0, 0, 2)
    code, _, error = kefu("export", str(tmp_path / "export.doc"))
    assert code == 1
    assert ".xlsx" in error


def test_people_and_keys(kefu, monkeypatch):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse battery\n"))
    assert kefu("users", "add", "anna", "--role", "admin", "--password-stdin")[0] == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    code, _, error = kefu("users", "add", "ben", "--password-stdin")
    assert (code, "8" in error) == (1, True)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    code, out, _ = kefu("users", "passwd", "anna", "--json")
    assert len(json.loads(out)["password"]) >= 16
    assert [one["name"] for one in json.loads(kefu("users", "list", "--json")[1])["items"]] == ["anna"]
    assert kefu("users", "remove", "anna")[0] == 1  # the last administrator
    assert kefu("users", "remove", "nobody")[0] == 1

    key = json.loads(kefu("keys", "add", "crm", "--role", "api", "--json")[1])["key"]
    listed = kefu("keys", "list", "--json")[1]
    assert key not in listed
    assert key[:12] in listed
    assert kefu("keys", "revoke", "crm")[0] == 0
    assert kefu("keys", "revoke", "crm")[0] == 1


def test_wrong_usage_is_exit_two(kefu):
    for arguments in (["users", "add"], ["users", "add", "x", "--role", "king"], ["nonsense"], ["eval", "retrieval"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2


def test_a_port_in_use_is_one_sentence(kefu):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, error = kefu("serve", "--port", str(port))
    assert code == 1
    assert str(port) in error
    assert len(error.splitlines()) == 1


def test_an_address_that_is_not_ours_is_one_sentence():
    with pytest.raises(ConfigError, match=r"203\.0\.113\.1"):
        listen("203.0.113.1", 0)
    listening = listen("127.0.0.1", 0)
    assert listening.getsockname()[1] > 0
    listening.close()


async def test_the_demo_company_is_loaded_once(tmp_path):
    settings = Settings(data=tmp_path / "data", demo=True)
    async with opened(settings.database) as database:
        assert await load_demo(database, settings)
        async with database.session() as session:
            entries = await knowledge.all_entries(session)
            await knowledge.remove_entry(session, entries[0].id)
        assert len(entries) >= 60
        assert not await load_demo(database, settings)  # what was deleted stays deleted
        async with database.reading() as session:
            assert len(await knowledge.all_entries(session)) == len(entries) - 1
    for name in ("profile.json", "shop.db", "actions/order_status.py"):
        assert (settings.data / name).is_file()


async def test_the_demo_company_stays_out_of_a_company_that_is_there(tmp_path):
    from knowledge.types import Entry

    settings = Settings(data=tmp_path / "data", demo=True)
    async with opened(settings.database) as database:
        async with database.session() as session:
            await knowledge.add_entry(session, Entry("a", "问", "答"))
        assert not await load_demo(database, settings)
        assert not await load_demo(database, settings)
        async with database.reading() as session:
            assert len(await knowledge.all_entries(session)) == 1


FAQS = [
    {"id": "return", "question": "怎么退货", "answer": "七天内。"},
    {"id": "invoice", "question": "怎么开发票", "answer": ""},
    {"id": "twin", "question": "怎么退货", "answer": "七天内。"},
    {"id": "hours", "question": "你们几点营业", "answer": "九点。"},
]
QUERIES = [
    {"query": "想退掉买的东西", "faq_id": "return", "faq_ids": ["return", "twin"], "type": "in"},
    {"query": "发票怎么开", "faq_id": "invoice", "type": "in"},
    {"query": "几点开门", "faq_id": "hours", "type": "in"},
    {"query": "今天天气怎么样", "faq_id": None, "type": "oos_open"},
]


@pytest.fixture
def labelled(tmp_path) -> list[str]:
    return [
        "--faq",
        faq_file(tmp_path, *FAQS, name="labelled.jsonl"),
        "--queries",
        faq_file(tmp_path, *QUERIES, name="q.jsonl"),
    ]


@pytest.mark.usefixtures("use_shared_encoder")
def test_labels_that_nothing_can_meet_are_told_of(kefu, tmp_path, labelled):
    slipped = faq_file(tmp_path, *QUERIES, {"query": "怎么退货呀", "faq_id": "retrun"}, name="slipped.jsonl")
    labelled = [*labelled[: labelled.index("--queries")], "--queries", slipped]
    code, out, error = kefu("eval", "retrieval", *labelled, "--json")
    assert (code, json.loads(out)["queries"]) == (0, 5)
    assert "retrun" in error
    code, _, error = kefu("calibrate", *labelled, "--json")
    assert code == 0
    assert "retrun" in error
    assert "120" in error


@pytest.mark.usefixtures("use_shared_encoder")
def test_evaluation_keeps_duplicates_and_touches_nothing(kefu, tmp_path, labelled):
    predictions = tmp_path / "out.jsonl"
    code, out, _ = kefu("eval", "retrieval", *labelled, "--predictions", str(predictions), "--json")
    report = json.loads(out)
    assert (code, report["queries"], report["in_scope"], report["hit@1"]) == (0, 4, 3, 1.0)
    assert set(report["answered"]) == {"oos_open"}
    rows = [json.loads(line) for line in predictions.read_text("utf-8").splitlines()]
    assert [row["query"] for row in rows] == [query["query"] for query in QUERIES]
    assert {"return", "twin"} <= set(rows[0]["ranked"])
    assert not (tmp_path / "data").exists()
    code, _, error = kefu("eval", "retrieval", *labelled, "--adapter", "../nothing")
    assert (code, "nothing" in error) == (1, True)


@pytest.mark.usefixtures("use_shared_encoder")
def test_calibrate_prints_and_saves(kefu, tmp_path, labelled):
    code, out, _ = kefu("calibrate", *labelled, "--json")
    document = json.loads(out)
    assert (code, document["saved"]) == (0, None)
    assert 0 <= document["calibration"]["clarify_threshold"] <= document["calibration"]["answer_threshold"] <= 1
    assert not (tmp_path / "data").exists()
    assert kefu("calibrate", *labelled, "--save")[0] == 0
    saved = json.loads((tmp_path / "data" / "calibration.json").read_text())
    assert saved.pop("record")["labels"] == len(QUERIES)
    assert saved.pop("previous") is None
    assert saved == document["calibration"]
    with closing(sqlite3.connect(tmp_path / "data" / "kefu.db")) as connection:
        assert connection.execute("SELECT value FROM revisions WHERE name = 'settings'").fetchone() == (1,)
    assert kefu("calibrate", *labelled, "--save")[0] == 0
    code, out, _ = kefu("calibrate", "--rollback", "--json")
    assert (code, json.loads(out)["calibration"]["record"]["labels"]) == (0, len(QUERIES))
    assert kefu("calibrate", "--rollback")[0] == 0  # back to the later of the two
    assert kefu("calibrate")[0] == 2


@pytest.mark.slow
@pytest.mark.usefixtures("use_shared_encoder")
def test_doctor_finds_what_is_wrong(kefu, tmp_path, encoder_folder, monkeypatch):
    monkeypatch.setenv("KEFU_GENERATOR", "")
    monkeypatch.setenv("KEFU_PORT", "0")
    code, out, _ = kefu("doctor", "--json")
    report = json.loads(out)
    assert (code, report["ok"]) == (0, True), report
    assert {"machine", "recommendation", "encoder", "speed", "database", "index", "texts"} <= {
        one["check"] for one in report["findings"]
    }
    assert not (tmp_path / "data").exists()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "kefu.db").write_bytes(b"nonsense" * 1000)
    monkeypatch.setenv("KEFU_ENCODER", str(tmp_path / "no-model"))
    code, out, _ = kefu("doctor", "--json")
    bad = {one["check"]: one["text"] for one in json.loads(out)["findings"] if one["state"] == "error"}
    assert code == 1
    assert "kefu.db" in bad["database"]
    assert any("no-model" in text for text in bad.values())


def test_recommendations_fit_the_machine():
    assert "multilingual-e5-small" in recommend(8, gpu=False)
    assert '""' in recommend(2, gpu=False)
    assert "4b" in recommend(64, gpu=True)


def test_a_second_service_on_the_same_data_is_refused_and_a_killed_one_holds_nothing(kefu, tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from bot.claim import claimed\n"
        "with claimed(Path(sys.argv[1])): print('mine', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "data")]
    for _ in range(2):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "mine\n"
        status, out, error = kefu("serve", "--port", "0")
        assert (status, out, len(error.splitlines())) == (1, "", 1)
        assert str(process.pid) in error
        assert str(tmp_path / "data") in error
        assert kefu("users", "list")[0] == 0  # commands work beside it
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_a_killed_service_leaves_a_password_that_works(tmp_path, encoder_folder):
    """The first start prints the password once; the second start has nothing to print."""
    command = [sys.executable, "-m", "bot.cli", "serve", "--port", "0", "--data", str(tmp_path / "data")]
    environment = {**os.environ, "KEFU_GENERATOR": "", "KEFU_LANGUAGE": "en", "OMP_NUM_THREADS": "1"}
    seen = []
    for _ in range(2):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
        started, lines = time.monotonic(), []
        while "Ready" not in (line := process.stdout.readline()) and time.monotonic() - started < 120:
            lines.append(line)
        process.kill()
        process.communicate()
        seen.append("".join(lines))
    assert "Password" in seen[0]
    assert "/chat" in seen[0]
    assert "loading" in seen[0]
    assert "Ctrl+C" in seen[0]
    assert "Password" not in seen[1]
    assert "/console" in seen[1]
