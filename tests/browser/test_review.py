"""The review room in a real browser: half an hour of a support lead, in a minute."""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import expect

from bot.storage.database import opened
from tests.bot.learning.conversing import Say, talk

from .conftest import at

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HOSTILE = "<script>document.title='broken'</script><img src=x onerror=alert(1)>夜光贴怎么贴"
LONG = "夜光贴" + "很长的话没有空格" * 40


async def seed(url: str) -> None:
    """What customers said this week; the service is running on the same database."""
    async with opened(url) as database:
        for days, text in enumerate(["星光垫可以机洗吗", "请问星光垫可以机洗吗", "星光垫能机洗吗", "星光垫可以机洗么"]):
            person = ("您好，很高兴为您服务", "星光垫可以机洗，请用 30 度以下冷水，不要烘干。") if days == 1 else ()
            await talk(database, Say(text, people=person), hours_ago=2 + 24 * days)
        for text in ("你们老板的生日是哪天", "你们老板生日是哪天"):
            await talk(database, text)
        await talk(database, HOSTILE)
        await talk(database, LONG)


def in_thread(work) -> None:
    with ThreadPoolExecutor(1) as pool:  # playwright's own loop runs in this one
        pool.submit(asyncio.run, work).result()


@pytest.fixture(scope="module")
def seeded(service):
    in_thread(seed(f"sqlite+aiosqlite:///{service.data / 'kefu.db'}"))
    return service


def test_half_an_hour_in_a_minute(console, seeded, visit, tmp_path):
    page = console()
    at(page, "审核")
    expect(page.get_by_text("没有待审核的问题")).to_be_visible()
    page.screenshot(path=tmp_path / "review-empty.png", full_page=True)
    page.get_by_role("button", name="查找新问题").first.click()
    card = page.locator(".review-item")
    expect(card.get_by_role("heading", level=2)).to_contain_text("星光垫")
    expect(card.locator("header")).to_contain_text("问过 4 次")
    expect(card.locator(".review-examples li")).to_have_count(4)
    expect(card.locator(".review-draft")).to_contain_text("30 度以下")
    page.screenshot(path=tmp_path / "review-1280.png", full_page=True)

    # A new entry from what a colleague said, with keys alone; customers are told at once.
    page.keyboard.press("a")
    editor = page.get_by_role("dialog", name="新建问答")
    expect(editor.get_by_label("答案", exact=True)).to_have_value("星光垫可以机洗，请用 30 度以下冷水，不要烘干。")
    page.screenshot(path=tmp_path / "review-new.png")
    editor.get_by_role("button", name="保存").click()
    expect(page.get_by_text("新问答已保存，立即生效")).to_be_visible()
    visitor = visit()
    visitor.goto(f"{seeded.url}/chat")
    visitor.get_by_role("textbox").fill("星光垫可以机洗吗")
    visitor.keyboard.press("Enter")
    expect(visitor.locator(".message.bot.done").last).to_contain_text("30 度以下")

    # The next one is out of scope; a slip is taken back with a key, and comes again.
    expect(card.get_by_role("heading", level=2)).to_contain_text("老板")
    page.keyboard.press("i")
    expect(page.get_by_text("已忽略")).to_be_visible()
    expect(card.get_by_role("heading", level=2)).not_to_contain_text("老板")
    page.keyboard.press("z")
    expect(page.get_by_text("已撤销，回到待审核")).to_be_visible()
    expect(card.get_by_role("heading", level=2)).to_contain_text("老板")
    page.keyboard.press("o")
    expect(page.get_by_text("已记为超出范围")).to_be_visible()

    # Words of strangers are words.
    expect(card.get_by_role("heading", level=2)).to_contain_text("夜光贴")
    assert "broken" not in page.title()
    assert page.locator(".review-item img, .review-item script").count() == 0

    # Another entry, found by its words, gets a similar question.
    page.keyboard.press("/")
    page.keyboard.type("发票")
    expect(card.locator(".candidate strong").first).to_contain_text("发票")
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    card.get_by_label("问法").fill("夜光贴的发票")
    card.get_by_role("button", name="加为相似问法").click()
    expect(page.get_by_text("已加为相似问法，立即生效")).to_be_visible()

    at(page, "审核")
    page.get_by_role("link", name="已处理").click()
    rows = page.locator("li.document")
    expect(rows).to_have_count(4)
    page.screenshot(path=tmp_path / "review-decided.png", full_page=True)
    expect(rows.first).to_contain_text(
        re.compile("加为相似问法：.*发票")
    )  # what it was decided to be, to check it again
    rows.first.get_by_role("button", name="撤销").click()
    expect(rows.first).to_contain_text("已由 admin 撤销")
    found = page.request.get(f"{seeded.url}/api/faqs?q=夜光贴的发票").json()
    assert found["total"] == 0
    assert not [one for one in page.problems if "401" not in one]


def test_a_dialog_leaves_with_its_page(console, seeded):
    page = console()
    at(page, "审核")
    at(page, "训练")
    page.get_by_role("button", name="更改").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("link", name="已处理")).to_be_visible()


def test_two_at_once_and_a_phone(console, seeded, tmp_path):
    first, second = console(), console(width=390, height=844)
    for page in (first, second):
        at(page, "审核")
        expect(page.locator(".review-item")).to_be_visible()
    assert second.evaluate("document.documentElement.scrollWidth") <= 390
    second.screenshot(path=tmp_path / "review-390.png", full_page=True)
    # The same person in two windows holds the item in both; who comes second is told, and goes on.
    name = first.locator(".review-item h2").inner_text()
    assert second.locator(".review-item h2").inner_text() == name
    first.locator("[data-action=ignore]").click()
    expect(first.get_by_text("已忽略")).to_be_visible()
    second.locator("[data-action=out_of_scope]").click()
    expect(second.locator(".toast.problem")).to_contain_text("已由 admin 处理")
    expect(second.locator(".review-item h2, .empty h3").first).not_to_have_text(name)

    # A customer asks to be forgotten.
    second.get_by_role("button", name="删除说「").first.click()
    second.get_by_role("dialog").get_by_role("button", name="删除", exact=True).click()
    expect(second.get_by_text("已删除")).to_be_visible()
    expect(second.get_by_text("没有待审核的问题")).to_be_visible()
