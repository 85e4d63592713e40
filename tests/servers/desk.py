"""A service of channels alone: the real hub on a real database; what answers is a few lines instead of the dialogue.

Run as `python -m tests.servers.desk DATA PORT TABLES [SECONDS]` it can be killed and started again; SECONDS is a retry
schedule in the place of the channels' own.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from bot.dialogue.voice import Profile, Voice
from bot.messaging import hub
from bot.messaging.replies import replies_to
from bot.messaging.sources import Configured
from bot.messaging.store import Store
from bot.metrics import Metrics
from bot.storage.database import Database
from connectors.types import Button, Inbound, Outbound


class Company:
    """Who speaks here."""

    def now(self) -> Profile:
        return Profile(
            Voice("zh", "小山", "阿山", "欢迎光临", "请拨打 400"), Voice("en", "Hill", "Ann", "Welcome", "Call")
        )


SLOW = "慢"
LONG = "长"
CHOICES = "选"
HUMAN = "人工"
OFFERED = (Button("怎么退货", "怎么退货"), Button("运费谁出", "运费谁出"))


def long_text(characters: int = 50_000) -> str:
    """A reply with everything that must not be cut: code, links, tables, emoji of several code points."""
    parts = [
        "## 退货说明\n\n退货请在七天内提出申请，审核通过之后寄回商品，我们收到以后三天内退款。" * 6,
        "👨‍👩‍👧‍👦🇨🇳é" * 60,
        "详情见 https://shop.example.com/help/returns?order=" + "8" * 60 + "&lang=zh 这一页。",
        "```python\n" + "".join(f"print('第 {n} 行')\n" for n in range(30)) + "```",
        "| 地区 | 运费 |\n| --- | --- |\n" + "".join(f"| 地区{n} | {n} 元 |\n" for n in range(20)),
        "\n".join(f"{n}. 第 {n} 步要做的事情" for n in range(1, 20)),
    ]
    text = "\n\n".join(parts)
    return ((text + "\n\n") * (characters // len(text) + 1))[:characters]


class Answers:
    """What answers: an echo, and what the words above ask for. `said` are the texts it was asked, by user."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, str]] = []
        self.slow_seconds = 1.0
        self.failures = 0

    async def __call__(self, inbound: Inbound, wrote: Callable[[str], None]) -> list[Outbound]:
        return await replies_to(inbound, self.handle, Company(), wrote)

    async def handle(self, inbound: Inbound) -> Any:
        where = inbound.conversation
        self.said.append((where.user, where.group, inbound.text))
        if self.failures:
            self.failures -= 1
            raise RuntimeError("broken")
        if inbound.text.startswith(SLOW):
            for piece in ("答", "：", inbound.text):
                await asyncio.sleep(self.slow_seconds / 3)
                yield Outbound(piece, final=False)
        if inbound.text.startswith(LONG):
            yield Outbound(long_text(), decision="answer")
        elif inbound.text.startswith(CHOICES):
            yield Outbound("您想问的是下面哪一个？", buttons=OFFERED, decision="clarify")
        elif inbound.text.startswith(HUMAN):
            yield Outbound("正在为您转接人工。", decision="handoff")
        else:
            yield Outbound(f"答：{inbound.text}", decision="answer")


DESK: web.AppKey[Any] = web.AppKey("desk", object)


def make_app(
    data: Path,
    tables: Sequence[dict[str, Any]],
    answers: Answers | None = None,
    schedule: tuple[float, ...] | None = None,
) -> web.Application:
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.add_routes(hub.routes())
    answers = answers or Answers()

    async def opened(app: web.Application) -> AsyncIterator[None]:
        database = Database(f"sqlite+aiosqlite:///{data / 'kefu.db'}")
        await database.open()
        app[hub.HUB] = made = hub.Hub(Store(database, Metrics()), answers)
        await made.open([Configured(dict(table), "file") for table in tables])
        for table in tables if schedule else ():
            made.channel(f"{table['kind']}/{table['name']}").schedule = schedule
        yield
        await made.close()
        await database.close()

    app.cleanup_ctx.append(opened)
    return app


if __name__ == "__main__":
    folder, port, tables = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    seconds = tuple(json.loads(sys.argv[4])) if len(sys.argv) > 4 else None
    web.run_app(make_app(folder, tables, schedule=seconds), host="127.0.0.1", port=port, print=None)
