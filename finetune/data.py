"""Conversations in, training examples out: formats, cleaning, splitting without leakage, fingerprints."""

import hashlib
import json
import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from finetune.errors import FinetuneError

MESSAGE_CHARACTERS_MAX = 20_000
_ROLES = {
    "user": "user",
    "human": "user",
    "customer": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "system": "system",
}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `reviewed` says that a person labelled it: `faq_id` then answers it, None is out of scope.

    `machine`: an assistant's reply that no person wrote; nothing may be learnt from it.
    """

    role: str
    content: str
    faq_id: str | None = None
    reviewed: bool = False
    machine: bool = False


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation, oldest message first."""

    id: str
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that could not be read, and why."""

    file: str
    line: int
    zh: str
    en: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.zh}"


class _FormatError(ValueError):
    def __init__(self, zh: str, en: str) -> None:
        super().__init__(zh)
        self.zh, self.en = zh, en


def read_conversations(path: Path) -> tuple[list[Conversation], list[Problem]]:
    """Conversations of a JSON Lines file or a JSON list, and the lines that are none.

    Understood forms: `{"id", "messages": [{"role", "content", "faq_id"?}]}`; ShareGPT
    `{"conversations": [{"from", "value"}]}`; Alpaca `{"instruction", "input"?, "output", "history"?, "system"?}`.

    Raises:
        FinetuneError: the file cannot be read, or no line of it is a conversation.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise FinetuneError(
            "file_unreadable",
            f"无法读取 {path}：{error.strerror}。",
            f"{path} cannot be read: {error.strerror}.",
        ) from error
    except UnicodeDecodeError as error:
        raise FinetuneError(
            "file_encoding",
            f"{path.name} 不是 UTF-8 编码的文本（第 {error.start} 字节），请另存为 UTF-8。",
            f"{path.name} is not UTF-8 text (byte {error.start}); save it as UTF-8.",
        ) from error
    conversations: list[Conversation] = []
    problems: list[Problem] = []
    for line, read in records(text):
        try:
            conversations.append(parse_conversation(read(), f"{path.stem}-{line}"))
        except _FormatError as error:
            problems.append(Problem(path.name, line, error.zh, error.en))
    if not conversations:
        first = f"第 {problems[0].line} 行：{problems[0].zh}" if problems else "文件是空的"
        first_en = f"line {problems[0].line}: {problems[0].en}" if problems else "the file is empty"
        raise FinetuneError(
            "no_conversations",
            f"{path.name} 里没有读到对话（{first}）。",
            f"{path.name} holds no conversation ({first_en}).",
        )
    return conversations, problems


def records(text: str) -> Iterable[tuple[int, Callable[[], Any]]]:
    """(line, what reads the record) of a JSON list or JSON Lines; reading raises ValueError where it is no JSON."""
    if text.lstrip().startswith("["):
        try:
            rows = json.loads(text)
        except (json.JSONDecodeError, RecursionError):
            rows = None
        if isinstance(rows, list):
            return [(number, lambda row=row: row) for number, row in enumerate(rows, 1)]  # type: ignore[misc]
    lines = enumerate(text.split("\n"), 1)  # not splitlines(): U+2028 inside a string is no end of line
    return [(number, lambda line=line: _json(line)) for number, line in lines if line.strip()]  # type: ignore[misc]


def _json(line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise _FormatError(
            f"不是有效的 JSON（第 {error.colno} 列）", f"not valid JSON (column {error.colno})"
        ) from error
    except RecursionError as error:
        raise _FormatError("JSON 嵌套过深", "JSON nested too deep") from error


def parse_conversation(row: Any, default_id: str) -> Conversation:
    """One record of any understood form as a conversation; raises ValueError (with `.zh`, `.en`) where it is none."""
    if not isinstance(row, dict):
        raise _FormatError("应为一个 JSON 对象", "must be a JSON object")
    if isinstance(row.get("messages"), list):
        raw = [_message(m, "role", "content") for m in row["messages"]]
    elif isinstance(row.get("conversations"), list):
        raw = [_message(m, "from", "value") for m in row["conversations"]]
        if isinstance(row.get("system"), str) and row["system"].strip():
            raw.insert(0, Message("system", row["system"]))
    elif isinstance(row.get("instruction"), str) and isinstance(row.get("output"), str):
        raw = _alpaca(row)
    else:
        raise _FormatError(
            "没有 messages、conversations 或 instruction/output", "has no messages, conversations or instruction/output"
        )
    messages = tuple(message for message in raw if message.content.strip())
    if not any(message.role == "user" for message in messages):
        raise _FormatError("没有客户的消息", "has no message of a customer")
    return Conversation(str(row.get("id") or default_id), messages)


def _message(raw: Any, role_key: str, text_key: str) -> Message:
    if not isinstance(raw, dict) or not isinstance(raw.get(text_key), str):
        raise _FormatError(f"消息缺少文字 {text_key}", f"a message has no text in {text_key}")
    role = _ROLES.get(str(raw.get(role_key)).lower())
    if role is None:
        raise _FormatError(
            f"{role_key} 应为 user、assistant 或 system，不是 {str(raw.get(role_key))[:40]!r}",
            f"{role_key} must be user, assistant or system, not {str(raw.get(role_key))[:40]!r}",
        )
    if len(raw[text_key]) > MESSAGE_CHARACTERS_MAX:
        raise _FormatError(
            f"一条消息有 {len(raw[text_key])} 个字符，最多 {MESSAGE_CHARACTERS_MAX} 个",
            f"a message has {len(raw[text_key])} characters, at most {MESSAGE_CHARACTERS_MAX}",
        )
    label = raw.get("faq_id")
    if label is not None and not isinstance(label, str | int):
        raise _FormatError("faq_id 应为文字或 null", "faq_id must be text or null")
    faq_id = None if label is None else str(label)
    return Message(role, raw[text_key], faq_id, "faq_id" in raw, role == "assistant" and raw.get("by") == "bot")


def _alpaca(row: dict[str, Any]) -> list[Message]:
    messages = [Message("system", str(row["system"]))] if row.get("system") else []
    for turn in row.get("history") or []:
        if not (isinstance(turn, list) and len(turn) == 2):
            raise _FormatError("history 应为 [问, 答] 的列表", "history must be a list of [question, answer]")
        messages += [Message("user", str(turn[0])), Message("assistant", str(turn[1]))]
    asked = "\n".join(str(part) for part in (row["instruction"], row.get("input")) if part)
    label = {"faq_id": row["faq_id"]} if "faq_id" in row else {}
    return [
        *messages, _message({"from": "user", "value": asked, **label}, "from", "value"),
        Message("assistant", row["output"]),
    ]  # fmt: skip


def conversation_to_json(conversation: Conversation) -> dict[str, Any]:
    """The native form; `faq_id` only on reviewed messages."""
    return {
        "id": conversation.id,
        "messages": [
            {"role": m.role, "content": m.content, **({"faq_id": m.faq_id} if m.reviewed else {})}
            for m in conversation.messages
        ],
    }


def normalise(text: str) -> str:
    """The form two texts are compared in: NFKC, lower case, letters and digits alone."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in folded if character.isalnum()) or folded.strip()


@dataclass(frozen=True, slots=True)
class Labelled:
    """A customer's words and the entry that answers them (None: out of scope). `group` must stay on one side.

    `reviewed`: a person said so; otherwise it was concluded from a reply.
    """

    text: str
    entry: str | None
    group: str
    reviewed: bool = True


def settle(examples: Iterable[Labelled]) -> tuple[list[Labelled], int]:
    """One label a text: the majority's, and none where two labels tie. Returns the examples and how many texts tied.

    Where a person reviewed a text, what was concluded from replies to it has no vote.
    """
    votes: dict[str, Counter[str | None]] = defaultdict(Counter)
    first: dict[str, Labelled] = {}
    for example in sorted(examples, key=lambda one: not one.reviewed):
        key = normalise(example.text)
        if first.setdefault(key, example).reviewed == example.reviewed:
            votes[key][example.entry] += 1
    settled: list[Labelled] = []
    tied = 0
    for key, example in first.items():
        ranked = votes[key].most_common(2)
        if len(ranked) == 2 and ranked[0][1] == ranked[1][1]:
            tied += 1
            continue
        settled.append(replace(example, entry=ranked[0][0]))
    return settled, tied


def split(
    items: Sequence[T],
    *,
    keys: Callable[[T], Iterable[Hashable]],
    stratum: Callable[[T], Hashable],
    share: float,
    seed: int,
) -> tuple[list[T], list[T]]:
    """(training, held-out) parts: items that share a key never part; each stratum gives up at most about `share`.

    Which ones are held out depends on `seed` and the keys alone, not on the order of the items.
    """
    parts = _connected(items, keys)
    chance = {index: _fraction(f"{seed}:{min(map(str, keys_of))}") for index, (_, keys_of) in enumerate(parts)}
    size = Counter(stratum(item) for item in items)
    # Rounded up, so that an entry with three phrasings can show one; one of a kind always trains.
    most = {s: min(n - 1, math.ceil(share * n)) for s, n in size.items()}
    taken: Counter[Hashable] = Counter()
    held: set[int] = set()
    for index in sorted(chance, key=lambda i: chance[i]):
        wanted = Counter(stratum(items[position]) for position in parts[index][0])
        fits = len(held) + len(parts[index][0]) <= share * len(items)
        if fits and all(taken[s] + n <= most[s] for s, n in wanted.items()):
            taken.update(wanted)
            held.update(parts[index][0])
    training = [item for position, item in enumerate(items) if position not in held]
    return training, [items[position] for position in sorted(held)]


def _connected(items: Sequence[T], keys: Callable[[T], Iterable[Hashable]]) -> list[tuple[list[int], list[Hashable]]]:
    """Positions of items joined by shared keys, with all keys of each part."""
    parent: dict[Hashable, Hashable] = {}

    def root(key: Hashable) -> Hashable:
        while parent.setdefault(key, key) != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    own = [list(keys(item)) for item in items]
    for first, *others in own:
        for other in others:
            parent[root(other)] = root(first)
    parts: dict[Hashable, tuple[list[int], list[Hashable]]] = {}
    for position, item_keys in enumerate(own):
        positions, part_keys = parts.setdefault(root(item_keys[0]), ([], []))
        positions.append(position)
        part_keys.extend(item_keys)
    return list(parts.values())


def _fraction(text: str) -> float:
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16) / 16**12


def data_hash(*files: Path) -> str:
    """SHA-256 over the contents of the files, in the order given, names not counted."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The rows of a file this package wrote itself."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]
