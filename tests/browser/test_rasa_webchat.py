"""Botfront's rasa-webchat, as it is published, in a page of another origin, against Kefu's Socket.IO channel."""

import base64
import hashlib
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.conftest import missing

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PACKAGE = "rasa-webchat@1.0.1"
INTEGRITY = "Ld1zVJvTAaTrs6A5p8t70agNNrKYRyXlvqXZRgBoDvKKUXbA0jhJKECi5bdPGlaR6jsmqWtVylHS+YqIqo0x8w=="
CACHE = Path.home() / ".cache" / "kefu" / "npm"
PAGE = """<!doctype html><meta charset="utf-8"><title>shop</title><h1>小店</h1><script src="webchat.js"></script>
<script>
WebChat.default({{ socketUrl: "{url}", socketPath: "/socket.io/", initPayload: "你好", title: "客服",
  inputTextFieldHint: "请输入", params: {{ storage: "session" }} }}, null);
</script>"""


@pytest.fixture(scope="module")
def webchat() -> bytes:
    """The package's one script."""
    archive = CACHE / "rasa-webchat-1.0.1.tgz"
    if not archive.is_file():
        npm = shutil.which("npm")
        if not npm:
            missing("npm (apt install npm)")
        CACHE.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [npm, "pack", "--silent", PACKAGE], check=False, cwd=CACHE, capture_output=True, text=True, timeout=300
        )
        if done.returncode or not archive.is_file():
            missing(f"{PACKAGE} from npm")
    assert base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode() == INTEGRITY
    with tarfile.open(archive) as package:
        script = package.extractfile("package/lib/index.js")
        assert script is not None
        return script.read()


@pytest.fixture
def page_of_the_shop(shop, service, webchat):
    port, folder = shop
    (folder / "webchat.js").write_bytes(webchat)
    (folder / "rasa.html").write_text(PAGE.format(url=service.url), encoding="utf-8")
    return f"http://localhost:{port}/rasa.html"


def test_a_front_end_made_for_rasa_works_unchanged(visit, page_of_the_shop):
    page = visit()
    page.goto(page_of_the_shop)
    page.locator(".rw-launcher").click()
    replies = page.locator(".rw-response")
    expect(replies.first).to_be_visible()  # to the opening words
    before = replies.count()
    page.get_by_placeholder("请输入").fill("运费多少钱，满多少包邮")
    page.get_by_placeholder("请输入").press("Enter")
    expect(replies.nth(before)).to_contain_text("满 99 元包邮")
    assert [problem for problem in page.problems if "socket" in problem.lower()] == []


def test_a_page_that_is_not_listed_is_refused(visit, page_of_the_shop):
    page = visit()
    with page.expect_event("requestfailed", lambda request: "/socket.io/" in request.url):
        page.goto(page_of_the_shop.replace("localhost", "127.0.0.1"))
    assert page.locator(".rw-response").count() == 0
