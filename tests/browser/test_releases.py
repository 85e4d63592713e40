"""The way to a release in a real browser: a candidate in the shadow, its differences, what was taken back."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from playwright.sync_api import expect

from bot.storage import adapters, audit, watches
from bot.storage.database import opened
from finetune import registry
from finetune.models import model_checksum
from finetune.signing import Signer

from .conftest import at

pytestmark = [pytest.mark.browser, pytest.mark.slow]
NAME = "encoder-20260103-150405"
BROKEN = "encoder-20260101-020000"


def in_thread(work):
    with ThreadPoolExecutor(1) as pool:  # playwright's own loop runs in this one
        return pool.submit(asyncio.run, work).result()


@pytest.fixture(scope="module")
def candidate(service, encoder_folder, tmp_path_factory):
    """An installed adapter that finds other things than the base model, and one that was taken back."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    home = tmp_path_factory.mktemp("candidate")
    torch.manual_seed(3)
    base = AutoModel.from_pretrained(encoder_folder, add_pooling_layer=False)
    config = LoraConfig(r=2, lora_alpha=24, target_modules=["query", "value"], init_lora_weights=False)
    get_peft_model(base, config).save_pretrained(home / "made")
    (home / "made" / "README.md").unlink(missing_ok=True)
    manifest = registry.Manifest(
        name=NAME, kind="encoder", base_model=encoder_folder.name, base_checksum=model_checksum(encoder_folder),
        data_hash="", examples=412, config={}, metrics={"before": {"hit@1": 0.81}, "after": {"hit@1": 0.84}},
        verdict={"outcome": "better", "zh": "更好：81.0% → 84.0%。", "en": "Better: 81.0% → 84.0%."},
        created_at="2026-01-03T15:04:05Z", seconds=312.0,
    )  # fmt: skip
    installed = registry.install(home / "made", service.data / "adapters", manifest, Signer(service.data))

    async def tell() -> None:
        async with opened(f"sqlite+aiosqlite:///{service.data / 'kefu.db'}") as database, database.session() as session:
            await adapters.register(session, installed.to_json())
            await adapters.register(session, replace(installed, name=BROKEN).to_json())
            before = {"observed": 200, "errors": 0, "p95_seconds": 0.031}
            watch = await watches.begin(session, "encoder", BROKEN, before)
            after = {"observed": 11, "errors": 3, "p95_seconds": None}
            await watches.end(session, watch.id, "rolled_back", after, "errors", None)
            await audit.record(session, "system", "adapters.rollback", "base", {"from": BROKEN})

    in_thread(tell())
    return service


def ask(visit, service, *questions):
    visitor = visit()
    visitor.goto(f"{service.url}/chat")
    for number, question in enumerate(questions, 1):
        visitor.get_by_role("textbox").fill(question)
        visitor.keyboard.press("Enter")
        expect(visitor.locator(".message.bot.done")).to_have_count(number)


def test_a_candidate_answers_in_the_shadow_and_is_dropped(console, candidate, visit, tmp_path):
    page = console()
    expect(page.get_by_role("alert", name="有模型被自动退回")).to_contain_text("出错 3 次")
    page.screenshot(path=tmp_path / "overview-1280.png", full_page=True)
    at(page, "模型")
    page.get_by_role("listitem", name=NAME).get_by_role("button", name="影子试答").click()
    box = page.get_by_role("dialog")
    box.get_by_label("试答的比例").select_option("1")
    box.get_by_label("试答多少个问题").select_option("100")
    page.screenshot(path=tmp_path / "shadow-ask.png")
    box.get_by_role("button", name="开始试答").click()
    card = page.get_by_role("region", name="影子试答")
    expect(card.get_by_text("试答中")).to_be_visible(timeout=120_000)
    page.screenshot(path=tmp_path / "shadow-empty-1280.png", full_page=True)
    ask(
        visit,
        candidate,
        "衣服不合身想寄回去",
        "我的电话 13812345678，多久发货",
        "发票能不能补开",
        "<b>会员</b>怎么升级",
    )
    expect(card.get_by_text("看 ")).to_be_visible(timeout=60_000)
    card.locator("summary").click()
    expect(card.locator(".difference").first).to_be_visible()
    expect(card).not_to_contain_text("13812345678")
    assert card.locator(".asked b").count() == 0
    page.screenshot(path=tmp_path / "shadow-1280.png", full_page=True)
    phone = console(width=390, height=844)
    at(phone, "训练")
    phone.get_by_role("region", name="影子试答").locator("summary").click()
    expect(phone.locator(".difference").first).to_be_visible()
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    phone.screenshot(path=tmp_path / "shadow-390.png", full_page=True)
    expect(page.get_by_role("region", name="自动训练")).to_contain_text("没有打开")
    card.get_by_role("button", name="放弃").click()
    page.get_by_role("dialog").get_by_role("button", name="放弃").click()
    expect(page.get_by_text("已放弃这个模型的试答")).to_be_visible()
    assert not [one for one in page.problems if "401" not in one]


def test_when_it_trains_by_itself_is_set_in_the_console(console, candidate, tmp_path):
    page = console()
    at(page, "训练")
    card = page.get_by_role("region", name="自动训练")
    expect(card).to_contain_text("没有打开")
    card.get_by_role("button", name="更改").click()
    box = page.get_by_role("dialog")
    box.get_by_label("自动训练").select_option("release")
    box.get_by_label("间隔").select_option("night")
    box.get_by_label("安静时段从").fill("02:30")
    box.get_by_label("到", exact=True).fill("04:00")
    least = box.get_by_label("新审核多少个问题才训练")
    least.fill("0")
    box.get_by_role("button", name="保存").click()
    expect(box).to_be_visible()  # none is no number of questions, and nothing was sent
    least.fill("30")
    page.screenshot(path=tmp_path / "schedule-1280.png", full_page=True)
    box.get_by_role("button", name="保存").click()
    expect(card).to_contain_text("每夜 02:30-04:00，新审核满 30 个问题就训练")
    expect(card).to_contain_text("下次：")
    phone = console(width=390, height=844)
    at(phone, "训练")
    card = phone.get_by_role("region", name="自动训练")
    expect(card).to_contain_text("每夜 02:30-04:00")
    card.get_by_role("button", name="更改").click()
    box = phone.get_by_role("dialog")
    expect(box.get_by_label("安静时段从")).to_have_value("02:30")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    phone.screenshot(path=tmp_path / "schedule-390.png", animations="disabled")
    box.get_by_label("自动训练").select_option("off")
    box.get_by_role("button", name="保存").click()
    expect(card).to_contain_text("没有打开")
    assert not [one for one in page.problems + phone.problems if "401" not in one]


def test_a_release_is_watched(console, candidate, tmp_path):
    page = console(locale="en-US")
    at(page, "Models")
    page.get_by_role("listitem", name=NAME).get_by_role("button", name="Switch on").click()
    page.get_by_role("dialog").get_by_role("button", name="Switch on").click()
    expect(page.get_by_text(f"{NAME} is in use")).to_be_visible(timeout=120_000)
    at(page, "Training")
    expect(page.get_by_text("Just switched, being watched")).to_be_visible()
    page.screenshot(path=tmp_path / "watching-en.png", full_page=True)
    at(page, "Models")
    page.get_by_role("button", name="Go back").click()
    page.get_by_role("dialog").get_by_role("button", name="Go back").click()
    expect(page.get_by_text("The model before is in use again")).to_be_visible(timeout=120_000)
