"""The widget on somebody else's page."""

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SHIPPING = "运费多少钱，满多少包邮"
PAGE = """<!doctype html><meta charset="utf-8"><title>shop</title><style>button {{ display: none }}</style><h1>小店</h1>
<script src="{url}/widget.js" data-title="问小砾" data-color="#8844aa" defer></script>
<script src="{url}/widget.js" defer></script>"""


@pytest.fixture
def page_of_the_shop(shop, service):
    port, folder = shop
    (folder / "index.html").write_text(PAGE.format(url=service.url), encoding="utf-8")
    return f"http://localhost:{port}/"


def test_it_opens_talks_tells_of_news_and_closes(visit, page_of_the_shop):
    page = visit()
    page.goto(page_of_the_shop)
    expect(page.locator("kefu-widget")).to_have_count(1)
    assert page.evaluate("Object.keys(window).filter(name => /kefu/i.test(name))") == []
    opener = page.get_by_role("button", name="问小砾")
    opener.click()
    frame = page.frame_locator("kefu-widget iframe")
    expect(frame.get_by_role("heading", name="问小砾")).to_be_visible()
    frame.get_by_role("textbox").fill(SHIPPING)
    frame.get_by_role("textbox").press("Enter")
    expect(frame.locator(".message.bot.done")).to_contain_text("满 99 元包邮")
    frame.get_by_role("textbox").fill("怎么申请退货")
    # Sent, and closed before the reply can be read: the button tells of it.
    frame.get_by_role("textbox").evaluate(
        """box => ["Enter", "Escape"].forEach(
            (key) => box.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true})))"""
    )
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.get_by_role("button", name="问小砾（有新消息）")).to_be_visible()
    page.get_by_role("button", name="问小砾（有新消息）").click()
    expect(frame.locator(".message.bot.done")).to_have_count(2)
    page.get_by_role("button", name="关闭客服窗口").click()
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_on_a_phone_it_takes_the_whole_screen(visit, page_of_the_shop):
    page = visit(width=390, height=844)
    page.goto(page_of_the_shop)
    page.get_by_role("button", name="问小砾").click()
    dialog = page.get_by_role("dialog")
    dialog.evaluate("element => Promise.all(element.getAnimations().map((animation) => animation.finished))")
    box = dialog.bounding_box()
    assert box == {"x": 0, "y": 0, "width": 390, "height": 844}
    page.frame_locator("kefu-widget iframe").get_by_role("button", name="关闭").click()
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_a_site_that_is_not_listed_cannot_frame_the_chat(visit, page_of_the_shop):
    page = visit()
    page.goto(page_of_the_shop.replace("localhost", "127.0.0.1"))
    with page.expect_event("console", lambda said: "frame-ancestors" in said.text):
        page.get_by_role("button", name="问小砾").click()
