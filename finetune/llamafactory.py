"""Conversations for other trainers, and theirs for us: ShareGPT, Alpaca, and LLaMA-Factory's `dataset_info.json`.

Only what people wrote goes out, since that is what may be learnt from. Both forms want a question before every answer:
several messages in a row become one, an answer to nothing and a question without an answer are left out.

Source: LLaMA-Factory, data/README.md (columns, tags and their defaults).
"""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from finetune.data import Conversation, Message, Problem, parse_conversation, records
from finetune.errors import FinetuneError

INFO = "dataset_info.json"
Row = dict[str, Any]


def exchanges(conversation: Conversation) -> tuple[str, list[tuple[Message, Message]]]:
    """(system text, [(question, answer)]) of what people said; a question keeps its label."""
    system = "\n".join(one.content for one in conversation.messages if one.role == "system")
    said: list[Message] = []
    for message in conversation.messages:
        if message.role == "system" or message.machine:
            continue
        if said and said[-1].role == message.role:
            before = said.pop()
            labelled = message if message.reviewed or not before.reviewed else before
            text = f"{before.content}\n{message.content}"
            said.append(Message(message.role, text, labelled.faq_id, labelled.reviewed))
        elif said or message.role == "user":
            said.append(message)
    return system, list(zip(said[::2], said[1::2], strict=False))


def as_sharegpt(conversation: Conversation) -> Row | None:
    """`{"id", "conversations": [{"from", "value"}], "system"?}`; None where nobody answered anything."""
    system, pairs = exchanges(conversation)
    if not pairs:
        return None
    messages: list[Row] = []
    for asked, answered in pairs:
        messages.append({"from": "human", "value": asked.content} | _label(asked))
        messages.append({"from": "gpt", "value": answered.content})
    return {"id": conversation.id, "conversations": messages} | ({"system": system} if system else {})


def as_alpaca(conversation: Conversation) -> Row | None:
    """`{"id", "instruction", "input", "output", "history", "system"?}`; None where nobody answered anything."""
    system, pairs = exchanges(conversation)
    if not pairs:
        return None
    *earlier, (asked, answered) = pairs
    row: Row = {"id": conversation.id, "instruction": asked.content, "input": "", "output": answered.content}
    row |= {"history": [[question.content, answer.content] for question, answer in earlier]} | _label(asked)
    return row | ({"system": system} if system else {})


def _label(message: Message) -> Row:
    return {"faq_id": message.faq_id} if message.reviewed else {}


WRITERS: dict[str, Callable[[Conversation], Row | None]] = {"sharegpt": as_sharegpt, "alpaca": as_alpaca}
DESCRIPTIONS: dict[str, Row] = {
    "sharegpt": {
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "system": "system"},
        "tags": {"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt"},
    },
    "alpaca": {
        "formatting": "alpaca",
        "columns": {
            "prompt": "instruction", "query": "input", "response": "output", "system": "system", "history": "history",
        },
    },
}  # fmt: skip


def file_name(form: str) -> str:
    return f"kefu_{form}.json"


def dataset_info() -> Row:
    """What a folder with `kefu_sharegpt.json` and `kefu_alpaca.json` says about itself."""
    return {f"kefu_{form}": {"file_name": file_name(form), **DESCRIPTIONS[form]} for form in WRITERS}


def read_dataset_info(path: Path) -> tuple[list[Conversation], list[Problem]]:
    """The conversations of every data set that a `dataset_info.json` describes by a file beside it.

    Raises:
        FinetuneError: the file is none, or none of its data sets can be read.
    """
    try:
        described = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path) from error
    if not isinstance(described, dict):
        raise _unreadable(path)
    found: list[Conversation] = []
    problems: list[Problem] = []
    for name, description in described.items():
        if not isinstance(description, dict) or description.get("ranking"):
            problems.append(Problem(path.name, 1, f"{name} 不是对话数据", f"{name} holds no conversations"))
            continue
        for read in _rows(path.parent, str(name), description):
            (problems if isinstance(read, Problem) else found).append(read)  # type: ignore[arg-type]
    if not found:
        raise _unreadable(path, str(problems[0]) if problems else "")
    return found, problems


def _unreadable(path: Path, why: str = "") -> FinetuneError:
    return FinetuneError(
        "dataset_info",
        f"{path.name} 里没有能读的对话数据{f'（{why}）' if why else ''}。",
        f"{path.name} describes no conversations that can be read{f' ({why})' if why else ''}.",
    )


def _rows(folder: Path, name: str, description: Row) -> Iterator[Conversation | Problem]:
    file = str(description.get("file_name") or "")
    path = folder / file
    if not file or Path(file).name != file or not path.is_file():
        yield Problem(file or name, 1, f"{name} 的数据文件不在旁边", f"the file of {name} is not beside it")
        return
    shaped = _from_sharegpt if description.get("formatting") == "sharegpt" else _from_alpaca
    for line, read in records(path.read_text("utf-8-sig")):
        try:
            yield parse_conversation(shaped(read(), description), f"{name}-{line}")
        except (ValueError, AttributeError, TypeError) as error:
            zh, en = getattr(error, "zh", "不是一段对话"), getattr(error, "en", "is no conversation")
            yield Problem(file, line, zh, en)


def _from_alpaca(row: Row, description: Row) -> Row:
    columns = description.get("columns") or {}
    names = {
        "instruction": columns.get("prompt", "instruction"), "input": columns.get("query", "input"),
        "output": columns.get("response", "output"), "system": columns.get("system", "system"),
        "history": columns.get("history", "history"),
    }  # fmt: skip
    return _kept(row) | {ours: row[theirs] for ours, theirs in names.items() if theirs in row}


def _from_sharegpt(row: Row, description: Row) -> Row:
    columns, tags = description.get("columns") or {}, description.get("tags") or {}
    role, content = tags.get("role_tag", "from"), tags.get("content_tag", "value")
    roles = {
        tags.get("user_tag", "human"): "human",
        tags.get("assistant_tag", "gpt"): "gpt",
        tags.get("system_tag", "system"): "system",
    }
    messages: Iterable[Row] = row.get(columns.get("messages", "conversations")) or []
    shaped = [
        {"from": roles.get(one[role], one[role]), "value": one[content]}
        | ({"faq_id": one["faq_id"]} if "faq_id" in one else {})
        for one in messages
        if role in one and content in one
    ]
    system = row.get(columns.get("system", "system"))
    return _kept(row) | {"conversations": shaped} | ({"system": system} if system else {})


def _kept(row: Row) -> Row:
    return {key: row[key] for key in ("id", "faq_id") if key in row}
