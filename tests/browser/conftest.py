"""The real service in a process of its own, and Debian's Chromium to look at it."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.conftest import missing, zone_of_noon

PASSWORD = "correct horse battery staple"
READY_SECONDS = 240.0
expect.set_options(timeout=20_000)  # a busy machine is slow, not wrong


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Service:
    """`kefu serve --demo` on a port of its own; it can be stopped and started again on the same data."""

    data: Path
    shop_port: int
    password: str = PASSWORD
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith("KEFU_") or name == "KEFU_MODELS"
        }
        environment = kept | {
            "KEFU_ADMIN_PASSWORD": PASSWORD,
            "KEFU_WIDGET_ORIGINS": f"http://localhost:{self.shop_port}",
            "KEFU_MESSAGES_PER_MINUTE": "1000",
            "KEFU_TIME_ZONE": zone_of_noon(),
            "OMP_NUM_THREADS": "2",
        }
        command = [
            sys.executable,
            "-m",
            "bot.cli",
            "serve",
            "--port",
            str(self.port),
            "--demo",
            "--data",
            str(self.data),
        ]
        with (self.data.parent / "service.log").open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        self._wait()

    def _wait(self) -> None:
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until:
            assert self.process
            if self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as response:
                    if response.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(0.5)
        self.stop()
        pytest.fail(f"the service did not become ready:\n{(self.data.parent / 'service.log').read_text()[-3000:]}")

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def shop(tmp_path_factory) -> Iterator[tuple[int, Path]]:
    """A web server of somebody else's, at another origin: its port and folder."""
    folder, port = tmp_path_factory.mktemp("shop"), free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield port, folder
    process.terminate()
    process.wait()


@pytest.fixture(scope="session")
def service(tmp_path_factory, encoder_folder, generator_folder, shop) -> Iterator[Service]:
    running = Service(tmp_path_factory.mktemp("service") / "data", shop[0])
    running.data.mkdir()
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Per module: playwright's loop runs in this thread as long as it is open, and async tests elsewhere need their own.
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        missing("Chromium (apt install chromium)")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def contexts(browser) -> Iterator[list[BrowserContext]]:
    opened: list[BrowserContext] = []
    yield opened
    for context in opened:
        context.close()


@pytest.fixture
def visit(contexts, browser):
    """A new visitor's page; `problems` on it collects script errors, refusals by the page's own policy among them."""

    def open_page(locale: str = "zh-CN", width: int = 1280, height: int = 800, before: str | None = None) -> Page:
        context = browser.new_context(locale=locale, viewport={"width": width, "height": height})
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("console", lambda said: said.type == "error" and page.problems.append(said.text))
        if before:
            page.add_init_script(before)
        return page

    return open_page


@pytest.fixture
def console(visit, service):
    """A signed-in page; `at(room)` goes to a room."""

    def signed_in(**options) -> Page:
        page = visit(**options)
        page.goto(f"{service.url}/console")
        page.locator("#username").fill("admin")
        page.locator("#password").fill(service.password)
        page.keyboard.press("Enter")
        expect(page.get_by_role("navigation").first).to_be_visible()
        return page

    return signed_in


def at(page: Page, room: str) -> None:
    link = page.get_by_role("navigation").first.locator("a").filter(has_text=re.compile(rf"^{room}\d*$"))
    more = page.get_by_role("button", name=re.compile("^(更多|More)$"))
    if more.is_visible() and not link.is_visible():
        more.click()
    link.click()
    expect(page.get_by_role("heading", name=room, level=1)).to_be_visible()
