"""Conversations in and out: files ↔ database."""

import asyncio
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bot.security.redaction import masked
from bot.storage import audit, training
from bot.storage.database import Database
from bot.storage.training import TrainingConversation, TrainingMessage
from bot.uploads import write_whole

if TYPE_CHECKING:
    from finetune.data import Conversation

PROBLEMS_MAX = 200
Form = Literal["native", "sharegpt", "alpaca", "llamafactory"]


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
    from finetune.llamafactory import INFO, read_dataset_info

    reader = read_dataset_info if path.name == INFO else read_conversations
    read, problems = await asyncio.to_thread(reader, path)
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


async def export_dialogs(database: Database, path: Path, form: Form = "native") -> int:
    """Write the conversations, whole or not at all; returns how many.

    `native` is a faithful copy as JSON Lines. The others are to train on: without personal data, with what people said
    alone, and with what reviewers decided, each question with its entry's answer. `sharegpt` and `alpaca` are a JSON
    list; `llamafactory` is a folder with both and a `dataset_info.json`.
    """
    if form == "native":
        async with database.reading() as session:
            lines = [
                json.dumps(to_json(one), ensure_ascii=False) + "\n" async for one in training.conversations(session)
            ]
        await asyncio.to_thread(write_whole, path, "".join(lines).encode())
        return len(lines)
    return await asyncio.to_thread(_write_to_train_on, await to_train_on(database), path, form)


async def to_train_on(database: Database) -> "list[Conversation]":
    """Conversations and reviewed questions with their answers, without personal data, each with its own id."""
    from bot.learning.dataset import gather
    from finetune.data import Conversation, Message

    material = await gather(database)
    answers = {entry.id: entry.answer for entry in material.entries if entry.answer.strip()}
    found: dict[str, Conversation] = {}
    for one in material.conversations:
        messages = [replace(message, content=masked(message.content)) for message in one.messages]
        decided = len(messages) == 1 and messages[0].reviewed and messages[0].faq_id in answers
        if decided:  # a reviewed question by itself: what answers it is the entry
            messages.append(Message("assistant", answers[messages[0].faq_id or ""]))
        id_ = f"{one.id}-{len(found)}" if one.id in found else one.id
        found[id_] = Conversation(id_, tuple(messages))
    return list(found.values())


def _write_to_train_on(found: "list[Conversation]", path: Path, form: str) -> int:
    from finetune.llamafactory import INFO, WRITERS, dataset_info, file_name

    def write(target: Path, name: str) -> int:
        rows = [row for one in found if (row := WRITERS[name](one))]
        write_whole(target, (json.dumps(rows, ensure_ascii=False, indent=1) + "\n").encode())
        return len(rows)

    if form != "llamafactory":
        return write(path, form)
    path.mkdir(parents=True, exist_ok=True)
    counts = [write(path / file_name(name), name) for name in WRITERS]
    write_whole(path / INFO, (json.dumps(dataset_info(), ensure_ascii=False, indent=2) + "\n").encode())
    return counts[0]


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
