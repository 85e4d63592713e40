# ruff: noqa: E501 - files stand here as they are
"""Files made to harm, and any bytes at all: a result or one clear refusal, nothing else."""

import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from knowledge.errors import ReadError
from knowledge.readers import Limits, read
from knowledge.types import ReadResult
from tests.fuzz.samples import SAMPLES, ZIPPED, Change, changed, changed_within, zipped

FAQ = "问题,答案\n怎么退货,七天内\n".encode()
PAGE = "<html><body><h3>怎么退货？</h3><p>十天内。</p></body></html>".encode()


def put(folder: Path, data: bytes, name: str = "文件.zip") -> ReadResult:
    (folder / "upload").write_bytes(data)
    return read(folder / "upload", name)


def refused(folder: Path, data: bytes, name: str = "文件.zip", limits: Limits | None = None) -> str:
    (folder / "upload").write_bytes(data)
    with pytest.raises(ReadError) as caught:
        read(folder / "upload", name, limits=limits)
    assert name in str(caught.value)
    return caught.value.code


def test_a_zip_of_documents_names_the_member_of_everything(tmp_path: Path) -> None:
    inner = zipped({"里面.csv": "问题,答案\n怎么换货,联系客服\n没答案,\n".encode()})
    found = put(
        tmp_path,
        zipped(
            {
                "售后/退货.csv": FAQ, "页面.html": PAGE, "政策.md": "# 政策\n\n本店支持七天退货。\n".encode(), "再来.zip": inner,
                "__MACOSX/._x.csv": b"x", ".DS_Store": b"x", "图.png": b"\x89PNG", "坏.pdf": b"%PDF-1.7", "空.txt": b"", "重复.csv": FAQ,
            }
        ),
    )  # fmt: skip
    assert dict(zip(found.places, (entry.question for entry in found.entries), strict=True)) == {
        "售后/退货.csv 第 2 行": "怎么退货",
        "页面.html 第 1 段": "怎么退货？",
        "再来.zip 里面.csv 第 2 行": "怎么换货",
    }
    assert [passage.title for passage in found.passages] == ["政策"]
    assert {(problem.place, problem.reason) for problem in found.problems} == {
        ("再来.zip 里面.csv 第 3 行", "no_answer"),
        ("坏.pdf", "malformed"),
        ("空.txt", "empty"),
        ("重复.csv 第 2 行", "duplicate"),
    }


def test_names_in_archives_lead_nowhere(tmp_path: Path) -> None:
    found = put(
        tmp_path,
        zipped(
            {
                "../../etc/退货.csv": FAQ,
                "C:\\Windows\\x.csv": FAQ.replace(b"\xe9\x80\x80", b"\xe6\x8d\xa2"),
                "/abs.csv": b"\x00\x01\x02" * 99,
            }
        ),
    )
    assert set(found.places) == {"etc/退货.csv 第 2 行", "C:/Windows/x.csv 第 2 行"}
    assert [problem.place for problem in found.problems] == ["abs.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["upload"], "nothing is unpacked to disk"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("退货政策".encode("gb18030"), "退货政策"),  # Windows
        ("资料/退货".encode("gb18030"), "资料/退货"),
        ("模".encode("gb18030"), "模"),  # UTF-8 of ģ, too
        ("退货政策".encode(), "退货政策"),  # macOS, Linux
        ("資料é".encode(), "資料é"),
        (b"plain", "plain"),
    ],
)
def test_names_that_do_not_say_how_they_are_encoded(tmp_path: Path, raw: bytes, shown: str) -> None:
    data = zipped({f"{'A' * len(raw)}.csv": FAQ}).replace(b"A" * len(raw), raw)
    assert put(tmp_path, data).places == (f"{shown}.csv 第 2 行",)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("退货".encode("gb18030").decode("cp437"), "退货"),
        ("退货政策".encode().decode("cp437"), "退货政策"),
        ("Übergröße", "Übergröße"),
        ("图─表", "图─表"),
    ],
)
def test_names_written_as_utf8_are_believed_unless_they_were_garbled_before(
    tmp_path: Path, written: str, shown: str
) -> None:
    assert put(tmp_path, zipped({f"{written}.csv": FAQ})).places == (f"{shown}.csv 第 2 行",)


def test_a_member_without_a_name_costs_no_other(tmp_path: Path) -> None:
    data = zipped({"A.csv": FAQ, "b.csv": FAQ})
    stripped = data.replace(b"A.csv", b"")
    for header, at in ((b"PK\x03\x04", 26), (b"PK\x01\x02", 28)):
        where = stripped.index(header) + at
        stripped = stripped[:where] + b"\x00\x00" + stripped[where + 2 :]
    assert len(stripped) == len(data) - 10
    end = stripped.index(b"PK\x05\x06")
    start = stripped.index(b"PK\x01\x02")
    stripped = stripped[: end + 12] + (end - start).to_bytes(4, "little") + start.to_bytes(4, "little") + b"\x00\x00"
    with zipfile.ZipFile(io.BytesIO(stripped)) as archive:
        assert archive.namelist()[0] == ""
    found = put(tmp_path, stripped)
    assert isinstance(found, ReadResult)


@pytest.mark.parametrize("mark", ["\x01", "\x0c", "\x1f", "\uffff", "&#1;", "&#x1F;", "&#000012;", "&#65535"])
def test_characters_that_a_page_may_not_have_are_blanks(tmp_path: Path, mark: str) -> None:
    page = f"<html><body><script>x</script>{mark}<h3>怎么退货？</h3><p>七{mark}天内。</p></body></html>"
    (entry,) = put(tmp_path, page.encode(), "a.html").entries
    assert (entry.question, entry.answer) == ("怎么退货？", "七 天内。")


def test_bombs(tmp_path: Path) -> None:
    bomb = zipped({"a.csv": bytes(64 * 1024 * 1024)})
    assert refused(tmp_path, bomb) == "too_large"
    for member in ("word/document.xml", "xl/workbook.xml"):
        assert refused(tmp_path, zipped({member: bytes(64 * 1024 * 1024)})) == "too_large"
    assert (
        refused(tmp_path, zipped({f"{n}.txt": b"x" for n in range(30)}), limits=Limits(archive_members_max=20))
        == "too_large"
    )
    nested = FAQ
    for depth in range(6):
        nested = zipped({f"{depth}.zip" if depth else "a.csv": nested})
    found = put(tmp_path, nested)
    assert not found.entries
    assert [problem.reason for problem in found.problems] == ["nested"]


def test_a_size_that_lies_swells_no_further(tmp_path: Path) -> None:
    data = zipped({"a.csv": b"x" * 5_000_000})
    lied = data.replace((5_000_000).to_bytes(4, "little"), (50).to_bytes(4, "little"))
    found = put(tmp_path, lied)
    assert [(problem.place, problem.reason) for problem in found.problems] == [("a.csv", "malformed")]


def test_zip_files_in_zip_files_end_somewhere(tmp_path: Path) -> None:
    data = zipped({"a.csv": FAQ})
    for depth in range(3):
        data = zipped({f"{depth}.zip": data, f"{depth}.csv": FAQ})
    found = put(tmp_path, data)
    assert [entry.question for entry in found.entries] == ["怎么退货"]
    assert ("2.zip 1.zip 0.zip", "nested") in [(problem.place, problem.reason) for problem in found.problems]


def damaged_files() -> dict[str, bytes]:
    book = io.BytesIO()
    Workbook().save(book)
    return {
        "断.xlsx": book.getvalue()[:2000],
        "断.docx": zipped({"word/document.xml": b"<w:document><w:body>"}),
        "断.zip": zipped({"a.csv": FAQ})[:40],
        "断.pdf": b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog",
        "深.json": b"[" * 100_000,
        "错.json": b'{"question": "a", "answer": }',
        "数.json": b'{"question": ' + b"1" * 5000 + b"}",
    }


@pytest.mark.parametrize("name", damaged_files())
def test_what_is_damaged_is_said_in_one_sentence_of_one_language(tmp_path: Path, name: str) -> None:
    (tmp_path / "upload").write_bytes(damaged_files()[name])
    with pytest.raises(ReadError) as caught:
        read(tmp_path / "upload", name)
    zh, en = caught.value.zh.replace(name, ""), caught.value.en.replace(name, "")
    assert zh.endswith("。")
    assert "。。" not in zh
    assert set(re.findall("[A-Za-z]+", zh)) <= {"XLSX", "PDF", "JSON", "Lines"}, zh
    assert en.endswith(".")
    assert en.isascii(), en


def test_a_password_is_said_so(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.csv": FAQ}))
    data[6] |= 1
    central = bytes(data).index(b"PK\x01\x02")
    data[central + 8] |= 1
    assert refused(tmp_path, bytes(data)) == "encrypted"


def test_other_archives_and_documents_are_told_apart(tmp_path: Path) -> None:
    assert refused(tmp_path, zipped({"ppt/presentation.xml": b"<x/>"})) == "unsupported"
    assert refused(tmp_path, zipped({"content.xml": b"<x/>", "mimetype": b"application/vnd.oasis"})) == "unsupported"
    assert refused(tmp_path, zipped({"a.png": b"x"})) == "empty"


def test_scripts_and_dangerous_links_never_reach_an_answer(tmp_path: Path) -> None:
    page = """<html><head><script>alert(1)</script></head><body><h1>FAQ</h1><h3>怎么退？<script>alert(2)</script></h3>
    <p onclick="alert(3)">七天内<a href="javascript:alert(4)">退</a><a href=" vbscript:x">货</a><img src=x onerror=alert(5)>
    <img src="javascript:alert(6)"><a href="data:text/html,x">看</a></p><style>p{}</style><iframe src="http://x"></iframe></body></html>"""
    markdown = "# FAQ\n\n## 怎么退？\n\n七天内[退](javascript:alert(1))<script>alert(2)\n</script>[货](JaVa&#115;cript:x)![x](data:image/svg+xml,x)\n<img src=x onerror=alert(3)>\n"
    for name, text in (("a.html", page), ("a.md", markdown)):
        (entry,) = put(tmp_path, text.encode(), name).entries
        assert entry.question == "怎么退？"
        assert "".join(entry.answer.split()).startswith("七天内退货")
        assert not any(word in entry.answer for word in ("alert", "script", "data:", "onerror", "iframe"))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        '{"a":' * 50_000,
        json.dumps({"question": [["x"]], "answer": "y"}),
        "> " * 50_000 + "怎么退？",
        "- " * 50_000 + "怎么退？",
        "*" * 100_000 + "怎么退？" + "_" * 100_000,
        "[" * 50_000 + "](" * 50_000,
        "```\n" * 50_001,
        "|" * 100_000 + "\n|---|\n",
        "1. " * 30_000 + "怎么退？\n",
        "问：" * 50_000,
        "<details><summary>" * 10_000,
        "<a " * 50_000,
        "一" * 100_000 + "、怎么退？",
        "(" * 100_000 + "?",
        "Q" + " " * 100_000 + "x",
        "\n".join(f"{n % 7}. 怎么退？" for n in range(20_000)),
        "<html>" + "<dl><dt>怎么退？<dd>" * 5_000,
        "<html>" + "<table><tr><td>" * 3_000 + "怎么退？",
        '<html><body itemscope itemtype="https://schema.org/Question"><p itemprop=name>a</p>' * 300,
        "<html>" + "<p class=question>怎么退？<p class=answer>七天" * 3_000,
    ],
)
@pytest.mark.timeout(30)
def test_repeated_marks_end_soon(tmp_path: Path, text: str) -> None:
    for name in ("a.md", "a.html", "a.json"):
        (tmp_path / "upload").write_text(text, encoding="utf-8")
        try:
            found = read(tmp_path / "upload", name)
        except ReadError as error:
            assert error.code in {"malformed", "no_columns", "empty", "unsupported"}  # noqa: PT017
        else:
            assert len(found.entries) == len(found.places)


PARTS = ["<html>", "<p>", "</p>", "<dl>", "<dt>", "<dd>", "<details>", "<summary>", "<h3>", "<li>", "<ul>", "<table><tr><td>", "怎么退？", "七天内",
         "Q1：", "答：", "1. ", "2、", "一、", "\n", "\n\n", "## ", "**", "| a | b |\n|---|---|\n", "```", "- ", "!!! note\n    ", "<a href='javascript:x'>",
         "---\n", "\x00", "\ufffd", "：", "？", "[x](y)", "<!--", "-->", "常见问题", "&lt;", "<script>"]  # fmt: skip


# How a file of each kind begins, as far as it has a beginning of its own.
HEADS = [
    b"%PDF-1.4\n", b"PK\x03\x04", b"PK\x05\x06", bytes.fromhex("d0cf11e0a1b11ae1") + "Workbook".encode("utf-16-le"),
    b"\x09\x08", b"\x09\x00\x04\x00", b"<html>", b"<?xml version='1.0'?>", "问题,答案\n".encode(), "问题\t答案\n".encode("utf-16"),
    b'[{"question":', b'{"question":"', b"---\ntitle: ", b"# ", "1、怎么退？".encode("gb18030"), b"",
]  # fmt: skip


def outcome(path: Path, name: str) -> ReadResult | str:
    refusal = None
    try:
        found = read(path, name)
    except ReadError as error:
        refusal = error
    if refusal is not None:
        assert refusal.code
        assert refusal.zh
        assert refusal.en
        return refusal.code
    assert len(found.entries) == len(found.places)
    assert all(entry.question and (entry.answer or entry.action) for entry in found.entries)
    assert found.entries or found.passages or found.problems
    return found


CHANGES = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.sampled_from(["flip", "insert", "delete", "duplicate"]),
        st.binary(min_size=1, max_size=8)
        | st.sampled_from([b"<", b'"', b"\x00" * 4, b"\xff" * 4, b"&a;", b"\n", b","]),
        st.integers(1, 60),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("kind", SAMPLES)
def test_the_samples_are_whole(tmp_path: Path, kind: str) -> None:
    found = put(tmp_path, SAMPLES[kind], f"any.{kind}")
    assert found.entries
    assert not [problem for problem in found.problems if problem.reason == "malformed"]


@pytest.mark.parametrize("kind", SAMPLES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=CHANGES)
def test_any_damage_is_a_result_or_a_refusal(tmp_path: Path, kind: str, changes: list[Change]) -> None:
    (tmp_path / "any").write_bytes(changed(SAMPLES[kind], changes))
    outcome(tmp_path / "any", f"any.{kind}")


@pytest.mark.parametrize("kind", ZIPPED)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pick=st.floats(0, 0.999), changes=CHANGES)
def test_any_damage_within_a_part(tmp_path: Path, kind: str, pick: float, changes: list[Change]) -> None:
    (tmp_path / "any").write_bytes(changed_within(SAMPLES[kind], pick, changes))
    outcome(tmp_path / "any", f"any.{kind}")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(st.sampled_from(PARTS) | st.text(max_size=5), max_size=30),
    suffix=st.sampled_from(["html", "md", "txt", "mdx"]),
)
def test_any_prose_is_a_result_or_a_refusal(tmp_path: Path, parts: list[str], suffix: str) -> None:
    (tmp_path / "any").write_bytes("".join(parts).encode("utf-8", "surrogatepass"))
    outcome(tmp_path / "any", f"any.{suffix}")


@pytest.mark.parametrize("head", HEADS)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=400), suffix=st.sampled_from(["bin", *SAMPLES]))
def test_any_bytes_behind_a_signature(tmp_path: Path, head: bytes, data: bytes, suffix: str) -> None:
    (tmp_path / "any").write_bytes(head + data)
    outcome(tmp_path / "any", f"any.{suffix}")


def test_nothing_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def forbidden(*_: object) -> None:
        raise AssertionError("a reader opened a connection")

    monkeypatch.setattr(socket.socket, "connect", forbidden)
    page = b'<!DOCTYPE html SYSTEM "http://127.0.0.1:9/x.dtd"><html><head><link rel=stylesheet href="http://127.0.0.1:9/a.css"></head><body><h3>a?</h3><p>b</p><img src="http://127.0.0.1:9/a.png"></body></html>'
    assert isinstance(outcome_of(tmp_path, page), ReadResult)
    with zipfile.ZipFile(io.BytesIO(SAMPLES["docx"])) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    relations = "word/_rels/document.xml.rels"
    members[relations] = members[relations].replace(
        b"</Relationships>",
        b'<Relationship Id="rId99" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/attachedTemplate" '
        b'Target="http://127.0.0.1:9/evil.dotm" TargetMode="External"/></Relationships>',
    )
    assert isinstance(outcome_of(tmp_path, zipped(members)), ReadResult)


def outcome_of(folder: Path, data: bytes, check: Callable[[Path, str], ReadResult | str] = outcome) -> ReadResult | str:
    (folder / "upload").write_bytes(data)
    return check(folder / "upload", "文件")
