"""What `kefu import` says of entries that ask the same."""

import json

import pytest

from tests.bot.faq_files import faq_file


def test_a_dry_run_names_near_duplicates_and_what_would_be_done_with_each_row(kefu, tmp_path):
    before = faq_file(tmp_path, {"id": "hours", "question": "你们几点上班", "answer": "九点"}, name="before.jsonl")
    assert kefu("import", before)[0] == 0
    file = faq_file(
        tmp_path,
        {"question": "你们是几点上班的", "answer": "九点整"},
        {"question": "月球上可以种土豆吗", "answer": "不行"},
        {"question": "月球上可不可以种土豆", "answer": "不能"},
        {"question": "你们几点上班", "answer": "九点"},
        {"question": "没有答案"},
    )
    code, out, _ = kefu("import", "--dry-run", "--json", file)
    report = json.loads(out)
    assert code == 0
    assert [report[name] for name in ("added", "skipped", "failed", "near_duplicates")] == [3, 1, 1, 2]
    first, second, third, same, bad = report["items"]
    assert (first["status"], first["warning"], first["twin"]["id"]) == ("added", "near_duplicate", "hours")
    assert first["twin"]["question"] == "你们几点上班"
    assert 0.9 < first["twin"]["similarity"] <= 1
    assert "warning" not in second
    assert (third["twin"]["id"], third["twin"]["place"]) == (None, second["place"])
    assert (same["status"], same["reason"]) == ("skipped", "duplicate")
    assert bad["place"] != first["place"]
    code, out, _ = kefu("import", "--dry-run", file)
    assert "hours" in out
    assert second["place"] in out
    assert kefu("import", "--json", "--dry-run", before)[1]
    preview = report["items"]
    report = json.loads(kefu("import", "--json", file)[1])
    assert (report["added"], report["near_duplicates"]) == (3, 2)
    assert [one.get("twin") for one in report["items"][:2]] == [one.get("twin") for one in preview[:2]]
    third = report["items"][2]["twin"]
    assert third["id"]  # it is written by now
    assert (third["place"], third["question"]) == (second["place"], second["question"])


def test_an_import_warns_in_the_words_of_the_preview_and_only_where_something_is_new(kefu, tmp_path):
    before = faq_file(tmp_path, {"id": "hours", "question": "你们几点上班", "answer": "九点"}, name="before.jsonl")
    assert "相近" not in kefu("import", before)[1]
    file = faq_file(tmp_path, {"question": "你们是几点上班的", "answer": "九点整"})
    preview = kefu("import", "--dry-run", file)[1].splitlines()
    assert "1 行和已有的意思相近" in preview[-2]
    assert "≈ hours 你们几点上班" in preview[-1]
    code, out, error = kefu("import", file)
    assert (code, error) == (0, "")
    assert "新增 1" in out.splitlines()[0]
    assert out.splitlines()[1:] == preview[-2:]
    assert "相近" not in kefu("import", file)[1]


def test_of_two_files_at_once_the_later_one_is_warned_of(kefu, tmp_path):
    first = faq_file(tmp_path, {"question": "你们几点上班", "answer": "九点"}, name="first.jsonl")
    second = faq_file(tmp_path, {"question": "你们是几点上班的", "answer": "九点整"}, name="second.jsonl")
    report = json.loads(kefu("import", "--json", first, second)[1])
    assert [item.get("warning") for item in report["items"]] == [None, "near_duplicate"]
    assert report["items"][1]["twin"]["question"] == "你们几点上班"


@pytest.mark.parametrize("options", [["--dry-run"], []])
def test_without_a_model_an_import_says_that_it_did_not_look(bare_kefu, tmp_path, monkeypatch, options):
    monkeypatch.setenv("KEFU_MODELS", str(tmp_path / "none"))
    file = faq_file(tmp_path, {"question": "问", "answer": "答"})
    code, out, error = bare_kefu("import", *options, "--json", file)
    assert code == 0
    assert json.loads(out)["added"] == 1
    assert "near_duplicates" not in json.loads(out)
    assert "没有查找" in error
    code, out, error = bare_kefu("import", *options, "--json", file)
    assert json.loads(out)["added"] == bool(options)
    assert ("没有查找" in error) == bool(options), "with nothing new there is nothing to look for"
