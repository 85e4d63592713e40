"""What was found for a message, read in its conversation: follow-ups with their subject, each of several questions."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bot.dialogue.context import FollowUp, follow_up, speaks_of
from bot.dialogue.policy import Knowledge
from bot.dialogue.types import Turn, Utterance
from knowledge.types import Entry, SearchResult

# Of the two probabilities, where a follow-up finds the same entry with its subject and without.
AGREED_MIN = 0.5
_RANKS = {"none": 0, "clarify": 1, "answer": 2}


async def in_context(turn: Turn, found: SearchResult, knowledge: Knowledge) -> tuple[SearchResult, str]:
    """What to go by: `found` for the message's own words, or what its subject and its words find together.

    The second is why, "" where nothing was changed. Searches once more only where the message leans on something.
    """
    lean = follow_up(turn.text, turn.history)
    if lean is None or (found.decision == "answer" and not lean.surely):
        return found, ""
    top = found.hits[0] if found.hits else None
    if top is not None and top.score == 1.0:
        return found, ""
    before = _answered(turn.history)
    together = await knowledge.search(lean.query, channel=turn.channel, without=before if lean.other else ())
    together = _checked(together, found, lean, knowledge)
    if _is_better(together, found, lean):
        return together, f"context: with its subject, {found.decision} {found.probability:.3f}"
    return found, ""


@dataclass(frozen=True, slots=True)
class Part:
    """One question of several in a message: the entry that surely answers it, else the one it may mean, if any."""

    question: str
    entry: Entry | None
    score: float
    offered: Entry | None = None


async def each(questions: Sequence[str], turn: Turn, knowledge: Knowledge) -> tuple[Part, ...]:
    """What answers each of several questions; one leans on the one before it. Empty unless two have their own answer,
    or one has and the others have something to offer.
    """
    results = await asyncio.gather(*(knowledge.search(one, channel=turn.channel) for one in questions))
    found: list[Part] = []
    history = turn.history
    for question, result in zip(questions, results, strict=True):
        read, _ = await in_context(replace(turn, text=question, history=history), result, knowledge)
        top = read.hits[0] if read.hits else None
        entry = knowledge.entry(top.id, turn.channel) if top and read.decision != "none" else None
        if entry is not None and entry.action:
            return ()
        sure = read.decision == "answer" and entry is not None and bool(entry.answer.strip())
        found.append(Part(question, entry if sure else None, top.score if top else 0.0, None if sure else entry))
        if entry is not None and sure:
            history = (*history, Utterance("user", question), _said(entry))
    different = {part.entry.id for part in found if part.entry}
    offered = any(part.offered for part in found)
    return tuple(found) if len(different) >= 2 or (different and offered) else ()


def _checked(found: SearchResult, alone: SearchResult, lean: FollowUp, knowledge: Knowledge) -> SearchResult:
    """The subject is most of the query: an entry that says nothing to what was added to it does not answer. Where the
    words find the same entry without their subject, the two together are sure enough.
    """
    entry = knowledge.entry(found.hits[0].id) if found.hits else None
    if entry is None or found.decision == "none":
        return found
    if speaks_of(lean.words, entry):
        agreed = alone.hits and alone.hits[0].id == entry.id and alone.probability + found.probability >= AGREED_MIN
        return replace(found, decision="answer") if agreed else found
    fitting = tuple(
        hit.id for hit in found.hits[:5] if (one := knowledge.entry(hit.id)) is not None and speaks_of(lean.words, one)
    )
    return replace(found, decision="clarify" if fitting else "none", options=fitting[:3])


def _is_better(together: SearchResult, alone: SearchResult, lean: FollowUp) -> bool:
    ranks = _RANKS[together.decision], _RANKS[alone.decision]
    if ranks[0] != ranks[1]:
        return ranks[0] > ranks[1]
    return lean.surely or together.probability > alone.probability


def _answered(history: Sequence[Utterance]) -> tuple[str, ...]:
    last = next((one for one in reversed(history) if one.role in ("bot", "human")), None)
    return last.options if last is not None and last.decision == "answer" else ()


def _said(entry: Entry) -> Utterance:
    return Utterance("bot", entry.answer, "answer", (), (entry.id,), (entry.question,))
