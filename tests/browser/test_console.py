"""The console in a real browser: a shop's owner at work."""

import re

import pytest
from playwright.sync_api import expect

from .conftest import at

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CSV = (
    "question,answer,similar_questions,category\n"
    "星球灯可以连接手机吗,可以，打开蓝牙搜索 **XQ-7741** 即可连接。,星球灯怎么连蓝牙,产品\n"
    "星球灯的质保多久,质保 **18 个月**。,,产品\n"
    "没有答案的问题,,,产品\n"
)
MOON = "question,answer\n月球灯怎么换灯泡,拧开底座，换 **E27** 的灯泡。\n"


def test_wrong_and_right_password(visit, service):
    page = visit()
    page.goto(f"{service.url}/console")
    page.locator("#username").fill("admin")
    page.locator("#password").fill("wrong")
    page.get_by_role("button", name="登录").click()
    expect(page.get_by_role("alert")).not_to_be_empty()
    page.locator("#password").fill(service.password)
    page.get_by_role("button", name="登录").click()
    expect(page.get_by_role("heading", name="概览")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="概览")).to_be_visible()
    page.get_by_role("button", name="退出登录").click()
    expect(page.locator("#password")).to_be_visible()


def test_upload_then_the_chat_knows_it_then_edit_then_hit_test_then_delete(visit, console, service):
    page = console()
    at(page, "导入")
    page.locator("#files").set_input_files({"name": "星球灯.csv", "mimeType": "text/csv", "buffer": CSV.encode()})
    expect(page.get_by_text("预览：还没有写入任何内容")).to_be_visible()
    expect(page.locator(".count.added b")).to_have_text("2")
    expect(page.locator(".count.failed b")).to_have_text("1")
    expect(page.get_by_role("cell", name="没有答案", exact=True)).to_be_visible()
    page.get_by_role("button", name="确认导入").click()
    expect(page.get_by_text("导入完成，有几行需要您看看")).to_be_visible()

    visitor = visit()
    visitor.goto(f"{service.url}/chat")
    visitor.get_by_role("textbox").fill("星球灯可以连接手机吗")
    visitor.keyboard.press("Enter")
    expect(visitor.locator(".message.bot.done").last).to_contain_text("XQ-7741")

    at(page, "知识库")
    page.get_by_placeholder("搜索问题或答案").fill("星球灯的质保")
    expect(page.locator(".entry")).to_have_count(1)
    page.locator(".entry-text").click()
    editor = page.get_by_role("dialog", name="编辑问答")
    editor.get_by_label("答案", exact=True).fill("质保 **36 个月**。")
    editor.get_by_role("button", name="添加一行").first.click()
    editor.get_by_role("textbox", name="相似问法").last.fill("星球灯坏了保修几年")
    editor.get_by_role("button", name="保存").click()
    expect(editor).to_be_hidden()
    visitor.get_by_role("textbox").fill("星球灯坏了保修几年")
    visitor.keyboard.press("Enter")
    expect(visitor.locator(".message.bot.done").last).to_contain_text("36 个月")

    at(page, "命中测试")
    page.get_by_role("searchbox").fill("星球灯坏了保修几年")
    page.keyboard.press("Enter")
    expect(page.locator(".hit").first).to_contain_text("星球灯的质保多久")
    expect(page.locator(".decision-name strong")).to_have_text("直接回答")
    expect(page.locator(".hit").first.locator(".score")).to_have_count(3)

    at(page, "知识库")
    page.get_by_role("link", name="文件").click()
    page.get_by_role("button", name="删除「星球灯.csv」").click()
    expect(page.locator(".document", has_text="星球灯.csv")).to_have_count(0)
    page.get_by_role("button", name="撤销").click()
    expect(page.locator(".document", has_text="星球灯.csv")).to_have_count(1)
    with page.expect_download() as download:
        page.get_by_role("link", name="下载「星球灯.csv」").click()
    assert download.value.suggested_filename == "星球灯.csv"
    assert download.value.path().read_bytes() == CSV.encode()
    page.get_by_role("button", name="删除「星球灯.csv」").click()
    page.get_by_role("link", name="回收站").click()
    expect(page.locator(".document", has_text="星球灯.csv")).to_contain_text("彻底清除")
    page.get_by_role("button", name="恢复「星球灯.csv」").click()
    expect(page.get_by_text("回收站是空的")).to_be_visible()
    page.get_by_role("link", name="返回文件列表").click()
    expect(page.locator(".document", has_text="星球灯.csv")).to_have_count(1)


SLOW_DELETE = """const sent = window.fetch;
window.fetch = async (address, options) => {
  if (options?.method === "DELETE") await new Promise((go) => setTimeout(go, 1500));
  return sent(address, options);
};"""


def test_what_was_deleted_a_moment_ago_is_in_the_trash(console):
    page = console(before=SLOW_DELETE)
    at(page, "导入")
    page.locator("#files").set_input_files({"name": "月球灯.csv", "mimeType": "text/csv", "buffer": MOON.encode()})
    page.get_by_role("button", name="确认导入").click()
    expect(page.get_by_text("导入完成")).to_be_visible()
    at(page, "知识库")
    page.get_by_role("link", name="文件").click()
    page.get_by_role("button", name="删除「月球灯.csv」").click()
    page.get_by_role("link", name="回收站").click()
    expect(page.locator(".document", has_text="月球灯.csv")).to_contain_text("彻底清除")


def test_an_entry_is_given_days_and_channels(console, service):
    page = console()
    at(page, "知识库")
    page.get_by_placeholder("搜索问题或答案").fill("可以开增值税专用发票吗")
    expect(page.locator(".entry")).to_have_count(1)
    page.locator(".entry-text").click()
    editor = page.get_by_role("dialog", name="编辑问答")
    editor.get_by_text("更多设置").click()
    editor.get_by_label("失效日期").fill("2020-06-30")
    editor.get_by_label("渠道").fill("web，wechat")
    editor.get_by_role("button", name="保存").click()
    expect(editor).to_be_hidden()
    expect(page.locator(".entry .badge.warn")).to_have_text("已失效（2020-06-30）")
    found = page.request.get(f"{service.url}/api/faqs?q=可以开增值税专用发票吗").json()["items"][0]
    assert (found["valid_from"], found["valid_until"], found["channels"]) == (None, "2020-06-30", ["web", "wechat"])
    page.locator(".entry-text").click()
    editor.get_by_label("失效日期").fill("")
    editor.get_by_label("渠道").fill("")
    editor.get_by_role("button", name="保存").click()
    expect(editor).to_be_hidden()
    expect(page.locator(".entry .badge.warn")).to_have_count(0)


def test_the_hit_test_looks_at_one_category_and_as_a_channel_does(console, service):
    page = console()
    entry = {"question": "夜市摊位怎么预约", "answer": "**公众号**里预约。", "category": "夜市", "channels": ["wechat"]}
    assert page.request.post(f"{service.url}/api/faqs", data=entry, headers={"Origin": service.url}).ok
    at(page, "命中测试")
    titles, first = page.locator(".hit-title strong"), page.locator(".hit-title strong").first
    page.get_by_role("searchbox").fill("夜市摊位怎么预约")
    page.keyboard.press("Enter")
    expect(first).to_have_text("夜市摊位怎么预约")
    expect(page.locator(".hit-quote").first).to_have_text("公众号里预约。")
    page.get_by_role("combobox", name="分类").select_option("夜市")
    expect(titles).to_have_text(["夜市摊位怎么预约"])
    page.get_by_role("combobox", name="渠道").fill("web")
    page.keyboard.press("Enter")
    expect(page.get_by_text("今天没有可以回答的内容")).to_be_visible()
    page.reload()
    expect(page.get_by_text("今天没有可以回答的内容")).to_be_visible()
    expect(page.get_by_role("combobox", name="分类")).to_have_value("夜市")
    page.get_by_role("combobox", name="渠道").fill("wechat")
    page.keyboard.press("Enter")
    expect(titles).to_have_text(["夜市摊位怎么预约"])
    page.get_by_role("combobox", name="渠道").fill("web")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="显示全部").click()
    expect(first).to_have_text("夜市摊位怎么预约")


def test_a_mistyped_question_on_a_phone_is_shown_as_it_was_read_and_nothing_is_too_wide(console):
    page = console(width=390, height=844)
    at(page, "命中测试")
    page.get_by_role("searchbox").fill("fapiao zenme kai")
    page.keyboard.press("Enter")
    expect(page.get_by_text("按「发票怎么开」理解")).to_be_visible()
    expect(page.locator(".hit").first).to_contain_text("怎么开发票")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # Of a document's passage all of it matched: it is quoted once.
    expect(page.locator(".hit", has_text="资料").first).to_be_visible()
    expect(page.locator(".hit", has_text="资料").locator(".phrasing")).to_have_count(0)


def test_what_is_known_already_is_not_offered_again(console):
    page = console()
    at(page, "导入")
    text = "# 年假\n\n工作满一年有五天年假，当年没有休完可以顺延到次年三月。\n".encode()
    file = {"name": "年假.md", "mimeType": "text/markdown", "buffer": text}
    page.locator("#files").set_input_files(file)
    page.get_by_role("button", name="确认导入").click()
    expect(page.get_by_text("导入完成，马上就能用来回答")).to_be_visible()
    page.locator("#files").set_input_files(file)
    expect(page.get_by_text("都已经在知识库里")).to_be_visible()
    expect(page.get_by_role("button", name="确认导入")).to_have_count(0)


def test_an_entry_that_moved_meanwhile_and_a_session_that_ran_out_lose_nothing(console, service):
    page = console()
    at(page, "知识库")
    page.get_by_placeholder("搜索问题或答案").fill("可以发顺丰吗")
    expect(page.locator(".entry")).to_have_count(1)
    page.locator(".entry-text").click()
    editor = page.get_by_role("dialog", name="编辑问答")
    editor.get_by_label("标签").fill("我写的")
    entry = page.request.get(f"{service.url}/api/faqs?q=可以发顺丰吗").json()["items"][0]
    moved = page.request.patch(
        f"{service.url}/api/faqs/{entry['id']}", data={"tags": ["别人写的"]}, headers={"Origin": service.url}
    )
    assert moved.ok
    editor.get_by_role("button", name="保存").click()
    expect(editor.get_by_role("button", name="用我的覆盖")).to_be_visible()
    page.context.clear_cookies()
    editor.get_by_role("button", name="用我的覆盖").click()
    again = page.get_by_role("dialog", name="登录")
    again.locator("#password").fill(service.password)
    page.keyboard.press("Enter")
    expect(editor).to_be_hidden()
    assert page.request.get(f"{service.url}/api/faqs/{entry['id']}").json()["tags"] == ["我写的"]


def test_a_wrong_file_says_why_and_can_be_tried_again(console):
    page = console()
    at(page, "导入")
    page.locator("#files").set_input_files(
        {"name": "logo.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n\x1a\n" + bytes(2000)}
    )
    expect(page.locator(".file-card .problem")).not_to_be_empty()
    expect(page.get_by_role("button", name="重试")).to_be_visible()


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_a_preview_of_a_new_version_shows_what_it_removes_under_its_headings(console, service, width, height):
    page = console(width=width, height=height)
    at(page, "导入")
    rows = "".join(f"版本{width} 的 {n} 号货架在哪里,在 {width} 区 {n} 楼\n" for n in range(3))
    first = {"name": f"货架{width}.csv", "mimeType": "text/csv", "buffer": f"问题,答案\n{rows}".encode()}
    page.locator("#files").set_input_files(first)
    page.get_by_role("button", name="确认导入").click(timeout=60_000)
    expect(page.get_by_text("导入完成")).to_be_visible()
    at(page, "知识库")
    page.get_by_role("link", name="文件", exact=True).click()
    page.get_by_role("link", name=f"上传「货架{width}.csv」的新版本").click()
    shorter = f"问题,答案,失效日期\n版本{width} 的 0 号货架在哪里,在 {width} 区 0 楼,\n坏日期,答,下周三\n"
    page.locator("#files").set_input_files(first | {"buffer": shorter.encode()})
    expect(page.locator(".report td").nth(2)).to_contain_text("C 列「失效日期」：下周三")
    page.get_by_role("button", name="将删除").click()
    expect(page.locator(".report tbody tr")).to_have_count(2)
    expect(page.locator(".report tbody")).to_contain_text(f"版本{width} 的 2 号货架在哪里")
    lefts = [
        [box["x"] for cell in page.locator(f".report {row} :is(td, th)").all() if (box := cell.bounding_box())]
        for row in ("thead tr", "tbody tr:first-child")
    ]
    assert lefts[0] == lefts[1] if width == 1280 else len(set(lefts[1])) == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_phone_reaches_every_room_from_its_bar(console):
    page = console(width=390, height=844)
    bar = page.get_by_role("navigation").first
    box = bar.bounding_box()
    assert box["y"] + box["height"] == 844
    inside = [link.bounding_box() for link in bar.locator(":is(a, button):visible").all()]
    assert len(inside) == 5
    assert all(one["x"] >= 0 and one["x"] + one["width"] <= 390 and one["y"] > 760 for one in inside)
    more = page.get_by_role("button", name="更多")
    more.click()
    assert bar.locator("a:visible").count() == 10
    page.keyboard.press("Escape")
    assert bar.locator("a:visible").count() == 4
    more.click()
    bar.get_by_role("link", name="渠道").click()
    expect(page.get_by_role("heading", name="渠道", level=1)).to_be_visible()
    assert bar.locator("a:visible").count() == 4
    page.set_viewport_size({"width": 1280, "height": 800})
    assert bar.locator("a:visible").count() == 10
    expect(more).to_be_hidden()


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_every_room_opens_and_fits(console, width, height):
    page = console(width=width, height=height)
    for room in ("概览", "会话", "知识库", "导入", "命中测试", "公司", "渠道", "审核", "训练", "模型"):
        at(page, room)
        expect(page.locator(".room-body > :not(:empty)").first).to_be_visible()
        expect(page.locator(".failure")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, room
    at(page, "训练")
    expect(page.get_by_role("button", name="开始训练")).to_be_enabled()
    at(page, "模型")
    expect(page.get_by_role("region", name=re.compile("理解模型"))).to_contain_text("基础模型")
    # Nothing was ever switched on, so there is nothing to go back to.
    expect(page.get_by_role("button", name="退回上一个")).to_have_count(0)
    at(page, "知识库")
    expect(page.locator(".entry").first.get_by_role("button", name=re.compile("^编辑「"))).to_be_visible()
    assert page.problems == ["Failed to load resource: the server responded with a status of 401 (Unauthorized)"]


def test_the_companys_page_holds_from_the_next_message_on(visit, console, service):
    page = console()
    at(page, "公司")
    save = page.get_by_role("button", name="保存")
    expect(save).to_be_disabled()
    page.get_by_role("button", name="添加一项").click()
    page.get_by_role("textbox", name="名称", exact=True).last.fill("食品安全")
    page.get_by_role("textbox", name="词，用顿号或逗号分开").last.fill("发霉、变质")
    page.get_by_text("各种场合说的话").click()
    page.get_by_label("必须由人处理的事 · 中文").fill("{company}的专员马上跟进。")
    save.click()
    expect(page.get_by_text("已保存，从下一条消息起生效")).to_be_visible()
    expect(save).to_be_disabled()
    visitor = visit()
    visitor.goto(f"{service.url}/chat")
    visitor.get_by_role("textbox").fill("锅把菜放得发 霉了")
    visitor.keyboard.press("Enter")
    expect(visitor.locator(".message.bot.done").last).to_contain_text("青砾生活的专员马上跟进。")
    assert not [problem for problem in page.problems if "401" not in problem]


def test_a_room_that_takes_its_time_says_so(console, service):
    """The training room was blank while it waited for the numbers of its conversations."""
    page = console()
    held = []
    page.route("**/api/dialogs", lambda route: held.append(route))
    page.get_by_role("navigation").first.locator("a", has_text="训练").click()
    expect(page.get_by_role("status").filter(has_text="正在载入")).to_be_visible()
    expect(page.get_by_role("heading", name="训练", level=1)).to_be_visible()
    for route in held:
        route.continue_()
    page.unroute("**/api/dialogs")
    expect(page.get_by_role("button", name="开始训练")).to_be_visible()
    expect(page.get_by_text("正在载入…")).to_have_count(0)


def test_the_hours_say_by_which_clock_they_count(console):
    page = console()
    at(page, "公司")
    expect(page.locator(".zone")).to_contain_text(re.compile(r"按时区 Etc/GMT\S+ 计算，那里现在是周. 1[234]:\d\d，"))


def test_what_a_training_would_take_is_told_before_the_button(console, tmp_path):
    page = console()
    at(page, "训练")
    page.get_by_role("button", name="先估计时间和内存").click()
    expect(page.get_by_role("button", name="开始训练")).to_be_disabled()
    told = page.locator(".forecast")
    expect(told).to_contain_text(re.compile(r"训练约 .+比较约 .+最多用约 .+GB 内存"), timeout=240_000)
    expect(page.get_by_role("button", name="开始训练")).to_be_enabled()
    page.screenshot(path=tmp_path / "forecast-1280.png", full_page=True)
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.screenshot(path=tmp_path / "forecast-390.png", full_page=True)
    page.get_by_text("表达模型").first.click()
    expect(told).to_be_empty()
