"""The other direction: a Rasa assistant's action server asks Kefu. Both are the real servers, spoken to over HTTP."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import unused_port

ROOT = Path(__file__).parents[3]


def call(text: str, sender: str = "visitor-1") -> dict[str, Any]:
    """What Rasa sends to its action server."""
    return {
        "next_action": "action_kefu_answer", "sender_id": sender, "version": "3.6.21",
        "domain": {"slots": {"kefu_answered": {"type": "bool"}, "kefu_decision": {"type": "text"}},
                   "actions": ["action_kefu_answer"]},
        "tracker": {
            "sender_id": sender, "slots": {"kefu_answered": None, "kefu_decision": None},
            "events": [], "paused": False, "active_loop": {},
            "latest_message": {"text": text, "intent": {"name": "ask_kefu"}, "entities": []},
            "latest_action_name": "action_listen",
        },
    }  # fmt: skip


@asynccontextmanager
async def action_server(url: str, **environment: str) -> AsyncIterator[str]:
    """rasa-sdk's own server with Kefu's action, in a process of its own."""
    port = unused_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rasa_sdk", "--actions", "connectors.rasa.actions", "--port", str(port), cwd=ROOT,
        env={**os.environ, "KEFU_URL": url, "PYTHONPATH": str(ROOT), **environment},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        async with aiohttp.ClientSession() as session:
            for _ in range(300):
                with suppress(aiohttp.ClientError):
                    async with session.get(f"http://127.0.0.1:{port}/health") as response:
                        if response.status == 200:
                            break
                await asyncio.sleep(0.2)
        yield f"http://127.0.0.1:{port}/webhook"
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its workers too
        await process.wait()


async def run(address: str, body: dict[str, Any]) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.post(address, json=body) as response:
        assert response.status == 200, await response.text()
        return dict(await response.json())


def slots(answer: dict[str, Any]) -> dict[str, Any]:
    return {event["name"]: event["value"] for event in answer["events"]}


@pytest.mark.slow
async def test_a_rasa_assistant_answers_with_kefu(talk_with: Callable[..., Any]) -> None:
    talk = await talk_with()
    async with action_server(talk.url) as address:
        answer = await run(address, call("怎么开发票"))
        assert [one["text"] for one in answer["responses"]] == ["在订单详情点「申请发票」，电子发票 24 小时内开出。"]
        assert slots(answer) == {"kefu_answered": True, "kefu_decision": "answer"}
        # What Kefu is unsure of comes with buttons, and a press of one is answered in the same conversation.
        offered = await run(address, call("退货钱"))
        buttons = offered["responses"][0]["buttons"]
        assert buttons
        assert all(button["title"] and button["payload"] for button in buttons)
        chosen = await run(address, call(buttons[0]["payload"]))
        assert chosen["responses"][0]["text"]
        assert not chosen["responses"][0]["buttons"]
        # An assistant with staff of its own sees that a person is wanted; one without the slots is sent no events.
        person = await run(address, call("转人工", "visitor-2"))
        assert slots(person) == {"kefu_answered": True, "kefu_decision": "handoff"}
        plain = call("怎么开发票")
        plain["domain"]["slots"] = {}
        assert (await run(address, plain))["events"] == []


@pytest.mark.slow
async def test_where_kefu_cannot_be_reached_the_assistant_says_so() -> None:
    async with action_server(f"http://127.0.0.1:{unused_port()}", KEFU_TIMEOUT_SECONDS="2") as address:
        answer = await run(address, call("怎么开发票"))
        assert "暂时无法回答" in answer["responses"][0]["text"]
        assert slots(answer) == {"kefu_answered": False, "kefu_decision": None}
