"""The chat page in a real browser, against the real service with the demo company."""

import re

import pytest
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SHIPPING = "运费多少钱，满多少包邮"
FREE_FROM = "满 99 元包邮"
NO_SOCKET = """
window.WebSocket = class {
  constructor() { setTimeout(() => this.onclose?.({code: 1006}), 1); }
  send() {}
  close() {}
};
"""
MARKDOWN = """
# 标题
**粗** *斜* `a<b` ~~旧~~
第二行

- 一
  - 里面
- 二

3. 三

| a | b |
|---|---|
| 1 | <img src=x onerror=alert(1)> |

[好](https://a.example/x?y=1) [坏](javascript:alert(1)) [坏](data:text/html,x) https://b.example/路
![图](http://c.example/x.png) <script>alert(1)</script>

```
<b>**不**</b>
```
> 引 [a]("onclick=alert(1))
"""


def ask(page: Page, text: str) -> None:
    page.get_by_role("textbox").first.fill(text)
    page.keyboard.press("Enter")


def last_reply(page: Page):
    return page.locator(".message.bot.done").last


def replies(page: Page, count: int) -> None:
    expect(page.locator(".message.bot.done")).to_have_count(count, timeout=30_000)


def serious(page: Page) -> list[str]:
    """Script errors; failed connections are what some tests are about."""
    return [problem for problem in page.problems if not re.search(r"WebSocket|Failed to load resource|ERR_", problem)]


def test_a_question_gets_its_answer_with_sources(visit, service):
    page = visit()
    page.goto(f"{service.url}/chat")
    expect(page.get_by_role("heading", name="小砾")).to_be_visible()
    expect(page.get_by_text("公司、商品、电话和订单均为虚构")).to_be_visible()
    ask(page, SHIPPING)
    expect(last_reply(page)).to_contain_text(FREE_FROM)
    expect(last_reply(page).locator("strong").first).to_be_visible()
    last_reply(page).locator(".sources summary").click()
    expect(last_reply(page).locator(".source-title").first).to_have_text(SHIPPING)
    expect(page.locator(".unseen[aria-live=polite]")).to_contain_text(FREE_FROM)
    assert not serious(page)


def test_starters_suggestions_and_thumbs(visit, service):
    page = visit()
    page.goto(f"{service.url}/chat")
    page.get_by_role("group", name="常见问题").get_by_role("button", name=SHIPPING).click()
    expect(last_reply(page)).to_contain_text(FREE_FROM)
    up = last_reply(page).get_by_role("button", name="有帮助", exact=True)
    with page.expect_response("**/feedback") as rated:
        up.click()
    assert rated.value.ok
    expect(up).to_have_attribute("aria-pressed", "true")
    last_reply(page).get_by_placeholder("想多说一句吗").fill("很清楚")
    page.keyboard.press("Enter")
    expect(last_reply(page).get_by_text("谢谢您的反馈")).to_be_visible()
    page.reload()
    expect(last_reply(page).get_by_role("button", name="有帮助", exact=True)).to_have_attribute("aria-pressed", "true")


def test_history_stays_after_a_reload_and_goes_with_a_new_conversation(visit, service):
    page = visit()
    page.goto(f"{service.url}/chat")
    ask(page, SHIPPING)
    replies(page, 1)
    page.reload()
    expect(page.locator(".message.user")).to_have_count(1)
    expect(last_reply(page)).to_contain_text(FREE_FROM)
    ask(page, "怎么申请退货")
    replies(page, 2)
    expect(page.locator(".message")).to_have_count(4)
    page.get_by_role("button", name="新对话").click()
    expect(page.locator(".message")).to_have_count(0)
    page.reload()
    expect(page.get_by_role("group", name="常见问题")).to_be_visible()
    expect(page.locator(".message")).to_have_count(0)


def test_enter_of_a_composition_and_shift_enter_do_not_send(visit, service):
    page = visit()
    page.goto(f"{service.url}/chat")
    box = page.get_by_role("textbox")
    box.fill("yunfei")
    box.evaluate(
        "box => box.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true}))"
    )
    box.press("Shift+Enter")
    expect(page.locator(".message")).to_have_count(0)
    expect(box).to_have_value("yunfei\n")
    box.fill("长" * 2001)
    box.press("Enter")
    expect(page.locator(".counter")).to_contain_text("2,001 / 2,000")
    expect(page.get_by_role("button", name="发送")).to_be_disabled()
    expect(page.locator(".message")).to_have_count(0)


@pytest.mark.parametrize("streams", [True, False])
def test_without_websocket_the_reply_still_comes(visit, service, streams):
    no_streams = "" if streams else "window.TextDecoderStream = undefined;"
    page = visit(before=NO_SOCKET + no_streams)
    kinds = []
    page.on("request", lambda request: request.method == "POST" and kinds.append(request.headers.get("accept")))
    page.goto(f"{service.url}/chat")
    ask(page, SHIPPING)
    expect(last_reply(page)).to_contain_text(FREE_FROM)
    assert "text/event-stream" in kinds
    assert streams or kinds[-1] == "application/json"
    expect(page.locator(".message")).to_have_count(2)
    page.reload()
    expect(page.locator(".message")).to_have_count(2)
    assert not serious(page)


def test_a_restarted_service_is_found_again_and_nothing_is_said_twice(visit, service):
    page = visit()
    page.goto(f"{service.url}/chat")
    ask(page, SHIPPING)
    replies(page, 1)
    service.stop()
    ask(page, "怎么申请退货")
    expect(page.get_by_text("正在重新连接")).to_be_visible()
    service.start()
    replies(page, 2)
    expect(page.get_by_text("正在重新连接")).to_be_hidden()
    expect(page.locator(".message.user")).to_have_count(2)
    page.reload()
    replies(page, 2)
    expect(page.locator(".message")).to_have_count(4)


def test_english_by_the_browsers_language_and_by_hand(visit, service):
    page = visit(locale="en-GB")
    page.goto(f"{service.url}/chat")
    expect(page.get_by_text("phone numbers and orders are invented")).to_be_visible()
    expect(page.get_by_placeholder("Write your question…")).to_be_visible()
    expect(page.get_by_role("heading", name="Xiaoli")).to_be_visible()
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_placeholder("请输入您的问题…")).to_be_visible()
    page.reload()
    expect(page.get_by_placeholder("请输入您的问题…")).to_be_visible()


def test_markdown_of_an_answer_is_shown_and_never_run(visit, service):
    page = visit()
    page.goto(f"{service.url}/chat")
    module = page.locator("link[rel=modulepreload][href$='markdown.js']").evaluate("link => link.href")
    shown = page.evaluate(
        "async ([module, text]) => (await import(module)).markdown(text).outerHTML", [module, MARKDOWN]
    )
    assert "<h3>标题</h3>" in shown
    for part in (
        "<strong>粗</strong>",
        "<em>斜</em>",
        "<code>a&lt;b</code>",
        "<s>旧</s><br>第二行",
        '<ol start="3">',
        "<th>a</th>",
    ):
        assert part in shown
    assert "<ul><li>一<ul><li>里面</li></ul></li><li>二</li></ul>" in shown
    assert re.findall(r'href="([^"]*)"', shown) == ["https://a.example/x?y=1", "https://b.example/"]
    assert 'rel="noopener noreferrer nofollow"' in shown
    assert "&lt;script&gt;" in shown
    assert "**不**" in shown
    assert not re.search(r"<(script|img|iframe)|javascript:|<[^>]*\son\w+=", shown)
