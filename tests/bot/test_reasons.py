"""Every reason that a reader gives for a row or a file has its words, in the terminal and in the console."""

import re
from pathlib import Path

import knowledge.readers
from bot.commands.knowledge import REASONS


def reasons() -> set[str]:
    folder = Path(knowledge.readers.__file__).parent
    found: set[str] = set()
    for path in folder.glob("*.py"):
        text = path.read_text("utf-8")
        found |= set(re.findall(r'ReadError\(\s*"([a-z_]+)"', text))
        found |= set(re.findall(r'[pP]roblem\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*?, "([a-z_]+)"[,)]', text))
    return found | {"no_question", "no_answer", "not_calculated", "duplicate_id", "duplicate", "unchanged"}


def test_every_reason_has_its_words():
    wanted = reasons()
    assert {"too_large", "nested", "malformed", "too_many", "encrypted", "timeout"} <= wanted
    texts = (Path(__file__).parents[2] / "bot" / "web" / "shared" / "text.js").read_text("utf-8")
    assert wanted - set(REASONS) == set()
    assert wanted - set(re.findall(r"^  reason_(\w+):", texts, re.MULTILINE)) == set()
