"""Many messages through a storm: python tests/benchmarks/storm.py [--on chatwoot] [--messages 10000] [--kills 3]

A service of channels alone, on a real database; a stand-in for the platform that fails 20 % of the calls at random
(half of them never done, half done without an answer); kill -9 and a restart, three times. Some know a message
again by its id; on the others copies may come twice, and are counted by the service itself. WeCom's bot
asks for its answers: there calls of the platform's own go wrong, and what it no longer asks for is sent after.
Prints a Markdown table; exits 1 where a message was lost, or doubled without being counted.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from connectors import delivery
from tests.connectors.cases import Case, Chatwoot, FeishuLongConnection, TelegramPolling, WeComBot
from tests.connectors.process import Service
from tests.connectors.storms import Outcome, storm

PLATFORMS: dict[str, type[Case]] = {
    "feishu": FeishuLongConnection, "telegram": TelegramPolling, "chatwoot": Chatwoot, "wecom_bot": WeComBot,
}  # fmt: skip


async def run(case: Case, messages: int, kills: int) -> Outcome:
    case.base = await case.outside.start()
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder) / "data", case.table())
        await service.start()
        try:
            return await storm(case, service, messages, kills, failing=0.2)
        finally:
            await service.kill()
            await case.outside.stop()


async def main(names: list[str], messages: int, kills: int) -> int:
    print("| platform | knows a message again | messages | answered | doubled | of unknown outcome | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    right = True
    for name in names:
        case = PLATFORMS[name]()
        seen = await run(case, messages, kills)
        again = "yes" if case.knows_again else "no"
        counts = (seen.messages, seen.answered, seen.doubled, seen.uncertain, round(seen.seconds))
        print(f"| {name} | {again} |", " | ".join(str(number) for number in counts), "|", flush=True)
        allowed = 0 if case.knows_again else seen.uncertain
        right = right and seen.answered == messages and not seen.strange and seen.doubled <= allowed
    print(f"retry schedule: {delivery.SCHEDULE} s")
    return 0 if right else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on", nargs="+", choices=sorted(PLATFORMS), default=sorted(PLATFORMS))
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=3)
    given = parser.parse_args()
    sys.exit(asyncio.run(main(given.on, given.messages, given.kills)))
