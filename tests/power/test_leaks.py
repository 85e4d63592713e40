"""Thousands of questions by every way in, with imports in between: no memory, thread or file handle stays behind."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.power.shop import Shop, form_of

MIB = 2**20
AT_ONCE = 4
PARTS = 4
QUESTIONS_PER_IMPORT = 100
# Pools of threads and connections grow as needed, up to their bound, and the warm-up need not have needed all of it.
HANDLES_SPARE = 4
THREADS_SPARE = 4


@dataclass(frozen=True)
class Taken:
    """What a process holds."""

    handles: int
    threads: int
    mib: float
    children: int

    @classmethod
    def by(cls, process: psutil.Process) -> "Taken":
        resident = process.memory_info().rss / MIB
        return cls(process.num_fds(), process.num_threads(), round(resident, 1), len(process.children()))


async def ask(shop: Shop, number: int) -> None:
    """One question, each time in other words, by one of three ways; some visitors leave without a goodbye."""
    question = f"第{number}位顾客想知道第{number % 8}号锅具能不能放进洗碗机"
    way = number % 3
    if way == 0:
        status, replies = await shop.call(
            "POST", "/webhooks/rest/webhook", json={"sender": f"user-{number}", "message": question}
        )
        assert (status, bool(replies)) == (200, True)
    elif way == 1:
        assert (await shop.call("POST", "/api/search", json={"query": question, "k": 3}))[0] == 200
    else:
        await chat(shop, question, leaves=number % 2 == 0)


async def chat(shop: Shop, question: str, *, leaves: bool) -> None:
    status, session = await shop.call("POST", "/api/sessions", json={})
    assert status == 201, shop.running.output[-3000:]
    async with shop.http.ws_connect(f"{shop.base}/api/sessions/{session['session_id']}/ws") as socket:
        await socket.send_json({"type": "auth", "token": session["token"]})
        await socket.send_json({"type": "message", "text": question, "client_id": "m"})
        kind = ""
        while kind != ("message" if leaves else "done"):
            kind = (await socket.receive_json())["type"]
            assert kind != "error"
        if leaves:
            assert socket._response.connection
            socket._response.connection.transport.abort()


async def work(shop: Shop, numbers: range) -> None:
    """All these questions, a few at a time, and a document that comes and goes now and then."""
    waiting = iter(numbers)

    async def visitor() -> None:
        for number in waiting:
            await ask(shop, number)
            if number % QUESTIONS_PER_IMPORT == 0:
                await document(shop, number)

    await asyncio.gather(*(visitor() for _ in range(AT_ONCE)))
    await shop.settled()


async def document(shop: Shop, number: int) -> None:
    entries = {f"第{number}批第{n}号灯泡坏了怎么更换": f"拧下{n}号即可。" for n in range(8)}
    status, body = await shop.call("POST", "/api/documents", data=form_of(entries))
    assert status == 202
    await shop.call("GET", f"/api/jobs/{body['job_id']}/events")  # to its end
    job = await shop.get(f"/api/jobs/{body['job_id']}")
    assert job["result"]["added"] == len(entries), job
    assert (await shop.call("DELETE", f"/api/documents/{job['result']['document_id']}"))[0] == 204


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("questions", "mib_max"), [(200, 32), pytest.param(5000, 64, marks=pytest.mark.soak)], ids=["short", "long"]
)
async def test_nothing_stays_behind(shop_on: Callable[..., Any], tmp_path: Path, questions: int, mib_max: int) -> None:
    """Memory may grow by what caches may hold (thousands of questions and their vectors), not with every question."""
    async with shop_on(tmp_path / "data") as shop:
        await shop.start(KEFU_SESSIONS_PER_MINUTE="1000000", KEFU_MESSAGES_PER_MINUTE="1000000")
        assert await shop.upload({f"第{n}号锅具能不能放进洗碗机": f"{n}号可以。" for n in range(24)}) == 202
        await shop.settled()
        process = psutil.Process(shop.running.pid)
        warm = max(80, questions // 10)
        await work(shop, range(warm))
        before = after = Taken.by(process)
        print(f"after {warm} questions: {before}", flush=True)
        for part in range(PARTS):
            start = warm + part * questions // PARTS
            await work(shop, range(start, start + questions // PARTS))
            after = Taken.by(process)
            print(f"after {start + questions // PARTS}: {after}", flush=True)
        assert "Traceback" not in shop.running.output
        assert after.children == 0
        assert after.handles <= before.handles + HANDLES_SPARE
        assert after.threads <= before.threads + THREADS_SPARE
        assert after.mib - before.mib <= mib_max
