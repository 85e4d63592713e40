"""The channels' service as a process of its own, which can be killed and started again on the same data."""

import asyncio
import json
import os
import random
import signal
import socket
import sqlite3
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import aiohttp

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """A port below those that the system hands out by itself: it must be free a second time."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Service:
    """One service with the channel of `table`. Its address stays over a restart.

    `schedule` are the seconds between attempts to deliver, empty for the channel's own.
    """

    def __init__(self, data: Path, table: dict[str, Any], schedule: tuple[float, ...] = ()) -> None:
        self.data, self.table, self.schedule, self.port = data, table, schedule, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.servers.desk", str(self.data), str(self.port), json.dumps([self.table]),
            *([json.dumps(self.schedule)] if self.schedule else []),
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        async with asyncio.timeout(300), aiohttp.ClientSession() as http:
            while True:
                try:
                    async with http.get(f"{self.url}/webhooks/no/channel") as response:
                        assert response.status == 404
                        return
                except aiohttp.ClientError:
                    assert self.process.returncode is None, "it ended by itself"
                    await asyncio.sleep(0.1)

    async def kill(self) -> None:
        """As a power cut would end it."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGKILL)
            await self.process.wait()

    def count(self, what: str) -> int:
        """How many rows a condition holds for, such as "inbox WHERE state = 'done'"; 0 before there is a database."""
        return self.number(f"SELECT COUNT(*) FROM {what}")  # noqa: S608 - our own words

    def number(self, query: str) -> int:
        """What a query of one number finds, 0 before there is a database."""
        file = self.data / "kefu.db"
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            return int(database.execute(query).fetchone()[0] or 0)
        return 0

    async def until(self, what: str, number: int, seconds: float = 300.0) -> None:
        """Until so many rows are there. Fails where they do not come."""
        async with asyncio.timeout(seconds):
            while self.count(what) < number:  # noqa: ASYNC110 - the database tells nobody
                await asyncio.sleep(0.02)

    async def until_none(self, what: str, seconds: float = 300.0) -> None:
        """Until no such row is left. Fails where some stay."""
        async with asyncio.timeout(seconds):
            while self.count(what):  # noqa: ASYNC110 - the database tells nobody
                await asyncio.sleep(0.1)
