"""Word documents as companies write them, made here with python-docx."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from docx import Document
from docx.document import Document as DocumentType
from docx.oxml import OxmlElement
from docx.oxml.ns import qn

from knowledge.errors import ReadError
from knowledge.readers import read
from knowledge.types import ReadResult


@pytest.fixture
def word(tmp_path: Path) -> Callable[..., ReadResult]:
    def made(build: Callable[[DocumentType], object], name: str = "文件.docx") -> ReadResult:
        document = Document()
        build(document)
        document.save(str(tmp_path / "made.docx"))
        return read(tmp_path / "made.docx", name)

    return made


def pairs(found: ReadResult) -> list[tuple[str, str]]:
    return [(entry.question, entry.answer) for entry in found.entries]


def lines(*texts: str) -> Callable[[DocumentType], object]:
    return lambda document: [document.add_paragraph(text) for text in texts]


def bold(document: DocumentType, text: str) -> None:
    document.add_paragraph().add_run(text).bold = True


def test_headings_that_ask(word: Callable[..., ReadResult]) -> None:
    def build(document: DocumentType) -> None:
        document.add_heading("客户常见问题", 0)
        document.add_heading("账户", 1)
        document.add_heading("怎么修改手机号？", 2)
        document.add_paragraph("打开设置。")
        document.add_paragraph("点击手机号，按提示修改。")
        document.add_heading("忘记密码", 2)
        document.add_paragraph("点击找回密码。")
        document.add_heading("支付", 1)
        document.add_heading("支持哪些支付方式？", 2)
        document.add_paragraph("微信")
        document.add_paragraph("支付宝")

    found = word(build)
    assert pairs(found) == [
        ("怎么修改手机号？", "打开设置。\n\n点击手机号，按提示修改。"),
        ("忘记密码", "点击找回密码。"),
        ("支持哪些支付方式？", "微信\n\n支付宝"),
    ]
    assert [entry.category for entry in found.entries] == ["账户", "账户", "支付"]
    assert not found.problems


def test_automatic_numbers_and_steps_in_an_answer(word: Callable[..., ReadResult]) -> None:
    def build(document: DocumentType) -> None:
        document.add_paragraph("常见问题")
        for question, steps in (
            ("退货怎么操作？", ["打开订单", "点击退货"]),
            ("订单显示未付款", []),
            ("发票怎么开？", []),
        ):
            document.add_paragraph(question, style="List Number")
            document.add_paragraph(f"关于{question[:2]}的说明。")
            for step in steps:
                document.add_paragraph(step, style="List Bullet")

    assert pairs(word(build)) == [
        ("退货怎么操作？", "关于退货的说明。\n\n- 打开订单\n- 点击退货"),
        ("订单显示未付款", "关于订单的说明。"),
        ("发票怎么开？", "关于发票的说明。"),
    ]


def test_bold_questions(word: Callable[..., ReadResult]) -> None:
    def build(document: DocumentType) -> None:
        for question in ("产品支持哪些系统？", "有没有试用版？", "试用期多长？"):
            bold(document, question)
            paragraph = document.add_paragraph("支持")
            paragraph.add_run("全部").bold = True
            paragraph.add_run("系统。")

    assert pairs(word(build)) == [
        (question, "支持**全部**系统。") for question in ("产品支持哪些系统？", "有没有试用版？", "试用期多长？")
    ]


@pytest.mark.parametrize(
    "marks", [("Q1：", "A1："), ("问题一：", "答："), ("【问】", "【答】"), ("Q: ", "A: "), ("問：", "答：")]
)
def test_marks_of_question_and_answer(word: Callable[..., ReadResult], marks: tuple[str, str]) -> None:
    asked, answered = marks
    found = word(
        lines(
            "公司简介：我们做锅。",
            f"{asked}怎么发货",
            f"{answered}两天内发货。",
            "节假日顺延。",
            f"{asked}能退吗",
            f"{answered}能退。",
        )
    )
    assert pairs(found) == [("怎么发货", "两天内发货。\n\n节假日顺延。"), ("能退吗", "能退。")]
    assert [passage.text for passage in found.passages] == ["公司简介：我们做锅。"]


def test_chapters_over_numbered_questions(word: Callable[..., ReadResult]) -> None:
    found = word(
        lines(
            "一、售前", "1、有实体店吗？", "有，在上海。", "2、价格能优惠吗？", "请关注活动。", "二、售后",
            "1、坏了怎么修？", "请按步骤处理：", "1、断电", "2、联系客服", "2、保修多久？", "一年。",
        )
    )  # fmt: skip
    assert pairs(found) == [
        ("有实体店吗？", "有，在上海。"),
        ("价格能优惠吗？", "请关注活动。"),
        ("坏了怎么修？", "请按步骤处理：\n\n1、断电\n\n2、联系客服"),
        ("保修多久？", "一年。"),
    ]
    assert [entry.category for entry in found.entries] == ["售前", "售前", "售后", "售后"]


def test_chapters_that_ask_are_the_questions(word: Callable[..., ReadResult]) -> None:
    found = word(
        lines(
            "一、什么是会员？",
            "付费用户。",
            "二、会员怎么退？",
            "1. 打开会员页",
            "2. 点击退订",
            "三、会员多少钱？",
            "十元。",
        )
    )
    assert pairs(found) == [
        ("什么是会员？", "付费用户。"),
        ("会员怎么退？", "1. 打开会员页\n\n2. 点击退订"),
        ("会员多少钱？", "十元。"),
    ]


def test_a_table_of_questions_and_answers(word: Callable[..., ReadResult]) -> None:
    def build(document: DocumentType) -> None:
        document.add_paragraph("以下是客服话术表，请按此回答客户。")
        table = document.add_table(rows=1, cols=3)
        for cell, text in zip(table.rows[0].cells, ("序号", "问题", "答案"), strict=True):
            cell.text = text
        for number, (question, answer) in enumerate(
            (("怎么付款", "微信\n支付宝"), ("怎么退款", "原路退回"), ("没写的", "")), 1
        ):
            for cell, text in zip(table.add_row().cells, (str(number), question, answer), strict=True):
                cell.text = text

    found = word(build)
    assert pairs(found) == [("怎么付款", "微信\n支付宝"), ("怎么退款", "原路退回")]
    assert [(problem.reason, problem.question) for problem in found.problems] == [("no_answer", "没写的")]
    assert found.places[0] == "第 2 段 表格第 2 行"
    assert len(found.passages) == 1


def test_a_table_within_an_answer_stays_whole(word: Callable[..., ReadResult]) -> None:
    def build(document: DocumentType) -> None:
        document.add_heading("常见问题", 1)
        document.add_heading("运费怎么算？", 2)
        document.add_paragraph("见下表：")
        table = document.add_table(rows=2, cols=2)
        for cell, text in zip(
            [*table.rows[0].cells, *table.rows[1].cells], ("地区", "运费", "华东", "6|8 元"), strict=True
        ):
            cell.text = text
        document.add_paragraph("偏远地区另计。")

    assert pairs(word(build)) == [
        ("运费怎么算？", "见下表：\n\n| 地区 | 运费 |\n| --- | --- |\n| 华东 | 6\\|8 元 |\n\n偏远地区另计。")
    ]


def test_a_handbook_stays_passages(word: Callable[..., ReadResult]) -> None:
    def build(document: DocumentType) -> None:
        document.add_heading("售后服务管理规定", 0)
        document.add_heading("第一章 总则", 1)
        document.add_paragraph("为规范售后服务，制定本规定。")
        document.add_heading("第二章 退货流程", 1)
        for step in ("客户提出申请。", "客服审核是否符合条件。", "仓库收货并检验。"):
            document.add_paragraph(step, style="List Number")
        document.add_heading("第三章 如何考核", 1)
        document.add_paragraph("按季度考核。")

    found = word(build, "售后服务管理规定.docx")
    assert not found.entries
    assert not found.problems
    titles = [passage.title for passage in found.passages]
    assert titles == [f"售后服务管理规定 / {title}" for title in ("第一章 总则", "第二章 退货流程", "第三章 如何考核")]
    assert found.passages[1].text.startswith("1. 客户提出申请。\n2. ")


def test_questions_without_answers_are_reported(word: Callable[..., ReadResult]) -> None:
    found = word(lines("常见问题", "1. 怎么退货？", "2. 怎么换货？", "3. 怎么开票？", "4. 怎么付款？"))
    assert not found.entries
    assert [problem.question for problem in found.problems] == ["怎么退货？", "怎么换货？", "怎么开票？", "怎么付款？"]
    assert {problem.reason for problem in found.problems} == {"no_answer"}


def test_links_and_pictures(word: Callable[..., ReadResult], tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(PNG)

    def build(document: DocumentType) -> None:
        document.add_heading("常见问题", 1)
        document.add_heading("怎么安装？", 2)
        paragraph = document.add_paragraph("见")
        for address, text in (
            ("https://example.com/x", "教程"),
            ("javascript:alert(1)", "坏链接"),
            ("file:///etc/passwd", "文件"),
        ):
            link = OxmlElement("w:hyperlink")
            link.set(qn("r:id"), document.part.relate_to(address, LINK, is_external=True))
            run = OxmlElement("w:r")
            run.text = text
            link.append(run)
            paragraph._p.append(link)
        document.add_picture(str(picture))

    ((_, answer),) = pairs(word(build))
    assert answer == "见[教程](https://example.com/x)坏链接文件\n\n![图片](media/image1.png)"


def test_deleted_text_and_contents_are_left_out(word: Callable[..., ReadResult]) -> None:
    def build(document: DocumentType) -> None:
        document.add_heading("FAQ", 1)
        document.add_paragraph("怎么退？\t1", style=document.styles.add_style("TOC 1", 1))
        document.add_heading("怎么退？", 2)
        paragraph = document.add_paragraph("七天内")
        gone = OxmlElement("w:del")
        run, text = OxmlElement("w:r"), OxmlElement("w:delText")
        text.text = "三十天内"
        run.append(text)
        gone.append(run)
        paragraph._p.append(gone)
        paragraph.add_run("可退。")

    assert pairs(word(build)) == [("怎么退？", "七天内可退。")]


def test_damage_and_entities(word: Callable[..., ReadResult], tmp_path: Path) -> None:
    word(lines("第一段足够长的文字。"))
    with zipfile.ZipFile(tmp_path / "made.docx") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    bomb = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;"><!ENTITY c SYSTEM "file:///etc/passwd">]>'
    text = parts["word/document.xml"].split(b"?>", 1)[1]
    for changed in (b"<broken", bomb + text.replace("足够".encode(), b"&b;&c;"), b""):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for name, part in {**parts, "word/document.xml": changed}.items():
                archive.writestr(name, part)
        (tmp_path / "x.docx").write_bytes(out.getvalue())
        with pytest.raises(ReadError) as caught:
            read(tmp_path / "x.docx")
        assert caught.value.code == "malformed"


LINK = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/hyperlink"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc000000301010018dd8db0"
    "0000000049454e44ae426082"
)
