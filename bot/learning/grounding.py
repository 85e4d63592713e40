"""Examples for the generator: the prompt that serving builds, and the answer the company wrote."""

import random
import re
from collections.abc import Iterable, Sequence
from typing import Any

from bot.dialogue.prompt import NO_ANSWER, SOURCE_TOKENS_MAX, estimated_tokens, grounded_messages
from knowledge.text import normalise
from knowledge.types import Entry

EXAMPLES_WANTED, PER_ENTRY_MAX, EXAMPLES_MAX = 240, 4, 480
REFUSAL_SHARE = 0.1
DISTRACTORS = (0, 1, 1, 2)
# As a search gives them: the right source is seldom not the first.
GOLD_FIRST_SHARE = 0.9
# So many right answers are a part of a longer text, as in a document: what is asked has to be picked out of it.
PAGE_SHARE, PAGE_ANSWERS = 0.35, (2, 3)
PLAIN_TITLE_SHARE = 0.3
HAN = re.compile(r"[\u4e00-\u9fff]")
FACT = re.compile(r"\d[\d.,:：/-]*\d|\d")


def examples(
    entries: Sequence[Entry],
    shelf: Sequence[Entry],
    outside: Sequence[str],
    rng: random.Random,
    company: str,
    per_entry_max: int = PER_ENTRY_MAX,
    refusal_share: float = REFUSAL_SHARE,
) -> list[dict[str, Any]]:
    """Rows {"messages", "entry", "facts", "question"} for `entries`; wrong sources come from the `shelf`.

    A few sources are all wrong ones, and the reply is then the one that says so. Few entries are asked in several
    wordings, many in one, so that a run takes minutes either way.
    """
    if not entries:
        return []
    near = _Neighbours(shelf)
    wanted = max(1, min(per_entry_max, round(EXAMPLES_WANTED / len(entries))))
    rows = []
    for entry in entries:
        for phrasing in _wordings(entry, wanted, rng):
            if rng.random() < refusal_share and len(shelf) > 3:
                rows.append(_row(phrasing, near.of(phrasing, entry, 2), NO_ANSWER, "", company))
            else:
                beside = near.of(phrasing, entry, rng.choice(PAGE_ANSWERS)) if rng.random() < PAGE_SHARE else []
                others = near.of(phrasing, entry, len(beside) + rng.choice(DISTRACTORS))[len(beside) :]
                sources = _sources(entry, beside, others, rng)
                rows.append(_row(phrasing, sources, entry.answer.strip(), entry.id, company))
    unanswered = rng.sample(list(outside), min(len(outside), round(len(rows) * refusal_share)))
    rows += [_row(text, near.of(text, None, 2), NO_ANSWER, "", company) for text in unanswered]
    return rows if len(rows) <= EXAMPLES_MAX else rng.sample(rows, EXAMPLES_MAX)


def facts_of(answer: str) -> list[list[str]]:
    """The figures of an answer (amounts, days, numbers): what a reply must not lose."""
    return [[figure] for figure in dict.fromkeys(FACT.findall(answer))]


def _row(question: str, sources: Iterable[tuple[str, str]], reply: str, entry_id: str, company: str) -> dict[str, Any]:
    messages = grounded_messages(question, list(sources), company)
    return {
        "messages": [*messages, {"role": "assistant", "content": reply}],
        "entry": entry_id,
        "facts": facts_of(reply),
        "question": question,
    }


def _wordings(entry: Entry, wanted: int, rng: random.Random) -> list[str]:
    """Customers' wordings before the entry's own; those in another language than the answer are left out."""
    chinese = bool(HAN.search(entry.answer))
    fitting = [text for text in entry.similar_questions if bool(HAN.search(text)) == chinese]
    chosen = rng.sample(fitting, min(wanted, len(fitting)))
    return chosen if len(chosen) == wanted else [*chosen, entry.question]


def _sources(
    entry: Entry, beside: list[tuple[str, str]], wrong: list[tuple[str, str]], rng: random.Random
) -> list[tuple[str, str]]:
    """The right source, alone or in one text with what stands `beside` it, among wrong ones."""
    titled = not beside and rng.random() >= PLAIN_TITLE_SHARE
    parts = [entry.answer, *(answer for _, answer in beside)]
    while len(parts) > 1 and estimated_tokens("\n".join(parts)) > SOURCE_TOKENS_MAX:
        parts.pop()  # the right answer must not be what is cut off
    rng.shuffle(parts)
    right = (entry.question if titled else entry.category or "", "\n".join(parts))
    place = 0 if rng.random() < GOLD_FIRST_SHARE else rng.randint(0, len(wrong))
    return [*wrong[:place], right, *wrong[place:]]


class _Neighbours:
    """The entries whose wording is nearest by shared character pairs: the kind of wrong source a search brings."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries
        self.pairs = [_pairs(entry.question) for entry in entries]

    def of(self, text: str, own: Entry | None, count: int) -> list[tuple[str, str]]:
        wanted = _pairs(text)
        scored = sorted(
            (
                (len(wanted & pairs) / (len(wanted | pairs) or 1), -position)
                for position, pairs in enumerate(self.pairs)
                if own is None or (self.entries[position].id != own.id and self.entries[position].answer != own.answer)
            ),
            reverse=True,
        )[:count]
        return [(self.entries[-p].question, self.entries[-p].answer) for _, p in scored]


def _pairs(text: str) -> set[str]:
    plain = normalise(text)
    return {plain[i : i + 2] for i in range(len(plain) - 1)} or {plain}
