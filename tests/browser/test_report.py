"""The report of a comparison in a real browser, on a desk and on a phone, and the activation that disregards it."""

import json
import re
import subprocess
import sys

import pytest
from playwright.sync_api import expect

from bot.learning import report
from bot.learning.bootstrap import paired_mean
from bot.learning.report import Compared, Figure, judge
from finetune import registry
from finetune.models import model_checksum
from finetune.registry import Manifest
from finetune.signing import Signer

from .conftest import at

pytestmark = [pytest.mark.browser, pytest.mark.slow]
NAME = "encoder-20260104-150405"


@pytest.fixture(scope="module")
def installed(service, encoder_folder, tmp_path_factory):
    """An adapter that was measured and found worse, in the running service's data."""
    source = tmp_path_factory.mktemp("made")
    (source / "adapter_config.json").write_text("{}")
    (source / "adapter_model.safetensors").write_bytes(b"weights")
    main = Figure("own", "hit@1", 62, paired_mean([0.0] * 12 + [1.0] * 50, [1.0] * 10 + [0.0] * 3 + [1.0] * 49))
    fell = Figure("general", "hit@1", 192, paired_mean([1.0] * 120 + [0.0] * 72, [1.0] * 100 + [0.0] * 92), 0.02)
    few = Figure("out_of_scope", "answered", 3, paired_mean([0.0] * 3, [1.0, 0.0, 0.0]))
    rows = tuple(
        {"set": "own", "text": f"第{n}个问题很长很长{'很长' * 30}", "entry": "怎么退货",
         "before": {"entry": "发票怎么开", "decision": "answer"}, "after": {"entry": "怎么退货", "decision": "clarify"},
         "change": "better" if n % 2 else "worse", "source": "c"}
        for n in range(80)
    )  # fmt: skip
    said = judge([main, fell, few], [main], 10, 1)
    assert said["outcome"] == "worse"
    left = ({"set": "golden", "zh": "公司没有黄金集", "en": "the company has none"},)
    report.write(source, Compared({"hit@1": 0.8}, {"hit@1": 0.9}, said, (main, fell, few), rows, 7, left))
    manifest = Manifest(
        name=NAME, kind="encoder", base_model=encoder_folder.name, base_checksum=model_checksum(encoder_folder),
        data_hash="d" * 64, examples=10, config={}, metrics={"before": {"hit@1": 0.8}, "after": {"hit@1": 0.9}},
        verdict=said, created_at="2026-01-03T15:04:05Z", seconds=12.5,
    )  # fmt: skip
    registry.install(source, service.data / "adapters", manifest, Signer(service.data))
    listed = [sys.executable, "-m", "bot.cli", "adapters", "list", "--json", "--data", str(service.data)]
    assert json.loads(subprocess.run(listed, capture_output=True, check=True).stdout)[0]["state"] == "ready"
    return said


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_the_report_is_read_on_a_desk_and_on_a_phone(console, installed, width, height):
    page = console(width=width, height=height)
    at(page, "模型")
    page.get_by_role("listitem", name=NAME).get_by_role("link", name="比较报告").click()
    expect(page.get_by_text(installed["zh"])).to_be_visible()
    expect(page.locator(".measure")).to_have_count(3)
    expect(page.locator(".measure.worse")).to_contain_text("通用检索题")
    expect(page.locator(".measure.few")).to_contain_text("题太少")
    worse = page.get_by_role("region", name="变差的问题")
    expect(worse.locator(".change")).to_have_count(30)
    worse.get_by_role("button", name=re.compile("再显示")).click()
    expect(worse.locator(".change")).to_have_count(40)
    expect(worse.locator(".change").first).to_contain_text("发票怎么开")
    expect(page.get_by_text("公司没有黄金集")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_what_is_worse_is_switched_on_only_after_reading_why(console, installed):
    page = console()
    at(page, "模型")
    page.get_by_role("listitem", name=NAME).get_by_role("button", name="启用").click()
    asked = page.get_by_role("dialog")
    expect(asked).to_contain_text(installed["zh"])
    expect(asked).to_contain_text("记录在案")
    asked.get_by_role("button", name="取消").click()
    expect(page.get_by_role("listitem", name=NAME)).to_contain_text("可启用")
