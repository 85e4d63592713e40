# ruff: noqa: E501 - lines stand here as long as they are on the page
"""PDF files, made here with reportlab and one of the Chinese fonts every reader brings."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

from knowledge.errors import ReadError
from knowledge.readers import read
from knowledge.types import ReadResult

FONT = "STSong-Light"
LINE = 18.0
# What is written, how large, and where from the left.
Text = tuple[str, float] | tuple[str, float, float]


@pytest.fixture
def pdf(tmp_path: Path) -> Callable[..., ReadResult]:
    pdfmetrics.registerFont(UnicodeCIDFont(FONT))

    def made(*pages: Sequence[Text], header: str = "", encrypt: str | None = None) -> ReadResult:
        stream = io.BytesIO()
        canvas = Canvas(stream, pagesize=(595, 842), encrypt=StandardEncryption(encrypt) if encrypt else None)
        for number, page in enumerate(pages, start=1):
            canvas.setFont(FONT, 9)
            if header:
                canvas.drawString(60, 815, header)
                canvas.drawString(280, 25, f"第 {number} 页 / 共 {len(pages)} 页")
            y = 760.0
            for item in page:
                text, size, left = item if len(item) == 3 else (*item, 60.0)
                canvas.setFont(FONT, size)
                canvas.drawString(left, y, text)
                y -= LINE * max(1.0, size / 12)
            canvas.showPage()
        canvas.save()
        (tmp_path / "made.pdf").write_bytes(stream.getvalue())
        return read(tmp_path / "made.pdf", "说明.pdf")

    return made


def pairs(found: ReadResult) -> list[tuple[str, str]]:
    return [(entry.question, entry.answer) for entry in found.entries]


FULL = "我们支持自签收之日起七天内无理由退货，商品须保持完好并附带全部配件和包装，退"  # one line of 12 points, full


def test_numbered_questions_broken_lines_and_page_margins(pdf: Callable[..., ReadResult]) -> None:
    found = pdf(
        [("常见问题解答", 20), ("1. 怎么退货？", 12), (FULL, 12), ("款原路返回。", 12), ("定制商品除外。", 12), ("2. 退货的运费由谁承担，发错货和质量问题是否都由卖家承担，需要提供什么凭证给客", 12),
         ("服？", 12), ("由我们承担。", 12), ("3. 怎么换货？", 12), ("1. 打开订单", 12), ("2. 点击换货", 12)],
        [("填写地址后提交。", 12), ("4. 多久发货？", 12), ("48 小时内。", 12)],
        header="某某公司客服手册 2024",
    )  # fmt: skip
    assert pairs(found) == [
        ("怎么退货？", f"{FULL}款原路返回。\n\n定制商品除外。"),
        ("退货的运费由谁承担，发错货和质量问题是否都由卖家承担，需要提供什么凭证给客服？", "由我们承担。"),
        ("怎么换货？", "1. 打开订单\n\n2. 点击换货\n\n填写地址后提交。"),
        ("多久发货？", "48 小时内。"),
    ]
    assert found.places == ("第 1 页", "第 1 页", "第 1 页", "第 2 页")
    assert not found.passages


def test_marks_and_english(pdf: Callable[..., ReadResult]) -> None:
    found = pdf(
        [("Q: How do I return an item that I bought in one of the shops of the company on a public", 12), ("holiday?", 12),
         ("A: Bring it back within seven days.", 12), ("Q: 有中文客服吗？", 12), ("A: 有。", 12)]
    )  # fmt: skip
    assert pairs(found) == [
        (
            "How do I return an item that I bought in one of the shops of the company on a public holiday?",
            "Bring it back within seven days.",
        ),
        ("有中文客服吗？", "有。"),
    ]


def test_large_lines_are_headings(pdf: Callable[..., ReadResult]) -> None:
    found = pdf(
        [
            ("产品手册", 24),
            ("安装说明", 16),
            ("请把机器放在平稳的台面上，接通电源。", 12),
            ("维护说明", 16),
            ("每月清洗一次滤网。", 12),
        ]
    )
    assert not found.entries
    assert [(passage.title, passage.text) for passage in found.passages] == [
        ("产品手册 / 安装说明", "请把机器放在平稳的台面上，接通电源。"),
        ("产品手册 / 维护说明", "每月清洗一次滤网。"),
    ]


def test_headings_that_ask(pdf: Callable[..., ReadResult]) -> None:
    found = pdf(
        [
            ("机器不转怎么办？", 16),
            ("检查电源。", 12),
            ("如何清洗滤网？", 16),
            ("用清水冲洗。", 12),
            ("保修多久？", 16),
            ("一年。", 12),
        ]
    )
    assert pairs(found) == [
        ("机器不转怎么办？", "检查电源。"),
        ("如何清洗滤网？", "用清水冲洗。"),
        ("保修多久？", "一年。"),
    ]


def test_a_scanned_page_is_reported_with_its_number(tmp_path: Path, pdf: Callable[..., ReadResult]) -> None:
    pdf([("文字", 12)])
    stream = io.BytesIO()
    canvas = Canvas(stream, pagesize=(595, 842))
    canvas.setFont(FONT, 12)
    canvas.drawString(60, 700, "这一页是可以读的文字，说明书的第一页。")
    canvas.showPage()
    picture = io.BytesIO()
    from PIL import Image

    Image.new("RGB", (60, 80), "white").save(picture, "PNG")
    picture.seek(0)
    canvas.drawImage(ImageReader(picture), 0, 0, 595, 842)
    canvas.showPage()
    canvas.showPage()
    canvas.save()
    (tmp_path / "s.pdf").write_bytes(stream.getvalue())
    found = read(tmp_path / "s.pdf")
    assert len(found.passages) == 1
    assert [(problem.place, problem.reason) for problem in found.problems] == [("第 2 页", "scanned_page")]


def test_a_password_and_damage(pdf: Callable[..., ReadResult], tmp_path: Path) -> None:
    with pytest.raises(ReadError) as caught:
        pdf([("秘密", 12)], encrypt="secret")
    assert caught.value.code == "encrypted"
    assert "说明.pdf" in str(caught.value)
    for data in (b"%PDF-1.7 ...", b"%PDF-1.7\n" + bytes(range(256)) * 20):
        (tmp_path / "x.pdf").write_bytes(data)
        with pytest.raises(ReadError) as caught:
            read(tmp_path / "x.pdf")
        assert caught.value.code == "malformed"


def test_a_table_and_two_columns(pdf: Callable[..., ReadResult], tmp_path: Path) -> None:
    pdf([("字体", 12)])
    stream = io.BytesIO()
    canvas = Canvas(stream, pagesize=(595, 842))
    canvas.setFont(FONT, 12)
    for row, (question, answer) in enumerate(
        (("问题", "答案"), ("怎么付款", "微信、支付宝"), ("怎么退款", "原路退回"))
    ):
        canvas.drawString(60, 760 - 20 * row, question)
        canvas.drawString(200, 760 - 20 * row, answer)
    canvas.save()
    (tmp_path / "t.pdf").write_bytes(stream.getvalue())
    assert pairs(read(tmp_path / "t.pdf")) == [("怎么付款", "微信、支付宝"), ("怎么退款", "原路退回")]
    column = [
        ("1. 怎么退货？", 12),
        ("我们支持自签收之日起七天内无理由退", 12),
        ("货，商品须完好。", 12),
        ("2. 怎么换货？", 12),
        ("联系客服。", 12),
    ]
    stream = io.BytesIO()
    canvas = Canvas(stream, pagesize=(595, 842))
    canvas.setFont(FONT, 12)
    for left, first in ((50, 1), (320, 3)):
        for row, (text, _) in enumerate(column):
            shown = text.replace("1. ", f"{first}. ").replace("2. ", f"{first + 1}. ")
            canvas.drawString(left, 760 - 18 * row, shown)
    canvas.save()
    (tmp_path / "c.pdf").write_bytes(stream.getvalue())
    found = read(tmp_path / "c.pdf")
    assert found.entries[0].answer == "我们支持自签收之日起七天内无理由退货，商品须完好。"
