# ruff: noqa: DTZ001 - cells know no time zone
"""Spreadsheets as they are shown: old and new Excel, merged cells, formats, formulas."""

import datetime as dt
import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
import xlwt
from openpyxl import Workbook
from openpyxl.worksheet.worksheet import Worksheet

from knowledge.errors import ReadError
from knowledge.readers import Limits, read
from knowledge.readers.archive import Archive
from knowledge.readers.empty_cells import LARGE_BYTES, without_empty_cells
from knowledge.readers.numbers import shown
from knowledge.types import ReadResult


def pairs(found: ReadResult) -> list[tuple[str, str]]:
    return [(entry.question, entry.answer) for entry in found.entries]


def sheet() -> tuple[Workbook, Worksheet]:
    book = Workbook()
    made = book.active
    assert isinstance(made, Worksheet)
    return book, made


def saved(book: Any, path: Path) -> ReadResult:
    book.save(str(path))
    return read(path)


@pytest.mark.parametrize(
    ("value", "number_format", "text"),
    [
        (0.15, "0%", "15%"),
        (0.1234, "0.00%", "12.34%"),
        (1234.5, "#,##0.00", "1,234.50"),
        (1234.5, '"¥"#,##0.00;[Red]\\-"¥"#,##0.00', "¥1,234.50"),
        (-3, '"¥"#,##0.00;[Red]\\-"¥"#,##0.00', "-¥3.00"),
        (99, "[$¥-804]#,##0", "¥99"),
        (7, "000000", "000007"),
        (3.0, "General", "3"),
        (0.1 + 0.2, "General", "0.3"),
        (2.5, '0.0"元"', "2.5元"),
        (1.5, "0.##", "1.5"),
        (12345678901, "0", "12345678901"),
        (True, "General", "TRUE"),
        (dt.datetime(2024, 5, 1), "yyyy-mm-dd", "2024-05-01"),
        (dt.datetime(2024, 5, 1), "mm-dd-yy", "2024/5/1"),
        (dt.datetime(2024, 5, 1), 'yyyy"年"m"月"d"日"', "2024年5月1日"),
        (dt.datetime(2024, 5, 1, 9, 5), "yyyy/m/d h:mm", "2024/5/1 9:05"),
        (dt.datetime(2024, 5, 1, 21, 5), "h:mm AM/PM", "9:05 PM"),
        (dt.time(9, 30), "h:mm", "9:30"),
        (dt.datetime(2024, 5, 1), "General", "2024-05-01"),
        (5, "# ?/?", "5"),
    ],
)
def test_values_as_the_sheet_shows_them(value: object, number_format: str, text: str) -> None:
    assert shown(value, number_format) == text


def test_formats_of_cells_in_new_and_old_excel(tmp_path: Path) -> None:
    book, made = sheet()
    made.append(["问题", "答案"])
    rows: list[tuple[str, Any, str]] = [
        ("折扣多少", 0.15, "0%"),
        ("价格多少", 1999, "#,##0.00"),
        ("何时开业", dt.datetime(2024, 5, 1), 'yyyy"年"m"月"d"日"'),
    ]
    for question, value, number_format in rows:
        made.append([question, value])
        made.cell(made.max_row, 2).number_format = number_format
    expected = [("折扣多少", "15%"), ("价格多少", "1,999.00"), ("何时开业", "2024年5月1日")]
    assert pairs(saved(book, tmp_path / "new.xlsx")) == expected
    old = xlwt.Workbook()
    page = old.add_sheet("常见问题")
    page.write(0, 0, "问题")
    page.write(0, 1, "答案")
    for row, (question, value, number_format) in enumerate(rows, start=1):
        page.write(row, 0, question)
        page.write(row, 1, value, xlwt.easyxf(num_format_str=number_format))
    found = saved(old, tmp_path / "old.xls")
    assert pairs(found) == expected
    assert found.places[0] == "工作表「常见问题」第 2 行"
    (tmp_path / "old.xls").rename(tmp_path / "named.xlsx")
    assert pairs(read(tmp_path / "named.xlsx")) == expected
    (tmp_path / "new.xlsx").rename(tmp_path / "named.xls")
    assert pairs(read(tmp_path / "named.xls")) == expected


def test_text_named_xls_is_a_table(tmp_path: Path) -> None:
    (tmp_path / "a.xls").write_bytes("怎么退货\t七天内\n怎么换货\t联系客服\n".encode("gb18030"))
    assert pairs(read(tmp_path / "a.xls")) == [("怎么退货", "七天内"), ("怎么换货", "联系客服")]


def test_merged_cells(tmp_path: Path) -> None:
    book, made = sheet()
    for row in (
        ["分类", "问题", "答案"],
        ["售后", "怎么退货", "七天内"],
        [None, None, "运费自理"],
        [None, "怎么换货", "联系客服"],
        ["物流", "发什么快递", "默认顺丰"],
        [None, "用什么快递", None],
    ):
        made.append(row)
    for merged in ("A2:A4", "B2:B3", "A5:A6", "C5:C6"):
        made.merge_cells(merged)
    found = saved(book, tmp_path / "m.xlsx")
    assert [(entry.category, entry.question, entry.answer, entry.similar_questions) for entry in found.entries] == [
        ("售后", "怎么退货", "七天内\n\n运费自理", ()),
        ("售后", "怎么换货", "联系客服", ()),
        ("物流", "发什么快递", "默认顺丰", ("用什么快递",)),
    ]
    assert not found.problems


def test_merged_cells_of_old_excel(tmp_path: Path) -> None:
    old = xlwt.Workbook()
    page = old.add_sheet("s")
    for column, title in enumerate(("类别", "问题", "答案")):
        page.write(0, column, title)
    page.write_merge(1, 2, 0, 0, "支付")
    for row, (question, answer) in enumerate((("怎么付款", "微信"), ("能分期吗", "能")), start=1):
        page.write(row, 1, question)
        page.write(row, 2, answer)
    assert [entry.category for entry in saved(old, tmp_path / "m.xls").entries] == ["支付", "支付"]


def test_titles_empty_columns_and_running_numbers(tmp_path: Path) -> None:
    book, made = sheet()
    for row in (
        ["某某公司客服问答表"],
        [],
        [None, "序号", None, "客户问题", None, "标准话术", "备注"],
        [None, 1, None, "怎么退货？\n可以退吗？", None, "七天内可退。", "重要"],
        [],
        [None, 2, None, "怎么换货？", None, "联系客服。"],
    ):
        made.append(row)
    made.merge_cells("A1:G1")
    found = saved(book, tmp_path / "t.xlsx")
    assert pairs(found) == [("怎么退货？", "七天内可退。"), ("怎么换货？", "联系客服。")]
    assert found.entries[0].similar_questions == ("可以退吗？",)
    assert found.places == ("工作表「Sheet」第 4 行", "工作表「Sheet」第 6 行")


def test_no_header_but_a_column_that_asks(tmp_path: Path) -> None:
    book, made = sheet()
    for row in (
        ["售后", "怎么退货？", "七天内可退。"],
        ["售后", "怎么换货？", "联系客服。"],
        ["物流", "发什么快递？", "顺丰。"],
    ):
        made.append([None, *row])
    found = saved(book, tmp_path / "n.xlsx")
    assert [(entry.category, entry.question, entry.answer) for entry in found.entries][2] == (
        "物流",
        "发什么快递？",
        "顺丰。",
    )


def test_running_numbers_are_no_ids_and_ids_are(tmp_path: Path) -> None:
    text = "编号,问题,答案\n1,怎么退货,七天内\n2,怎么换货,联系客服\n"
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    assert [entry.id for entry in read(tmp_path / "a.csv").entries] == ["", ""]
    (tmp_path / "b.csv").write_text(text.replace("编号", "id"), encoding="utf-8")
    assert [entry.id for entry in read(tmp_path / "b.csv").entries] == ["1", "2"]


def test_formulas_give_the_value_last_computed(tmp_path: Path) -> None:
    book, made = sheet()
    made.append(["问题", "答案"])
    made.append(["一共多少", "=1+1"])
    book.save(tmp_path / "f.xlsx")
    changed = io.BytesIO()
    with zipfile.ZipFile(tmp_path / "f.xlsx") as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            new.writestr(
                name,
                old.read(name)
                .replace(b"<v></v>", b"<v>2</v>")
                .replace(b"<v />", b"<v>2</v>")
                .replace(b"<v/>", b"<v>2</v>"),
            )
    (tmp_path / "f.xlsx").write_bytes(changed.getvalue())
    assert pairs(read(tmp_path / "f.xlsx")) == [("一共多少", "2")]


def test_a_formula_that_was_never_calculated_is_no_missing_answer(tmp_path: Path) -> None:
    """As a program writes it: Excel would put the value beside the formula when it saves the file."""
    book, made = sheet()
    made.append(["问题", "答案", "分类"])
    made.append(["一共多少", '=CONCATENATE("共", 2, "件")', "甲"])
    made.append(["没有答案", None, "=A3"])
    made.append(['=CONCATENATE("怎么", "退货")', "七天内", None])
    made.append(["能退吗", "能", "=A5"])
    found = saved(book, tmp_path / "f.xlsx")
    assert pairs(found) == [("能退吗", "能")]
    assert found.entries[0].category is None
    assert [(one.place[-5:], one.reason) for one in found.problems] == [
        ("第 2 行", "not_calculated"),
        ("第 3 行", "no_answer"),
        ("第 4 行", "not_calculated"),
    ]
    # Worked out to a text of no characters it is calculated, and no answer; as the last column, too.
    changed = io.BytesIO()
    with zipfile.ZipFile(tmp_path / "f.xlsx") as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b'r="B2"', b'r="B2" t="str"'))
    (tmp_path / "f.xlsx").write_bytes(changed.getvalue())
    assert [one.reason for one in read(tmp_path / "f.xlsx").problems] == ["no_answer", "no_answer", "not_calculated"]


def test_without_a_header_formulas_that_were_never_calculated_are_a_column(tmp_path: Path) -> None:
    book, made = sheet()
    for number in range(1, 4):
        made.append([f"{number} 号怎么退货", f"=A{number}"])
    assert [one.reason for one in saved(book, tmp_path / "f.xlsx").problems] == ["not_calculated"] * 3


def test_fastgpt_and_dify_columns(tmp_path: Path) -> None:
    for name, text in (
        ("fastgpt.csv", 'q,a,indexes\n怎么退货,七天内,"能退吗\n可以退吗"\n'),
        ("dify.csv", "question,answer\n怎么退货,七天内\n"),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert pairs(read(tmp_path / name)) == [("怎么退货", "七天内")]
    assert read(tmp_path / "fastgpt.csv").entries[0].similar_questions == ("能退吗", "可以退吗")


def test_a_sheet_of_a_million_rows_is_bounded(tmp_path: Path) -> None:
    """Written as XML by hand: what stands behind the limit is never looked at."""
    book, made = sheet()
    made.append(["问题", "答案"])
    book.save(tmp_path / "b.xlsx")
    row = b'<row><c t="inlineStr"><is><t>q%d</t></is></c><c t="inlineStr"><is><t>a</t></is></c></row>'
    rows = b"".join(row % number for number in range(60_000))
    changed = io.BytesIO()
    with zipfile.ZipFile(tmp_path / "b.xlsx") as old, zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"</sheetData>", rows + b"</sheetData>"))
    (tmp_path / "b.xlsx").write_bytes(changed.getvalue())
    found = read(tmp_path / "b.xlsx", limits=Limits(rows_max=500))
    assert len(found.entries) == 500
    assert found.problems[-1].reason == "too_many"


TEXT = '<c{} t="inlineStr"><is><t>{}</t></is></c>'


@pytest.mark.parametrize(
    ("empty", "last"),
    [
        (
            '<row r="{n}" s="1" customFormat="1"><c r="A{n}" s="1"/><c r="B{n}" s="1"></c><c r="D{n}" s="1" /></row>',
            '<row r="{n}"><c r="A{n}" s="1"/>'
            + TEXT.format(' r="B{n}"', "怎么换货")
            + '<c r="C{n}"></c>'
            + TEXT.format(' r="D{n}"', "联系客服")
            + "</row>",
        ),
        (
            '<row spans="1:4" r="{n}">\n <c r="A{n}"/>\n</row>\n',
            '<row spans="1:4" r="{n}"><c/>'
            + TEXT.format("", "怎么换货")
            + "<c/>"
            + TEXT.format("", "联系客服")
            + "</row>",
        ),
        (
            "<row><c/><c/></row>",
            "<row><c/>" + TEXT.format("", "怎么换货") + "<c/>" + TEXT.format("", "联系客服") + "</row>",
        ),
    ],
    ids=["placed", "rows placed", "counted"],
)
def test_empty_cells_of_a_large_sheet_are_left_out_and_move_nothing(tmp_path: Path, empty: str, last: str) -> None:
    """Columns coloured to the bottom. Cells and rows without a place count on those before them."""
    book, made = sheet()
    made.append([None, "问题", None, "答案"])
    made.append([None, "怎么退货", None, "七天内"])
    book.save(tmp_path / "b.xlsx")
    end = 3 + LARGE_BYTES // len(empty)
    rows = "".join(empty.format(n=number) for number in range(3, end)) + last.format(n=end)
    changed = io.BytesIO()
    with zipfile.ZipFile(tmp_path / "b.xlsx") as old, zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"</sheetData>", rows.encode() + b"</sheetData>"))
    data = changed.getvalue()
    bare = Archive(without_empty_cells(Archive(data, "b.xlsx", Limits()), data), "b.xlsx", Limits())
    kept = len(bare.read("xl/worksheets/sheet1.xml"))
    assert (kept < LARGE_BYTES // 20) == ("r=" in empty)
    (tmp_path / "b.xlsx").write_bytes(data)
    found = read(tmp_path / "b.xlsx")
    assert pairs(found) == [("怎么退货", "七天内"), ("怎么换货", "联系客服")]
    assert found.places[1] == f"工作表「Sheet」第 {end} 行"


def test_what_is_hidden_in_a_workbook_is_told_of_and_not_read(tmp_path: Path) -> None:
    book, made = sheet()
    made.append(["问题", "答案"])
    made.append(["几点开门", "九点。"])
    for name, state in (("底价", "hidden"), ("内部", "veryHidden")):
        inner = book.create_sheet(name)
        inner.append(["问题", "答案"])
        inner.append(["底价多少", "45 元。"])
        inner.sheet_state = state
    found = saved(book, tmp_path / "new.xlsx")
    assert pairs(found) == [("几点开门", "九点。")]
    assert [(one.place, one.reason) for one in found.problems] == [
        ("工作表「底价」", "hidden_sheet"), ("工作表「内部」", "hidden_sheet"),
    ]  # fmt: skip
    old = xlwt.Workbook()
    for name, visibility in (("常见问题", 0), ("底价", 1), ("内部", 2)):
        page = old.add_sheet(name)
        page.visibility = visibility
        for row, cells in enumerate((("问题", "答案"), (f"{name}是什么", "如此。"))):
            for column, cell in enumerate(cells):
                page.write(row, column, cell)
    found = saved(old, tmp_path / "old.xls")
    assert pairs(found) == [("常见问题是什么", "如此。")]
    assert {one.reason for one in found.problems} == {"hidden_sheet"}


def test_entities_in_a_workbook_are_refused(tmp_path: Path) -> None:
    book, made = sheet()
    made.append(["问题", "答案"])
    book.save(tmp_path / "e.xlsx")
    changed = io.BytesIO()
    with zipfile.ZipFile(tmp_path / "e.xlsx") as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "xl/workbook.xml":
                data = b'<!DOCTYPE x [<!ENTITY a "b">]>' + data.split(b"?>", 1)[-1]
            new.writestr(name, data)
    (tmp_path / "e.xlsx").write_bytes(changed.getvalue())
    with pytest.raises(ReadError) as caught:
        read(tmp_path / "e.xlsx")
    assert caught.value.code == "malformed"
    assert "实体" in str(caught.value)
