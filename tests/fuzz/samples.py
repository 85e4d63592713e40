"""A small valid file of every kind the readers take, and ways to damage one: by bytes, and within a zip file's part."""

import csv
import io
import json
import zipfile
from datetime import date
from typing import Literal

import xlwt
from docx import Document
from openpyxl import Workbook
from reportlab.pdfgen.canvas import Canvas

# (where, as a share of the whole; what; bytes put in or flipped with; how many bytes are dropped or doubled)
Change = tuple[float, Literal["flip", "insert", "delete", "duplicate"], bytes, int]

PAIRS = [
    ("怎么退货？", "七天内可以退货。"),
    ("Do you ship abroad?", "Yes, **2-3** weeks."),
    ("PPR-9087 多少钱", "59 元"),
]
MARKDOWN = """---
title: 售后
---
# 常见问题

## 怎么退货？

七天内可以，见 [退货页](https://example.com/a)。

| 天数 | 运费 |
|---|---|
| 7 | 我们出 |

**Q: 能开发票吗？**
A: 能。

1. 多久发货？
   当天。
"""
PAGE = """<!doctype html><html><head><meta charset="utf-8"><title>帮助</title></head><body>
<nav><a href="/">首页</a></nav>
<h2>常见问题</h2><details><summary>怎么退货？</summary><p>七天内。<img src="a.png" alt="图"></p></details>
<dl><dt>能开发票吗？</dt><dd>能，<b>电子</b>的。</dd></dl><table><tr><th>问题</th><th>答案</th></tr><tr><td>多久到？</td><td>三天</td></tr>
</table>
<script type="application/ld+json">{"@type":"FAQPage","mainEntity":[{"@type":"Question","name":"包邮吗？",
"acceptedAnswer":{"@type":"Answer","text":"<p>满 99 元包邮</p>"}}]}</script></body></html>"""


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def parts(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _docx() -> bytes:
    document, stream = Document(), io.BytesIO()
    document.add_heading("售后", 1)
    for question, answer in PAIRS:
        document.add_heading(question, 2)
        document.add_paragraph(answer, style="List Number").add_run("重点").bold = True
    cells = document.add_table(2, 2).rows[1].cells
    cells[0].text, cells[1].text = "运费", "我们出"
    document.save(stream)
    return stream.getvalue()


def _xlsx() -> bytes:
    book, stream = Workbook(), io.BytesIO()
    for row in [("问题", "答案", "相似问题", "生效日期"), *((*pair, "a|b", date(2026, 1, 2)) for pair in PAIRS)]:
        book.active.append(row)
    book.active["B6"] = "=1+2"
    book.active.merge_cells("A2:A3")
    book.create_sheet("另一张").append(["说明", 1.5, True])
    book.save(stream)
    return stream.getvalue()


def _xls() -> bytes:
    book, stream = xlwt.Workbook(), io.BytesIO()
    sheet = book.add_sheet("问答")
    for at, row in enumerate([("问题", "答案"), *PAIRS]):
        for column, text in enumerate(row):
            sheet.write(at, column, text)
    sheet.write_merge(4, 5, 0, 0, "合并")
    sheet.write(4, 1, 45000.5, xlwt.easyxf(num_format_str="YYYY-MM-DD"))
    book.save(stream)
    return stream.getvalue()


def _pdf() -> bytes:
    stream = io.BytesIO()
    canvas = Canvas(stream)
    for at, (question, answer) in enumerate((("How do I return it?", "Within 7 days."), ("Do you ship?", "Yes."))):
        canvas.drawString(60, 700 - 60 * at, f"Q: {question}")
        canvas.drawString(60, 680 - 60 * at, f"A: {answer}")
    canvas.linkURL("https://example.com", (60, 600, 100, 620))
    canvas.showPage()
    canvas.rect(60, 60, 90, 90)
    canvas.save()
    return stream.getvalue()


def _table(delimiter: str) -> bytes:
    stream = io.StringIO()
    lines = [("问题", "答案", "相似问题"), *((*pair, "甲\n乙") for pair in PAIRS)]
    csv.writer(stream, delimiter=delimiter).writerows(lines)
    return stream.getvalue().encode()


def _json() -> bytes:
    rows = [{"id": "a", "question": q, "answer": a, "similar_questions": [q + "吗"], "tags": ["x"]} for q, a in PAIRS]
    return json.dumps({"data": rows}, ensure_ascii=False, indent=1).encode()


def _jsonl() -> bytes:
    rows = ({"question": q, "answer": a, "valid_from": "2026-01-02", "enabled": True} for q, a in PAIRS)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


SAMPLES: dict[str, bytes] = {
    "docx": _docx(),
    "xlsx": _xlsx(),
    "xls": _xls(),
    "pdf": _pdf(),
    "html": PAGE.encode(),
    "csv": _table(","),
    "tsv": _table("\t"),
    "md": MARKDOWN.encode(),
    "mdx": f"import A from 'a'\n\n<A>{MARKDOWN}</A>\n".encode(),
    "txt": "".join(f"{at}、{q}\n答：{a}\n" for at, (q, a) in enumerate(PAIRS, 1)).encode("gb18030"),
    "json": _json(),
    "jsonl": _jsonl(),
}
SAMPLES["zip"] = zipped({f"文件夹/a.{kind}": SAMPLES[kind] for kind in ("csv", "html", "md", "docx")})
ZIPPED = ("docx", "xlsx", "zip")


def changed(data: bytes, changes: list[Change]) -> bytes:
    """The bytes with every change made, one after the other."""
    for where, kind, with_, count in changes:
        at = int(where * len(data))
        if kind == "flip":
            end = data[at : at + len(with_)]
            data = data[:at] + bytes(a ^ b for a, b in zip(end, with_, strict=False)) + data[at + len(end) :]
        elif kind == "insert":
            data = data[:at] + with_ + data[at:]
        elif kind == "delete":
            data = data[:at] + data[at + count :]
        else:
            data = data[: at + count] + data[at:]
    return data


def changed_within(data: bytes, pick: float, changes: list[Change]) -> bytes:
    """A zip file with one part changed and everything about it right: lengths, packing, checksum."""
    members = parts(data)
    name = sorted(members)[int(pick * len(members))]
    members[name] = changed(members[name], changes)
    return zipped(members)
