import io
import json
from pathlib import Path

import pytest
import xlwt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knowledge.errors import ReadError
from knowledge.readers import Limits, read

LINES = "问题,答案\n怎么退货,七天内无理由退货，运费由我们承担。\n发票什么时候开,确认收货之后三天之内\n"
OLE = bytes.fromhex("d0cf11e0a1b11ae1")


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gb18030", "gbk", "utf-32"]
)
def test_encodings(tmp_path: Path, encoding: str) -> None:
    found = read(put(tmp_path, "faq.csv", LINES.encode(encoding)))
    assert [entry.question for entry in found.entries] == ["怎么退货", "发票什么时候开"]


def test_traditional_chinese_in_big5(tmp_path: Path) -> None:
    text = "問題,答案\n怎麼退貨,七天內無理由退貨，運費由我們承擔。\n發票什麼時候開,確認收貨之後三天之內\n"
    found = read(put(tmp_path, "faq.csv", text.encode("big5")))
    assert [entry.question for entry in found.entries] == ["怎麼退貨", "發票什麼時候開"]


def test_gb18030_with_few_chinese_characters(tmp_path: Path) -> None:
    text = "question,answer\nHow to return?,Within 7 days（七天）\n"
    assert read(put(tmp_path, "faq.csv", text.encode("gb18030"))).entries[0].answer == "Within 7 days（七天）"


def test_korean_is_not_taken_for_chinese(tmp_path: Path) -> None:
    text = "반품은 어떻게 하나요\n배송은 언제 되나요\n"
    assert "반품은" in read(put(tmp_path, "faq.txt", text.encode("euc_kr"))).passages[0].text


def test_another_encoding_is_refused_rather_than_garbled(tmp_path: Path) -> None:
    text = "質問は何ですか\n返品したいのですが、どうすればいいですか\n"
    with pytest.raises(ReadError) as caught:
        read(put(tmp_path, "faq.txt", text.encode("shift_jis")))
    assert caught.value.code in {"encoding", "binary"}


def test_one_broken_byte_costs_one_row(tmp_path: Path) -> None:
    rows = [f"问题{i},答案{i}是这样的，请放心使用" for i in range(40)]
    data = ("问题,答案\n" + "\n".join(rows)).encode()
    broken = data.replace("问题7,".encode(), "问题".encode()[:-1] + b"7,")
    found = read(put(tmp_path, "faq.csv", broken))
    assert len(found.entries) == 39
    assert [(problem.place, problem.reason) for problem in found.problems] == [("第 9 行", "malformed")]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf\n  \n", "empty"),
        (b"\x00" * 5000, "empty"),
        (bytes(range(256)) * 40, "binary"),
        (b"\x7fELF" + bytes(range(200)) * 9, "binary"),
        (b"%PDF-1.7 ...", "malformed"),
        (OLE + "WordDocument".encode("utf-16-le"), "unsupported"),
        (OLE + "EncryptedPackage".encode("utf-16-le"), "encrypted"),
        (OLE + "Workbook".encode("utf-16-le"), "malformed"),
        (b"\x89PNG\r\n", "unsupported"),
        (b"PK\x03\x04 cut short", "malformed"),
        (b"<!DOCTYPE html><html><body><script>x</script></body></html>", "empty"),
        (b'{"question": "a", "answer": ', "malformed"),
        (b"[1, 2, 3]", "no_columns"),
        (b'{"a": 1}', "no_columns"),
    ],
)
def test_files_that_cannot_be_read_say_why(tmp_path: Path, content: bytes, code: str) -> None:
    with pytest.raises(ReadError) as caught:
        read(put(tmp_path, "upload", content), "问答.json" if content[:1] in b"{[" and content else "文件.csv")
    assert caught.value.code == code
    assert str(caught.value).endswith("。")
    assert caught.value.en


def test_old_office_files_say_what_they_are_and_what_helps(tmp_path: Path) -> None:
    book = xlwt.Workbook()
    book.add_sheet("问答").write(0, 0, "问题")
    stream = io.BytesIO()
    book.save(stream)
    whole = stream.getvalue()

    def said(content: bytes, name: str) -> tuple[str, str, str]:
        with pytest.raises(ReadError) as caught:
            read(put(tmp_path, "upload", content), name)
        return caught.value.code, caught.value.zh, caught.value.en

    for cut in (8, 300, 600, 2000):
        for name in ("售后.xls", "售后.doc", "售后"):
            code, zh, en = said(whole[:cut], name)
            assert code == "malformed", (cut, name)
            assert "不完整或已损坏" in zh
            assert "incomplete or damaged" in en
            if "." in name:
                newer = {"售后.xls": ".xlsx", "售后.doc": ".docx"}[name]
                assert f"另存为 {newer}，" in zh
    code, zh, en = said(whole.replace("Workbook".encode("utf-16-le"), "WordDocu".encode("utf-16-le")), "制度")
    assert (code, "OLE" in zh) == ("unsupported", True)
    code, zh, en = said(OLE + b"\0" * 2000 + "WordDocument".encode("utf-16-le"), "制度.doc")
    assert code == "unsupported"
    assert "旧格式 Word 97-2003 (.doc)" in zh
    assert "选 .docx" in zh
    assert ".docx" in en


def test_a_file_that_is_too_large_or_gone(tmp_path: Path) -> None:
    path = put(tmp_path, "a.csv", LINES)
    with pytest.raises(ReadError) as caught:
        read(path, limits=Limits(bytes_max=10))
    assert caught.value.code == "too_large"
    with pytest.raises(ReadError) as caught:
        read(tmp_path / "gone.csv")
    assert (caught.value.code, caught.value.zh) == ("unreadable", "文件「gone.csv」打不开：没有这个文件。")
    with pytest.raises(ReadError) as caught:
        read(tmp_path)
    assert "文件夹" in caught.value.zh


def test_native_json_lines(tmp_path: Path) -> None:
    record = {
        "id": "r1",
        "question": "怎么退货",
        "answer": "七天\n内",
        "similar_questions": ["能退吗", "能退吗"],
        "negative_questions": ["怎么换货"],
        "category": "售后",
        "tags": ["a"],
        "enabled": False,
        "action": "x",
        "unknown": {"kept": "out"},
    }
    lines = [
        json.dumps(record, ensure_ascii=False),
        "",
        "{broken",
        '{"question": 5, "answer": 7}',
        '{"question": {"a": 1}, "answer": "x"}',
    ]
    found = read(put(tmp_path, "faq.jsonl", "\n".join(lines)))
    entry = found.entries[0]
    assert (entry.id, entry.answer, entry.similar_questions, entry.enabled) == ("r1", "七天\n内", ("能退吗",), False)
    assert (entry.negative_questions, entry.category, entry.tags, entry.action) == (("怎么换货",), "售后", ("a",), "x")
    assert (found.entries[1].question, found.entries[1].answer) == ("5", "7")
    assert [(problem.place, problem.reason) for problem in found.problems] == [
        ("第 3 行", "malformed"),
        ("第 5 行", "malformed"),
    ]


def test_weknora_json_and_envelopes(tmp_path: Path) -> None:
    records = [
        {
            "tag_name": "售后",
            "standard_question": "保修多久",
            "similar_questions": ["质保"],
            "answers": ["24 个月", "电池 12 个月"],
        }
    ]
    for whole in (records, {"data": records}, {"data": {"items": records}}):
        (entry,) = read(put(tmp_path, "w.json", json.dumps(whole))).entries
        assert (entry.question, entry.answer, entry.category) == ("保修多久", "24 个月\n\n电池 12 个月", "售后")


def test_a_lone_surrogate_is_a_bad_row(tmp_path: Path) -> None:
    found = read(
        put(tmp_path, "s.jsonl", '{"question": "\\ud800", "answer": "x"}\n{"question": "好", "answer": "x"}\n')
    )
    assert [entry.question for entry in found.entries] == ["好"]
    assert found.problems[0].reason == "malformed"


def test_deep_nesting_is_malformed(tmp_path: Path) -> None:
    with pytest.raises(ReadError) as caught:
        read(put(tmp_path, "deep.json", "[" * 100_000 + "]" * 100_000))
    assert caught.value.code in {"malformed", "no_columns"}


def test_markdown_becomes_passages_under_their_headings(tmp_path: Path) -> None:
    text = (
        "---\ntitle: 手册\n---\n# 退货\n\n七天内可退。\n\n## 运费\n\n质量问题我们承担。\n"
        "```bash\n# 不是标题\n```\n\n# 发票\n\n" + "确认收货后三天内开具电子发票，请在订单里查看。" * 60
    )
    found = read(put(tmp_path, "doc.md", text))
    assert not found.entries
    assert [passage.title for passage in found.passages[:3]] == ["手册 / 退货", "手册 / 退货 / 运费", "手册 / 发票"]
    assert "# 不是标题" in found.passages[1].text
    assert [passage.position for passage in found.passages] == list(range(len(found.passages)))
    long = [passage.text for passage in found.passages if passage.title == "手册 / 发票"]
    assert all(len(part) <= 500 and part.endswith("。") for part in long)
    assert "".join(long) == "确认收货后三天内开具电子发票，请在订单里查看。" * 60, "nothing lost, nothing twice"


def test_plain_text_with_chapters(tmp_path: Path) -> None:
    found = read(put(tmp_path, "政策.txt", "总述一句。\n第一章 退货\n七天内可退。\n一、运费\n我们出。\n"))
    assert [passage.title for passage in found.passages] == ["政策", "第一章 退货", "第一章 退货 / 一、运费"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=300) | st.text("问题答案,\t\";'\n|#{}[]:ab1=-", max_size=300).map(str.encode),
    suffix=st.sampled_from(["csv", "jsonl", "md", "xlsx"]),
)
def test_any_bytes_read_or_are_refused(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = put(tmp_path, "any", data)
    found = refusal = None
    try:
        found = read(path, f"any.{suffix}")
    except ReadError as error:
        refusal = error
    if found is None:
        assert refusal is not None
        assert refusal.code
        assert refusal.en
    else:
        assert len(found.entries) == len(found.places)
        assert all(entry.question and (entry.answer or entry.action) for entry in found.entries)
