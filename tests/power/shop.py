"""A company's running service, as its users see it: over HTTP."""

import asyncio
import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from knowledge import store
from knowledge.text import simplify

PROBE = "东西坏了想换一个怎么办"
SECONDS_MAX = 300.0
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

    async def start(
        self,
        room: int | None = None,
        slow: list[Any] | None = None,
        constants: dict[str, Any] | None = None,
        *,
        wait: bool = True,
        **settings: str,
    ) -> None:
        """Start it, and wait until it answers and (with `wait`) nothing is under way any more. With `room`, no file may
        grow beyond so many bytes from the moment on that it is ready. `settings` are those of the environment, `slow`
        and `constants` as in machine.py."""
        order = {name: value for name, value in (("slow", slow), ("constants", constants)) if value}
        self.running = self.machine.start(self.data, "serve", env=settings, exact_max=EXACT_MAX, **order)
        end = time.monotonic() + SECONDS_MAX
        while not (found := re.search(r"(http://[\d.:]+)/chat", self.running.output)):
            assert time.monotonic() < end, self.running.output
            assert not self.running.wait(0.05), self.running.output
        self.base = found[1]
        while (await self.call("GET", "/readyz"))[0] != 200:
            assert time.monotonic() < end, self.running.output
            await asyncio.sleep(0.02)
        if room:
            no_room(self, room)
        if wait:
            await self.settled()

    async def settled(self) -> None:
        end = time.monotonic() + SECONDS_MAX
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


def no_room(shop: Shop, bytes_max: int) -> None:
    """From now on no file of the running service grows beyond that."""
    process = psutil.Process(shop.running.pid)
    process.rlimit(psutil.RLIMIT_FSIZE, (bytes_max, process.rlimit(psutil.RLIMIT_FSIZE)[1]))


def form_of(answers: dict[str, str]) -> aiohttp.FormData:
    rows = ({"question": question, "answer": answer} for question, answer in answers.items())
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    form = aiohttp.FormData()
    form.add_field("file", content.encode(), filename="faq.jsonl")
    return form
