# ruff: noqa: E501 - pages stand here as they are
"""Pages of help centres as their makers build them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from knowledge.errors import ReadError
from knowledge.readers import read
from knowledge.types import ReadResult

Page = Callable[..., ReadResult]


@pytest.fixture
def page(tmp_path: Path) -> Page:
    def made(text: str | bytes, name: str = "page.html") -> ReadResult:
        (tmp_path / "page").write_bytes(text if isinstance(text, bytes) else text.encode())
        return read(tmp_path / "page", name)

    return made


def pairs(found: ReadResult) -> list[tuple[str, str]]:
    return [(entry.question, entry.answer) for entry in found.entries]


def test_one_question_a_page_in_a_help_centre(page: Page) -> None:
    found = page(
        """<!DOCTYPE html><html><head><title>如何申请退款？ – 某某帮助中心</title><style>p{}</style></head><body>
        <header class="header"><a href="/">首页</a><nav><a href="/a">提交请求</a></nav></header>
        <main role="main"><nav class="sub-nav"><ol class="breadcrumbs"><li><a>帮助中心</a></li><li><a>订单</a></li></ol>
        <form role="search"><input></form></nav><div class="article-container"><aside class="article-sidebar"><h3>本组文章</h3>
        <ul><li><a href="1">如何修改地址？</a></li><li><a href="2">如何取消订单？</a></li><li><a href="3">如何付款？</a></li></ul></aside>
        <article class="article"><header class="article-header"><h1>如何申请退款？</h1><div class="article-meta">1年前更新</div></header>
        <section class="article-info"><div class="article-body"><p>打开<strong>订单</strong>，点击“申请退款”。</p>
        <ol><li>选择原因</li><li>上传照片<img src="https://x.com/a.png" alt="示例"><img src="data:image/png;base64,AA"></li></ol>
        <p>详见<a href="https://x.com/r">规则</a>或<a href="java&#10;script:alert(1)">点这里</a>。</p><script>alert(1)</script></div></section>
        <footer><div class="article-votes">这篇文章有帮助吗？<button>是</button></div></footer></article>
        <section class="related-articles"><h3>相关文章</h3><ul><li><a href="4">多久到账？</a></li></ul></section></div></main>
        <footer class="footer">Copyright 2024</footer></body></html>"""
    )
    answer = "打开**订单**，点击“申请退款”。\n\n1. 选择原因\n2. 上传照片![示例](https://x.com/a.png)\n\n详见[规则](https://x.com/r)或点这里。"
    assert pairs(found) == [("如何申请退款？", answer)]
    assert not found.passages
    assert not found.problems


def test_bold_numbered_questions_in_an_old_page(page: Page) -> None:
    text = """<html><head><meta http-equiv="Content-Type" content="text/html; charset=gb2312"><title>常见问题</title></head><body>
    <div id="nav"><a href=a>首页</a> | <a href=b>产品</a></div><p><strong>1、你们的产品保修多久？</strong></p><p>答：整机保修一年。</p>
    <p>电池保修半年。</p><p><strong>2、怎么申请保修？</strong></p><p>拨打 400-800-1234。</p>
    <table><tr><th>型号</th><th>保修</th></tr><tr><td>A1</td><td>1年</td></tr></table><p align="center">版权所有 2020 某公司</p></body></html>"""
    assert pairs(page(text.encode("gb18030"))) == [
        ("你们的产品保修多久？", "整机保修一年。\n\n电池保修半年。"),
        ("怎么申请保修？", "拨打 400-800-1234。\n\n| 型号 | 保修 |\n| --- | --- |\n| A1 | 1年 |"),
    ]


def test_big5_with_a_declared_charset(page: Page) -> None:
    text = (
        '<html><head><meta charset="big5"></head><body><dl><dt>如何退貨？</dt><dd>七天內退貨。</dd></dl></body></html>'
    )
    assert pairs(page(text.encode("big5"))) == [("如何退貨？", "七天內退貨。")]


def test_lists_of_definitions_under_headings(page: Page) -> None:
    found = page(
        """<html><body><div class="faq"><h2>购物</h2><dl><dt>怎么下单？</dt><dd><p>选择商品。</p><p>点击购买。</p></dd>
        <dt>可以货到付款吗？</dt><dd>不可以。</dd></dl><h2>配送</h2><dl><dt>多久送到？</dt><dd>三天。</dd></dl></div>
        <div class="foot"><dl><dt>关于我们</dt><dd><a>简介</a><a>招聘</a></dd></dl></div></body></html>"""
    )
    assert pairs(found) == [
        ("怎么下单？", "选择商品。\n\n点击购买。"),
        ("可以货到付款吗？", "不可以。"),
        ("多久送到？", "三天。"),
    ]
    assert [entry.category for entry in found.entries] == ["购物", "购物", "配送"]


def test_a_list_of_terms_is_no_faq(page: Page) -> None:
    found = page(
        "<html><body><h1>参数</h1><dl><dt>重量</dt><dd>两公斤左右的机身重量</dd><dt>颜色</dt><dd>白色与黑色可选</dd></dl></body></html>"
    )
    assert not found.entries
    assert "两公斤左右" in found.passages[0].text


def test_metadata_of_an_faq_page(page: Page) -> None:
    found = page(
        """<html><head><script type="application/ld+json">{"@context":"https://schema.org","@graph":[{"@type":["WebPage","FAQPage"],
        "mainEntity":[{"@type":"Question","name":"支持哪些付款方式？","acceptedAnswer":{"@type":"Answer",
        "text":"<p>支持<b>微信</b>。</p><ul><li>花呗</li><li>银行卡</li></ul><script>x<\\/script>"}},
        {"@type":"Question","name":"能开发票吗","acceptedAnswer":[{"@type":"Answer","text":"能。"}]},
        {"@type":"Question","name":"空的？","acceptedAnswer":{"@type":"Answer","text":""}}]}]}</script></head>
        <body><h1>帮助中心</h1><h3>能开发票吗</h3><div>能，在<b>订单</b>里开。</div><p>更多问题请看社区。</p></body></html>"""
    )
    assert ("支持哪些付款方式？", "支持**微信**。\n\n- 花呗\n- 银行卡") in pairs(found)
    assert sum(question == "能开发票吗" for question, _ in pairs(found)) == 1
    assert [(problem.reason, problem.question) for problem in found.problems] == [("no_answer", "空的？")]


STATED = '{"@type":"FAQPage","mainEntity":[{"@type":"Question","name":"能货到付款吗？","acceptedAnswer":{"@type":"Answer","text":"%s"}}]}'


def test_a_script_within_metadata_cuts_nothing_off(page: Page) -> None:
    stated = STATED % "不能。<script>x()</script>可用微信。<script>y()</script>"
    found = page(
        f'<html><head><script type="application/ld&#43;json">{stated}</script></head><body><p>欢迎来。</p></body></html>'
    )
    assert pairs(found) == [("能货到付款吗？", "不能。可用微信。")]
    assert [passage.text for passage in found.passages] == ["欢迎来。"]
    assert not found.problems


@pytest.mark.parametrize(
    "broken",
    [
        STATED % '不能 "货到"付款',
        STATED.replace("]}", "") % "不能",
        (STATED % '不能，<script>x()</script>"可用"微信') + "<p>",
        "{broken",
        "[" * 100_000,
    ],
)
@pytest.mark.parametrize("form", ["<html><head>%s</head><body>%s</body></html>", "<h1>帮助</h1>%s%s", "%s%s"])
def test_broken_metadata_is_told_of_and_no_passage(page: Page, broken: str, form: str) -> None:
    script = f'<script type="application/ld+json">{broken}</script>'
    found = page(form % (script, "<p>我们的店在杭州，欢迎来。</p>"))
    assert [passage.text for passage in found.passages] == ["我们的店在杭州，欢迎来。"]
    assert [(problem.place, problem.reason) for problem in found.problems] == [("JSON-LD 第 1 段", "broken_metadata")]
    assert not found.entries
    alone = page(script)
    assert [problem.reason for problem in alone.problems] == ["broken_metadata"]
    assert not alone.passages


def test_a_stray_end_of_a_script_costs_no_content(page: Page) -> None:
    found = page('<p>前面。</p><script type="application/ld+json">{broken</script><p>后面的话还在。</p></script>')
    assert [passage.text for passage in found.passages] == ["前面。\n\n后面的话还在。"]


def test_microdata(page: Page) -> None:
    found = page(
        """<html><body itemscope itemtype="https://schema.org/FAQPage"><div itemscope itemprop="mainEntity"
        itemtype="https://schema.org/Question"><h3 itemprop="name">退货地址</h3><div itemscope itemprop="acceptedAnswer"
        itemtype="https://schema.org/Answer"><div itemprop="text"><p>请联系客服。</p><p>不要自行寄回。</p></div></div></div></body></html>"""
    )
    assert pairs(found) == [("退货地址", "请联系客服。\n\n不要自行寄回。")]


@pytest.mark.parametrize(
    "item",
    [
        '<details><summary>{q}</summary><p>{a}</p></details>',
        '<details><summary>{q}</summary>{a}</details>',
        '<div class="qa-item"><div class="question">{q}</div><div class="answer"><p>{a}</p></div></div>',
        '<div class="el-collapse-item"><div role="button" class="el-collapse-item__header">{q}<i></i></div><div class="el-collapse-item__wrap"><div class="el-collapse-item__content">{a}</div></div></div>',
        '<h3><button aria-expanded="false" aria-controls="{n}">{q}</button></h3><div id="{n}" hidden><p>{a}</p></div>',
        '<div class="card"><div class="card-header"><button data-bs-toggle="collapse" data-bs-target="#{n}">{q}</button></div><div id="{n}" class="collapse"><div class="card-body">{a}</div></div></div>',
        '<div class="layui-colla-item"><h2 class="layui-colla-title">{q}</h2><div class="layui-colla-content">{a}</div></div>',
        "<h3>{q}</h3><p>{a}</p>",
        "<p>Q：{q}<br>A：{a}</p>",
        "<p>问：{q}</p><p>答：{a}</p>",
        '<p><span style="font-weight: bold">{q}</span></p><p>{a}</p>',
        "<ul><li><p>{q}</p><p>{a}</p></li></ul>",
        "<h4>{n}. {q}</h4><div>{a}</div>",
        "<table><tr><td>{q}</td><td>{a}</td></tr></table>",
    ],
)  # fmt: skip
def test_ways_to_build_a_list_of_questions(page: Page, item: str) -> None:
    asked = [
        ("怎么绑定手机？", "在设置里绑定。"),
        ("认证要多久？", "三个工作日。"),
        ("可以解绑吗？", "可以，联系客服。"),
    ]
    body = "".join(item.format(q=q, a=a, n=n) for n, (q, a) in enumerate(asked, start=1))
    found = page(f"<html><body><div class='wrap'><h1>帮助文档</h1>{body}</div></body></html>")
    assert pairs(found) == asked
    assert not found.problems


def test_a_policy_stays_passages(page: Page) -> None:
    found = page(
        """<html><head><title>退货政策 - 商城</title></head><body><div class="menu"><a href="1">如何付款？</a></div><h1>退货政策</h1>
        <h2>退货条件</h2><p>自签收之日起七日内，商品完好可以退货。</p><h2>退货流程</h2><ol><li>提出申请</li><li>寄回商品</li></ol></body></html>"""
    )
    assert not found.entries
    assert [passage.title for passage in found.passages] == ["退货政策 / 退货条件", "退货政策 / 退货流程"]
    assert found.passages[1].text == "1. 提出申请\n2. 寄回商品"


def test_a_list_of_links_to_questions_has_no_answers(page: Page) -> None:
    items = "".join(
        f'<li><a href="/q/{n}">· {q}</a></li>'
        for n, q in enumerate(("怎么退货？", "怎么换货？", "如何开发票", "多久发货？"))
    )
    found = page(f"<html><body><div class='main'><h2>热门问题</h2><ul>{items}</ul></div></body></html>")
    assert not found.entries
    assert [problem.question for problem in found.problems] == ["怎么退货？", "怎么换货？", "如何开发票", "多久发货？"]
    assert {problem.reason for problem in found.problems} == {"no_answer"}


def test_a_list_of_contents_is_no_list_of_unanswered_questions(page: Page) -> None:
    found = page(
        """<html><body><h1>FAQ</h1><ul><li><a href="#a">怎么退货？</a></li><li><a href="#b">怎么换货？</a></li>
        <li><a href="#c">多久发货？</a></li></ul><h3 id=a>怎么退货？</h3><p>七天内。</p><h3 id=b>怎么换货？</h3><p>联系客服。</p>
        <h3 id=c>多久发货？</h3><p>两天。</p></body></html>"""
    )
    assert len(found.entries) == 3
    assert not found.problems


def test_a_page_named_xls_is_a_table(page: Page) -> None:
    rows = (
        "<tr><td>问题</td><td>答案</td></tr><tr><td rowspan=2>怎么付款</td><td>微信</td></tr><tr><td>支付宝</td></tr>"
    )
    for text in (f"<html><body><table>{rows}</table></body></html>", f"<table border=1>{rows}</table>"):
        assert pairs(page(text, "导出.xls")) == [("怎么付款", "微信\n\n支付宝")]


def test_deep_nesting_ends_in_a_result_or_a_refusal(page: Page) -> None:
    text = (
        "<html><body>" + "<div>" * 50_000 + "怎么退货？" + "</div>" * 50_000 + "<p>最后的一段文字。</p></body></html>"
    )
    try:
        assert "怎么退货" in str(page(text))
    except ReadError as error:
        code = error.code
    else:
        code = "read"
    assert code in {"read", "malformed", "empty"}


def test_scripts_in_an_accordion_are_gone_its_list_stays_and_an_empty_one_is_told(page: Page) -> None:
    result = page(
        "<h1>常见问题</h1><details><summary>驱虫多久一次？</summary><p>每月一次</p><ul><li>幼宠两周</li></ul>"
        "<script>alert(2)</script><style>p{}</style></details><details><summary>有停车场吗？</summary></details>"
    )

    assert pairs(result) == [("驱虫多久一次？", "每月一次\n\n- 幼宠两周")]
    assert [(one.reason, one.question) for one in result.problems] == [("no_answer", "有停车场吗？")]
