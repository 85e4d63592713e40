"""A running service whose power goes again and again, in the middle of uploads and switches of the encoder.

Each start after a cut is looked at as its users see it, over HTTP, and is the one that is cut next.
"""

import asyncio
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from knowledge import store
from knowledge.text import simplify

BATCH = 8
PROBE = "东西坏了想换一个怎么办"
NO_BYTES = 64
EXACT_MAX = 20  # so that the inverted file is built, saved and swapped in the middle of it all


@dataclass
class Shop:
    """A company's service, started and cut off; `answers` is what its owner knows to be in it."""

    machine: Any
    data: Path
    key: str
    http: aiohttp.ClientSession
    answers: dict[str, str] = field(default_factory=dict)
    running: Any = None
    base: str = ""

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.key}"}
        async with self.http.request(method, self.base + path, headers=headers, **options) as response:
            text = await response.text()
            return response.status, json.loads(text) if text.startswith(("{", "[")) else text

    async def get(self, path: str) -> Any:
        status, body = await self.call("GET", path)
        assert status == 200, (path, body)
        return body

    async def start(self, room: int | None = None) -> None:
        """Start it, and wait until it answers and nothing is under way any more. With `room`, no file may grow beyond
        so many bytes from the moment on that it is ready."""
        self.running = self.machine.start(self.data, "serve", exact_max=EXACT_MAX)
        end = time.monotonic() + 120
        while not (found := re.search(r"(http://[\d.:]+)/chat", self.running.output)):
            assert time.monotonic() < end, self.running.output
            assert not self.running.wait(0.05), self.running.output
        self.base = found[1]
        while (await self.call("GET", "/readyz"))[0] != 200:
            assert time.monotonic() < end, self.running.output
            await asyncio.sleep(0.02)
        if room:
            no_room(self, room)
        await self.settled()

    async def settled(self) -> None:
        end = time.monotonic() + 120
        while True:
            jobs = (await self.get("/api/jobs"))["items"]
            adapters = await self.get("/api/adapters")
            resting = adapters["switching"] is None and adapters["active"] == adapters["serving"]
            if resting and all(job["state"] not in ("queued", "running") for job in jobs):
                return
            assert time.monotonic() < end, (jobs[:3], adapters["switching"], self.running.output)
            await asyncio.sleep(0.05)

    async def upload(self, answers: dict[str, str]) -> int:
        return (await self.call("POST", "/api/documents", data=form_of(answers)))[0]

    async def activate(self, name: str) -> int:
        return (await self.call("POST", f"/api/adapters/{name}/activate"))[0]

    async def roll_back(self) -> int:
        return (await self.call("POST", "/api/adapters/rollback", json={"kind": "encoder"}))[0]

    async def active(self) -> str | None:
        return (await self.get("/api/adapters"))["active"]["encoder"]

    async def found(self, question: str) -> dict[str, Any]:
        status, body = await self.call("POST", "/api/search", json={"query": question, "k": 1})
        assert status == 200, body
        return body["hits"][0]

    async def check(self, encoders: dict[str | None, Any], newest: dict[str, str]) -> None:
        """The knowledge base is what its owner knows, and all of it is found by vectors of the active encoder."""
        items = (await self.get("/api/faqs?limit=500"))["items"]
        assert len(items) == len(self.answers)
        assert {one["question"]: one["answer"] for one in items} == self.answers
        metrics = await self.get("/metrics")
        assert float(re.search(r"^kefu_knowledge_units (\S+)", metrics, re.MULTILINE)[1]) == len(self.answers)
        for question in [*newest, *list(self.answers)[:4]]:
            hit = await self.found(question)
            assert (hit["title"], hit["text"]) == (question, self.answers[question])
            assert hit["dense"] > 0.99
        hit = await self.found(PROBE)
        expected = {
            name: float(one.encode([simplify(PROBE)])[0] @ one.encode([simplify(hit["phrasing"])])[0])
            for name, one in encoders.items()
        }
        assert min(expected, key=lambda name: abs(expected[name] - hit["dense"])) == await self.active(), expected

    def check_snapshots(self, encoders: dict[str | None, Any]) -> None:
        """Whatever lies on the disk right after a cut is whole, and of the encoder that its folder names."""
        by_folder = {one.id[:16]: one for one in encoders.values()}
        for folder in (one.parent for one in (self.data / "index").glob(f"*/{store.MANIFEST}")):
            encoder = by_folder[folder.name]
            opened = store.Store(folder, encoder.id, encoder.dimension)
            assert opened.notes == []
            for question in list(self.answers)[:4]:
                row = opened.find([store.key(simplify(question), "query")])
                if row[0] >= 0:
                    assert float(opened.view.similarities(row, encoder.encode([simplify(question)])[0])[0]) > 0.999
            opened.close()


@pytest.fixture
def shop_on(machine: Any, installed_adapters: Path, copy_of: Callable[..., Any]) -> Callable[[Path], Any]:
    @asynccontextmanager
    async def on(data: Path) -> AsyncIterator[Shop]:
        copy_of(installed_adapters, data / "adapters")
        made = json.loads(machine.start(data, "keys", "add", "test", "--role", "admin", "--json").finish())
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60)) as http:
            shop = Shop(machine, data, made["key"], http)
            try:
                yield shop
            finally:
                if shop.running:
                    shop.running.cut()

    return on


@pytest.fixture
def encoders(installed_adapters: Path, encoder_of: Callable[..., Any]) -> dict[str | None, Any]:
    return {None: encoder_of(None)} | {one.name: encoder_of(one) for one in sorted(installed_adapters.glob("enc*"))}


def batch(number: int) -> dict[str, str]:
    return {f"第{number}批{n}号商品怎么保养": f"{number}-{n}：用软布擦。" for n in range(BATCH)}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("points", [6, pytest.param(60, marks=pytest.mark.soak)])
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
    answers = {f"第{n}号商品" + "的包装破损或者少了配件应该怎么处理" * 4: f"{n}号可以换。" for n in range(500)}
    async with shop_on(tmp_path / "data") as shop:
        await shop.start()
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
        assert shop.running.wait(60)
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
        assert seconds < 5  # 1.4 s seen; the server alone would wait five for those two requests


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


def no_room(shop: Shop, bytes_max: int) -> None:
    """From now on no file of the running service grows beyond that."""
    process = psutil.Process(shop.running.pid)
    process.rlimit(psutil.RLIMIT_FSIZE, (bytes_max, process.rlimit(psutil.RLIMIT_FSIZE)[1]))


async def logged(shop: Shop, words: str) -> None:
    end = time.monotonic() + 60
    while words not in shop.running.output:
        assert time.monotonic() < end, shop.running.output
        await asyncio.sleep(0.1)


def form_of(answers: dict[str, str]) -> aiohttp.FormData:
    rows = ({"question": question, "answer": answer} for question, answer in answers.items())
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    form = aiohttp.FormData()
    form.add_field("file", content.encode(), filename="faq.jsonl")
    return form
