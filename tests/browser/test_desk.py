"""A customer asks for a person, and gets one: both sides in a real browser."""

import re
import subprocess
import sys

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_chat import NO_SOCKET, ask, last_reply, serious

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def at_the_desk(visit, service):
    """A signed-in page in the room of conversations."""

    def signed_in(name: str = "admin", **options) -> Page:
        page = visit(**options)
        page.goto(f"{service.url}/console#/desk")
        page.locator("#username").fill(name)
        page.locator("#password").fill(service.password)
        page.keyboard.press("Enter")
        expect(page.locator(".desk")).to_be_visible()
        return page

    return signed_in


def mine(page: Page, words: str):
    return page.locator(".case", has_text=words)


def take(page: Page, words: str) -> None:
    mine(page, words).click()
    page.get_by_role("button", name="接入", exact=True).click()
    expect(page.get_by_placeholder("回复客户…")).to_be_focused()


def reply(page: Page, text: str) -> None:
    page.get_by_placeholder("回复客户…").fill(text)
    page.keyboard.press("Enter")
    expect(page.locator(".said.human").last).to_contain_text(text)


def test_a_customer_waits_is_answered_by_a_person_and_goes_back_to_the_bot(visit, at_the_desk, service):
    staff = at_the_desk()
    customer = visit()
    customer.goto(f"{service.url}/chat")
    ask(customer, "蓝色的壶盖碎了，转人工")
    expect(last_reply(customer)).to_contain_text("已经通知人工客服")
    expect(customer.locator(".presence")).to_have_text("正在等待人工客服…")
    expect(mine(staff, "蓝色的壶盖")).to_contain_text("要求人工")
    expect(staff.get_by_role("img", name="有新消息").first).to_be_visible()
    expect(staff).to_have_title(re.compile(r"^\(\d+\) 会话"))

    take(staff, "蓝色的壶盖")
    expect(customer.locator(".presence")).to_have_text("人工客服正在为您服务")
    expect(customer.get_by_text("人工客服已接入")).to_be_visible()
    box = staff.get_by_placeholder("回复客户…")
    box.fill("nihao")
    box.evaluate(
        "box => box.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true}))"
    )
    expect(box).to_have_value("nihao")
    expect(staff.locator(".said.human")).to_have_count(0)
    reply(staff, "您好，<b>壶盖</b>可以单独补寄。")
    expect(last_reply(customer)).to_contain_text("您好，<b>壶盖</b>可以单独补寄。")
    expect(last_reply(customer)).to_contain_text("人工客服")
    ask(customer, "<img src=x onerror=alert(1)>那太好了")
    expect(staff.locator(".said.user").last).to_contain_text("<img src=x onerror=alert(1)>那太好了")
    expect(customer.locator(".message.typing")).to_have_count(0)  # the bot does not pretend to write

    staff.get_by_role("button", name="查知识库").click()
    look = staff.get_by_role("dialog", name="查知识库")
    look.get_by_role("searchbox").fill("运费多少钱")
    look.get_by_role("searchbox").press("Enter")
    look.locator("li", has_text="满多少包邮").get_by_role("button", name="插入").click()
    expect(box).to_have_value(re.compile("满 99 元包邮"))
    staff.keyboard.press("Enter")
    expect(last_reply(customer)).to_contain_text("满 99 元包邮")

    customer.reload()
    expect(customer.locator(".message")).to_have_count(5)
    expect(customer.locator(".presence")).to_have_text("人工客服正在为您服务")
    staff.get_by_role("button", name="交还机器人").click()
    expect(customer.get_by_text("由智能客服继续为您服务")).to_be_visible()
    expect(customer.locator(".presence")).to_have_text("在线，随时为您解答")
    ask(customer, "怎么申请退货")
    expect(customer.locator(".message.bot.done")).to_have_count(4)
    assert not serious(customer)
    assert not serious(staff)


def test_a_restart_in_the_middle_and_a_customer_without_websocket(visit, at_the_desk, service):
    staff = at_the_desk()
    customer = visit(before=NO_SOCKET)
    customer.goto(f"{service.url}/chat")
    ask(customer, "红色的锅铲断了，转人工")
    take(staff, "红色的锅铲")
    ask(customer, "在吗")
    expect(staff.locator(".said.user").last).to_contain_text("在吗")
    expect(customer.locator(".message.typing")).to_have_count(0)
    service.stop()
    staff.get_by_placeholder("回复客户…").fill("在的，给您换一把")
    staff.keyboard.press("Enter")
    expect(staff.locator(".said.human .problem")).to_be_visible()
    service.start()
    staff.get_by_role("button", name="重试").click()
    expect(staff.locator(".said.human")).to_have_count(1)
    expect(staff.locator(".said.human .problem")).to_have_count(0)
    expect(last_reply(customer)).to_contain_text("给您换一把", timeout=30_000)
    ask(customer, "谢谢啦")
    expect(staff.locator(".said.user").last).to_contain_text("谢谢啦", timeout=30_000)
    staff.get_by_role("button", name="结束会话").click()
    staff.get_by_role("dialog").get_by_role("button", name="结束会话").click()
    expect(staff.get_by_text("机器人在回答", exact=True)).to_be_visible()


def test_who_was_slower_is_told_who_has_it_and_may_take_it_over(visit, at_the_desk, service):
    hired = ["users", "add", "小王", "--role", "agent", "--password-stdin", "--data", str(service.data)]
    subprocess.run(
        [sys.executable, "-m", "bot.cli", *hired],
        input=service.password,
        text=True,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    customer = visit()
    customer.goto(f"{service.url}/chat")
    ask(customer, "绿色的碗裂了，转人工")
    first, second = at_the_desk(name="小王", width=390, height=844), at_the_desk()
    expect(first.get_by_role("link", name="知识库")).to_have_count(0)  # an agent's rooms alone
    mine(first, "绿色的碗").click()
    mine(second, "绿色的碗").click()
    expect(second.get_by_role("button", name="接入", exact=True)).to_be_visible()
    # Both click before either hears of the other.
    second.route("**/api/desk/events**", lambda route: route.abort())
    second.route("**/take", lambda route: (taken_by(first), route.continue_()))
    second.get_by_role("button", name="接入", exact=True).click()
    expect(second.get_by_text("这个会话由 小王 接待")).to_be_visible()
    expect(second.get_by_text("小王 正在接待，您只能看")).to_be_visible()
    second.unroute("**/take")
    reply(first, "我是小王")
    assert first.evaluate("document.documentElement.scrollWidth") <= 390
    second.get_by_role("button", name="转给我").click()
    second.get_by_role("dialog").get_by_role("button", name="转给我").click()
    reply(second, "我是店长")
    expect(last_reply(customer)).to_contain_text("我是店长")
    expect(first.get_by_text("admin 正在接待，您只能看")).to_be_visible()
    expect(first.get_by_placeholder("回复客户…")).to_have_count(0)
    first.go_back()
    expect(first.locator(".desk-tabs")).to_be_visible()


def taken_by(page: Page) -> None:
    page.get_by_role("button", name="接入", exact=True).click()
    expect(page.get_by_placeholder("回复客户…")).to_be_visible()
