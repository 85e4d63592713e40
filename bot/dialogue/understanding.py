"""What was found for a message, read in its conversation: follow-ups with their subject, each of several questions."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bot.dialogue.context import FollowUp, asks_something, cores, follow_up, passage_on, shares_subject, speaks_of
from bot.dialogue.policy import Knowledge
from bot.dialogue.types import Turn, Utterance
from knowledge.types import Entry, SearchResult

# Of the two probabilities, where a follow-up finds the same entry with its subject and without.
AGREED_MIN = 0.5
_RANKS = {"none": 0, "clarify": 1, "answer": 2}


@dataclass(frozen=True, slots=True)
class Reading:
    """What a message comes to: what was found for it, and why another than its own words was looked for.

    `entry` and `said`: the entry answered before has this to say to it.
    """

    found: SearchResult
    why: str = ""
    entry: Entry | None = None
    said: str = ""


async def in_context(turn: Turn, found: SearchResult, knowledge: Knowledge) -> Reading:
    """A message's reading in its conversation; it is searched for again only where its own words were not enough or
    lean on what was said before.
    """
    if found.hits and found.hits[0].score == 1.0:
        return Reading(found)
    lean = follow_up(turn.text, turn.history)
    if found.decision != "answer":
        for core in cores(turn.text):
            again = await knowledge.search(core, channel=turn.channel)
            if _RANKS[again.decision] > _RANKS[found.decision]:
                found = again
    if lean is None or (found.decision == "answer" and not lean.surely):
        return Reading(found)
    before = _spoken_of(turn.history)
    own = _own_answer(found, lean, knowledge)
    if own < _RANKS["answer"] and not lean.other:
        for entry in (knowledge.entry(id_, turn.channel) for id_ in before):
            if entry is not None and (said := passage_on(lean.words, entry)):
                return Reading(found, "context: the entry before says it", entry, said)
    without = before if lean.other else ()
    together, alone = await asyncio.gather(
        knowledge.search(lean.query, channel=turn.channel, without=without),
        knowledge.search(lean.words, channel=turn.channel, without=without),
    )
    together = _checked(together, alone, lean, knowledge, before)
    if together.decision == "none":
        return Reading(found)
    ranks = _RANKS[together.decision], own
    if ranks[0] > ranks[1] or (ranks[0] == ranks[1] and (lean.surely or together.probability > found.probability)):
        return Reading(together, f"context: with its subject, {found.decision} {found.probability:.3f}")
    return Reading(found)


def _own_answer(found: SearchResult, lean: FollowUp, knowledge: Knowledge) -> int:
    """How far the words alone go. Words that surely lean on a subject do not answer for another one."""
    entry = knowledge.entry(found.hits[0].id) if found.hits else None
    if found.decision == "answer" and lean.surely and entry is not None and not shares_subject(lean.subject, entry):
        return _RANKS["clarify"]
    return _RANKS[found.decision]


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
        read = (await in_context(replace(turn, text=question, history=history), result, knowledge)).found
        top = read.hits[0] if read.hits else None
        entry = knowledge.entry(top.id, turn.channel) if top and read.decision != "none" else None
        if entry is not None and entry.action:
            return ()
        sure = read.decision == "answer" and entry is not None and bool(entry.answer.strip())
        found.append(Part(question, entry if sure else None, top.score if top else 0.0, None if sure else entry))
        if entry is not None and sure:
            history = (*history, Utterance("user", question), _said(entry))
    told = {part.entry.id for part in found if part.entry}
    found = [part for part in found if part.entry or part.offered is None or part.offered.id not in told]
    return tuple(found) if len(told) >= 2 or (told and any(part.offered for part in found)) else ()


def _checked(
    found: SearchResult, alone: SearchResult, lean: FollowUp, knowledge: Knowledge, before: Sequence[str]
) -> SearchResult:
    """The subject is most of the query: an entry that says nothing to what was added to it does not answer, nor does
    the one `before` again unless something of it was asked for.
    """
    entry = knowledge.entry(found.hits[0].id) if found.hits else None
    if entry is None:
        return found
    if entry.id in before and not asks_something(lean.words):
        return replace(found, decision="none", options=())
    if speaks_of(lean.words, entry):
        return _agreed(found, alone)
    near = [one for hit in found.hits[:5] if (one := knowledge.entry(hit.id)) and speaks_of(lean.words, one)]
    offers = found.decision != "none" and near
    return replace(found, decision="clarify" if offers else "none", options=tuple(one.id for one in near[:3]))


def _agreed(found: SearchResult, alone: SearchResult) -> SearchResult:
    """Where the words find the same entry without their subject, the two together are surer than each."""
    if not alone.hits or alone.hits[0].id != found.hits[0].id:
        return found
    if alone.probability + found.probability >= AGREED_MIN:
        return replace(found, decision="answer")
    return replace(found, decision="clarify", options=(found.hits[0].id,)) if found.decision == "none" else found


def _spoken_of(history: Sequence[Utterance]) -> tuple[str, ...]:
    """The entries of the reply before, those it answered from or offered, and of the last one that was answered."""
    said = [one for one in reversed(history) if one.role in ("bot", "human")]
    last = said[0].options if said and said[0].decision in ("answer", "clarify") else ()
    answered = next((one.options for one in said if one.decision == "answer"), ())
    return tuple(dict.fromkeys((*last, *answered)))


def _said(entry: Entry) -> Utterance:
    return Utterance("bot", entry.answer, "answer", (), (entry.id,), (entry.question,))
