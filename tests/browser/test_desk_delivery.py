"""What an agent sees of replies on their way to a messaging channel, in a real browser; the platform is away."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_chat import serious
from tests.browser.test_desk import at_the_desk, mine, reply, take  # noqa: F401 - a fixture
from tests.servers import webhook

from .conftest import Service, at

pytestmark = [pytest.mark.browser, pytest.mark.slow]


class Crm(ThreadingHTTPServer):
    """Takes replies with the status it is told."""

    status = 204

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.got: list[str] = []
        self.moved = threading.Condition()

    def until(self, text: str) -> None:
        with self.moved:
            assert self.moved.wait_for(lambda: text in self.got, 60), self.got


class Answer(BaseHTTPRequestHandler):
    server: Crm

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.status == 204 and body["type"] == "message":
            with self.server.moved:
                self.server.got.append(body["data"]["text"])
                self.server.moved.notify_all()
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def crm() -> Iterator[Crm]:
    server = Crm()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def set_up(page: Page, service: Service, crm: Crm) -> None:
    """A channel of the console to that server, at work at once."""
    body = {"parameters": {"secret": webhook.SECRET, "url": f"http://127.0.0.1:{crm.server_port}/replies"}}
    saved = page.request.put(f"{service.url}/api/channels/webhook/till", data=body, headers={"Origin": service.url})
    assert saved.ok, saved.text()


def say(page: Page, service: Service, text: str, id_: str) -> None:
    body = json.dumps({"sender": "u-1", "text": text, "message_id": id_, "metadata": {"nickname": "小李"}}).encode()
    taken = page.request.post(
        f"{service.url}/webhooks/webhook/till", data=body, headers=webhook.headers(body, f"{id_}-{time.time()}")
    )
    assert taken.ok, taken.text()


def test_an_agent_sees_what_was_not_delivered_and_sends_it_again(at_the_desk, service, crm):  # noqa: F811
    page = at_the_desk()
    set_up(page, service, crm)
    say(page, service, "紫色的杯子漏水，转人工", "d1")
    expect(mine(page, "紫色的杯子")).to_contain_text("小李（Webhook）")
    take(page, "紫色的杯子")
    expect(page.locator(".talk-who")).to_contain_text("小李（Webhook）")
    reply(page, "给您换一个")
    sent = page.locator(".said.human", has_text="给您换一个")
    crm.until("给您换一个")
    expect(sent.locator(".delivery")).to_have_count(0)
    crm.status = 503
    reply(page, "明天就能到")
    late = page.locator(".said.human", has_text="明天就能到").locator(".delivery")
    expect(late).to_contain_text("还没送到")
    expect(late).to_contain_text("503")
    reply(page, "请留意短信")
    behind = page.locator(".said.human", has_text="请留意短信").locator(".delivery")
    expect(behind).to_have_text("等待发送")
    crm.status = 410
    expect(late).to_contain_text("没有送达", timeout=60_000)
    expect(late).to_contain_text("410")
    expect(behind).to_contain_text("没有送达")
    expect(mine(page, "请留意短信")).to_contain_text("2 条没能送达")
    expect(page.locator(".said.human", has_text="给您换一个").locator(".delivery")).to_have_count(0)
    assert not serious(page)

    other = page.context.new_page()
    other.goto(f"{service.url}/console")
    at(other, "渠道")
    letter = other.locator(".document", has_text="明天就能到")
    expect(letter).to_contain_text("小李（Webhook）")
    expect(letter).to_contain_text("客户问：紫色的杯子漏水，转人工")
    other.close()

    crm.status = 204
    set_up(page, service, crm)  # what answered 410 is left alone until the channel is saved anew
    late.get_by_role("button", name="重新发送").click()
    expect(late).to_have_count(0)
    behind.get_by_role("button", name="重新发送").click()
    expect(behind).to_have_count(0)
    assert crm.got[-2:] == ["明天就能到", "请留意短信"]
    expect(mine(page, "请留意短信")).not_to_contain_text("没能送达")
    page.get_by_role("button", name="交还机器人").click()
    gone = page.request.delete(f"{service.url}/api/channels/webhook/till", headers={"Origin": service.url})
    assert gone.status == 204
