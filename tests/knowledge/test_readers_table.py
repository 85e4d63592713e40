import io
import zipfile
from pathlib import Path

import pytest
from openpyxl import Workbook

from knowledge.errors import ReadError
from knowledge.readers import Limits, read
from knowledge.readers.columns import Columns
from knowledge.readers.fields import field_of


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("问题(必填)", "question"),
        ("分段标题（选填）", "title"),
        ("分段内容（必填，问题答案））", "answer"),
        ("相似问题(选填-多个用##分隔)", "similar_questions"),
        ("相似问题2", "similar_questions"),
        ("机器人回答(必填-多个用##分隔)", "answer"),
        ("是否停用(选填-默认FALSE)", "disabled"),
        (" *Question ", "question"),
        ("Q", "question"),
        ("价格", None),
        (None, None),
    ],
)
def test_column_names(name: str | None, field: str | None) -> None:
    assert field_of(name) == field


@pytest.mark.parametrize(
    "header", ["question,answer", "q,a", "问题,答案", "title,detail", "问题(必填),机器人回答(必填)", "\ufeff问题,答案"]
)
def test_headers_of_other_products(tmp_path: Path, header: str) -> None:
    found = read(put(tmp_path, "faq.csv", f"{header}\n怎么退货,七天内\n"))
    assert [(entry.question, entry.answer) for entry in found.entries] == [("怎么退货", "七天内")]
    assert found.places == ("第 2 行",)


def test_weknora_table(tmp_path: Path) -> None:
    text = (
        "分类(必填),问题(必填),相似问题(选填-多个用##分隔),反例问题(选填-多个用##分隔),机器人回答(必填-多个用##分隔),"
        "是否全部回复(选填-默认FALSE),是否停用(选填-默认FALSE)\n"
        "售后,怎么退货,能退吗##我要退,怎么换货,七天内##包邮,FALSE,TRUE\n"
    )
    (entry,) = read(put(tmp_path, "a.csv", text)).entries
    assert (entry.category, entry.question, entry.enabled) == ("售后", "怎么退货", False)
    assert entry.similar_questions == ("能退吗", "我要退")
    assert entry.negative_questions == ("怎么换货",)
    assert entry.answer == "七天内\n\n包邮"


def test_maxkb_table_takes_the_lines_of_a_cell_as_wordings(tmp_path: Path) -> None:
    text = "分段标题（选填）,分段内容（必填，问题答案））,问题（选填，单元格内一行一个）\n"
    text += '退货,七天内,"怎么退货\n能退吗"\n发票,三天内,\n'
    first, second = read(put(tmp_path, "m.csv", text)).entries
    assert (first.question, first.similar_questions) == ("怎么退货", ("能退吗",))
    assert second.question == "发票"


def test_two_columns_without_a_header(tmp_path: Path) -> None:
    found = read(put(tmp_path, "x.csv", "怎么退货,七天内\n发票呢,三天\n\n"))
    assert [entry.question for entry in found.entries] == ["怎么退货", "发票呢"]
    numbered = read(put(tmp_path, "n.csv", "1,怎么退货,七天内\n2,发票呢,三天\n"))
    assert [entry.answer for entry in numbered.entries] == ["七天内", "三天"]


def test_a_text_file_of_tabs_is_a_table_and_a_header_decides_whatever_the_name(tmp_path: Path) -> None:
    assert len(read(put(tmp_path, "faq.txt", "怎么退货\t七天内\n发票呢\t三天\n")).entries) == 2
    assert len(read(put(tmp_path, "faq.md", "问题,答案\n怎么退货,七天内\n")).entries) == 1
    assert len(read(put(tmp_path, "faq.csv", "# 退货\n\n七天内可退，运费我们出。\n")).passages) == 1


def test_bad_rows_are_named_and_cost_no_good_one(tmp_path: Path) -> None:
    rows = [
        "问题,答案",
        "怎么退货,七天内",
        ",没有问题",
        "没有答案,",
        "发票呢,三天,多出来",
        "怎么退货？,七天内。",
        f"{'长' * 100_000},答",
        "最后,在",
    ]
    found = read(put(tmp_path, "faq.csv", "\n".join(rows)))
    assert [entry.question for entry in found.entries] == ["怎么退货", "最后"]
    assert [(problem.place, problem.reason) for problem in found.problems] == [
        ("第 3 行", "no_question"),
        ("第 4 行", "no_answer"),
        ("第 5 行", "malformed"),
        ("第 6 行", "duplicate"),
        ("第 7 行", "too_long"),
    ]
    assert found.places == ("第 2 行", "第 8 行")


def test_ids(tmp_path: Path) -> None:
    found = read(put(tmp_path, "faq.csv", "id,问题,答案\na,退货,七天\na,发票,三天\nb,退货,七天\n"))
    assert [entry.id for entry in found.entries] == ["a", "b"], "an id of its own makes a duplicate an entry"
    assert [(problem.place, problem.reason) for problem in found.problems] == [("第 3 行", "duplicate_id")]


def test_an_unclosed_quote_costs_its_own_line_only(tmp_path: Path) -> None:
    found = read(put(tmp_path, "faq.csv", '问题,答案\n退货,"七天\n发票,三天\n运费,"我们, 出"\n'))
    assert [entry.question for entry in found.entries] == ["发票", "运费"]
    assert [(problem.place, problem.reason) for problem in found.problems] == [("第 2 行", "malformed")]


def test_an_action_needs_no_answer_and_an_evaluation_neither(tmp_path: Path) -> None:
    (entry,) = read(put(tmp_path, "a.csv", "问题,答案,动作\n我的订单呢,,action_order\n")).entries
    assert entry.action == "action_order"
    path = put(
        tmp_path, "b.jsonl", '{"id":"1","question":"退货","answer":""}\n{"id":"2","question":"退货","answer":""}\n'
    )
    assert not read(path).entries
    assert [entry.id for entry in read(path, for_evaluation=True).entries] == ["1", "2"]


def test_list_cells(tmp_path: Path) -> None:
    text = '问题,答案,相似问题,标签\n甲,答,一##二,x|y\n乙,答,"一|1\n二",z\n'
    first, second = read(put(tmp_path, "l.csv", text)).entries
    assert first.similar_questions == ("一", "二")
    assert first.tags == ("x", "y")
    assert second.similar_questions == ("一|1", "二")


@pytest.mark.parametrize(
    ("cell", "items"),
    [
        ("能发顺丰吗；可以走京东吗", ("能发顺丰吗", "可以走京东吗")),
        ("能发顺丰吗；可以走京东吗；", ("能发顺丰吗", "可以走京东吗")),
        ("能发顺丰吗; 可以走京东吗?", ("能发顺丰吗", "可以走京东吗?")),
        ("多久发货；发货时间；几天能到", ("多久发货", "发货时间", "几天能到")),
        ("退货流程；退款流程", ("退货流程", "退款流程")),
        ("能发顺丰吗；", ("能发顺丰吗",)),
        ("能发顺丰吗｜可以走京东吗", ("能发顺丰吗", "可以走京东吗")),
        ("怎么退货/怎么退款", ("怎么退货", "怎么退款")),
        ("已经付款了；怎么还没发货", None),
        ("买了茶壶；但是碎了；怎么办？", None),
        ("7/8月有活动吗", None),
        ("能不能开发票/收据", None),
        ("iPhone/iPad 能用吗；", ("iPhone/iPad 能用吗",)),
    ],
)
def test_similar_questions_in_a_cell_of_one_line(tmp_path: Path, cell: str, items: tuple[str, ...] | None) -> None:
    for title, field in (("相似问", "similar_questions"), ("反例", "negative_questions")):
        (entry,) = read(put(tmp_path, "l.csv", f"问题,答案,{title}\n主,答,{cell}\n")).entries
        assert getattr(entry, field) == (items or (cell,))


def test_what_parts_a_column_parts_every_cell_of_it(tmp_path: Path) -> None:
    clear, unclear = "能发顺丰吗；可以走京东吗", "我想退货；不喜欢能退吗"
    apart = ("我想退货", "不喜欢能退吗")
    found = read(put(tmp_path, "l.csv", f"问题,答案,相似问\n甲,答,{clear}\n乙,答,{unclear}\n丙,答,{clear}\n")).entries
    assert found[1].similar_questions == apart
    (entry,) = read(put(tmp_path, "l.csv", f"问题,答案,相似问（用；分隔）\n乙,答,{unclear}\n")).entries
    assert entry.similar_questions == apart
    (entry,) = read(put(tmp_path, "l.csv", "问题,答案,标签,渠道\n乙,答,热门、退货,web；wechat\n")).entries
    assert (entry.tags, entry.channels) == (("热门", "退货"), ("web", "wechat"))


def test_a_value_that_fits_no_field_is_shown_with_its_column(tmp_path: Path) -> None:
    rows: list[list[object]] = [
        ["问题", None, "答案", "生效日期（选填）", "失效日期", "是否启用"],
        ["双十一？", None, "八折", "2026-13-40", None, None],
        ["黑五？", None, "九折", None, "下周三", "是"],
        ["圣诞？", None, "九折", "2026-12-25", "2026-12-01", None],
        ["元旦？", None, "九折", None, None, "也" * 100],
        ["春节？", None, "九折", "2026/1/2", "2026年1月3日", "否"],
    ]
    found = read(workbook(tmp_path, {"活动": rows, "配送": [["问题", "答案"], ["包邮吗", "包"]]}))
    assert [entry.question for entry in found.entries] == ["春节？", "包邮吗"]
    assert [(problem.place, problem.reason, problem.detail) for problem in found.problems] == [
        ("工作表「活动」第 2 行", "bad_date", "D 列「生效日期（选填）」：2026-13-40"),
        ("工作表「活动」第 3 行", "bad_date", "E 列「失效日期」：下周三"),
        ("工作表「活动」第 4 行", "dates_reversed", "E 列「失效日期」：2026-12-01 < 2026-12-25"),
        ("工作表「活动」第 5 行", "bad_flag", f"F 列「是否启用」：{'也' * 60}…"),
    ]
    found = read(put(tmp_path, "a.jsonl", '{"question": "a", "answer": "b", "valid_from": "明天"}\n'))
    assert [(problem.place, problem.reason, problem.detail) for problem in found.problems] == [
        ("第 1 条", "bad_date", "valid_from：明天")
    ]


def test_columns_are_named_as_spreadsheets_do() -> None:
    columns = Columns(tuple([None] * 25 + ["question", "answer"] + [None] * 675 + ["tags"]))
    assert columns.called() == {"question": "Z 列", "answer": "AA 列", "tags": "AAA 列"}


def workbook(folder: Path, sheets: dict[str, list[list[object]]], name: str = "faq.xlsx") -> Path:
    book = Workbook()
    del book["Sheet"]
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(folder / name)
    return folder / name


def test_workbook_with_several_sheets(tmp_path: Path) -> None:
    path = workbook(
        tmp_path,
        {
            "售后": [["问答表"], [], ["编号", "问题", "答案"], ["k1", "怎么退货", 7.0], ["k2", "发票", None]],
            "空的": [],
            "说明": [["请按格式填写"]],
            "发票": [["问题", "答案"], ["专票", "可以"]],
        },
    )
    found = read(path, "表.xlsx")
    assert [(entry.id, entry.question, entry.answer) for entry in found.entries] == [
        ("k1", "怎么退货", "7"),
        ("", "专票", "可以"),
    ]
    assert found.places == ("工作表「售后」第 4 行", "工作表「发票」第 2 行")
    assert [(problem.place, problem.reason) for problem in found.problems] == [
        ("工作表「售后」第 5 行", "no_answer"),
        ("工作表「说明」", "no_columns"),
    ]


def test_a_workbook_named_otherwise_is_still_one(tmp_path: Path) -> None:
    path = workbook(tmp_path, {"a": [["问题", "答案"], ["甲", "乙"]]}, "faq.xlsx")
    assert len(read(path, "faq.csv").entries) == 1


def test_a_wrong_used_range_hides_no_rows(tmp_path: Path) -> None:
    path = workbook(tmp_path, {"a": [["问题", "答案"], ["甲", "乙"], ["丙", "丁"]]})
    out = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for member in old.namelist():
            new.writestr(member, old.read(member).replace(b'<dimension ref="A1:B3"', b'<dimension ref="A1"'))
    path.write_bytes(out.getvalue())
    assert len(read(path).entries) == 2


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", "<x/>")
        with archive.open("xl/sharedStrings.xml", "w", force_zip64=True) as member:
            for _ in range(64):
                member.write(bytes(1024 * 1024))
    with pytest.raises(ReadError) as caught:
        read(path, limits=Limits(unpacked_bytes_max=16 * 1024 * 1024))
    assert caught.value.code == "too_large"


def test_columns_that_cannot_be_told(tmp_path: Path) -> None:
    with pytest.raises(ReadError) as caught:
        read(put(tmp_path, "p.csv", "名称,价格,库存\n锅,9,3\n盆,5,1\n"))
    assert caught.value.code == "no_columns"
    assert "名称、价格、库存" in str(caught.value)


def test_too_many_rows_stop_with_a_word(tmp_path: Path) -> None:
    text = "问题,答案\n" + "".join(f"问{i},答{i}\n" for i in range(30))
    found = read(put(tmp_path, "big.csv", text), limits=Limits(rows_max=10))
    assert len(found.entries) == 10
    assert found.problems[-1].reason == "too_many"
