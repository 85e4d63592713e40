"""How fast conversations become a review queue, against the encoder alone, and what it takes in memory.

    python -m tests.benchmarks.mining --turns 20000

Writes conversations of a made-up shop into a database of its own: a quarter of the turns is not answered, every
second of those in words nobody used before. Mined in two halves, so that growth shows. The ratio is the encoder's own
time for the same new wordings, in the same run, over the whole.
"""

import argparse
import asyncio
import random
import resource
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import numpy as np

from bot.config import Settings
from bot.knowledge_base import KnowledgeBase
from bot.learning import clusters
from bot.learning.mining import mine
from bot.storage import review
from bot.storage.database import Database, opened
from bot.storage.tables import ConversationRow, MessageRow
from bot.storage.values import new_id, now
from knowledge.text import plain

SUBJECTS = [
    "保修",
    "自提",
    "换货",
    "安装",
    "充电",
    "清洗",
    "配件",
    "会员",
    "积分",
    "礼盒",
    "运费",
    "发票",
    "退款",
    "定制",
]
FORMS = ["{}怎么弄", "请问{}要多久", "{}收费吗", "我想问一下{}的事", "{}找谁处理", "为什么{}不行", "{}有什么要求"]
PRODUCTS = ["台灯", "炖锅", "沙发", "手环", "雨伞", "书包", "水杯", "键盘", "风扇", "门锁"]
UNANSWERED, NEW_WORDS = 0.25, 0.5


def question(rng: random.Random) -> str:
    text = rng.choice(PRODUCTS) + rng.choice(FORMS).format(rng.choice(SUBJECTS))
    return text + (f"，型号{rng.randrange(10**6)}" if rng.random() < NEW_WORDS else "")


async def write(database: Database, count: int, start: int, rng: random.Random) -> list[str]:
    """`count` turns, four a conversation; returns the new wordings among the unanswered."""
    moment = now() - timedelta(days=20)
    asked: set[str] = set()
    for begin in range(start, start + count, 4000):
        async with database.session() as session:
            for number in range(begin, min(begin + 4000, start + count)):
                at = moment + timedelta(seconds=number)
                if number % 4 == 0:
                    session.add(ConversationRow(id=f"c{number // 4}", channel="web", created_at=at, updated_at=at))
                bad, id_, text = rng.random() < UNANSWERED, new_id(), question(rng)
                said = {"conversation_id": f"c{number // 4}", "created_at": at}
                session.add(MessageRow(id=id_, role="user", text=text, **said))
                session.add(
                    MessageRow(
                        id=new_id(), role="bot", text="…", reply_to=id_, decision="handoff" if bad else "answer",
                        probability=0.1 if bad else 0.9, reasons=["handoff: no_answer"] if bad else [], **said,
                    )
                )  # fmt: skip
                if bad:
                    asked.add(text)
    return sorted(asked)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def run(turns: int, groups: int) -> None:
    async def nothing(_done: int, _total: int) -> None:
        pass

    rng = random.Random(11)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data=Path(folder))
        async with opened(settings.database) as database:
            knowledge_base = KnowledgeBase(database, settings)
            await knowledge_base.open()
            try:
                for half in (0, 1):
                    wordings = await write(database, turns // 2, half * turns // 2, rng)
                    before, started = peak_mib(), time.process_time()
                    report = await mine(database, knowledge_base, nothing)
                    seconds = time.process_time() - started
                    started = time.process_time()
                    knowledge_base.served.encoder.encode([plain(text) for text in wordings])
                    alone = time.process_time() - started
                    async with database.reading() as session:
                        items = (await review.totals(session))["open"]
                    print(
                        f"half {half + 1}: {report.turns} turns, {report.found} unanswered "
                        f"in {len(wordings)} wordings, {items} items; {report.turns / seconds:.0f} turns/s, "
                        f"encoder alone / whole = {alone / seconds:.2f}; peak memory +{peak_mib() - before:.0f} MiB"
                    )
                dimension = knowledge_base.served.encoder.dimension
            finally:
                await knowledge_base.close()
    known = clusters.Clusters(dimension, 2.0)
    rows = np.random.default_rng(3)
    for _ in range(groups // 1000):
        known.add(rows.standard_normal((1000, dimension), dtype=np.float32))
    batch = rows.standard_normal((500, dimension), dtype=np.float32)
    started = time.process_time()
    known.assign(batch)
    print(f"500 questions among {groups} groups: {time.process_time() - started:.2f} s of processor time")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=20_000)
    parser.add_argument("--groups", type=int, default=100_000)
    arguments = parser.parse_args()
    asyncio.run(run(arguments.turns, arguments.groups))
