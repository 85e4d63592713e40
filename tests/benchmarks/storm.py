"""Ten thousand messages through a storm: python tests/benchmarks/storm.py [--messages 10000] [--kills 3]

A service of channels alone, on a real database; a stand-in for the platform that fails 20 % of the calls at random
(half of them never done, half done without an answer); kill -9 and a restart, three times. One platform that knows a
message again by its id, and one that does not: there copies may come twice, and are counted by the service itself.
Prints a Markdown table; exits 1 where a message was lost, or doubled without being counted.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from connectors import delivery
from tests.connectors.cases import Case, FeishuLongConnection, TelegramPolling
from tests.connectors.process import Service
from tests.connectors.storms import Outcome, storm


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


async def main(messages: int, kills: int) -> int:
    print("| platform | messages | answered | doubled | attempts of unknown outcome | seconds |")
    print("| --- | --- | --- | --- | --- | --- |")
    right = True
    for case, name in ((FeishuLongConnection(), "knows a message again"), (TelegramPolling(), "does not")):
        seen = await run(case, messages, kills)
        print(
            f"| {name} | {seen.messages} | {seen.answered} | {seen.doubled} | {seen.uncertain} | {seen.seconds:.0f} |"
        )
        allowed = 0 if case.knows_again else seen.uncertain
        right = right and seen.answered == messages and not seen.strange and seen.doubled <= allowed
    print(f"retry schedule: {delivery.SCHEDULE} s")
    return 0 if right else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=3)
    given = parser.parse_args()
    sys.exit(asyncio.run(main(given.messages, given.kills)))
