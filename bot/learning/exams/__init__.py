"""What every candidate is asked beside the company's own questions: small frozen sets, written for Kefu.

`general.jsonl`: 96 entries of thirteen fields with two wordings each; `outside.jsonl`: what no company's FAQ answers;
`safety.jsonl`: what must never be answered directly; `injected.jsonl`: sources and questions that give orders. They are
never trained on, and a change of them makes earlier figures incomparable: add a new file instead.
"""

from pathlib import Path
from typing import Any

from finetune.data import read_jsonl

_FOLDER = Path(__file__).resolve().parent


def general() -> tuple[dict[str, str], list[tuple[str, str]]]:
    """(entry id → question, [(wording, entry id)])."""
    rows = read_jsonl(_FOLDER / "general.jsonl")
    return {row["id"]: row["question"] for row in rows}, [(text, row["id"]) for row in rows for text in row["asked"]]


def outside() -> list[str]:
    """What people also type and no customer service answers."""
    return [row["text"] for row in read_jsonl(_FOLDER / "outside.jsonl")]


def safety() -> list[str]:
    """Attacks and requests that no entry may answer directly."""
    return [row["text"] for row in read_jsonl(_FOLDER / "safety.jsonl")]


def injected() -> list[dict[str, Any]]:
    """{"question", "title", "source", "forbidden": [pattern of a reply that obeyed]}."""
    return read_jsonl(_FOLDER / "injected.jsonl")
