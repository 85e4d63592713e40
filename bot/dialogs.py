"""Conversations in and out: files ↔ database."""

import asyncio
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bot.storage import audit, training
from bot.storage.database import Database
from bot.storage.training import TrainingConversation, TrainingMessage
from bot.uploads import write_whole

PROBLEMS_MAX = 200


@dataclass(frozen=True, slots=True)
class DialogReport:
    """What an import did. `labelled` counts messages with a label, `unknown` those of them whose entry there is not."""

    conversations: int
    messages: int
    labelled: int
    unknown: int
    added: int
    updated: int
    skipped: int
    failed: int
    problems: tuple[dict[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "problems": list(self.problems)}


async def import_dialogs(database: Database, path: Path, name: str, *, actor: str = "cli") -> DialogReport:
    """Bring in a file of conversations, in one transaction; the same file again changes nothing.

    Lines that are no conversation are reported and left out. Raises FinetuneError where none is.
    """
    from finetune.data import read_conversations

    read, problems = await asyncio.to_thread(read_conversations, path)
    found = [
        TrainingConversation(
            one.id,
            tuple(TrainingMessage(m.role, m.content, m.faq_id, m.reviewed, m.machine) for m in one.messages),
        )
        for one in read
    ]
    async with database.session() as session:
        known = await training.known_entries(session)
        tally = await training.store(session, found)
        await audit.record(session, actor, "dialogs.import", name, {"conversations": len(found)})
    labels = [message for one in found for message in one.messages if message.reviewed]
    return DialogReport(
        conversations=len(found),
        messages=sum(len(one.messages) for one in found),
        labelled=len(labels),
        unknown=sum(label.faq_id is not None and label.faq_id not in known for label in labels),
        added=tally["added"],
        updated=tally["updated"],
        skipped=tally["skipped"],
        failed=len(problems),
        problems=tuple(
            {"file": name, "line": one.line, "message": one.zh, "message_en": one.en} for one in problems[:PROBLEMS_MAX]
        ),
    )


async def export_dialogs(database: Database, path: Path) -> int:
    """Write every conversation as JSON Lines, whole or not at all; returns how many."""
    async with database.reading() as session:
        lines = [json.dumps(to_json(one), ensure_ascii=False) + "\n" async for one in training.conversations(session)]
    await asyncio.to_thread(write_whole, path, "".join(lines).encode())
    return len(lines)


def to_json(conversation: TrainingConversation) -> dict[str, Any]:
    """The contract's form; `faq_id` only on reviewed messages, `by` only on the bot's own."""
    return {
        "id": conversation.id,
        "messages": [
            {"role": m.role, "content": m.text}
            | ({"faq_id": m.faq_id} if m.reviewed else {})
            | ({"by": "bot"} if m.machine else {})
            for m in conversation.messages
        ],
    }
