"""A customer's data, deleted: their conversations, what waits in the review queue, and what was to be learnt from it.

The words leave the database in one transaction, and the files of training runs before it. What an adapter has learnt
cannot be taken out of its weights: the runs that saw it are marked, and the next run is made without it. An entry that
staff wrote stays theirs, also where a customer's question led to it.
"""

import asyncio
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.learning.runs import data_held, runs_dir
from bot.storage import audit, conversations, data_sets, decisions, messaging, review
from bot.storage.values import now
from finetune.atomic import write_lines

if TYPE_CHECKING:
    from bot.config import Settings
    from bot.storage.database import Database

FILES = ("train.jsonl", "heldout.jsonl", "adapter/questions.jsonl", "softened/questions.jsonl")
REPORTED = ("questions.jsonl",)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was deleted: conversations, labels of theirs; and the runs whose adapters have learnt from them."""

    conversations: int
    labels: int
    runs: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"conversations": self.conversations, "labels": self.labels, "runs": list(self.runs)}


async def forget(database: "Database", settings: "Settings", conversation_id: str, actor: str) -> Forgotten:
    """Delete a conversation, and on a messaging channel all that the same customer had there.

    Of a conversation that is past its time and gone, what was learnt is deleted.

    Raises OSError where the file of a run cannot be written; the database is then as it was, and it can be asked again.
    """
    async with data_held(settings):
        async with database.reading() as session:
            owned = await conversations.of_same_visitor(session, conversation_id) or [(conversation_id, "", False)]
            sources = [name if imported else decisions.source_of(id_) for id_, name, imported in owned]
            untouched = await data_sets.runs_without(session, sources)
        await asyncio.to_thread(scrub, runs_dir(settings), frozenset(sources), untouched)
        # A report quotes what was held out, of whichever data set.
        await asyncio.to_thread(scrub, settings.data / "adapters", frozenset(sources), (), REPORTED)
        ids = [id_ for id_, *_ in owned]
        async with database.session() as session:
            items = await review.items_of_conversations(session, ids)
            worded = await review.wordings(session, items)
            labels = await decisions.forget(session, sources)
            runs = await data_sets.forget(session, sources)
            await messaging.forget_recipients(session, ids)
            deleted = await conversations.delete_all(session, ids)
            await decisions.forget_wordings(session, worded, await review.wordings(session, items))
            await review.rename(session, items)
            await review.recount(session, items)
            # Neither who it was nor what was said: the record must not undo the deed.
            await audit.record(session, actor, "visitor.forget", "", {"conversations": deleted, "labels": labels})
    return Forgotten(deleted, labels, tuple(runs))


async def forget_older(database: "Database", days: int) -> int:
    """Delete the conversations that are past their time; the items of the queue that they had questions in follow."""
    moment = now()
    async with database.reading() as session:  # a search through all questions, for which nobody is to wait
        items = await review.items_of_older(session, days, moment)
    async with database.session() as session:
        deleted = await conversations.delete_older(session, days, moment)
        await review.recount(session, items)
    return deleted


def scrub(
    folder: Path, sources: Collection[str], untouched: Collection[str] = (), names: Collection[str] = FILES
) -> int:
    """Take the lines of these conversations out of the files of every run but the `untouched`; returns how many.

    One at a time: whoever calls holds `runs.data_held`.
    """
    gone = 0
    for path in sorted(path for name in names for path in folder.glob(f"*/{name}")):
        if path.relative_to(folder).parts[0] in untouched:
            continue
        rows = [json.loads(line) for line in path.read_text("utf-8").split("\n") if line.strip()]
        kept = [row for row in rows if row.get("source") not in sources]
        if len(kept) < len(rows):
            write_lines(path, kept)
            gone += len(rows) - len(kept)
    return gone
