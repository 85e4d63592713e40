"""A running service whose power goes again and again, in the middle of uploads and switches of the encoder.

Each start after a cut is looked at as its users see it, over HTTP, and is the one that is cut next.
"""

import asyncio
import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from openpyxl import Workbook

from knowledge import store
from tests.power.shop import SECONDS_MAX, Shop, form_of, no_room

BATCH = 8
NO_BYTES = 64


@pytest.fixture
def encoders(installed_adapters: Path, encoder_of: Callable[..., Any]) -> dict[str | None, Any]:
    return {None: encoder_of(None)} | {one.name: encoder_of(one) for one in sorted(installed_adapters.glob("enc*"))}


def batch(number: int) -> dict[str, str]:
    return {f"第{number}批{n}号商品怎么保养": f"{number}-{n}：用软布擦。" for n in range(BATCH)}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("points", [4, pytest.param(60, marks=pytest.mark.soak)])
async def test_uploads_and_switches_survive(
    shop_on: Callable[..., Any], encoders: dict[str | None, Any], tmp_path: Path, points: int,
    moments: Callable[..., list[float]],
) -> None:  # fmt: skip
    async with shop_on(tmp_path / "data") as shop:
        await shop.start()
        shop.answers = batch(0)
        seconds: dict[str, float] = {}
        for name, work in (("upload", shop.upload(batch(0))), ("switch", shop.activate("encoder-one"))):
            started = time.monotonic()
            assert await work == 202
            await shop.settled()
            seconds[name] = time.monotonic() - started
        history: list[str | None] = [None, "encoder-one"]
        outcomes: list[tuple[str, bool]] = []
        # Squared: what is asked for is written down early, most of the time goes into following it.
        for number, share in enumerate(moments(11, points, 1.1), 1):
            newest = dict[str, str]()
            kind = ("upload", "switch", "upload", "rollback")[number % 4]
            wanted = history[-1]
            work: Awaitable[int]
            if kind == "upload":
                newest = batch(number)
                work = shop.upload(newest)
            elif kind == "switch" or len(history) < 2:
                wanted = "encoder-two" if history[-1] == "encoder-one" else "encoder-one"
                kind, work = "switch", shop.activate(wanted)
            else:
                wanted, work = history[-2], shop.roll_back()
            asked = asyncio.ensure_future(work)
            await asyncio.sleep(share**2 * seconds["upload" if newest else "switch"])
            assert shop.running.cut()
            (status,) = await asyncio.gather(asked, return_exceptions=True)
            shop.check_snapshots(encoders)
            await shop.start()
            if newest:
                items = (await shop.get(f"/api/faqs?limit=500&q=第{number}批"))["items"]
                assert len(items) in (0, BATCH)
                assert items or status != 202, "it was promised and is lost"
                if items:
                    shop.answers |= newest
                outcomes.append((kind, bool(items)))
                newest = newest if items else {}
            else:
                now = await shop.active()
                assert now in (history[-1], wanted)
                if now == wanted:
                    history = history[:-1] if kind == "rollback" else [*history, wanted]
                outcomes.append((kind, now == wanted))
            jobs = (await shop.get("/api/jobs?limit=200"))["items"]
            failed = [job for job in jobs if job["state"] == "failed"]
            assert all(job["kind"] == "activate" and job["error"]["code"] == "interrupted" for job in failed), failed
            await shop.check(encoders, newest)
        print(f"service: {points} cuts; done afterwards: {outcomes}; {seconds}")


@pytest.mark.slow
async def test_an_orderly_stop_while_it_encodes_takes_seconds_and_the_next_start_goes_on(
    shop_on: Callable[..., Any], encoders: dict[str | None, Any], tmp_path: Path
) -> None:
    """With somebody following the job, as the console does, and somebody waiting for their own change."""
    answers = {f"第{n}号商品" + "的包装破损或者少了配件应该怎么处理" * 4: f"{n}号可以换。" for n in range(1500)}
    async with shop_on(tmp_path / "data") as shop:
        # The server alone would wait that long for the two requests below.
        await shop.start(constants={"bot.commands.serve.OPEN_REQUESTS_SECONDS": 200.0})
        shop.answers = answers
        assert await shop.upload(answers) == 202
        done = 0
        while done < 256:  # at least one step is kept
            (job,) = (await shop.get("/api/jobs"))["items"]
            assert job["state"] in ("queued", "running")
            done = job["done"] if job["note"] == "indexing" else 0
            await asyncio.sleep(0.05)
        others = [
            asyncio.ensure_future(shop.call("GET", f"/api/jobs/{job['id']}/events")),
            asyncio.ensure_future(shop.call("POST", "/api/faqs", json={"question": "几点开门", "answer": "九点。"})),
        ]
        await asyncio.sleep(0.3)
        started = time.monotonic()
        os.kill(shop.running.pid, signal.SIGTERM)
        assert shop.running.wait()
        seconds = time.monotonic() - started
        (status, _), (written, _) = await asyncio.gather(*others)
        assert (shop.running.status, status, written) == (0, 200, 201)
        assert "Traceback" not in shop.running.output
        assert "never retrieved" not in shop.running.output
        (manifest,) = shop.data.glob(f"index/*/{store.MANIFEST}")
        kept, damaged = store.examine(manifest.parent)
        assert damaged == []
        assert 256 <= kept < len(answers)
        await shop.start()
        (job,) = (await shop.get("/api/jobs"))["items"]
        assert job["state"] == "done"
        shop.answers = {"几点开门": "九点。"}
        assert (await shop.found("几点开门"))["dense"] > 0.99
        last = list(answers)[-1]
        assert (await shop.found(last))["title"] == last
        print(f"stopped after {seconds:.1f} s with {kept} of {len(answers)} encoded")
        assert seconds < 100  # 1.4 s seen


@pytest.mark.slow
async def test_a_stop_while_a_file_is_read_ends_the_reader_and_the_next_start_reads_it_again(
    shop_on: Callable[..., Any], tmp_path: Path, stored: Callable[..., Any]
) -> None:
    """Nothing is written, and what was promised is done all the same."""
    async with shop_on(tmp_path / "data") as shop:
        await shop.start()
        form = aiohttp.FormData()
        form.add_field("file", slow_workbook(batch(3)), filename="大表.xlsx")
        assert (await shop.call("POST", "/api/documents", data=form))[0] == 202
        reader = await reader_of(shop)
        reader.suspend()  # from here on it never comes to an end of its own
        os.kill(shop.running.pid, signal.SIGTERM)
        assert shop.running.wait(), "it waits for the reader"
        assert shop.running.status == 0, shop.running.output
        assert not reader.is_running()
        assert "Traceback" not in shop.running.output
        now = await stored(shop.data)
        assert (now.answers, now.documents, now.imports) == ({}, {}, 0)
        await shop.start()
        (job,) = (await shop.get("/api/jobs"))["items"]
        assert (job["state"], job["result"]["added"]) == ("done", BATCH)
        question, answer = next(iter(batch(3).items()))
        assert (await shop.found(question))["text"] == answer


@pytest.mark.slow
async def test_a_full_disk_under_the_running_service(
    shop_on: Callable[..., Any], encoders: dict[str | None, Any], tmp_path: Path
) -> None:
    """First only the index has no room, then nothing has: it answers, says so in a sentence, and goes on with room."""
    async with shop_on(tmp_path / "data") as shop:
        await shop.start()
        shop.answers = batch(1)
        assert await shop.upload(batch(1)) == 202
        await shop.settled()
        assert shop.running.cut()
        shutil.rmtree(shop.data / "index", ignore_errors=True)
        await shop.start(room=NO_BYTES)
        await logged(shop, "it will be rebuilt from the database")
        assert {path.name for path in shop.data.glob("index/*/*")} <= {store.LOCK}
        await shop.check(encoders, batch(1))
        for status, body in (
            await shop.call("POST", "/api/documents", data=form_of(batch(9))),
            await shop.call("POST", "/api/faqs", json={"question": "能开发票吗", "answer": "能。"}),
            await shop.call("POST", "/api/sessions", json={}),
            await shop.call("POST", "/api/adapters/encoder-one/activate"),
        ):
            assert (status, body["error"]["code"]) == (507, "disk_full"), body
            assert "磁盘已满" in body["error"]["message"]
        assert not list(shop.data.glob("uploads/incoming/*"))
        await shop.check(encoders, batch(1))
        no_room(shop, resource.RLIM_INFINITY)
        assert await shop.upload(batch(9)) == 202
        no_room(shop, NO_BYTES)  # while it is at work
        await asyncio.sleep(1.5)
        no_room(shop, resource.RLIM_INFINITY)
        await shop.settled()
        (job,) = (await shop.get("/api/jobs?limit=1"))["items"]
        if job["state"] == "failed":
            assert job["error"]["code"] in ("disk_full", "cannot_keep_upload"), job
            assert await shop.upload(batch(9)) == 202
            await shop.settled()
        shop.answers |= batch(9)
        await shop.check(encoders, batch(9))
        assert shop.running.cut()
        await shop.start()
        await shop.check(encoders, batch(9))


@pytest.mark.slow
def test_a_full_disk_during_the_import_command(machine: Any, tmp_path: Path) -> None:
    """One sentence, exit status 1, nothing of the file, and with room again all of it."""
    file, data = tmp_path / "faq.jsonl", tmp_path / "data"
    rows = ({"question": question, "answer": answer} for n in range(60) for question, answer in batch(n).items())
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    assert "新增 480" in machine.start(data, "import", "--dry-run", str(file)).finish()
    limited = "import resource, sys; from bot.cli import main; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0})); "
    for room in (1000, 100_000):  # not even for the original; not for its rows
        command = [sys.executable, "-c", limited.format(room) + "sys.exit(main(sys.argv[1:]))", "import", str(file)]
        environment = {**os.environ, "KEFU_DATA": str(data), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        (said,) = [one for one in done.stderr.splitlines() if one.strip() and "it/s]" not in one]
        assert re.search("磁盘已满|不能把文件保存|不能读写数据库", said), done.stderr
        assert not list((data / "uploads").glob("*"))
    assert "新增 480" in machine.start(data, "import", str(file)).finish()


def slow_workbook(answers: dict[str, str], unused: int = 200_000) -> bytes:
    """Takes seconds to read, for many texts that no cell shows."""
    book, made, slow = Workbook(), io.BytesIO(), io.BytesIO()
    for row in [("问题", "答案"), *answers.items()]:
        book.active.append(row)
    book.save(made)
    texts = "".join(f"<si><t>{number}</t></si>" for number in range(unused)).encode()
    with zipfile.ZipFile(made) as whole, zipfile.ZipFile(slow, "w", zipfile.ZIP_DEFLATED) as changed:
        for name in whole.namelist():
            data = whole.read(name)
            changed.writestr(name, data.replace(b"</sst>", texts + b"</sst>") if "sharedStrings" in name else data)
    return slow.getvalue()


async def reader_of(shop: Shop) -> psutil.Process:
    """The process that reads a file for the service, as soon as there is one."""
    service, end = psutil.Process(shop.running.pid), time.monotonic() + SECONDS_MAX
    while True:
        for child in service.children():
            if {"knowledge", "read"} <= set(child.cmdline()):
                return child
        assert time.monotonic() < end, shop.running.output
        await asyncio.sleep(0.01)


async def logged(shop: Shop, words: str) -> None:
    end = time.monotonic() + SECONDS_MAX
    while words not in shop.running.output:
        assert time.monotonic() < end, shop.running.output
        await asyncio.sleep(0.1)
