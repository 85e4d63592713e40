"""Channels in the console: set up, looked at again without a secret, changed, and removed."""

import pytest
from playwright.sync_api import expect

from .conftest import at

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_channel_is_added_checked_changed_and_removed_without_a_restart(console, service, shop):
    page = console()
    at(page, "渠道")
    page.get_by_role("button", name="添加渠道").first.click()
    form = page.get_by_role("dialog", name="添加渠道")
    form.get_by_label("平台", exact=True).select_option("feishu")
    expect(form.get_by_label("Verification Token")).to_be_visible()
    form.get_by_label("接收方式").select_option(label="由 Kefu 连接平台（不要公网地址）· ws")
    expect(form.get_by_label("Verification Token")).to_be_hidden()
    expect(form.get_by_text("不需要回调地址")).to_be_visible()

    form.get_by_label("平台", exact=True).select_option("webhook")
    expect(form.locator(".callback code")).to_have_text(f"{service.url}/webhooks/webhook/…")
    name = form.get_by_label("名称", exact=True)
    name.fill("客服台")
    assert name.evaluate("one => one.validationMessage").startswith("名称只能用小写字母、数字")
    name.fill("crm")
    assert name.evaluate("one => one.validationMessage") == ""
    expect(form.locator(".callback code")).to_have_text(f"{service.url}/webhooks/webhook/crm")
    form.get_by_label("签名密钥").fill("no base64 !")
    form.get_by_label("回复送到的地址").fill(f"http://127.0.0.1:{shop[0]}/replies")
    form.get_by_role("button", name="保存并检查").click()
    expect(form.get_by_role("alert")).to_contain_text("Base64")
    expect(form.get_by_role("alert")).not_to_contain_text("no base64 !")
    expect(form.get_by_label("签名密钥")).to_be_focused()
    form.get_by_label("签名密钥").fill("whsec_c2VjcmV0IG9mIHRoZSBjcm0=")
    form.get_by_role("button", name="保存并检查").click()
    expect(form.get_by_text("已保存，但检查没有通过")).to_be_visible()
    expect(form.locator(".verdict")).not_to_be_empty()
    form.get_by_role("button", name="关闭").last.click()
    expect(form).to_be_hidden()

    row = page.locator(".document", has_text="crm")
    expect(row).to_contain_text("在后台设置")
    assert page.request.post(f"{service.url}/webhooks/webhook/crm", data={}).status in (400, 401, 403)
    row.get_by_role("button", name="修改渠道").click()
    form = page.get_by_role("dialog", name="修改渠道")
    expect(form.get_by_label("名称", exact=True)).to_be_disabled()
    expect(form.get_by_label("签名密钥")).to_have_value("")
    assert "c2VjcmV0" not in page.content()
    form.get_by_label("回复送到的地址").fill("https://crm.example.com/replies")
    page.keyboard.press("Escape")
    page.get_by_role("dialog", name="放弃修改").get_by_role("button", name="放弃").click()
    expect(form).to_be_hidden()

    row.get_by_role("button", name="删除").click()
    page.get_by_role("dialog").get_by_role("button", name="删除").click()
    expect(row).to_have_count(0)
    assert page.request.post(f"{service.url}/webhooks/webhook/crm", data={}).status == 404
