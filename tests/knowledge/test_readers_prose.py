# ruff: noqa: E501 - texts stand here as they are
"""Markdown and plain text as companies write their questions, and texts that only look so."""

from pathlib import Path

import pytest

from knowledge.readers import read
from knowledge.readers.questions import asks, count
from knowledge.types import ReadResult


def put(folder: Path, text: str, name: str = "文件.txt") -> ReadResult:
    (folder / "upload").write_text(text, encoding="utf-8")
    return read(folder / "upload", name)


PAIRS = [("怎么付款？", "微信。"), ("怎么退款？", "原路退回。"), ("多久到账？", "三天。")]


@pytest.mark.parametrize(
    "form",
    [
        "{q}\n{a}\n\n",
        "问：{q}\n答：{a}\n",
        "问：{q}答：{a}\n",
        "Q{n}：{q}\nA{n}：{a}\n\n",
        "Q{n}. {q}\n{a}\n",
        "【问】{q}\n【答】{a}\n",
        "问题：\n{q}\n答案：\n{a}\n\n",
        "{n}、{q}\n{a}\n",
        "{n}.问：{q}\n答：{a}\n",
        "{n}. {q} {a}\n",
        "({n}) {q}\n{a}\n",
        "{q}{a}\n",
        "## {q}\n\n{a}\n\n",
        "### Q: {q}\n\nA: {a}\n\n",
        "### {n}. {q}\n{a}\n",
        "## ❓{q}\n{a}\n",
        "**{q}**\n\n{a}\n\n",
        "**{q}** {a}\n\n",
        "**Q: {q}**\n\nA: {a}\n\n",
        "- **Q: {q}**\n  A: {a}\n\n",
        "{n}. **{q}**\n\n   {a}\n\n",
        "<details>\n<summary>{q}</summary>\n\n{a}\n</details>\n\n",
        '<Accordion title="{q}">\n  {a}\n</Accordion>\n',
        '??? question "{q}"\n    {a}\n\n',
        "{q}\n====\n\n{a}\n\n",
    ],
)
@pytest.mark.parametrize("name", ["文件.md", "文件.txt"])
def test_ways_to_write_questions(tmp_path: Path, form: str, name: str) -> None:
    text = "".join(form.format(q=q, a=a, n=n) for n, (q, a) in enumerate(PAIRS, start=1))
    found = put(tmp_path, text, name)
    questions = [(entry.question.removeprefix("❓"), entry.answer) for entry in found.entries]
    assert questions == PAIRS
    assert not found.problems
    assert not found.passages


def test_traditional_chinese(tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(
        "常見問題\n問：如何退貨？\n答：七天內可退，請保留發票。\n問：運費多少？\n答：滿五百免運。\n".encode("big5")
    )
    found = read(tmp_path / "upload", "說明.txt")
    assert [(one.question, one.answer) for one in found.entries] == [
        ("如何退貨？", "七天內可退，請保留發票。"),
        ("運費多少？", "滿五百免運。"),
    ]


def test_sections_are_categories_and_steps_stay_in_answers(tmp_path: Path) -> None:
    found = put(
        tmp_path,
        "公司常见问题汇总\n\n一、售后问题\n1、如何申请退货？\n请按以下步骤：\n1. 打开 App\n2. 点击「我的订单」\n3. 选择退货\n2、退款多久到账？\n"
        "答：1-3 个工作日。\n二、物流\n1、发什么快递？\n默认顺丰。\n2、可以指定快递吗？\n可以：\n①备注\n②联系客服\n",
    )
    assert [(one.category, one.question, one.answer) for one in found.entries] == [
        ("售后问题", "如何申请退货？", "请按以下步骤：\n1. 打开 App\n2. 点击「我的订单」\n3. 选择退货"),
        ("售后问题", "退款多久到账？", "1-3 个工作日。"),
        ("物流", "发什么快递？", "默认顺丰。"),
        ("物流", "可以指定快递吗？", "可以：\n①备注\n②联系客服"),
    ]


def test_titles_without_a_question_mark_in_an_faq(tmp_path: Path) -> None:
    found = put(
        tmp_path, "常见问题\n\n1、关于退款时间\n三天到账。\n2、关于发票\n填写抬头。\n3、订单无法支付\n更换支付方式。\n"
    )
    assert [one.question for one in found.entries] == ["关于退款时间", "关于发票", "订单无法支付"]


def test_an_faq_among_other_sections(tmp_path: Path) -> None:
    found = put(
        tmp_path,
        "# 某软件\n\n- [安装](#安装)\n- [怎么装不上？](#x)\n\n## 安装\n\n```bash\n# 这不是标题？\nmake\n```\n\n## 常见问题\n\n### 怎么装不上？\n\n检查版本。\n\n"
        "| 系统 | 版本 |\n| --- | --- |\n| Mac | 12 |\n\n![图](a.png)\n\n### 许可证过期\n\n重新申请。\n\n```sh\n# 申请\n```\n\n### 联系我们\n\n电话 400-123。\n\n## 许可\n\nApache-2.0\n",
        "README.md",
    )
    assert [(one.question, one.answer) for one in found.entries] == [
        ("怎么装不上？", "检查版本。\n\n| 系统 | 版本 |\n| --- | --- |\n| Mac | 12 |\n\n![图](a.png)"),
        ("许可证过期", "重新申请。\n\n```sh\n# 申请\n```"),
    ]
    assert [passage.title for passage in found.passages] == [
        "某软件 / 安装",
        "某软件 / 常见问题 / 联系我们",
        "某软件 / 许可",
    ]
    assert not found.problems


def test_one_question_a_document(tmp_path: Path) -> None:
    found = put(
        tmp_path, "# 如何申请退款？\n\n打开订单。\n\n1. 选择原因\n2. 提交\n\n## 注意\n\n超过 7 天不能退。\n", "a.md"
    )
    assert [(one.question, one.answer) for one in found.entries] == [
        ("如何申请退款？", "打开订单。\n\n1. 选择原因\n2. 提交\n\n## 注意\n\n超过 7 天不能退。")
    ]


@pytest.mark.parametrize(
    "text",
    [
        "退货政策\n\n退货流程\n1. 在订单页申请退货\n2. 等待客服审核\n3. 寄回商品\n\n退款方式\n原路退回。\n",
        "# 员工手册\n\n## 考勤制度\n\n每天九点上班。\n\n## 请假流程\n\n提前一天申请。如何申请？请登录 OA。\n\n## 报销说明\n\n当月提交。\n",
        "信息安全制度\n\n一、总则\n1. 适用于全体员工。\n2. 是否涉密由保密办认定。\n二、检查内容\n1. 是否设置了密码？\n2. 是否定期更换？\n3. 是否外联？\n三、附则\n自发布之日起施行。\n",
        "# 使用手册\n\n## 1 快速开始\n\n### 1.1 如何安装\n\n下载。\n\n### 1.2 配置说明\n\n编辑。\n\n## 2 参考\n\n### 2.1 命令行\n\n见下表。\n",
        "客服：您好，请问有什么可以帮您？\n客户：我想退货。\n客服：好的。\n",
        "我们的产品是什么？它是一款智能客服系统。\n为什么要用它？因为它便宜、好用。\n欢迎购买。\n更多内容见官网。\n",
        "# 更新日志\n\n## v1.2\n- 修复无法登录的问题\n- 修复报错\n\n## v1.1\n- 新增功能\n",
        "# 为什么选择我们\n\n我们有十年经验。\n\n## 优势\n\n便宜。\n\n## 案例\n\n某公司。\n",
        "# 常见问题处理系统\n\n## 架构\n\n分三层。\n\n## 部署\n\n用容器。\n",
    ],
)
def test_other_documents_stay_passages(tmp_path: Path, text: str) -> None:
    found = put(tmp_path, text, "文档.md")
    assert not found.entries
    assert not found.problems
    kept = "".join(passage.title + passage.text for passage in found.passages)
    for word in ("总则", "流程", "优势", "架构", "快速开始", "欢迎购买", "我想退货"):
        assert (word in kept) == (word in text)


@pytest.mark.parametrize(
    ("line", "least", "most"),
    [
        ("怎么退货？", 1.0, 1.0),
        ("Q3：退货", 2.0, 2.0),
        ("第三问：退货", 2.0, 2.0),
        ("如何申请退款", 0.9, 0.9),
        ("能不能开发票", 0.9, 0.9),
        ("How do I pay", 0.9, 0.9),
        ("订单无法支付", 0.7, 0.7),
        ("检查 API Key 是否有效", 0.0, 0.0),
        ("多试几次", 0.0, 0.0),
        ("退货流程", 0.0, 0.0),
        ("本制度适用于全体员工。", 0.0, 0.0),
        ("请按如下步骤操作", 0.0, 0.0),
    ],
)
def test_how_surely_a_line_asks(line: str, least: float, most: float) -> None:
    assert least <= asks(line) <= most


@pytest.mark.parametrize(
    ("line", "number"),
    [("1. 甲", 1), ("12、甲", 12), ("（3）甲", 3), ("十二、甲", 12), ("③甲", 3), ("- 2) 甲", 2), ("1.12使用", None), ("2.4 GHz", None), ("1.3 甲", 3), ("2024年", None), ("3.5英寸", None), ("甲1、", None)],
)  # fmt: skip
def test_numbers_of_lines(line: str, number: int | None) -> None:
    found = count(line)
    assert (found.number if found else None) == number
