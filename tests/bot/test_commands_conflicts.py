"""What `kefu import` says of a question that is answered in two ways, and of several files at once."""

import json

from tests.bot.faq_files import faq_file


def found(kefu, *arguments: str) -> dict:
    code, out, error = kefu("import", "--json", *arguments)
    assert (code, error) == (0, "")
    return json.loads(out)


def test_the_same_question_with_another_answer_in_another_document_is_a_conflict(kefu, tmp_path):
    first = faq_file(tmp_path, {"question": "多久发货？", "answer": "当天发货。"}, name="first.jsonl")
    document = found(kefu, first)["documents"][0]["document_id"]
    second = faq_file(
        tmp_path,
        {"question": "可以开发票吗", "answer": "可以。"},
        {"question": "多久发貨", "answer": "三天内。"},
        {"question": "多久发货 ", "answer": "当天发货"},
        name="second.jsonl",
    )
    preview = found(kefu, "--dry-run", second)
    report = found(kefu, second)
    for one in (preview, report):
        assert (one["added"], one["skipped"], one["conflicts"]) == (2, 1, 1)
        item = one["items"][1]
        assert (item["status"], item["warning"]) == ("added", "conflict")
        twin = item["twin"]
        assert (twin["question"], twin["answer"]) == ("多久发货？", "当天发货。")
        assert (twin["document_id"], twin["document"]) == (document, "first.jsonl")
        assert twin["id"]
        assert one["items"][2].get("warning") is None, "the same answer contradicts nobody"
    # What customers get is what was said. A new version of the first file is warned of, too.
    assert json.loads(kefu("ask", "--json", "多久发货")[1])["text"] == "三天内。"
    newer = faq_file(tmp_path, {"question": "多久发货", "answer": "一小时内。"}, name="newer.jsonl")
    report = found(kefu, "--replace", document, newer)
    assert (report["updated"], report["conflicts"]) == (1, 1)
    assert report["items"][0]["twin"]["answer"] == "三天内。"
    answer = json.loads(kefu("ask", "--json", "多久发货")[1])
    assert (answer["decision"], answer["text"]) == ("answer", "一小时内。")


def test_the_terminal_says_which_answer_is_given(kefu, tmp_path, monkeypatch):
    kefu(
        "import", faq_file(tmp_path, {"id": "ship", "question": "多久发货？", "answer": "当天发货。"}, name="旧.jsonl")
    )
    new = faq_file(tmp_path, {"question": "多久发货", "answer": "三天内。"}, name="新.jsonl")
    out = kefu("import", "--dry-run", new)[1]
    assert "1 行和别处的答案冲突" in out
    assert "客户得到的是这一行的（较新的）答案" in out
    assert out.splitlines()[-1].endswith("另一条：文档「旧.jsonl」 ship：当天发货。")
    assert "相近" not in out, "one warning is enough"
    monkeypatch.setenv("KEFU_LANGUAGE", "en")
    out = kefu("import", new)[1]
    assert "1 conflicts: the same question is answered differently elsewhere" in out
    assert out.splitlines()[-1].endswith("the other: document 旧.jsonl ship: 当天发货。")


def test_within_one_file_the_later_row_answers(kefu, tmp_path):
    file = faq_file(
        tmp_path,
        {"question": "多久发货", "answer": "当天。"},
        {"question": "怎么退货", "answer": "七天内。"},
        {"question": "多久发货？", "answer": "三天。"},
    )
    preview, report = found(kefu, "--dry-run", file), found(kefu, file)
    assert [item.get("warning") for item in report["items"]] == [None, None, "conflict"]
    assert preview["items"][2]["twin"] == report["items"][2]["twin"] | {"id": None}
    assert report["items"][2]["twin"]["place"] == report["items"][0]["place"]
    assert json.loads(kefu("ask", "--json", "多久发货")[1])["text"] == "三天。"


def test_what_never_meets_is_no_conflict(bare_kefu, tmp_path, monkeypatch):
    monkeypatch.setenv("KEFU_MODELS", str(tmp_path / "none"))
    file = faq_file(
        tmp_path,
        {"question": "怎么联系你们", "answer": "点右下角。", "channels": ["web"]},
        {"question": "怎么联系你们", "answer": "回复 1。", "channels": ["wechat"]},
        {"question": "有什么活动", "answer": "满减。", "valid_until": "2026-01-31"},
        {"question": "有什么活动", "answer": "打折。", "valid_from": "2026-02-01"},
        {"question": "送什么", "answer": "袋子。", "enabled": False},
        {"question": "送什么", "answer": "帽子。"},
    )
    report = json.loads(bare_kefu("import", "--json", file)[1])
    assert (report["added"], report["conflicts"]) == (6, 0)


def test_a_dry_run_of_several_files_sees_the_earlier_ones_as_the_import_does(kefu, tmp_path):
    kefu("import", faq_file(tmp_path, {"id": "old", "question": "怎么换货", "answer": "联系客服。"}, name="0.jsonl"))
    first = faq_file(
        tmp_path,
        {"question": "你们几点上班", "answer": "九点。"},
        {"id": "b", "question": "怎么开发票", "answer": "找财务。"},
        {"id": "old", "question": "怎么换货", "answer": "在订单里申请。"},
        name="1.jsonl",
    )
    second = faq_file(
        tmp_path,
        {"question": "你们几点上班？", "answer": "九点"},
        {"question": "你们是几点上班的", "answer": "九点整。"},
        {"id": "b", "question": "怎么开发票", "answer": "找财务。"},
        {"question": "怎么换货", "answer": "联系客服。"},
        {"question": "怎么开发票", "answer": "下单时选。"},
        name="2.jsonl",
    )
    preview, report = found(kefu, "--dry-run", first, second), found(kefu, first, second)
    names = ("added", "updated", "skipped", "failed", "conflicts", "near_duplicates")
    assert [report[name] for name in names] == [5, 1, 2, 0, 2, 1]
    assert [preview[name] for name in names] == [5, 1, 2, 0, 2, 1]
    shown = ("file", "place", "status", "reason", "warning")
    fates = [[[item.get(name) for name in shown] for item in one["items"]] for one in (preview, report)]
    assert fates[0] == fates[1]
    near = next(item["twin"] for item in preview["items"] if item.get("warning") == "near_duplicate")
    assert (near["id"], near["file"], near["question"]) == (None, "1.jsonl", "你们几点上班")
    conflict = preview["items"][-1]["twin"]
    assert (conflict["id"], conflict["document"], conflict["answer"]) == ("b", "1.jsonl", "找财务。")


def test_conflicts_are_found_without_a_model(bare_kefu, tmp_path, monkeypatch):
    monkeypatch.setenv("KEFU_MODELS", str(tmp_path / "none"))
    bare_kefu("import", faq_file(tmp_path, {"question": "多久发货", "answer": "当天。"}, name="a.jsonl"))
    file = faq_file(tmp_path, {"question": "多久发货", "answer": "三天。"}, name="b.jsonl")
    report = json.loads(bare_kefu("import", "--json", file)[1])
    assert report["conflicts"] == 1
    assert "near_duplicates" not in report
